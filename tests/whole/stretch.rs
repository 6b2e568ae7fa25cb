//! The loop checks for new events while it has much to do, and logs how long it did not.

use std::process::{Command, Stdio};
use std::time::Duration;

use nix::sys::signal::Signal;

use crate::support::daemon::{Daemon, PROGRAM, signal};
use crate::support::place::{self, script};

const TENANTS: u8 = 200;
const SUBSCRIBERS: usize = 20;
const STATUSES: usize = 5;

/// The limit of 5 ms applies to the program as installed. Without optimisation it takes several
/// times as long; without a limit on a stretch, ten times as long as this.
const STRETCH_MAX: Duration = match cfg!(debug_assertions) {
    true => Duration::from_millis(25),
    false => Duration::from_millis(5),
};

fn manifest() -> String {
    let tenant = |number| format!("t{number} = {{ ip = \"10.77.0.{}\" }}\n", number + 11);
    let tenants: String = (0..TENANTS).map(tenant).collect();
    format!(
        "[app]\nname = \"APP\"\nuser = \"root\"\ncommand = [\"/srv/app\"]\ndatastore.path = \"/srv/data\"\n[tenants]\n{tenants}"
    )
}

/// How many descriptors the supervisor has.
fn descriptors(daemon: &Daemon) -> usize {
    let folder = format!("/proc/{}/fd", daemon.pid());
    std::fs::read_dir(folder).unwrap().count()
}

/// The long stretches in the supervisor's log.
fn stretches(log: &str) -> Vec<Duration> {
    let of_line = |line: &str| {
        let (_, fields) = line.split_once("long stretch microseconds=")?;
        let number = fields.split_whitespace().next()?;
        Some(Duration::from_micros(number.parse().unwrap()))
    };
    log.lines().filter_map(of_line).collect()
}

#[test]
fn restarts_and_subscribers_do_not_block_the_loop() {
    place::host();
    place::folder("/srv/data");
    script("app", "exec sleep 1000000");
    let log = ("TENANTD_LOG", "info,tenantd::stretch=debug");
    let daemon = Daemon::spawn_with(PROGRAM, &manifest(), &[log]);
    daemon.settles();
    let logged = daemon.output().len();
    let watching: Vec<_> = (0..SUBSCRIBERS)
        .map(|_| {
            Command::new(PROGRAM)
                .args(["--app", &daemon.app, "events", "-f", "--json"])
                .stdout(Stdio::null())
                .spawn()
                .unwrap()
        })
        .collect();
    let before = descriptors(&daemon);
    let mut most = before;
    daemon.tell(&["restart", "--all", "--no-wait"]).expect(0);
    for _ in 0..STATUSES {
        daemon.status();
        most = most.max(descriptors(&daemon));
    }
    // Each launch has some twenty, but not all of them at the same time.
    assert!(most < before + 5 * usize::from(TENANTS), "{before}, {most}");
    let settled = daemon.settles();
    for tenant in &settled.tenants[..20] {
        signal(tenant.pid.unwrap(), Signal::SIGKILL);
    }
    daemon.settles();
    for mut child in watching {
        signal(child.id(), Signal::SIGTERM);
        child.wait().unwrap();
    }
    let output = daemon.output();
    let long = stretches(&output[logged..]);
    let longest = long.iter().max();
    assert!(
        longest.is_none_or(|longest| *longest < STRETCH_MAX),
        "{long:?}"
    );
}
