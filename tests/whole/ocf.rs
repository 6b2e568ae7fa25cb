//! Tenants that Pacemaker starts, and the actions of its resource agent.

use std::fs;
use std::path::Path;
use std::time::Instant;

use nix::sys::signal::Signal;
use tenantd_api::wire::StateWord;

use crate::run_tenant::{left_by, record};
use crate::support::daemon::{CommandOutput, Daemon, PROGRAM, in_time, run, signal};
use crate::support::place::{self, example, folder};

const FAILED: i32 = 1;
const NOT_RUNNING: i32 = 7;
const DEGRADED: i32 = 190;

fn manifest() -> String {
    format!(
        "[app]\nname = \"APP\"\nuser = \"root\"\ncommand = [\"{}\"]\ndatastore.path = \"/srv/data\"\n\
         ready.tcp = 80\nrestart = {{ strikes = 2, delay = \"10ms\" }}\n[tenants]\n\
         acme = {{ ip = \"10.77.0.11\", engine = \"pacemaker\", storage = \"shared\" }}\nbolt = {{ ip = \"10.77.0.12\" }}\n",
        example("idle")
    )
}

/// Calls the agent as Pacemaker does.
fn agent(app: &str, action: &str, timeout_ms: u32) -> CommandOutput {
    agent_with(app, action, timeout_ms, None)
}

/// Calls it with one more parameter.
fn agent_with(
    app: &str,
    action: &str,
    timeout_ms: u32,
    more: Option<(&str, &str)>,
) -> CommandOutput {
    let agent = Path::new(env!("CARGO_MANIFEST_DIR")).join("packaging/ocf/tenant");
    let programs = Path::new(PROGRAM).parent().unwrap().display();
    let variables = [
        ("OCF_RESKEY_app", app.to_owned()),
        ("OCF_RESKEY_name", "acme".to_owned()),
        ("OCF_RESKEY_config", format!("/srv/{app}.toml")),
        ("OCF_RESKEY_CRM_meta_timeout", timeout_ms.to_string()),
        (
            "PATH",
            format!("{programs}:{}", std::env::var("PATH").unwrap()),
        ),
    ];
    run(in_time(agent.to_str().unwrap())
        .arg(action)
        .envs(variables)
        .envs(more))
}

#[track_caller]
fn code(daemon: &Daemon, action: &str) -> i32 {
    let said = agent(&daemon.app, action, 20_000);
    assert!(
        said.code == 0 || said.code == NOT_RUNNING || said.err.contains("ocf-exit-reason:"),
        "{said:?}"
    );
    said.code
}

fn refuses_operators(daemon: &Daemon) {
    // Neither an operator, nor for all, nor permanently, nor by a restart of what is down.
    for typed in [
        &["start", "acme"][..],
        &["start", "acme", "--permanent"],
        &["stop", "acme", "--permanent"],
        &["restart", "acme"],
        &["start", "a*"],
    ] {
        let said = daemon.tell(typed).expect(1);
        assert!(
            said.contains("Pacemaker decides on which host it runs"),
            "{said}"
        );
    }
    let said = daemon.tell(&["start", "--all"]).expect(0);
    assert!(!said.contains("acme"), "{said}");
    let table = daemon.tell(&["status"]).expect(0);
    assert!(table.contains("down (pacemaker)"), "{table}");
    assert_eq!(daemon.tenant("acme").state, StateWord::Down);
}

fn is_not_started_by_a_kept_want(daemon: &mut Daemon) {
    // A want that an operator kept before the tenant got its engine is not followed.
    let wants = folder(&format!("/var/lib/tenantd/.wants/{}", daemon.app));
    fs::write(wants.join("acme"), "up\n").unwrap();
    daemon.signal(Signal::SIGTERM);
    assert_eq!(daemon.wait().code(), Some(0), "{}", daemon.output());
    // Nothing of it is left, so it is stopped, without a supervisor.
    assert_eq!(code(daemon, "stop"), 0);
    assert_eq!(code(daemon, "monitor"), NOT_RUNNING);
    daemon.again();
    daemon.until_state("bolt", StateWord::Up);
    assert_eq!(daemon.tenant("acme").state, StateWord::Down);
}

#[test]
fn only_the_engine_starts_its_tenant() {
    place::host();
    folder("/srv/data");
    let mut daemon = Daemon::start_settled(&manifest());
    let state = |daemon: &Daemon| daemon.tenant("acme").state;
    assert_eq!(state(&daemon), StateWord::Down);
    assert_eq!(code(&daemon, "monitor"), NOT_RUNNING);
    refuses_operators(&daemon);

    assert_eq!(code(&daemon, "start"), 0);
    assert_eq!(code(&daemon, "start"), 0);
    assert_eq!(code(&daemon, "monitor"), 0);
    daemon.tell(&["restart", "acme"]).expect(0);
    daemon.tell(&["reload"]).expect(0);
    assert_eq!(state(&daemon), StateWord::Up);
    // The tenant of no engine is not started by one.
    let wrong = run(in_time(PROGRAM).args(["ocf", "start"]).envs([
        ("OCF_RESKEY_app", daemon.app.as_str()),
        ("OCF_RESKEY_name", "bolt"),
    ]));
    assert!(
        wrong.code == FAILED && wrong.err.contains("`engine` is not set"),
        "{wrong:?}"
    );
    assert_eq!(code(&daemon, "migrate_to"), 0);
    assert_eq!(state(&daemon), StateWord::Down);
    assert_eq!(code(&daemon, "migrate_from"), 0);
    assert_eq!(code(&daemon, "stop"), 0);
    assert_eq!(code(&daemon, "stop"), 0);
    assert_eq!(code(&daemon, "monitor"), NOT_RUNNING);
    assert_eq!(code(&daemon, "validate-all"), 0);

    is_not_started_by_a_kept_want(&mut daemon);
    daemon.end();
}

#[test]
fn a_stop_that_is_not_proved_fails() {
    place::host();
    folder("/srv/data");
    let mut daemon = Daemon::start_settled(&manifest());
    assert_eq!(code(&daemon, "start"), 0);
    let failed = |action: &str, code: i32| {
        let begun = Instant::now();
        let said = agent(&daemon.app, action, 1_000);
        assert_eq!(said.code, code, "{said:?}");
        assert!(
            begun.elapsed().as_millis() < 1_000,
            "Pacemaker would have killed it"
        );
        said.err
    };
    // A supervisor that is stopped answers nothing.
    daemon.signal(Signal::SIGSTOP);
    let why = failed("stop", FAILED);
    assert!(
        why.contains("not done within 0 s") && why.contains("process "),
        "{why}"
    );
    failed("monitor", DEGRADED);
    daemon.signal(Signal::SIGCONT);
    assert_eq!(code(&daemon, "stop"), 0);
    assert_eq!(code(&daemon, "start"), 0);

    // The tenant of a supervisor that was killed runs on.
    daemon.kill();
    let why = agent(&daemon.app, "stop", 1_000);
    assert!(
        why.code == FAILED && why.err.contains("process "),
        "{why:?}"
    );
    assert_eq!(code(&daemon, "monitor"), DEGRADED);
    daemon.again();
    daemon.until_state("acme", StateWord::Up);
    assert_eq!(code(&daemon, "monitor"), 0);

    // One crash is the supervisor's, more are Pacemaker's.
    daemon.kill_tenant("acme");
    assert_eq!(code(&daemon, "monitor"), 0);
    daemon.until_state("acme", StateWord::Up);
    signal(daemon.tenant("acme").pid.unwrap(), Signal::SIGKILL);
    daemon.until_state("acme", StateWord::Failed);
    assert_eq!(code(&daemon, "monitor"), FAILED);
    assert_eq!(code(&daemon, "stop"), 0);
    assert_eq!(code(&daemon, "monitor"), NOT_RUNNING);
    daemon.end();
}

#[test]
fn the_agent_takes_the_datastore_of_a_host_that_was_lost() {
    place::host();
    folder("/srv/data");
    let daemon = Daemon::start_settled(&manifest());
    assert_eq!(code(&daemon, "start"), 0);
    assert_eq!(code(&daemon, "stop"), 0);
    let own = record(&daemon);
    let lost = || left_by(&daemon, "bbbbbbbb0123456789abcdef01234567", &own.boot);

    // Neither without fencing, nor data that no other host can use, unless it is a copy.
    for parameter in [("OCF_RESKEY_unsafe", "1"), ("OCF_RESKEY_storage", "local")] {
        lost();
        let said = agent_with(&daemon.app, "start", 20_000, Some(parameter));
        assert_eq!(said.code, FAILED, "{parameter:?} {said:?}");
        assert!(
            said.err.contains("host elsewhere (machine bbbbbbbb)"),
            "{parameter:?} {said:?}"
        );
        assert_eq!(record(&daemon).host, "elsewhere");
        assert_eq!(code(&daemon, "stop"), 0);
    }
    // What an operator was refused allows nothing to the engine.
    lost();
    let said = daemon.tell(&["start", "acme", "--takeover"]);
    assert!(
        said.code == 1 && said.out.contains("Pacemaker decides"),
        "{said:?}"
    );
    let without = Some(("OCF_RESKEY_unsafe", "1"));
    let said = agent_with(&daemon.app, "start", 20_000, without);
    assert_eq!(said.code, FAILED, "{said:?}");
    assert_eq!(record(&daemon).host, "elsewhere");
    assert_eq!(code(&daemon, "stop"), 0);
    lost();
    assert_eq!(code(&daemon, "start"), 0);
    let now = record(&daemon);
    assert!(now.live && now.machine == own.machine, "{now:?}");
    assert_eq!(code(&daemon, "stop"), 0);

    // A start that is refused allows nothing to the operator who starts the tenant after it.
    let manifest = fs::read_to_string(&daemon.manifest).unwrap();
    let without = manifest.replace(", engine = \"pacemaker\"", ", autostart = false");
    assert_ne!(manifest, without);
    fs::write(&daemon.manifest, without).unwrap();
    daemon.tell(&["reload"]).expect(0);
    lost();
    assert_eq!(code(&daemon, "start"), FAILED);
    assert_eq!(daemon.tell(&["start", "acme"]).code, 12);
    daemon.tell(&["stop", "acme"]).expect(0);
    daemon.end();
}

#[test]
fn a_deep_monitor_waits_for_a_program_that_was_just_started_again() {
    place::host();
    folder("/srv/data");
    let slow = manifest()
        .replace("ready.tcp = 80", "ready.lived = \"1s\"")
        .replace("strikes = 2", "strikes = 9");
    let daemon = Daemon::start_settled(&slow);
    let level = Some(("OCF_CHECK_LEVEL", "10"));
    let monitor = || agent_with(&daemon.app, "monitor", 20_000, level);
    assert_eq!(code(&daemon, "start"), 0);
    assert_eq!(monitor().code, 0);
    daemon.kill_tenant("acme");
    daemon.until_state("acme", StateWord::Up);
    let said = monitor();
    assert_eq!(said.code, 0, "{said:?}");
    assert_eq!(daemon.tenant("acme").ready, Some(true));
    daemon.end();
}
