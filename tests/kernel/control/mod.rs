//! The control socket: a real server on a real socket, the real client, and clients that send
//! varlink by hand, some of it invalid.

mod client;
mod random;
mod readers;
mod rights;
mod varlink;
mod watch;

use crate::support;

use std::io::{Read, Write};
use std::os::unix::fs::{FileTypeExt, MetadataExt, PermissionsExt};
use std::os::unix::net::UnixStream;
use std::path::PathBuf;
use std::time::Duration;

use serde_json::{Value, json};
use tenantd_api::client::{ClientError, Connection};
use tenantd_api::wire::{
    self, Answer, AppReloaded, AppStatus, ExecTarget, Frozen, LimitByHand, LimitsSet, NetworkState,
    Signalled, StateWord, TenantAnswer, TenantStatus, Verb,
};
use tenantd_core::name::{AppName, TenantName};
use tenantd_core::plan::data::KeyChange;
use tenantd_core::plan::diff::{Change, Changes, FieldChange, TenantChange};
use tenantd_core::plan::fields::Touches;
use tenantd_core::stage::{Failure, Stage};
use tenantd_daemon::requests::control::{self, ControlError, OPERATORS};
use tenantd_daemon::requests::programs::Part;
use tenantd_daemon::requests::queue::{
    self, AskedOffline, NoExecTarget, NoReload, Request, RequestQueue, Unknown,
};
use tenantd_daemon::subscriptions::{Scope, Subscriptions};
use tokio::sync::mpsc;

/// The limit of each wait, far above the time that anything here needs.
const LIMIT: Duration = Duration::from_secs(60);

fn tenant(name: &str) -> TenantName {
    name.parse().unwrap()
}

fn status(app: &AppName, tenants: &[TenantName]) -> AppStatus {
    let one = |name: &TenantName| TenantStatus {
        name: name.clone(),
        want: wire::Want::Up,
        permanent: None,
        phase: None,
        state: StateWord::Failed,
        pid: Some(123),
        addresses: std::net::Ipv4Addr::new(10, 77, 0, 11).into(),
        restarts: 3,
        since: "2026-11-22T10:00:00Z".parse().unwrap(),
        ready: Some(false),
        program: Some(wire::Program::Older),
        awaits: Vec::new(),
        until: Some("2026-11-22T10:00:05Z".parse().unwrap()),
        why: Some("cannot execute".into()),
        failure: Some(Failure::errno(Stage::EnterNetns, "/opt/wiki", libc::EACCES)),
        applying: true,
        unapplied: Some(Failure::errno(Stage::Limits, "open files", libc::EPERM)),
        lid: None,
        paused: true,
        refused: Vec::new(),
        misfit: Some("/x belongs to 0:0".to_owned()),
        exit: Some(wire::watch::ProgramExit {
            status: Some(0),
            signal: None,
        }),
        killed: Some(wire::Killed {
            time: jiff::Timestamp::UNIX_EPOCH,
            grace_ms: Some(10_000),
            count: Some(2),
            processes: vec![wire::NamedProcess {
                pid: 4711,
                name: "postgres".to_owned(),
            }],
        }),
        main: None,
        status_text: None,
        reloading: None,
        confined: None,
        offline: None,
        network: NetworkState::default(),
        cgroup: Some("/sys/fs/cgroup/tenantd/wiki/acme".to_owned()),
        link: Some("td0123456789ab".to_owned()),
        last_failure: None,
        starved: None,
        probe: None,
        by_hand: Vec::new(),
        reached: Vec::new(),
        engine: Some("pacemaker".to_owned()),
    };
    AppStatus {
        app: app.clone(),
        pid: 1,
        tracking: wire::Tracking::Cgroup,
        logs: wire::LogPlace::Files,
        unwatched: None,
        network: NetworkState::default(),
        manifest: None,
        tenants: tenants.iter().map(one).collect(),
    }
}

fn exec_target() -> ExecTarget {
    ExecTarget {
        pid: 123,
        start_ticks: u64::MAX,
        cgroup: None,
        uid: 33,
        gid: 33,
        groups: vec![33],
        environment: [("PATH".to_owned(), "/usr/bin".to_owned())].into(),
        working_directory: "/".into(),
        limits: None,
        privileges: None,
        landlock: None,
        keeper: None,
    }
}

fn signalled(main: bool) -> Signalled {
    Signalled {
        tenant: tenant("acme"),
        processes: if main { 1 } else { 0 },
        pid: main.then_some(123),
        refused: (!main).then(|| "it is down".to_owned()),
    }
}

fn frozen((frozen, reclaim): (bool, bool)) -> Frozen {
    Frozen {
        tenant: tenant("acme"),
        unchanged: frozen,
        reclaimed: reclaim.then_some(4096),
        cut: reclaim,
        refused: (!frozen).then(|| "it is down".to_owned()),
    }
}

fn set_by_hand() -> LimitsSet {
    let one = LimitByHand {
        limit: "memory.max".to_owned(),
        value: "1 GiB".to_owned(),
        planned: None,
    };
    LimitsSet {
        unchanged: false,
        limits: vec![one],
        refused: None,
    }
}

fn app_reloaded() -> AppReloaded {
    AppReloaded {
        tenant: tenant("acme"),
        by: Some("rndc reload".to_owned()),
        pid: None,
        refused: None,
        failed: Some("no".to_owned()),
    }
}

/// Runs `test` with a server for a new application, in a test host of its own.
fn with_server<F>(test: impl FnOnce(AppName, mpsc::Receiver<Request>) -> F)
where
    F: Future<Output = ()>,
{
    with_app(|app| async move {
        let listener = control::bind(&app).unwrap();
        let (queue, incoming) = queue::open();
        tokio::task::spawn_local(listener.serve(queue));
        test(app, incoming).await;
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

fn changes(reprovisioned: &TenantName) -> Changes {
    let field = |before: Option<&str>, after: Option<&str>| FieldChange {
        field: "address".into(),
        before: before.map(Into::into),
        after: after.map(Into::into),
    };
    let change = TenantChange {
        tenant: reprovisioned.clone(),
        change: Change::Reprovision,
        fields: vec![field(None, Some("b")), field(Some("a"), None)],
        after: vec![tenant("beta")],
        touches: Some(Touches::Processes),
        keys: vec![KeyChange {
            key: "restart.strikes".into(),
            before: 10.into(),
            after: 5.into(),
        }],
        files: Vec::new(),
    };
    Changes {
        fixed: Vec::new(),
        tenants: vec![change],
        unchanged: 7,
        unlaunchable: Vec::new(),
        retried: vec![tenant("beta")],
        shared: Vec::new(),
        hash: Some("3f86c1d09a24".to_owned()),
        fixed_keys: Vec::new(),
    }
}

/// The name of the only tenant, unless a test sets another one.
fn known(tenants: &[TenantName]) -> Result<Vec<TenantName>, Unknown> {
    match tenants.iter().find(|name| name.as_str() != "acme").cloned() {
        Some(tenant) => Err(Unknown { tenant }),
        None => Ok(vec![tenant("acme")]),
    }
}

/// A start is accepted, a stop needs nothing, and a restart is refused.
fn acted(verb: Verb, tenant: TenantName) -> TenantAnswer {
    let answer = match verb {
        Verb::Start => Answer::Accepted,
        Verb::Stop => Answer::AlreadySo,
        Verb::Restart => Answer::Refused {
            reason: "no".into(),
        },
    };
    TenantAnswer {
        tenant,
        answer,
        unkept: None,
    }
}

/// No command is for a tenant that is down.
fn is_up(AskedOffline { tenant, reply, .. }: AskedOffline) {
    let refused = format!("{tenant} is up");
    let _gone = reply.send(Err(NoExecTarget::Lost(refused)));
}

/// All tenants.
const ALL: Scope = Scope {
    all: true,
    requests: false,
};

/// A request queue that answers each request at once.
async fn answer_all(app: AppName, mut incoming: mpsc::Receiver<Request>) {
    let acme = tenant("acme");
    let mut subscriptions = Subscriptions::default();
    while let Some(ask) = incoming.recv().await {
        match ask {
            Request::Names { tenants, reply } => {
                // The client may have disconnected.
                let _ = reply.send(known(&tenants));
            }
            Request::Part { tenants, reply, .. } => {
                let _ = reply.send(Part::without_programs(status(&app, &tenants)));
            }
            Request::Watch { tenants, reply, .. } => {
                let feed = known(&tenants).map(|names| subscriptions.subscribe(names, ALL, None));
                let _ = reply.send(feed);
            }
            Request::Act { verb, reply, .. } => {
                let _ = reply.send(Ok(vec![acted(verb, acme.clone())]));
            }
            Request::AllowTakeover(_, reply) => drop(reply.send(Ok(()))),
            Request::Offline(asked) => is_up(asked),
            Request::Signal { signal, reply, .. } => {
                let _ = reply.send(Ok(vec![signalled(signal.1)]));
            }
            Request::Freeze(_, how, reply) => {
                let _ = reply.send(Ok(vec![frozen(how)]));
            }
            Request::Set(asked) => drop(asked.reply.send(Ok(set_by_hand()))),
            Request::ReloadApp { reply, .. } => {
                let _ = reply.send(Ok(vec![app_reloaded()]));
            }
            Request::Reload { reply, .. } => {
                let _ = reply.send(Err(NoReload::BadManifest("2 problems".into())));
            }
            Request::Diff { reply } => {
                let _ = reply.send(Ok(changes(&acme)));
            }
            Request::Manifest { reply } => {
                let _ = reply.send("/etc/tenantd/wiki.toml".into());
            }
            Request::Logs { reply, .. } => drop(reply),
            Request::Repair { reply, .. } => drop(reply),
            Request::Exec(asked) => drop(asked),
            Request::Planned { reply } => drop(reply),
            Request::Upgrade { reply } => {
                let _gone = reply.send(Err("not here".to_owned()));
            }
            Request::Upgraded { reply } => {
                let _gone = reply.send(wire::Upgraded {
                    version: "1.0.0".to_owned(),
                    pid: 1,
                    refused: None,
                });
            }
            Request::Detach { reply } => drop(reply.send(Ok(()))),
            Request::Enter { tenant, reply } => {
                let _ = reply.send(target_of(tenant));
            }
        }
    }
}

fn target_of(tenant: TenantName) -> Result<ExecTarget, NoExecTarget> {
    match tenant.as_str() {
        "acme" => Ok(exec_target()),
        "down" => Err(NoExecTarget::Down(StateWord::Waiting)),
        _ => Err(NoExecTarget::Unknown(Unknown { tenant })),
    }
}

/// Sends bytes as they are. Returns everything received until the server closes the connection, as
/// one JSON value per message.
async fn raw(app: &AppName, bytes: Vec<u8>, end: bool) -> Vec<Value> {
    let path = wire::control_socket(app);
    tokio::task::spawn_blocking(move || exchange(&path, &bytes, end))
        .await
        .unwrap()
}

fn exchange(path: &PathBuf, bytes: &[u8], end: bool) -> Vec<Value> {
    let mut stream = UnixStream::connect(path).unwrap();
    stream.set_read_timeout(Some(LIMIT)).unwrap();
    stream.set_write_timeout(Some(LIMIT)).unwrap();
    let (mut sending, bytes) = (stream.try_clone().unwrap(), bytes.to_vec());
    // Both at once: the server stops reading while its answers are not read.
    let sender = std::thread::spawn(move || {
        // The server may close before it has read everything.
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
