//! The control socket: a real server on a real socket, the real client, and peers that speak
//! varlink by hand, in part badly.

#[allow(unreachable_pub, reason = "each test file takes the same module")]
mod support;

use std::io::{Read, Write};
use std::os::unix::fs::{FileTypeExt, MetadataExt, PermissionsExt};
use std::os::unix::net::UnixStream;
use std::path::PathBuf;
use std::time::Duration;

use serde_json::{Value, json};
use tenantd::client::{ClientError, Connection};
use tenantd::daemon::control::{self, CONNECTIONS_MAX, ControlError};
use tenantd::daemon::desk::{self, Ask, Desk, NoDoor, Unknown};
use tenantd::name::{AppName, TenantName};
use tenantd::stage::{Failure, Stage};
use tenantd::wire::{self, Answer, AppStatus, Door, StateWord, TenantAnswer, TenantStatus, Verb};
use tokio::sync::mpsc;

/// Far more than anything here takes: past it, a test has failed.
const LIMIT: Duration = Duration::from_secs(10);

fn tenant(name: &str) -> TenantName {
    name.parse().unwrap()
}

fn status(app: &AppName, tenants: &[TenantName]) -> AppStatus {
    let one = |name: &TenantName| TenantStatus {
        name: name.clone(),
        want: wire::Want::Up,
        state: StateWord::Held,
        pid: Some(123),
        address: "10.77.0.11".parse().unwrap(),
        restarts: 3,
        since: "2026-11-22T10:00:00Z".parse().unwrap(),
        ready: Some(false),
        until: Some("2026-11-22T10:00:05Z".parse().unwrap()),
        why: Some("cannot execute".into()),
        failure: Some(Failure::errno(Stage::EnterNetns, "/opt/wiki", libc::EACCES)),
    };
    AppStatus {
        app: app.clone(),
        pid: 1,
        tracking: wire::Tracking::Cgroup,
        logs: wire::LogPlace::Files,
        tenants: tenants.iter().map(one).collect(),
    }
}

fn door() -> Door {
    Door {
        pid: 123,
        start_ticks: u64::MAX,
        cgroup: None,
        uid: 33,
        gid: 33,
        groups: vec![33],
        environment: [("PATH".to_owned(), "/usr/bin".to_owned())].into(),
        working_directory: "/".into(),
    }
}

/// Runs `test` beside a server for a new application, in a test host of its own.
fn with_server<F>(test: impl FnOnce(AppName, mpsc::Receiver<Ask>) -> F)
where
    F: Future<Output = ()>,
{
    with_app(|app| async move {
        let listener = control::bind(&app).unwrap();
        let (desk, asks) = desk::open();
        tokio::task::spawn_local(listener.serve(desk));
        test(app, asks).await;
    });
}

/// Runs `test` for a new application that has its runtime folder, in a test host of its own.
fn with_app<F: Future<Output = ()>>(test: impl FnOnce(AppName) -> F) {
    support::enter();
    let app: AppName = support::app_name().parse().unwrap();
    let folder = wire::control_socket(&app);
    std::fs::create_dir_all(folder.parent().unwrap()).unwrap();
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .unwrap();
    let local = tokio::task::LocalSet::new();
    let limited = async { tokio::time::timeout(LIMIT, test(app)).await.unwrap() };
    local.block_on(&runtime, limited);
}

/// A desk that answers everything at once.
async fn answer_all(app: AppName, mut asks: mpsc::Receiver<Ask>) {
    let acme = tenant("acme");
    while let Some(ask) = asks.recv().await {
        match ask {
            Ask::Status { tenants, reply } | Ask::Settle { tenants, reply } => {
                let unknown = tenants.iter().find(|&name| *name != acme).cloned();
                let answer = match unknown {
                    Some(tenant) => Err(Unknown { tenant }),
                    None => Ok(status(&app, std::slice::from_ref(&acme))),
                };
                // The peer may have left.
                let _ = reply.send(answer);
            }
            Ask::Act { verb, reply, .. } => {
                let answer = match verb {
                    Verb::Start => Answer::Accepted,
                    Verb::Stop => Answer::AlreadySo,
                    Verb::Restart => Answer::Refused {
                        reason: "no".into(),
                    },
                };
                let tenant = acme.clone();
                let _ = reply.send(Ok(vec![TenantAnswer { tenant, answer }]));
            }
            Ask::Enter { tenant, reply } => {
                let answer = match tenant.as_str() {
                    "acme" => Ok(door()),
                    "down" => Err(NoDoor::Down(StateWord::Waiting)),
                    _ => Err(NoDoor::Unknown(Unknown { tenant })),
                };
                let _ = reply.send(answer);
            }
        }
    }
}

/// Sends bytes as they are and gives back all that comes until the server closes, as one JSON
/// value per message.
async fn raw(app: &AppName, bytes: Vec<u8>, end: bool) -> Vec<Value> {
    let path = wire::control_socket(app);
    tokio::task::spawn_blocking(move || exchange(&path, &bytes, end))
        .await
        .unwrap()
}

fn exchange(path: &PathBuf, bytes: &[u8], end: bool) -> Vec<Value> {
    let mut stream = UnixStream::connect(path).unwrap();
    stream.set_read_timeout(Some(LIMIT)).unwrap();
    let (mut sending, bytes) = (stream.try_clone().unwrap(), bytes.to_vec());
    // Both at once: the server reads no further while nobody takes its answers.
    let sender = std::thread::spawn(move || {
        // The server may close before it has read all.
        let _ = sending.write_all(&bytes);
        if end {
            let _ = sending.shutdown(std::net::Shutdown::Write);
        }
    });
    let mut answer = Vec::new();
    match stream.read_to_end(&mut answer) {
        Ok(_) => {}
        Err(error) => assert_eq!(error.kind(), std::io::ErrorKind::ConnectionReset),
    }
    sender.join().unwrap();
    answer
        .split(|byte| *byte == 0)
        .filter(|message| !message.is_empty())
        .map(|message| serde_json::from_slice(message).unwrap())
        .collect()
}

fn call(method: &str, parameters: &Value) -> Vec<u8> {
    let mut bytes = json!({"method": method, "parameters": parameters})
        .to_string()
        .into_bytes();
    bytes.push(0);
    bytes
}

#[test]
fn client_and_server_understand_each_other() {
    with_server(|app, asks| async move {
        tokio::task::spawn_local(answer_all(app.clone(), asks));
        let mut connection = Connection::open(&app).await.unwrap();
        let acme = [tenant("acme")];
        assert_eq!(connection.status(&acme).await.unwrap(), status(&app, &acme));
        assert_eq!(connection.settle(&[]).await.unwrap(), status(&app, &acme));
        assert_eq!(connection.enter(&acme[0]).await.unwrap(), door());
        for (verb, expected) in [
            (Verb::Start, Answer::Accepted),
            (Verb::Stop, Answer::AlreadySo),
            (
                Verb::Restart,
                Answer::Refused {
                    reason: "no".into(),
                },
            ),
        ] {
            let answers = connection.act(verb, &acme).await.unwrap();
            assert_eq!(answers[0].answer, expected);
        }
    });
}

#[test]
fn errors_are_typed_and_leave_the_connection_usable() {
    with_server(|app, asks| async move {
        tokio::task::spawn_local(answer_all(app.clone(), asks));
        let mut connection = Connection::open(&app).await.unwrap();
        let error = connection.status(&[tenant("typo")]).await.unwrap_err();
        assert!(
            matches!(&error, ClientError::UnknownTenant { tenant, .. } if tenant.as_str() == "typo"),
            "{error:?}"
        );
        let error = connection.enter(&tenant("down")).await.unwrap_err();
        let text = error.to_string();
        assert!(
            text.starts_with("down: no process of it runs, it is waiting: start it"),
            "{text}"
        );
        assert!(connection.status(&[]).await.is_ok());
    });
}

#[test]
fn a_waiting_request_delays_nobody() {
    with_server(|app, mut asks| async move {
        let asked = app.clone();
        let settling = tokio::task::spawn_local(async move {
            let mut connection = Connection::open(&asked).await.unwrap();
            connection.settle(&[]).await
        });
        // The settle is at the desk, and stays there.
        let Some(Ask::Settle { reply: held, .. }) = asks.recv().await else {
            panic!("a settle was sent");
        };
        tokio::task::spawn_local(answer_all(app.clone(), asks));
        let mut second = Connection::open(&app).await.unwrap();
        assert!(second.status(&[]).await.is_ok());
        assert!(!settling.is_finished());
        held.send(Ok(status(&app, &[]))).unwrap();
        assert_eq!(settling.await.unwrap().unwrap(), status(&app, &[]));
    });
}

#[test]
fn a_request_of_a_peer_that_left_is_dropped() {
    with_server(|app, mut asks| async move {
        let mut peer = UnixStream::connect(wire::control_socket(&app)).unwrap();
        peer.write_all(&call("io.tenantd.Supervisor.Settle", &json!({})))
            .unwrap();
        let Some(Ask::Settle { mut reply, .. }) = asks.recv().await else {
            panic!("a settle was sent");
        };
        assert!(!reply.is_closed());
        drop(peer);
        reply.closed().await;
    });
}

#[test]
fn a_peer_that_only_ended_its_sending_is_answered() {
    with_server(|app, mut asks| async move {
        let bytes = call("io.tenantd.Supervisor.Settle", &json!({}));
        let asked = app.clone();
        let answer = tokio::task::spawn_local(async move { raw(&asked, bytes, true).await });
        let Some(Ask::Settle { reply, .. }) = asks.recv().await else {
            panic!("a settle was sent");
        };
        reply.send(Ok(status(&app, &[]))).unwrap();
        assert_eq!(answer.await.unwrap()[0]["parameters"]["app"], app.as_str());
    });
}

#[test]
fn speaks_plain_varlink() {
    with_server(|app, asks| async move {
        tokio::task::spawn_local(answer_all(app.clone(), asks));
        let mut bytes = call("org.varlink.service.GetInfo", &json!({}));
        bytes.extend(call(
            "org.varlink.service.GetInterfaceDescription",
            &json!({"interface": wire::INTERFACE}),
        ));
        // Absent parameters mean all tenants.
        bytes.extend(b"{\"method\":\"io.tenantd.Supervisor.Status\"}\0");
        let unknown = json!({"tenants": ["typo"]});
        bytes.extend(call("io.tenantd.Supervisor.Stop", &json!({"tenants": []})));
        bytes.extend(call("io.tenantd.Supervisor.Status", &unknown));
        bytes.extend(b"{\"method\":\"io.tenantd.Supervisor.Nonsense\"}\0");
        let answers = raw(&app, bytes, true).await;
        let [info, description, all, stop, typo, nonsense] = &answers[..] else {
            panic!("{answers:#?}");
        };
        let interfaces = info["parameters"]["interfaces"].as_array().unwrap();
        assert!(interfaces.contains(&json!(wire::INTERFACE)), "{info}");
        describes(
            description["parameters"]["description"].as_str().unwrap(),
            &all["parameters"],
        );
        let stopped = &stop["parameters"]["answers"][0];
        assert_eq!(
            stopped,
            &json!({"tenant": "acme", "answer": "already_so", "reason": null})
        );
        let error = json!({
            "error": "io.tenantd.Supervisor.UnknownTenant",
            "parameters": {"tenant": "typo"},
        });
        assert_eq!(typo, &error);
        assert_eq!(nonsense["error"], "org.varlink.service.MethodNotFound");
    });
}

/// The description names each field that is really sent, and no other.
fn describes(description: &str, sent: &Value) {
    // A comment goes from its # to the end of the line.
    let description: String = description
        .split('\n')
        .map(|line| line.split_once('#').map_or(line, |(before, _)| before))
        .map(|line| format!("{line}\n"))
        .collect();
    let line = |start: &str| {
        let found = description
            .find(start)
            .unwrap_or_else(|| panic!("{start}: {description}"));
        let line = &description[found + start.len()..];
        let end = line.find("\n\n").unwrap_or(line.len());
        line[..end].to_owned()
    };
    let fields = |text: &str| {
        let mut names: Vec<String> = text
            .split([',', '('])
            .filter_map(|field| field.split_once(':'))
            .map(|(name, _)| name.trim().to_owned())
            .collect();
        names.sort();
        names
    };
    let keys = |value: &Value| {
        let mut keys: Vec<String> = value.as_object().unwrap().keys().cloned().collect();
        keys.sort();
        keys
    };
    let tenant = &sent["tenants"][0];
    assert_eq!(fields(&line("type TenantStatus ")), keys(tenant));
    assert_eq!(fields(&line("type Failure ")), keys(&tenant["failure"]));
    let (_, answer) = description
        .split_once("method Status(tenants: ?[]string) -> ")
        .unwrap();
    assert_eq!(fields(answer.split_once(')').unwrap().0), keys(sent));
    for error in ["UnknownTenant", "TenantDown", "ShuttingDown", "NotAllowed"] {
        assert!(
            description.contains(&format!("error {error}")),
            "{error}: {description}"
        );
    }
}

#[test]
fn nonsense_closes_only_its_own_connection() {
    with_server(|app, asks| async move {
        tokio::task::spawn_local(answer_all(app.clone(), asks));
        let mut good = Connection::open(&app).await.unwrap();
        let junk: [&[u8]; 6] = [
            b"\0",
            b"GET / HTTP/1.1\r\n\r\n\0",
            b"{\"method\":7}\0",
            b"[[[[\0",
            b"{\"method\":\"io.tenantd.Supervisor.Status\",\"parameters\":{\"tenants\":3}}\0",
            b"\xff\xfe\x00",
        ];
        for bytes in junk {
            for answer in raw(&app, bytes.to_vec(), false).await {
                assert!(answer.get("error").is_some(), "{answer}");
            }
            assert!(good.status(&[]).await.is_ok());
        }
        // A name that is none reaches nobody.
        let name = json!({"tenants": ["../../etc"]});
        for answer in raw(&app, call("io.tenantd.Supervisor.Stop", &name), true).await {
            assert!(answer.get("error").is_some(), "{answer}");
        }
    });
}

#[test]
fn a_request_without_end_is_cut_off() {
    with_server(|app, asks| async move {
        tokio::task::spawn_local(answer_all(app.clone(), asks));
        let endless = vec![b' '; wire::REQUEST_MAX + 1];
        assert!(raw(&app, endless, false).await.is_empty());
        // Many requests on one connection may be longer than that together.
        let one = call(
            "io.tenantd.Supervisor.Status",
            &json!({"tenants": ["acme"]}),
        );
        let count = 3 * wire::REQUEST_MAX / 2 / one.len();
        let answers = raw(&app, one.repeat(count), true).await;
        assert_eq!(answers.len(), count);
        assert!(
            Connection::open(&app)
                .await
                .unwrap()
                .status(&[])
                .await
                .is_ok()
        );
    });
}

#[test]
fn the_number_of_connections_is_bounded() {
    with_server(|app, asks| async move {
        tokio::task::spawn_local(answer_all(app.clone(), asks));
        let mut held = Vec::new();
        for _ in 0..CONNECTIONS_MAX {
            let mut connection = Connection::open(&app).await.unwrap();
            connection.status(&[]).await.unwrap();
            held.push(connection);
        }
        let answers = raw(&app, Vec::new(), false).await;
        assert_eq!(
            answers[0]["error"],
            "io.tenantd.Supervisor.TooManyConnections"
        );
        let error = Connection::open(&app)
            .await
            .unwrap()
            .status(&[])
            .await
            .unwrap_err();
        assert!(
            error.to_string().contains("serves 64 connections"),
            "{error}"
        );
        assert!(held.pop().unwrap().status(&[]).await.is_ok());
        // The place is free once the server has seen the end.
        while Connection::open(&app)
            .await
            .unwrap()
            .status(&[])
            .await
            .is_err()
        {}
    });
}

#[test]
fn another_user_is_turned_away() {
    with_server(|app, asks| async move {
        tokio::task::spawn_local(answer_all(app.clone(), asks));
        let path = wire::control_socket(&app);
        assert_eq!(std::fs::metadata(&path).unwrap().mode() & 0o777, 0o600);
        // The permissions alone keep others out; this is about what is behind them.
        std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o666)).unwrap();
        let answers = std::thread::spawn(move || {
            let nobody = rustix::process::Uid::from_raw(65534);
            // Of this thread alone, see setuid(2), "C library/kernel differences".
            rustix::thread::set_thread_uid(nobody).unwrap();
            exchange(
                &path,
                &call("io.tenantd.Supervisor.Stop", &json!({})),
                false,
            )
        });
        let answers = tokio::task::spawn_blocking(|| answers.join().unwrap())
            .await
            .unwrap();
        let error = json!({
            "error": "io.tenantd.Supervisor.NotAllowed",
            "parameters": {"uid": 65534},
        });
        assert_eq!(answers, [error]);
    });
}

#[test]
fn a_dead_supervisors_socket_is_named_and_replaced() {
    with_app(|app| async move {
        let path = wire::control_socket(&app);
        let text = Connection::open(&app).await.unwrap_err().to_string();
        assert!(
            text.contains("no supervisor runs for it: start it with"),
            "{text}"
        );
        assert!(text.ends_with("(no supervisor runs at all)"), "{text}");

        // Closed without being removed, as by a kill -9.
        drop(std::os::unix::net::UnixListener::bind(&path).unwrap());
        let error = Connection::open(&app).await.unwrap_err();
        assert!(matches!(error, ClientError::Dead { .. }), "{error:?}");
        let other: AppName = "other".parse().unwrap();
        let text = Connection::open(&other).await.unwrap_err().to_string();
        assert!(
            text.ends_with(&format!("(supervisors run for: {app})")),
            "{text}"
        );

        let listener = control::bind(&app).unwrap();
        assert!(std::fs::metadata(&path).unwrap().file_type().is_socket());
        let (desk, asks) = desk::open();
        let serving = tokio::task::spawn_local(listener.serve(desk));
        tokio::task::spawn_local(answer_all(app.clone(), asks));
        let mut connection = Connection::open(&app).await.unwrap();
        connection.status(&[]).await.unwrap();
        serving.abort();
        serving.await.unwrap_err();
        assert!(!path.exists(), "the socket is removed with its listener");
    });
}

#[test]
fn a_stranger_in_the_sockets_place_is_left_alone() {
    with_app(|app| async move {
        let path = wire::control_socket(&app);
        std::fs::write(&path, "precious").unwrap();
        let error = control::bind(&app).unwrap_err();
        assert!(matches!(error, ControlError::Foreign { .. }), "{error}");
        assert_eq!(std::fs::read_to_string(&path).unwrap(), "precious");
    });
}

#[test]
fn a_supervisor_that_ends_says_so() {
    with_server(|app, mut asks| async move {
        let asked = app.clone();
        let settling = tokio::task::spawn_local(async move {
            let mut connection = Connection::open(&asked).await.unwrap();
            connection.settle(&[]).await
        });
        let Some(Ask::Settle { reply, .. }) = asks.recv().await else {
            panic!("a settle was sent");
        };
        drop(reply);
        let text = settling.await.unwrap().unwrap_err().to_string();
        assert!(text.contains("is shutting down"), "{text}");
        drop(asks);
        let error = Connection::open(&app)
            .await
            .unwrap()
            .status(&[])
            .await
            .unwrap_err();
        assert!(error.to_string().contains("is shutting down"), "{error}");
    });
}

#[test]
fn a_supervisor_that_dies_is_told_from_one_that_answers() {
    with_app(|app| async move {
        let path = wire::control_socket(&app);
        let listener = std::os::unix::net::UnixListener::bind(&path).unwrap();
        let dying = tokio::task::spawn_blocking(move || {
            let (mut peer, _) = listener.accept().unwrap();
            // It has read the request, and dies.
            let mut byte = [0; 256];
            assert!(peer.read(&mut byte).unwrap() > 0);
        });
        let mut connection = Connection::open(&app).await.unwrap();
        let error = connection.settle(&[]).await.unwrap_err();
        dying.await.unwrap();
        assert!(matches!(error, ClientError::Died { .. }), "{error:?}");
        assert!(
            error.to_string().contains("ended before it answered"),
            "{error}"
        );
    });
}

mod random {
    use super::{AppName, Desk, answer_all, control, desk, with_app};
    use proptest::prelude::{Just, Strategy, any, prop, prop_oneof};
    use proptest::strategy::ValueTree;
    use tokio::io::{AsyncReadExt, AsyncWriteExt};

    /// Bytes near to what a peer would send: a good request, cut, changed or glued to others.
    fn requests() -> impl Strategy<Value = Vec<u8>> {
        let words = prop_oneof![
            Just("{\"method\":\"io.tenantd.Supervisor.Status\"}\0".to_owned()),
            Just("{\"method\":\"io.tenantd.Supervisor.Enter\",\"parameters\":{}}\0".to_owned()),
            Just("\"parameters\":{\"tenants\":[\"acme\"]}".to_owned()),
            Just("\"oneway\":true,\"more\":true,\"upgrade\":true".to_owned()),
            "[\\[\\]{}:,\"\\\\\0a-z0-9]{0,12}",
        ];
        let glued = prop::collection::vec(words, 0..6).prop_map(|words| words.concat().into());
        prop_oneof![glued, prop::collection::vec(any::<u8>(), 0..300)]
    }

    async fn survives(app: &AppName, bytes: &[u8]) {
        let path = tenantd::wire::control_socket(app);
        let mut peer = tokio::net::UnixStream::connect(&path).await.unwrap();
        // The server may close at the first wrong byte.
        let _ = peer.write_all(bytes).await;
        let _ = peer.shutdown().await;
        let mut answer = Vec::new();
        let _ = peer.read_to_end(&mut answer).await;
        for message in answer.split(|byte| *byte == 0).filter(|m| !m.is_empty()) {
            let message: serde_json::Value = serde_json::from_slice(message).unwrap();
            assert!(message.is_object(), "{message}");
        }
    }

    #[test]
    fn no_bytes_at_all_stop_the_server() {
        with_app(|app| async move {
            let listener = control::bind(&app).unwrap();
            let (desk, asks): (Desk, _) = desk::open();
            let serving = tokio::task::spawn_local(listener.serve(desk));
            tokio::task::spawn_local(answer_all(app.clone(), asks));
            let mut runner = proptest::test_runner::TestRunner::deterministic();
            for _ in 0..256 {
                let bytes = requests().new_tree(&mut runner).unwrap().current();
                survives(&app, &bytes).await;
            }
            assert!(!serving.is_finished());
            let mut good = tenantd::client::Connection::open(&app).await.unwrap();
            good.status(&[]).await.unwrap();
        });
    }
}
