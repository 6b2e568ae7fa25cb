//! Each system call that needs something of the host fails once, in turn, during each step of a tenant's life.
//! Whatever fails, the supervisor and the other tenant continue, and the step succeeds later.
//!
//! By default every seventeenth call is tried. All of them, about 20 minutes:
//!
//! ```sh
//! sudo TENANTD_WANT_EVERY=1 cargo test --test whole each_call -- --nocapture
//! ```

use nix::sys::signal::Signal;

use super::faulty::{Faulty, Want};
use crate::support::daemon::{CommandOutput, Daemon, until};
use crate::support::place::traces;

const UPGRADE: &str = "upgrade";

/// Every how many-th call is tried.
fn every() -> usize {
    let every = std::env::var("TENANTD_WANT_EVERY").ok();
    every.map_or(17, |every| every.parse().unwrap())
}

/// A step that a test repeats until it succeeds.
type Step = fn(&Faulty) -> bool;

fn is_done(said: &CommandOutput) -> bool {
    assert!(said.code == 0 || !(said.out.clone() + &said.err).is_empty());
    said.code == 0
}

fn restart_after_a_crash(faulty: &Faulty) -> bool {
    faulty.daemon.kill_tenant("acme");
    true
}

fn stop_and_start(faulty: &Faulty) -> bool {
    let tell = |verb| is_done(&faulty.daemon.tell(&[verb, "acme"]));
    tell("stop") && tell("start")
}

fn add(faulty: &Faulty) -> bool {
    faulty.plan(&["acme", "beta", "gamma"]);
    is_done(&faulty.daemon.tell(&["reload"]))
}

fn remove(faulty: &Faulty) -> bool {
    faulty.plan(&["acme", "beta"]);
    is_done(&faulty.daemon.tell(&["reload"]))
}

fn upgrade(faulty: &Faulty) -> bool {
    is_done(&faulty.daemon.tell(&["upgrade"]))
}

fn status(faulty: &Faulty) -> bool {
    is_done(&faulty.daemon.tell(&["status"]))
}

/// Lets each call of a step fail. `after` undoes the step.
fn each(faulty: &mut Faulty, name: &str, step: Step, after: Step) {
    let beta = faulty.pid("beta");
    let mut number = 1;
    loop {
        faulty.fail(&number.to_string());
        let done = step(faulty);
        let failed = faulty.failed();
        faulty.fail("none");
        if faulty.daemon.has_ended() {
            // The first calls of a program that takes over cannot be rolled back. The next one adopts.
            assert_eq!(name, UPGRADE, "{failed:?}");
            faulty.daemon.wait();
            faulty.daemon.again();
        } else if !done {
            until("it succeeds once nothing is lacking", || {
                step(faulty).then_some(())
            });
        }
        faulty.daemon.settles();
        assert_eq!(faulty.pid("beta"), beta, "{name}: {failed:?}");
        until("it is undone", || after(faulty).then_some(()));
        faulty.daemon.settles();
        if failed.is_empty() {
            eprintln!("{name}: {number} calls");
            return;
        }
        number += every();
    }
}

fn nothing(_: &Faulty) -> bool {
    true
}

fn each_step(want: Want) {
    let mut faulty = Faulty::start(want);
    each(
        &mut faulty,
        "restart after a crash",
        restart_after_a_crash,
        nothing,
    );
    each(&mut faulty, "stop and start", stop_and_start, nothing);
    each(&mut faulty, "reload that adds", add, remove);
    add(&faulty);
    faulty.daemon.settles();
    each(&mut faulty, "reload that removes", remove, add);
    each(&mut faulty, "status", status, nothing);
    each(&mut faulty, UPGRADE, upgrade, nothing);
    faulty.daemon.end();
}

#[test]
fn no_process() {
    each_step(Want::Processes);
}

#[test]
fn no_descriptor() {
    each_step(Want::Descriptors);
}

#[test]
fn no_memory() {
    each_step(Want::Memory);
}

#[test]
fn no_disk_space() {
    each_step(Want::Disk);
}

/// Starts the supervisor while one call fails. Returns whether that call was made.
fn begin(faulty: &mut Faulty, want: Want, number: usize) -> bool {
    let leaves = |daemon: &Daemon| {
        let mut traces = traces(&daemon.app);
        // The folder of a supervisor that cannot know whether there was one before stays.
        traces.remove("/run");
        traces
    };
    faulty.daemon.signal(Signal::SIGTERM);
    faulty.daemon.wait();
    let before = leaves(&faulty.daemon);
    faulty.fail(&number.to_string());
    faulty.daemon.again_armed("");
    until("it serves or has ended", || {
        let is_up = || {
            let status = faulty.daemon.try_status()?;
            let tenants = &status.tenants;
            tenants
                .iter()
                .all(tenantd_api::wire::TenantStatus::is_as_wanted)
                .then_some(())
        };
        (faulty.daemon.has_ended() || is_up().is_some()).then_some(())
    });
    let failed = faulty.failed();
    faulty.fail("none");
    if faulty.daemon.has_ended() {
        let status = faulty.daemon.wait();
        let output = faulty.daemon.output();
        let last = output.lines().last().unwrap_or_default();
        assert_eq!(status.code(), Some(1), "{failed:?}: {output}");
        assert!(
            want.said().iter().any(|said| last.contains(said)) || last.contains("log collector"),
            "{failed:?}: {last}"
        );
        until("nothing is left", || {
            (leaves(&faulty.daemon) == before).then_some(())
        });
        faulty.daemon.again();
        faulty.daemon.settles();
    }
    !failed.is_empty()
}

#[test]
fn a_begin_fails_with_its_reason_or_succeeds() {
    // A first thread of tokio that cannot be started makes it panic; the other wants have no such place.
    let want = Want::Descriptors;
    let mut faulty = Faulty::start(want);
    let mut number = 5;
    while begin(&mut faulty, want, number) {
        number += every();
    }
    faulty.daemon.end();
}
