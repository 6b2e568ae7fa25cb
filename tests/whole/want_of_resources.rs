//! The supervisor serves on while there are no threads or descriptors to be had: what fails for the want
//! of one is said, and tried again.

mod begins;
mod each_call;
mod faulty;
mod lasting;

use std::collections::BTreeSet;
use std::fs;
use std::time::{Duration, Instant};

use nix::sys::signal::Signal;
use rustix::process::{Pid, Resource, Rlimit, getrlimit, prlimit};

use crate::support::daemon::{Daemon, signal, until};
use crate::support::place::{self, folder, script};

fn start() -> Daemon {
    place::host();
    folder("/srv/data");
    script("app", "echo begins; exec sleep 1000000");
    Daemon::start_settled(
        "[app]\nname = \"APP\"\nuser = \"root\"\ncommand = [\"/srv/app\"]\ndatastore.path = \"/srv/data\"\n\
         restart = { delay = \"100ms\", delay_max = \"100ms\", strikes = 0 }\n\
         [tenants]\nacme = { ip = \"10.77.0.11\" }\nbeta = { ip = \"10.77.0.12\" }\n",
    )
}

fn threads(daemon: &Daemon) -> BTreeSet<String> {
    let tasks = fs::read_dir(format!("/proc/{}/task", daemon.pid())).unwrap();
    let names = tasks.map(|task| task.unwrap().file_name().into_string().unwrap());
    names.collect()
}

#[test]
fn no_thread_is_made_after_the_start_for_a_launch_or_a_stop() {
    let daemon = start();
    let before = threads(&daemon);
    // Longer than a thread without work lives by tokio's default.
    let begun = Instant::now();
    until("time passes", || {
        (begun.elapsed() > Duration::from_secs(11)).then_some(())
    });
    daemon.kill_tenant("acme");
    daemon.tell(&["restart", "--all"]).expect(0);
    daemon.tell(&["reload"]).expect(0);
    daemon.tell(&["stop", "beta"]).expect(0);
    assert_eq!(threads(&daemon), before);
    daemon.end();
}

#[test]
fn a_launch_without_descriptors_is_tried_again() {
    let daemon = start();
    let limited = |soft| {
        let pid = Pid::from_raw(i32::try_from(daemon.pid()).unwrap());
        let maximum = getrlimit(Resource::Nofile).maximum;
        let limit = Rlimit {
            current: Some(soft),
            maximum,
        };
        prlimit(pid, Resource::Nofile, limit)
            .unwrap()
            .current
            .unwrap()
    };
    let pid = daemon.tenant("acme").pid.unwrap();
    let before = limited(3);
    signal(pid, Signal::SIGKILL);
    until("the failure is said", || {
        daemon.output().contains("EMFILE").then_some(())
    });
    limited(before);
    let acme = daemon.until_tenant("acme", |tenant| {
        tenant.is_as_wanted() && tenant.pid.is_some_and(|new| new != pid)
    });
    assert!(acme.restarts > 0);
    daemon.end();
}
