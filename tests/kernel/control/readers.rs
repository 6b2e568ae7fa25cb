//! Peers that are not root: who may connect, what they may ask, and how many places they take.

use std::collections::BTreeSet;
use std::os::linux::fs::MetadataExt as _;

use rustix::process::{Gid, Uid};
use tenantd_core::plan::model::{ControlPlan, Reader};
use tenantd_daemon::requests::control::grants::Grants;
use tenantd_daemon::requests::control::{READERS, Readers};

use super::*;

pub(super) const GROUP: u32 = 4242;
pub(super) const NOBODY: u32 = 65534;

/// Runs `test` beside a server that everyone in `GROUP` may read from.
pub(super) fn with_readers<F>(test: impl FnOnce(AppName, mpsc::Receiver<Request>, Readers) -> F)
where
    F: Future<Output = ()>,
{
    with_app(|app| async move {
        let listener = control::bind(&app).unwrap();
        let folder = wire::control_socket(&app).parent().unwrap().to_owned();
        std::fs::set_permissions(folder, std::fs::Permissions::from_mode(0o711)).unwrap();
        let readers = listener.readers().clone();
        readers.set(readers_of(&[GROUP])).unwrap();
        let (queue, incoming) = queue::open();
        tokio::task::spawn_local(listener.serve(queue));
        test(app, incoming, readers).await;
    });
}

/// The members of these groups may read the state.
fn readers_of(groups: &[u32]) -> Grants {
    let reader = |gid: &u32| Reader {
        group: gid.to_string(),
        gid: *gid,
    };
    Grants::from(&ControlPlan {
        total: Default::default(),
        readers: groups.iter().map(reader).collect(),
        operators: Vec::new(),
    })
}

/// Connects as another user with these supplementary groups. The credentials of a socket are those
/// of the moment when it was connected.
pub(super) fn connect_as(app: &AppName, uid: u32, groups: &[u32]) -> std::io::Result<UnixStream> {
    let (path, groups) = (wire::control_socket(app), groups.to_vec());
    let connecting = std::thread::spawn(move || {
        // Of this thread alone, see setuid(2), "C library/kernel differences".
        let groups: Vec<Gid> = groups.into_iter().map(Gid::from_raw).collect();
        rustix::thread::set_thread_groups(&groups).unwrap();
        let (gid, uid) = (Gid::from_raw(NOBODY), Uid::from_raw(uid));
        rustix::thread::set_thread_res_gid(gid, gid, gid).unwrap();
        rustix::thread::set_thread_res_uid(uid, uid, uid).unwrap();
        UnixStream::connect(path)
    });
    connecting.join().unwrap()
}

/// Sends a request, and returns the first reply; null if the server closes.
pub(super) async fn ask(mut stream: UnixStream, bytes: Vec<u8>) -> (Value, UnixStream) {
    let asked = tokio::task::spawn_blocking(move || {
        stream.set_read_timeout(Some(LIMIT)).unwrap();
        // The server may have refused the connection already.
        let _refused = stream.write_all(&bytes);
        let mut reply = Vec::new();
        let mut byte = [0];
        while stream.read(&mut byte).is_ok_and(|read| read == 1) && byte != [0] {
            reply.push(byte[0]);
        }
        (serde_json::from_slice(&reply).unwrap_or_default(), stream)
    });
    asked.await.unwrap()
}

pub(super) fn watch() -> Vec<u8> {
    let mut bytes = call("io.tenantd.Supervisor.Watch", &json!({}));
    bytes.truncate(bytes.len() - 2);
    bytes.extend(b",\"more\":true}\0");
    bytes
}

/// The methods of the interface, from its description.
pub(super) async fn methods(app: &AppName) -> Vec<String> {
    let ask = call(
        "org.varlink.service.GetInterfaceDescription",
        &json!({"interface": wire::INTERFACE}),
    );
    let text = raw(app, ask, true).await[0]["parameters"]["description"].clone();
    let lines = text.as_str().unwrap().lines();
    let names = lines.filter_map(|line| line.strip_prefix("method ")?.split_once('('));
    names.map(|(name, _)| name.to_owned()).collect()
}

/// The methods that a reader may not call, by name.
const FOR_ROOT: [&str; 19] = [
    "AllowTakeover",
    "Collect",
    "Detach",
    "Diff",
    "Enter",
    "Exec",
    "ExecOffline",
    "Freeze",
    "History",
    "Logs",
    "Reload",
    "ReloadApp",
    "Repair",
    "Restart",
    "Set",
    "Signal",
    "Start",
    "Stop",
    "Upgrade",
];

#[test]
fn a_reader_may_read_the_state_and_nothing_else() {
    with_readers(|app, incoming, _| async move {
        tokio::task::spawn_local(answer_all(app.clone(), incoming));
        let methods = methods(&app).await;
        assert_eq!(methods.len(), 23, "{methods:?}");
        let (mut allowed, mut refused) = (BTreeSet::new(), BTreeSet::new());
        for method in methods {
            let parameters = match method.as_str() {
                "Collect" => json!({"dry_run": true}),
                "Enter" | "Set" => json!({"tenant": "acme"}),
                "Exec" => json!({"tenant": "acme", "command": ["id"]}),
                "ExecOffline" => json!({"tenant": "acme", "command": "fsck"}),
                "Signal" => json!({"signal": 1}),
                "Freeze" => json!({"frozen": true}),
                _ => json!({}),
            };
            let bytes = match method.as_str() {
                "Watch" => watch(),
                _ => call(&format!("{}.{method}", wire::INTERFACE), &parameters),
            };
            let stream = connect_as(&app, NOBODY, &[7, GROUP]).unwrap();
            let (reply, _) = ask(stream, bytes).await;
            match reply["error"].as_str() {
                Some("io.tenantd.Supervisor.ReadOnly") => {
                    assert_eq!(reply["parameters"]["uid"], NOBODY);
                    refused.insert(method);
                }
                Some("io.tenantd.Supervisor.NoRight") => {
                    let of = ["Exec", "Set"].contains(&method.as_str()).then_some("acme");
                    assert_eq!(reply["parameters"]["tenant"].as_str(), of);
                    refused.insert(method);
                }
                None if reply["parameters"].is_object() => drop(allowed.insert(method)),
                _ => panic!("{method}: {reply}"),
            }
        }
        assert!(
            allowed
                .iter()
                .eq(["Manifest", "Status", "Upgraded", "Watch"]),
            "{allowed:?}"
        );
        assert!(refused.iter().eq(FOR_ROOT.iter()), "{refused:?}");
    });
}

#[test]
fn the_primary_group_counts_too_and_no_other_group_connects() {
    with_readers(|app, incoming, readers| async move {
        tokio::task::spawn_local(answer_all(app.clone(), incoming));
        let denied = |groups: &[u32]| connect_as(&app, NOBODY, groups).unwrap_err().kind();
        let kind = std::io::ErrorKind::PermissionDenied;
        assert_eq!(denied(&[]), kind);
        assert_eq!(denied(&[7, 8]), kind);
        readers.set(readers_of(&[NOBODY, 8])).unwrap();
        let status = call("io.tenantd.Supervisor.Status", &json!({}));
        for groups in [&[][..], &[8]] {
            let stream = connect_as(&app, NOBODY, groups).unwrap();
            let (reply, _) = ask(stream, status.clone()).await;
            assert_eq!(reply["parameters"]["app"], *app.as_str());
        }
        readers.set(readers_of(&[])).unwrap();
        assert_eq!(denied(&[]), kind);
        let mode = std::fs::metadata(wire::control_socket(&app))
            .unwrap()
            .st_mode();
        assert_eq!(mode & 0o777, 0o600);
    });
}

/// The permissions of the socket are not the only check.
#[test]
fn who_can_connect_but_is_no_reader_is_refused() {
    with_readers(|app, incoming, _| async move {
        tokio::task::spawn_local(answer_all(app.clone(), incoming));
        let all = std::fs::Permissions::from_mode(0o666);
        std::fs::set_permissions(wire::control_socket(&app), all).unwrap();
        let stream = connect_as(&app, NOBODY, &[7]).unwrap();
        let (reply, _) = ask(stream, Vec::new()).await;
        assert_eq!(reply["error"], "io.tenantd.Supervisor.NotAllowed");
    });
}

#[test]
fn a_reader_who_is_none_any_more_is_disconnected() {
    with_readers(|app, incoming, readers| async move {
        tokio::task::spawn_local(answer_all(app.clone(), incoming));
        let [one, other] = [GROUP, 7].map(|group| {
            readers.set(readers_of(&[GROUP, 7])).unwrap();
            connect_as(&app, NOBODY, &[group]).unwrap()
        });
        let (snapshot, mut one) = ask(one, watch()).await;
        assert!(snapshot["parameters"]["snapshot"].is_object(), "{snapshot}");
        let (_, other) = ask(other, watch()).await;
        readers.set(readers_of(&[7])).unwrap();
        let ended = tokio::task::spawn_blocking(move || one.read(&mut [0; 64]).unwrap());
        assert_eq!(ended.await.unwrap(), 0, "it is closed");
        other.set_nonblocking(true).unwrap();
        let kind = (&other).read(&mut [0; 64]).unwrap_err().kind();
        assert_eq!(kind, std::io::ErrorKind::WouldBlock, "it goes on");
    });
}

#[test]
fn readers_cannot_take_the_places_of_operators() {
    with_readers(|app, incoming, _| async move {
        tokio::task::spawn_local(answer_all(app.clone(), incoming));
        let mut held = Vec::new();
        let status = call("io.tenantd.Supervisor.Status", &json!({}));
        // Each user has only a part of them.
        for uid in [NOBODY, NOBODY - 1] {
            for _ in 0..READERS.per_user {
                let stream = connect_as(&app, uid, &[GROUP]).unwrap();
                let (reply, stream) = ask(stream, status.clone()).await;
                assert!(reply["parameters"].is_object(), "{reply}");
                held.push(stream);
            }
            let stream = connect_as(&app, uid, &[GROUP]).unwrap();
            let (reply, _) = ask(stream, status.clone()).await;
            assert_eq!(reply["error"], "io.tenantd.Supervisor.TooManyConnections");
            assert_eq!(reply["parameters"]["limit"], READERS.per_user);
        }
        let stream = connect_as(&app, NOBODY - 2, &[GROUP]).unwrap();
        let (reply, _) = ask(stream, status).await;
        assert_eq!(reply["parameters"]["limit"], READERS.connections);
        Connection::open(&app)
            .await
            .unwrap()
            .status(&[])
            .await
            .unwrap();
    });
}

#[test]
fn subscriptions_leave_places_for_commands() {
    with_readers(|app, incoming, _| async move {
        tokio::task::spawn_local(answer_all(app.clone(), incoming));
        let mut held = Vec::new();
        for _ in 0..OPERATORS.subscriptions {
            let stream = UnixStream::connect(wire::control_socket(&app)).unwrap();
            let (reply, stream) = ask(stream, watch()).await;
            assert!(reply["parameters"].is_object(), "{reply}");
            held.push(stream);
        }
        let stream = UnixStream::connect(wire::control_socket(&app)).unwrap();
        let (reply, _) = ask(stream, watch()).await;
        assert_eq!(reply["error"], "io.tenantd.Supervisor.TooManySubscriptions");
        assert_eq!(reply["parameters"]["limit"], OPERATORS.subscriptions);
        let mut connection = Connection::open(&app).await.unwrap();
        connection.act(Verb::Start, &[], false).await.unwrap();
        // Readers have their own.
        let (reply, _) = ask(connect_as(&app, NOBODY, &[GROUP]).unwrap(), watch()).await;
        assert!(reply["parameters"].is_object(), "{reply}");
        // The place is free once the server has seen the end.
        drop(held.pop());
        loop {
            let stream = UnixStream::connect(wire::control_socket(&app)).unwrap();
            let (reply, _) = ask(stream, watch()).await;
            if reply["parameters"]["snapshot"].is_object() {
                break;
            }
        }
    });
}
