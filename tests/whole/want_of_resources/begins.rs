//! Each system call that needs something of the host fails once, in turn, while a supervisor begins. It serves,
//! or ends with exit code 1, its reason, and nothing left; the next one begins.

use nix::sys::signal::Signal;
use tenantd_api::wire::TenantStatus;

use super::each_call::every;
use super::faulty::{Faulty, Want};
use crate::support::daemon::{Daemon, until};
use crate::support::place::{Traces, traces};

fn leaves(daemon: &Daemon) -> Traces {
    let mut traces = traces(&daemon.app);
    // The folder of a supervisor that cannot know whether there was one before stays.
    traces.remove("/run");
    traces
}

/// Starts the supervisor while one call fails. Returns whether that call was made.
fn begin(faulty: &mut Faulty, want: Want, number: usize) -> bool {
    faulty.daemon.signal(Signal::SIGTERM);
    faulty.daemon.wait();
    let before = leaves(&faulty.daemon);
    let said = faulty.daemon.output().len();
    faulty.fail(&number.to_string());
    faulty.daemon.again_armed("");
    until("it serves or has ended", || {
        let is_up = || {
            let status = faulty.daemon.try_status()?;
            let mut tenants = status.tenants.iter();
            tenants.all(TenantStatus::is_as_wanted).then_some(())
        };
        (faulty.daemon.has_ended() || is_up().is_some()).then_some(())
    });
    let failed = faulty.failed();
    faulty.fail("none");
    if faulty.daemon.has_ended() {
        let status = faulty.daemon.wait();
        let output = faulty.daemon.output().split_off(said);
        assert_eq!(status.code(), Some(1), "{failed:?}: {output}");
        let last = output.lines().last().unwrap_or_default();
        assert!(
            want.said().iter().any(|said| last.contains(said)) || last.contains("log collector"),
            "{failed:?}: {output}"
        );
        until("nothing is left", || {
            (leaves(&faulty.daemon) == before).then_some(())
        });
        faulty.daemon.again();
        faulty.daemon.settles();
    }
    !failed.is_empty()
}

fn each_begin(want: Want) {
    let mut faulty = Faulty::start(want);
    let mut number = 1;
    while begin(&mut faulty, want, number) {
        // All of the first ones: the threads, and what each supervisor needs.
        number += if number < 8 { 1 } else { every() };
    }
    eprintln!("{number} calls");
    faulty.daemon.end();
}

#[test]
fn no_process() {
    each_begin(Want::Processes);
}

#[test]
fn no_descriptor() {
    each_begin(Want::Descriptors);
}

#[test]
fn no_memory() {
    each_begin(Want::Memory);
}

#[test]
fn no_disk_space() {
    each_begin(Want::Disk);
}
