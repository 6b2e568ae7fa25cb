//! Something is lacking for a while: what needs it fails, says so and is tried again, and all else continues.

use std::fs;
use std::io::Write;

use nix::sys::signal::Signal;
use rustix::process::{Pid, Resource, Rlimit, prlimit};

use super::faulty::{Faulty, Want};
use crate::support::daemon::{Daemon, signal, until};
use crate::support::place::{self, folder};

/// While it lasts, `acme` crashes. It runs again once it is over.
fn lasts(want: Want) -> Faulty {
    let mut faulty = Faulty::start(want);
    let (acme, beta) = (faulty.pid("acme").unwrap(), faulty.pid("beta"));
    faulty.fail("all");
    signal(acme, Signal::SIGKILL);
    until("the failure is said", || {
        let output = faulty.daemon.output();
        let is_said = want.said().iter().any(|said| output.contains(said));
        is_said.then_some(())
    });
    faulty.fail("none");
    faulty.daemon.until_tenant("acme", |tenant| {
        tenant.is_as_wanted() && tenant.pid.is_some_and(|pid| pid != acme)
    });
    assert_eq!(faulty.pid("beta"), beta);
    faulty
}

#[test]
fn processes() {
    lasts(Want::Processes).daemon.end();
}

#[test]
fn descriptors() {
    lasts(Want::Descriptors).daemon.end();
}

#[test]
fn memory_of_the_kernel() {
    lasts(Want::Memory).daemon.end();
}

#[test]
fn disk_space() {
    let mut faulty = lasts(Want::Disk);
    // A stop that cannot prove its end is tried again by itself.
    faulty.fail("all");
    assert_eq!(faulty.daemon.tell(&["stop", "acme"]).code, 1);
    faulty.fail("none");
    faulty
        .daemon
        .until_tenant("acme", tenantd_api::wire::TenantStatus::is_as_wanted);
    faulty.daemon.end();
}

/// Not 78, after which the unit is not started again.
#[test]
fn a_begin_ends_with_1() {
    for want in [Want::Processes, Want::Disk] {
        let mut faulty = Faulty::start(want);
        faulty.daemon.signal(Signal::SIGTERM);
        faulty.daemon.wait();
        faulty.fail("all");
        faulty.daemon.again_armed("");
        let status = faulty.daemon.wait();
        let output = faulty.daemon.output();
        let last = output.lines().last().unwrap();
        assert_eq!(status.code(), Some(1), "{output}");
        assert!(want.said().iter().any(|it| last.contains(it)), "{last}");
        faulty.fail("none");
        faulty.daemon.again();
        faulty.daemon.settles();
        faulty.daemon.end();
    }
}

fn start() -> Daemon {
    Daemon::start_settled(
        "[app]\nname = \"APP\"\nuser = \"root\"\ncommand = [\"/bin/sleep\", \"1000000\"]\n\
         datastore.path = \"/srv/data\"\n\
         restart = { delay = \"20ms\", delay_max = \"20ms\", strikes = 0 }\n\
         [tenants]\nacme = { ip = \"10.77.0.11\" }\nbeta = { ip = \"10.77.0.12\" }\n",
    )
}

#[test]
fn a_full_filesystem_at_run() {
    place::host();
    folder("/srv/data");
    place::fresh("/run", "mode=755,size=1m");
    let daemon = start();
    let before = [daemon.tenant("acme").pid, daemon.tenant("beta").pid];
    let mut full = fs::File::create("/run/full").unwrap();
    while full.write_all(&[0; 4096]).is_ok() {}
    signal(before[0].unwrap(), Signal::SIGKILL);
    until("the failure is said", || {
        daemon.output().contains("ENOSPC").then_some(())
    });
    fs::remove_file("/run/full").unwrap();
    drop(full);
    daemon.until_tenant("acme", |tenant| {
        tenant.is_as_wanted() && tenant.pid != before[0]
    });
    assert_eq!(daemon.tenant("beta").pid, before[1]);
    daemon.end();
}

/// Rust ends a process that cannot allocate. That loses nothing: the tenants run on, and the next supervisor
/// adopts them.
#[test]
fn a_supervisor_without_memory_loses_no_tenant() {
    place::host();
    folder("/srv/data");
    let mut daemon = start();
    let before = [daemon.tenant("acme").pid, daemon.tenant("beta").pid];
    let pid = Pid::from_raw(i32::try_from(daemon.pid()).unwrap());
    let none = Rlimit {
        current: Some(1),
        maximum: None,
    };
    let had = prlimit(pid, Resource::As, none).unwrap();
    // Larger than what the allocator has ready.
    let manifest = fs::read_to_string(&daemon.manifest).unwrap();
    fs::write(
        &daemon.manifest,
        format!("{manifest}# {}\n", "x".repeat(4 << 20)),
    )
    .unwrap();
    let said = daemon.tell(&["reload"]);
    assert_ne!(said.code, 0, "{said:?}");
    fs::write(&daemon.manifest, manifest).unwrap();
    if daemon.has_ended() {
        daemon.wait();
        daemon.again();
        daemon.settles();
    } else {
        prlimit(pid, Resource::As, had).unwrap();
    }
    daemon.tell(&["reload"]).expect(0);
    let after = [daemon.tenant("acme").pid, daemon.tenant("beta").pid];
    assert_eq!(after, before);
    daemon.end();
}
