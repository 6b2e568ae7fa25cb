//! States and requests continue under the next supervisor, which completes the operations that were
//! under way.

use std::fs;
use std::time::Duration;

use jiff::Timestamp;
use nix::sys::signal::Signal;
use tenantd_api::wire::{StateWord, TenantStatus, Want};

use crate::support::daemon::{Daemon, LIMIT, PROGRAM, ends, in_time, pidfd, run, signal};
use crate::support::place::{self, example, folder, script};
use crate::support::state_file;

/// Tenants that behave as their names say: `serves`, `fails` at once, ends with status 7 when it is
/// signalled (`seven`), is `deaf` to signals, and `manual`, which has no autostart.
fn tenants(restart: &str) -> Daemon {
    place::host();
    folder("/srv/data");
    let idle = example("idle");
    let program = script(
        "program",
        &format!(
            "case $1 in fails) exit 3;; seven) trap 'exit 7' TERM; {idle} 80 & wait;;\n\
             deaf) trap '' TERM;; esac; exec {idle} 80"
        ),
    );
    let names = ["serves", "fails", "seven", "deaf"];
    let lines: String = names
        .iter()
        .zip(11..)
        .map(|(name, n)| format!("{name} = {{ ip = \"10.77.0.{n}\", arguments = [\"{name}\"] }}\n"))
        .collect();
    Daemon::start(&format!(
        "[app]\nname = \"APP\"\nuser = \"root\"\ncommand = [\"{program}\"]\ndatastore.path = \"/srv/data\"\n\
         ready.tcp = 80\nstop.grace = \"1s\"\nrestart = {{ {restart} }}\n[tenants]\n{lines}\
         manual = {{ ip = \"10.77.0.30\", autostart = false }}\n"
    ))
}

const SLOW: &str = "delay = \"1h\", delay_max = \"1h\", strikes = 0";

fn is_up(tenant: &TenantStatus) -> bool {
    tenant.state == StateWord::Up && tenant.ready == Some(true)
}

/// A supervisor computes a time of its predecessor from two clocks: how far the results may be apart.
const APART: Duration = Duration::from_secs(1);

/// The status is as before.
#[track_caller]
fn assert_same(is: &TenantStatus, was: &TenantStatus) {
    assert_eq!(seen(is), seen(was));
    let is_near = |a: Timestamp, b: Timestamp| a.duration_since(b).unsigned_abs() < APART;
    assert!(is_near(is.since, was.since), "{is:?} {was:?}");
    let both = is.until.zip(was.until);
    assert!(
        both.is_none_or(|(is, was)| is_near(is, was)),
        "{is:?} {was:?}"
    );
}

/// The status without times, and without the link: the next supervisor removes that of a tenant that is not running.
fn seen(tenant: &TenantStatus) -> TenantStatus {
    TenantStatus {
        since: Timestamp::UNIX_EPOCH,
        until: tenant.until.map(|_| Timestamp::UNIX_EPOCH),
        link: None,
        // A supervisor knows the failures that it has seen itself.
        last_failure: None,
        ..tenant.clone()
    }
}

#[test]
fn the_next_supervisor_restores_each_state() {
    let mut daemon = tenants(SLOW);
    for name in ["serves", "seven", "deaf"] {
        daemon.until_tenant(name, is_up);
    }
    daemon.until_state("fails", StateWord::Waiting);
    daemon.tell(&["stop", "serves"]).expect(0);
    daemon.tell(&["start", "manual"]).expect(0);
    let before = daemon.status();
    daemon.kill();
    daemon.again();
    let after = daemon.status();
    for (was, is) in before.tenants.iter().zip(&after.tenants) {
        assert_same(is, was);
    }
    let said = daemon.output();
    assert!(
        said.contains("fails: down → waiting: it was waiting under the previous"),
        "{said}"
    );
    assert_eq!(daemon.tenant("serves").want, Want::Down);
    daemon.tell(&["start", "serves"]).expect(0);
    daemon.tell(&["stop", "serves", "fails"]).expect(0);

    // An end with all tenants discards wants that are not permanent.
    daemon.signal(Signal::SIGTERM);
    assert_eq!(daemon.wait().code(), Some(0), "{}", daemon.output());
    daemon.again();
    daemon.until_tenant("serves", is_up);
    assert_eq!(daemon.tenant("manual").state, StateWord::Down);
    daemon.end();
}

#[test]
fn a_failed_tenant_stays_failed_until_an_operator_acts() {
    let mut daemon = tenants("delay = \"10ms\", strikes = 2");
    let before = daemon.until_state("fails", StateWord::Failed);
    daemon.kill();
    daemon.again();
    let after = daemon.tenant("fails");
    assert_same(&after, &before);
    assert_eq!(after.why.as_deref(), Some("exited with status 3"));
    assert_eq!(after.restarts, 1);
    assert_eq!(daemon.tell(&["start", "fails"]).code, 1);
    daemon.until_tenant("fails", |t| t.state == StateWord::Failed && t.restarts == 2);
    daemon.tell(&["stop", "fails"]).expect(0);
    daemon.end();
}

#[test]
fn the_exit_status_of_an_adopted_program_is_known() {
    let mut daemon = tenants(SLOW);
    for name in ["serves", "seven"] {
        daemon.until_tenant(name, is_up);
    }
    daemon.kill();
    daemon.again();
    for (name, by, why) in [
        ("serves", Signal::SIGQUIT, "was killed by SIGQUIT"),
        ("seven", Signal::SIGTERM, "exited with status 7"),
    ] {
        signal(daemon.tenant(name).pid.unwrap(), by);
        let tenant = daemon.until_state(name, StateWord::Waiting);
        assert_eq!(tenant.why.as_deref(), Some(why));
    }
    daemon.end();
}

#[test]
fn a_stop_continues_under_the_next_supervisor() {
    let mut daemon = tenants(SLOW);
    let deaf = daemon.until_tenant("deaf", is_up).pid.unwrap();
    daemon.tell(&["stop", "deaf", "--no-wait"]).expect(0);
    daemon.kill();
    let process = pidfd(deaf);
    daemon.again();
    let stopping = daemon.tenant("deaf");
    assert_eq!(stopping.want, Want::Down);
    assert_ne!(stopping.state, StateWord::Up);
    assert!(ends(&process, LIMIT));
    daemon.until_state("deaf", StateWord::Down);
    daemon.end();
}

#[test]
fn two_tenants_swap_addresses_without_a_supervisor() {
    // A tenant that fails once waits for an hour.
    let mut daemon = tenants(SLOW);
    for name in ["serves", "deaf"] {
        daemon.until_tenant(name, is_up);
    }
    daemon.kill();
    let manifest = fs::read_to_string(&daemon.manifest).unwrap();
    let swapped = manifest.replace("0.11\"", "0.x\"");
    let swapped = swapped.replace("0.14\"", "0.11\"");
    fs::write(&daemon.manifest, swapped.replace("0.x\"", "0.14\"")).unwrap();
    daemon.again();
    for (name, address) in [("serves", "10.77.0.14"), ("deaf", "10.77.0.11")] {
        let is_there = |t: &TenantStatus| is_up(t) && t.addresses.to_string() == address;
        assert_eq!(daemon.until_tenant(name, is_there).restarts, 0);
        let strikes = &state_file::record(&daemon.app, name)["memory"]["strikes"];
        assert_eq!(strikes["count"], 0, "{}", daemon.output());
    }
    let said = daemon.output();
    assert!(!said.contains("serves: provisioning → waiting"), "{said}");
    let names = daemon.status().tenants.into_iter().map(|t| t.name);
    let names: Vec<String> = names.map(|name| name.to_string()).collect();
    assert_eq!(names, ["serves", "fails", "seven", "deaf", "manual"]);
    daemon.tell(&["stop", "fails"]).expect(0);
    daemon.end();
}

#[test]
fn awaited_tenants_are_shown_by_the_next_supervisor() {
    let mut daemon = tenants(SLOW);
    let deaf = daemon.until_tenant("deaf", is_up).pid.unwrap();
    assert!(daemon.status().tenants.iter().all(|t| t.awaits.is_empty()));
    let manifest = fs::read_to_string(&daemon.manifest).unwrap();
    // It continues until it is killed here.
    let manifest = manifest.replace("grace = \"1s\"", "grace = \"1h\"");
    let manifest = manifest.replace("0.14\"", "0.24\"");
    let newcomer = "newcomer = { ip = \"10.77.0.14\", arguments = [\"serves\"] }\n";
    fs::write(&daemon.manifest, manifest + newcomer).unwrap();
    daemon.tell(&["reload", "--no-wait"]).expect(0);
    let awaits = |daemon: &Daemon| {
        let newcomer = daemon.tenant("newcomer");
        assert_eq!(newcomer.state, StateWord::Provisioning, "{newcomer:?}");
        let names: Vec<String> = newcomer.awaits.iter().map(ToString::to_string).collect();
        assert_eq!(names, ["deaf"]);
        let text = daemon.tell(&["status", "newcomer"]).expect(1);
        let why =
            "  WHY not up yet: provisioning; waits for deaf to release an address or a datastore";
        assert!(text.contains(why), "{text}");
    };
    awaits(&daemon);
    daemon.kill();
    daemon.again();
    awaits(&daemon);
    signal(deaf, Signal::SIGKILL);
    assert!(daemon.until_tenant("newcomer", is_up).awaits.is_empty());
    let deaf = daemon.until_tenant("deaf", is_up).pid.unwrap();
    daemon.tell(&["stop", "--all", "--no-wait"]).expect(0);
    signal(deaf, Signal::SIGKILL);
    daemon.end();
}

#[test]
fn a_later_state_file_is_refused_before_any_change() {
    let mut daemon = tenants(SLOW);
    let before = daemon.until_tenant("serves", is_up);
    daemon.kill();
    state_file::edit_head(&daemon.app, |head| head["version"] = 99.into());
    let said = run(in_time(PROGRAM).arg("--config").arg(&daemon.manifest));
    assert_eq!(said.code, 1, "{said:?}");
    assert!(said.err.contains("a newer tenantd (version 99"), "{said:?}");
    assert!(
        said.err.contains("start the newer tenantd again"),
        "{said:?}"
    );
    let process = pidfd(before.pid.unwrap());
    assert!(!ends(&process, std::time::Duration::ZERO));
    state_file::edit_head(&daemon.app, |head| head["version"] = 2.into());
    daemon.again();
    assert_eq!(daemon.tenant("serves").pid, before.pid);
    daemon.end();
}

#[test]
fn all_tenants_start_after_a_reboot() {
    let mut daemon = tenants(SLOW);
    let serves = daemon.until_tenant("serves", is_up).pid.unwrap();
    daemon.tell(&["stop", "seven", "deaf"]).expect(0);
    daemon.until_state("fails", StateWord::Waiting);
    daemon.kill();
    let process = pidfd(serves);
    signal(serves, Signal::SIGKILL);
    assert!(ends(&process, LIMIT));
    state_file::edit_head(&daemon.app, |head| head["boot"] = "another one".into());
    daemon.again();
    for name in ["serves", "seven", "deaf"] {
        let tenant = daemon.until_tenant(name, is_up);
        assert_eq!(tenant.restarts, 0);
    }
    daemon.end();
}
