//! Visitors: the commands that `exec` runs in a tenant. They do not count as the program, and end
//! with it.

use std::fs;
use std::io::{BufRead, BufReader, Write};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use nix::sys::signal::Signal;
use tenantd_api::wire::TenantStatus;

use crate::guestbook::three;
use crate::support::daemon::{Daemon, LIMIT, PROGRAM, ends, pidfd, signal};

/// The grace of the guest books, which a visitor must not use up.
const GRACE: Duration = Duration::from_secs(5);

/// A visitor that runs this script, which says `in` first. It has an open standard input.
pub fn visit(daemon: &Daemon, tenant: &str, script: &str) -> (Child, u32) {
    let mut child = Command::new(PROGRAM)
        .args(["--app", &daemon.app, "exec", tenant, "--", "sh", "-c"])
        .arg(format!("echo $$; {script}"))
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let mut line = String::new();
    let mut lines = BufReader::new(child.stdout.as_mut().unwrap());
    lines.read_line(&mut line).unwrap();
    (child, line.trim().parse().unwrap())
}

/// A shell as one that a person has open: it ignores SIGTERM.
const OPEN: &str = "trap '' TERM; while read line; do :; done";

/// A visitor that wants to stay.
const STUBBORN: &str = "trap '' TERM HUP; while :; do read line || sleep 1000; done";

#[test]
fn an_open_shell_does_not_delay_a_restart() {
    let daemon = three();
    let before = daemon.tenant("acme").pid.unwrap();
    let (mut shell, inside) = visit(&daemon, "acme", OPEN);
    let visitor = pidfd(inside);
    let begun = Instant::now();
    daemon.tell(&["restart", "acme"]).expect(0);
    let took = begun.elapsed();
    assert!(took < GRACE / 2, "{took:?}");
    assert_ne!(daemon.tenant("acme").pid.unwrap(), before);
    assert!(ends(&visitor, Duration::ZERO), "it is still in the tenant");
    assert!(!shell.wait().unwrap().success());
    daemon.end();
}

#[test]
fn a_visitor_that_stays_is_killed_after_a_second() {
    let daemon = three();
    let (mut first, inside) = visit(&daemon, "acme", STUBBORN);
    let visitor = pidfd(inside);
    let begun = Instant::now();
    daemon.tell(&["stop", "acme"]).expect(0);
    let took = begun.elapsed();
    assert!(took < GRACE / 2, "{took:?}");
    assert!(ends(&visitor, Duration::ZERO), "it is still in the tenant");
    first.wait().unwrap();

    // The program ends unasked. A launch never runs beside a visitor of the former one.
    daemon.tell(&["start", "acme"]).expect(0);
    let (mut second, inside) = visit(&daemon, "acme", STUBBORN);
    let visitor = pidfd(inside);
    signal(daemon.tenant("acme").pid.unwrap(), Signal::SIGKILL);
    assert!(ends(&visitor, LIMIT));
    daemon.until_tenant("acme", TenantStatus::is_as_wanted);
    second.wait().unwrap();
    daemon.end();
}

#[test]
fn a_stopped_visitor_ends_with_the_program() {
    let daemon = three();
    let (mut shell, inside) = visit(&daemon, "acme", OPEN);
    let visitor = pidfd(inside);
    signal(inside, Signal::SIGSTOP);
    daemon.tell(&["stop", "acme"]).expect(0);
    assert!(ends(&visitor, Duration::ZERO));
    shell.wait().unwrap();
    daemon.end();
}

#[test]
fn a_command_does_not_keep_a_launch_alive() {
    let daemon = three();
    let (mut shell, inside) = visit(&daemon, "acme", OPEN);
    let group = fs::read_to_string(format!("/proc/{inside}/cgroup")).unwrap();
    assert!(group.contains("/acme/visitors"), "{group}");
    let pid = daemon.tenant("acme").pid.unwrap();
    let group = fs::read_to_string(format!("/proc/{pid}/cgroup")).unwrap();
    assert!(group.trim_end().ends_with("/acme/program"), "{group}");
    // It still is a command like any other: it ends when its input does.
    shell.stdin.as_mut().unwrap().write_all(b"line\n").unwrap();
    drop(shell.stdin.take());
    assert_eq!(shell.wait().unwrap().code(), Some(0));
    assert_eq!(daemon.tenant("acme").pid, Some(pid));
    daemon.end();
}

#[test]
fn the_next_supervisor_ends_visitors_of_a_launch_that_is_over() {
    let mut daemon = three();
    let (mut shell, inside) = visit(&daemon, "acme", STUBBORN);
    let visitor = pidfd(inside);
    let (mut stays, other) = visit(&daemon, "globex", OPEN);
    let pid = daemon.tenant("acme").pid.unwrap();
    let program = pidfd(pid);
    daemon.kill();
    signal(pid, Signal::SIGKILL);
    assert!(ends(&program, LIMIT));
    daemon.again();
    daemon.until_tenant("acme", TenantStatus::is_as_wanted);
    assert!(ends(&visitor, Duration::ZERO), "a launch runs beside it");
    shell.wait().unwrap();
    // The visitor of a launch that was adopted stays.
    assert!(!ends(&pidfd(other), Duration::ZERO));
    drop(stays.stdin.take());
    assert_eq!(stays.wait().unwrap().code(), Some(0));
    daemon.end();
}

/// An earlier version launched programs into the leaf itself.
#[test]
fn a_launch_of_an_earlier_version_is_adopted_and_stopped() {
    let mut daemon = three();
    let pid = daemon.tenant("acme").pid.unwrap();
    let leaf = format!("/sys/fs/cgroup/tenantd/{}/acme", daemon.app);
    daemon.kill();
    fs::write(format!("{leaf}/cgroup.procs"), pid.to_string()).unwrap();
    fs::remove_dir(format!("{leaf}/program")).unwrap();
    daemon.again();
    assert_eq!(daemon.tenant("acme").pid, Some(pid));
    let (mut shell, inside) = visit(&daemon, "acme", OPEN);
    let visitor = pidfd(inside);
    // Its end is seen, and the next launch is one of this version.
    daemon.kill_tenant("acme");
    let acme = daemon.until_tenant("acme", TenantStatus::is_as_wanted);
    let group = fs::read_to_string(format!("/proc/{}/cgroup", acme.pid.unwrap())).unwrap();
    assert!(group.trim_end().ends_with("/acme/program"), "{group}");
    assert!(ends(&visitor, Duration::ZERO));
    shell.wait().unwrap();
    daemon.end();
}
