//! How launches end: each process that is left gets the stop signal and the grace, also if it is
//! stopped or frozen.

use std::fs;

use nix::sys::signal::Signal;
use tenantd_api::wire::StateWord;

use crate::support::daemon::{Daemon, signal, until};
use crate::support::place::{self, script};

/// A program that saves on SIGTERM, in a shell function.
const SAVES: &str = r#"
saves() {
    trap 'echo saved >> /srv/data/saved; exit 0' TERM
    echo ready >> /srv/data/ready
    while :; do sleep 1000 & wait $!; done
}
"#;

/// Starts a tenant whose program is this shell script.
fn start(program: &str, app: &str) -> Daemon {
    place::host();
    place::folder("/srv/data");
    let program = script("program", &format!("{SAVES}{program}"));
    let manifest = format!(
        r#"
[app]
name = "APP"
user = "root"
command = ["{program}"]
datastore.path = "/srv/data"
{app}
[tenants]
acme = {{ ip = "10.77.0.11" }}
"#
    );
    Daemon::start_settled(&manifest)
}

/// A file of its datastore.
fn data(daemon: &Daemon, name: &str) -> Option<String> {
    let path = format!("/var/lib/tenantd/{}/acme/{name}", daemon.app);
    fs::read_to_string(path).ok()
}

fn is_ready(daemon: &Daemon) {
    until("it is ready", || data(daemon, "ready"));
}

/// The processes of the tenant.
fn processes(daemon: &Daemon) -> Vec<u32> {
    let leaf = format!("/sys/fs/cgroup/tenantd/{}/acme", daemon.app);
    let mut pids = Vec::new();
    for folder in [leaf.clone(), format!("{leaf}/program")] {
        let listed = fs::read_to_string(format!("{folder}/cgroup.procs")).unwrap_or_default();
        pids.extend(listed.lines().map(|pid| pid.parse::<u32>().unwrap()));
    }
    pids
}

#[test]
fn what_a_killed_start_script_leaves_may_save() {
    let daemon = start("saves & wait", "restart.delay = \"10ms\"");
    is_ready(&daemon);
    signal(daemon.tenant("acme").pid.unwrap(), Signal::SIGKILL);
    daemon.until_tenant("acme", |acme| acme.restarts == 1 && acme.is_as_wanted());
    assert_eq!(data(&daemon, "saved").as_deref(), Some("saved\n"));
}

#[test]
fn what_a_command_before_the_program_leaves_may_save() {
    let daemon = start(
        "if [ \"$1\" = before ]; then saves & while ! [ -e /srv/data/ready ]; do sleep 0.01; done\n\
         else exec sleep 1000; fi",
        "before.command = [\"/srv/program\", \"before\"]",
    );
    assert_eq!(data(&daemon, "saved").as_deref(), Some("saved\n"));
}

/// Without SIGCONT the stop would take an hour.
#[test]
fn a_stopped_program_continues_for_its_stop_signal() {
    let daemon = start("saves & child=$!\nsaves", "stop.grace = \"1h\"");
    until("both are ready", || {
        data(&daemon, "ready").filter(|ready| ready.lines().count() == 2)
    });
    let pids = processes(&daemon);
    assert!(pids.len() >= 4, "{pids:?}");
    for pid in pids {
        signal(pid, Signal::SIGSTOP);
    }
    daemon.tell(&["stop", "acme"]).expect(0);
    let saved = data(&daemon, "saved").unwrap();
    assert_eq!(saved, "saved\nsaved\n");
}

/// Freezes the tenant, and waits until it is.
fn freeze(daemon: &Daemon) {
    let leaf = format!("/sys/fs/cgroup/tenantd/{}/acme", daemon.app);
    fs::write(format!("{leaf}/cgroup.freeze"), "1").unwrap();
    until("it is frozen", || {
        let events = fs::read_to_string(format!("{leaf}/cgroup.events")).unwrap();
        events.contains("frozen 1").then_some(())
    });
}

#[test]
fn a_frozen_program_is_thawed_for_its_stop_signal() {
    let daemon = start("saves", "stop.grace = \"1h\"");
    is_ready(&daemon);
    freeze(&daemon);
    daemon.tell(&["stop", "acme"]).expect(0);
    assert_eq!(data(&daemon, "saved").as_deref(), Some("saved\n"));
    assert_eq!(daemon.tenant("acme").state, StateWord::Down);
}

/// The signal waits as long as they are frozen, so none of them is stopped yet when the stop begins.
#[test]
fn a_program_that_was_told_to_stop_while_frozen_continues_for_its_stop_signal() {
    let daemon = start("saves", "stop.grace = \"1h\"");
    is_ready(&daemon);
    freeze(&daemon);
    for pid in processes(&daemon) {
        signal(pid, Signal::SIGSTOP);
        let status = fs::read_to_string(format!("/proc/{pid}/status")).unwrap();
        assert!(status.contains("ShdPnd:\t0000000000040000"), "{status}");
    }
    daemon.tell(&["stop", "acme"]).expect(0);
    assert_eq!(data(&daemon, "saved").as_deref(), Some("saved\n"));
}

/// Ignores SIGTERM, and so does its child.
const DEAF: &str = "trap '' TERM\nsleep 1000 & echo ready >> /srv/data/ready; wait";

#[test]
fn a_reload_that_removes_or_restarts_says_what_was_killed() {
    let daemon = start(DEAF, "stop.grace = \"300ms\"");
    is_ready(&daemon);
    let what = "killed after a grace of 300ms (2 processes: ";
    let text = fs::read_to_string(&daemon.manifest).unwrap();
    fs::write(
        &daemon.manifest,
        text.replace("[tenants]", "environment.A = \"1\"\n[tenants]"),
    )
    .unwrap();
    let said = daemon.tell(&["reload"]).expect(0);
    assert!(said.contains(&format!("; before, it was {what}")), "{said}");
    until("it is ready again", || {
        let ready = data(&daemon, "ready")?;
        (ready.lines().count() == 2).then_some(())
    });
    let said = daemon.tell(&["remove", "acme"]).expect(0);
    let line = format!("acme: stopped and removed, datastore kept, {what}");
    assert!(said.contains(&line), "{said}");
    daemon.end();
}

#[test]
fn a_forced_kill_is_said_everywhere() {
    let daemon = start(DEAF, "stop.grace = \"300ms\"");
    is_ready(&daemon);
    let pid = daemon.tenant("acme").pid.unwrap();
    let said = daemon.tell(&["stop", "acme"]).expect(0);
    let what = "killed after a grace of 300ms (2 processes: ";
    assert!(
        said.contains(&format!("acme: down, {what}{pid} program, ")),
        "{said}"
    );
    assert!(said.contains(" sleep)"), "{said}");
    assert!(
        daemon.output().contains(&format!("acme: {what}")),
        "{}",
        daemon.output()
    );
    let shown = daemon.tell(&["status", "acme"]).expect(0);
    assert!(
        shown.contains(&format!("KILLED its last launch was {what}")),
        "{shown}"
    );
    let log = daemon.tell(&["logs", "acme"]).expect(0);
    assert!(log.contains(what), "{log}");
    let killed = daemon.tenant("acme").killed.unwrap();
    assert_eq!((killed.grace_ms, killed.count), (Some(300), Some(2)));
    // A start says nothing of it, a restart does.
    let said = daemon.tell(&["start", "acme"]).expect(0);
    assert!(!said.contains("killed"), "{said}");
    fs::remove_file(format!("/var/lib/tenantd/{}/acme/ready", daemon.app)).unwrap();
    daemon.tell(&["restart", "acme"]).expect(0);
    is_ready(&daemon);
    let said = daemon.tell(&["restart", "acme", "--json"]).expect(0);
    let said: serde_json::Value = serde_json::from_str(&said).unwrap();
    let killed = &said["tenants"][0]["killed"];
    assert_eq!(killed["count"], 2, "{said}");
    assert_eq!(killed["processes"][0]["name"], "program", "{said}");
}

#[test]
fn a_forced_kill_is_an_event_and_survives_the_supervisor() {
    let mut daemon = start(DEAF, "stop.grace = \"300ms\"");
    is_ready(&daemon);
    daemon.tell(&["stop", "acme"]).expect(0);
    let killed = daemon.tenant("acme").killed;
    assert!(killed.is_some());
    daemon.kill();
    daemon.again();
    let found = daemon.tenant("acme").killed.unwrap();
    assert_eq!(found.processes, killed.unwrap().processes);
}

#[test]
fn a_program_that_stops_in_time_was_not_killed() {
    let daemon = start("saves", "");
    is_ready(&daemon);
    let said = daemon.tell(&["stop", "acme"]).expect(0);
    assert!(!said.contains("killed"), "{said}");
    assert_eq!(daemon.tenant("acme").killed, None);
    assert!(
        !daemon
            .tell(&["status", "acme"])
            .expect(0)
            .contains("KILLED")
    );
}
