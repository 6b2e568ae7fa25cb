//! The end of a program is noticed, whatever the program did, and no zombie is left of it.

use std::fs;
use std::process::Command;

use nix::sys::signal::Signal;
use tenantd_api::wire::{StateWord, TenantStatus};

use crate::support::daemon::{Daemon, PROGRAM, signal, until};
use crate::support::place::{self, INSTALLED, SRV, folder, install};

/// Compiles the program of these tests, for all users.
fn program() -> String {
    let source = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/whole/deaths/program.c");
    let path = format!("{SRV}/program");
    let built = Command::new("cc")
        .args(["-O1", "-Wall", "-pthread", "-o", &path, source])
        .status();
    assert!(built.unwrap().success());
    path
}

/// A tenant whose program dies in this way, once it waits for its signal.
fn start(how: &str) -> Daemon {
    start_with(how, Daemon::start_settled)
}

fn start_with(how: &str, start: impl Fn(&str) -> Daemon) -> Daemon {
    place::host();
    folder("/srv/data");
    let program = program();
    start(&format!(
        "[app]\nname = \"APP\"\nuser = \"root\"\ncommand = [\"{program}\", \"{how}\"]\n\
         datastore.path = \"/srv/data\"\nstop.grace = \"10s\"\n\
         restart = {{ delay = \"1ms\", delay_max = \"1ms\", strikes = 0 }}\n\
         [tenants]\nacme = {{ ip = \"10.77.0.11\" }}\n"
    ))
}

fn says(daemon: &Daemon, what: &str, times: usize) {
    until(what, || {
        let said = daemon.tell(&["logs", "acme"]).expect(0);
        let lines = said.lines().filter(|line| line.ends_with(what));
        (lines.count() >= times).then_some(())
    });
}

/// The zombies that are children of a process, without those whose threads live.
fn zombies(of: u32) -> Vec<String> {
    let children = fs::read_dir(format!("/proc/{of}/task")).unwrap();
    let children = children.map(|task| task.unwrap().path().join("children"));
    let children = children.map(|path| fs::read_to_string(path).unwrap_or_default());
    let children: Vec<_> = children.collect();
    let children = children.iter().flat_map(|pids| pids.split_whitespace());
    let stats = children.filter_map(|pid| fs::read_to_string(format!("/proc/{pid}/stat")).ok());
    let is_zombie = |stat: &String| stat.contains(") Z ") && stat.split(' ').nth(19) == Some("1");
    stats.filter(is_zombie).collect()
}

fn no_zombie(of: u32) {
    until("no zombie is left", || zombies(of).is_empty().then_some(()));
}

/// Ends the program, and waits for the next launch.
fn dies(daemon: &Daemon, number: u32) -> TenantStatus {
    says(daemon, "waits", 1);
    let before = daemon.tenant("acme");
    signal(before.pid.unwrap(), Signal::SIGUSR1);
    let after = daemon.until_tenant("acme", |tenant| {
        tenant.restarts > before.restarts && tenant.is_as_wanted()
    });
    assert_ne!(after.pid, before.pid);
    let said = daemon.tell(&["logs", "acme"]).expect(0);
    let status = format!("exited with status {number}");
    assert!(said.contains(&status), "{said}\n{}", daemon.output());
    says(daemon, "waits", 2);
    no_zombie(daemon.pid());
    after
}

#[test]
fn a_program_with_a_traced_thread_dies() {
    let daemon = start("traced-thread");
    dies(&daemon, 3);
    daemon.tell(&["stop", "acme"]).expect(0);
    no_zombie(daemon.pid());
    daemon.end();
}

#[test]
fn a_program_that_asks_to_be_traced_gets_its_signals() {
    let daemon = start("traced-main");
    says(&daemon, "is traced", 1);
    let pid = daemon.tenant("acme").pid.unwrap();
    signal(pid, Signal::SIGWINCH);
    says(&daemon, "noticed the window", 1);
    signal(pid, Signal::SIGWINCH);
    says(&daemon, "noticed the window", 2);
    assert_eq!(daemon.tenant("acme").pid, Some(pid));
    daemon.tell(&["restart", "acme"]).expect(0);
    says(&daemon, "is traced", 2);
    let log = daemon.tell(&["logs", "acme"]).expect(0);
    assert!(log.contains("killed by SIGTERM"), "{log}");
    daemon.end();
}

#[test]
fn a_program_that_asks_to_be_traced_executes_another_one() {
    let daemon = start("traced-exec");
    says(&daemon, "executed", 1);
    assert_eq!(daemon.tenant("acme").restarts, 0);
    daemon.end();
}

#[test]
fn a_program_that_its_own_child_traces_dies() {
    let daemon = start("tracing");
    dies(&daemon, 4);
    daemon.tell(&["stop", "acme"]).expect(0);
    no_zombie(daemon.pid());
    daemon.end();
}

#[test]
fn siblings_that_a_program_makes_are_reaped() {
    let daemon = start("siblings");
    says(&daemon, "waits", 1);
    no_zombie(daemon.pid());
    dies(&daemon, 5);
    daemon.end();
}

#[test]
fn a_program_dies_whose_first_thread_ended_long_before() {
    let daemon = start("leader");
    dies(&daemon, 6);
    daemon.end();
}

#[test]
fn a_program_that_leaves_its_cgroup_is_watched_and_ended() {
    let daemon = start("leaves");
    let after = dies(&daemon, 7);
    assert_eq!(after.state, StateWord::Up);
    let pid = after.pid.unwrap();
    let leaf = format!("/sys/fs/cgroup/tenantd/{}/acme", daemon.app);
    until("it is put back", || {
        let cgroup = fs::read_to_string(format!("/proc/{pid}/cgroup")).unwrap();
        let leaf = leaf.strip_prefix("/sys/fs/cgroup").unwrap();
        cgroup.contains(&format!("0::{leaf}")).then_some(())
    });
    daemon.tell(&["stop", "acme"]).expect(0);
    assert!(!fs::exists(format!("/proc/{pid}")).unwrap());
    daemon.end();
}

/// The processes of the tenant that the supervisor took over from their parents.
fn orphans(daemon: &Daemon, count: usize) -> Vec<u32> {
    let parent = daemon.pid();
    until("the orphans have another parent", || {
        let said = daemon.tell(&["logs", "acme"]).expect(0);
        let orphan = |line: &str| {
            let (pid, of) = line.split_once("orphan ")?.1.split_once(" of ")?;
            assert_eq!(of.parse(), Ok(parent), "{line}");
            pid.parse().ok()
        };
        let found: Vec<u32> = said.lines().filter_map(orphan).collect();
        (found.len() == count).then_some(found)
    })
}

/// Kills an orphan. Its number is free again, for example for a server that reads it from a file.
fn kill_orphan(pid: u32) {
    signal(pid, Signal::SIGKILL);
    until("the number is free", || {
        (!fs::exists(format!("/proc/{pid}")).unwrap()).then_some(())
    });
}

#[test]
fn orphans_are_reaped_also_after_an_upgrade() {
    let daemon = start_with("orphans", |manifest| {
        install(PROGRAM);
        Daemon::start_with(INSTALLED, manifest)
    });
    let [first, second] = orphans(&daemon, 2)[..] else {
        unreachable!()
    };
    kill_orphan(first);
    install(PROGRAM);
    daemon.tell(&["upgrade"]).expect(0);
    kill_orphan(second);
    assert_eq!(daemon.tenant("acme").restarts, 0);
    dies(&daemon, 5);
    for pid in &orphans(&daemon, 4)[2..] {
        kill_orphan(*pid);
    }
    no_zombie(daemon.pid());
    daemon.end();
}

#[test]
fn orphans_are_reaped_whose_signals_are_merged() {
    let daemon = start("orphans");
    let orphans = orphans(&daemon, 2);
    let is = |pid: u32, state: &str| {
        let stat = fs::read_to_string(format!("/proc/{pid}/stat")).unwrap();
        stat.contains(&format!(") {state} ")).then_some(())
    };
    daemon.signal(Signal::SIGSTOP);
    until("the supervisor is stopped", || is(daemon.pid(), "T"));
    // The second signal is dropped, since the first is still pending.
    for pid in &orphans {
        signal(*pid, Signal::SIGKILL);
        until("the orphan is a zombie", || is(*pid, "Z"));
    }
    daemon.signal(Signal::SIGCONT);
    for pid in &orphans {
        until("the number is free", || {
            (!fs::exists(format!("/proc/{pid}")).unwrap()).then_some(())
        });
    }
    daemon.end();
}
