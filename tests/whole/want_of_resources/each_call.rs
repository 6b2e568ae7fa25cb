//! Each system call that needs something of the host fails once, in turn, during each step of a tenant's life.
//! Whatever fails, the supervisor and the other tenant continue, and the step succeeds later.
//!
//! By default every seventeenth call is tried. All of them, about 20 minutes:
//!
//! ```sh
//! sudo TENANTD_WANT_EVERY=1 cargo test --test whole each_call -- --nocapture
//! ```

use super::faulty::{Faulty, Want};
use nix::sys::signal::Signal;
use tenantd_api::wire::TenantStatus;

use crate::support::daemon::{CommandOutput, signal, until};

const UPGRADE: &str = "upgrade";

/// Every how many-th call is tried.
pub(super) fn every() -> usize {
    let every = std::env::var("TENANTD_WANT_EVERY").ok();
    every.map_or(17, |every| every.parse().unwrap())
}

/// A step that a test repeats until it succeeds.
type Step = fn(&Faulty) -> bool;

fn is_done(said: &CommandOutput) -> bool {
    assert!(said.code == 0 || !(said.out.clone() + &said.err).is_empty());
    said.code == 0
}

/// The status of acme; `None` if a call of this request failed.
fn acme(faulty: &Faulty) -> Option<TenantStatus> {
    let tenants = faulty.daemon.try_status()?.tenants;
    tenants
        .into_iter()
        .find(|tenant| tenant.name.as_str() == "acme")
}

fn restart_after_a_crash(faulty: &Faulty) -> bool {
    let Some(before) = acme(faulty) else {
        return false;
    };
    signal(before.pid.unwrap(), Signal::SIGKILL);
    until("it is restarted", || {
        let now = acme(faulty)?;
        (now.restarts > before.restarts && now.is_as_wanted()).then_some(())
    });
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
        let mut done = step(faulty);
        let failed = faulty.failed();
        faulty.fail("none");
        until("it succeeds once nothing is lacking", || {
            // A client may be told before the process has ended.
            done = done || faulty.daemon.has_ended() || step(faulty);
            done.then_some(())
        });
        if faulty.daemon.has_ended() {
            // The first calls of a program that takes over cannot be rolled back. The next one adopts.
            assert_eq!(name, UPGRADE, "{failed:?}");
            faulty.daemon.wait();
            faulty.daemon.again();
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
