//! `kill`: a signal reaches the processes that it is meant for, and none when no program runs.

use std::fs;

use nix::sys::signal::Signal;
use serde_json::Value;
use tenantd_api::wire::{StateWord, TenantStatus};

use crate::support::daemon::{Daemon, LIMIT, ends, pidfd, signal, until};
use crate::support::place::{self, folder};
use crate::support::visit::get;
use crate::visitors::visit;

/// A program with two helpers. Each of its processes writes down the signals that it gets.
const PROGRAM: &str = "import os, signal, sys\n\
    def heard(number, _):\n    \
        with open('/srv/data/heard', 'a') as f: f.write(f'{os.getpid()} {number}\\n')\n\
    for number in (1, 10, 40): signal.signal(number, heard)\n\
    main = os.getpid()\n\
    for _ in range(HELPERS):\n    \
        if os.getpid() == main: os.fork()\n\
    with open('/srv/data/begun', 'a') as f: f.write(f'{os.getpid()}\\n')\n\
    while True: signal.pause()\n";

/// A tenant whose program has this number of helpers, all of which run, and a second one that is down.
fn start(helpers: usize) -> Daemon {
    place::host();
    folder("/srv/data");
    let program = PROGRAM.replace("HELPERS", &helpers.to_string());
    fs::write("/srv/program.py", program).unwrap();
    let daemon = Daemon::start_settled(
        "[app]\nname = \"APP\"\nuser = \"root\"\ncommand = [\"/usr/bin/python3\", \"/srv/program.py\"]\n\
         datastore.path = \"/srv/data\"\nrestart.delay = \"10ms\"\n[tenants]\n\
         acme = { ip = \"10.77.0.11\" }\nbolt = { ip = \"10.77.0.12\", autostart = false }\n",
    );
    has_begun(&daemon, helpers + 1);
    daemon
}

fn lines(daemon: &Daemon, file: &str) -> Vec<String> {
    let path = format!("/var/lib/tenantd/{}/acme/{file}", daemon.app);
    let text = fs::read_to_string(path).unwrap_or_default();
    text.lines().map(str::to_owned).collect()
}

fn has_begun(daemon: &Daemon, count: usize) {
    until("all of its processes run", || {
        (lines(daemon, "begun").len() == count).then_some(())
    });
}

/// Waits until this signal was heard so often in all, and returns by which processes.
fn heard(daemon: &Daemon, number: i32, count: usize) -> Vec<String> {
    let end = format!(" {number}");
    until("the signal was heard", || {
        let heard = lines(daemon, "heard");
        let by: Vec<String> = heard
            .iter()
            .filter_map(|line| Some(line.strip_suffix(&end)?.to_owned()))
            .collect();
        (by.len() == count).then_some(by)
    })
}

#[test]
fn a_signal_goes_to_every_process_or_to_the_main_one() {
    let daemon = start(2);
    let pid = daemon.tenant("acme").pid.unwrap();
    let said = daemon.tell(&["kill", "-s", "hup", "acme"]).expect(0);
    assert_eq!(said, "acme: SIGHUP sent to 3 processes\n");
    let mut all = heard(&daemon, 1, 3);
    all.sort();
    let mut begun = lines(&daemon, "begun");
    begun.sort();
    assert_eq!(all, begun);

    let said = daemon.tell(&["kill", "-s", "SIGUSR1", "--main", "acme"]);
    let line = format!("acme: SIGUSR1 sent to its main process {pid}\n");
    assert_eq!(said.expect(0), line);
    assert_eq!(heard(&daemon, 10, 1), [pid.to_string()]);
    // A realtime signal, and JSON.
    let json = daemon.tell(&["kill", "--signal=40", "--main", "acme", "--json"]);
    let json: Value = serde_json::from_str(&json.expect(0)).unwrap();
    assert_eq!(json["verb"], "kill");
    assert_eq!(json["tenants"][0]["outcome"], "done");
    assert_eq!(json["tenants"][0]["pid"], pid);
    assert_eq!(heard(&daemon, 40, 1), [pid.to_string()]);

    // A stopped process handles it when it continues.
    signal(pid, Signal::SIGSTOP);
    daemon
        .tell(&["kill", "-s", "USR1", "--main", "acme"])
        .expect(0);
    signal(pid, Signal::SIGCONT);
    heard(&daemon, 10, 2);
    assert_eq!(daemon.tenant("acme").restarts, 0);
    daemon.end();
}

#[test]
fn a_tenant_whose_program_does_not_run_is_refused() {
    let daemon = start(0);
    let both = daemon.tell(&["kill", "-s", "HUP", "--all"]);
    assert_eq!(both.code, 1, "{both:?}");
    let lines = [
        "acme: SIGHUP sent to 1 process",
        "bolt: refused: it is down: no program of it runs",
        "2 tenants: 1 signalled, 1 refused",
    ];
    assert_eq!(both.out.lines().collect::<Vec<_>>(), lines);
    heard(&daemon, 1, 1);
    assert_eq!(daemon.tell(&["kill", "-s", "NOPE", "acme"]).code, 2);
    assert_eq!(daemon.tell(&["kill", "acme", "typo"]).code, 1);
    // Nobody got that one.
    assert_eq!(daemon.tenant("acme").state, StateWord::Up);
    daemon.tell(&["stop", "acme"]).expect(0);
    assert_eq!(daemon.tell(&["kill", "acme"]).code, 1);
    daemon.end();
}

#[test]
fn an_end_by_a_signal_follows_the_restart_policy() {
    let daemon = start(2);
    let pid = daemon.tenant("acme").pid.unwrap();
    daemon
        .tell(&["kill", "-s", "KILL", "--main", "acme"])
        .expect(0);
    daemon.until_tenant("acme", |acme| acme.restarts == 1 && acme.is_as_wanted());
    has_begun(&daemon, 6);
    let (mut visitor, inside) = visit(&daemon, "acme", "sleep 600");
    let inside = pidfd(inside);
    // Without a name of a signal it is SIGTERM, which the program does not handle.
    daemon.tell(&["kill", "acme"]).expect(0);
    let acme = daemon.until_tenant("acme", |acme| acme.restarts == 2 && acme.is_as_wanted());
    assert_ne!(acme.pid.unwrap(), pid);
    // It was told that the program has ended, as after any end.
    assert!(ends(&inside, LIMIT));
    visitor.wait().unwrap();
    has_begun(&daemon, 9);
    let said = daemon.tell(&["kill", "-s", "KILL", "acme"]).expect(0);
    assert_eq!(said, "acme: SIGKILL sent to 3 processes\n");
    daemon.until_tenant("acme", |acme| acme.restarts == 3 && acme.is_as_wanted());
    daemon.end();
}

#[test]
fn a_signal_to_many_processes_does_not_delay_other_requests() {
    let daemon = start(1500);
    let begun = std::time::Instant::now();
    let mut asking = std::process::Command::new(crate::support::daemon::PROGRAM)
        .args([
            "--app",
            &daemon.app,
            "kill",
            "-s",
            "USR1",
            "acme",
            "--quiet",
        ])
        .spawn()
        .unwrap();
    daemon.status();
    let answered = begun.elapsed();
    assert!(asking.wait().unwrap().success());
    let sent = begun.elapsed();
    heard(&daemon, 10, 1501);
    println!("a request was answered after {answered:?}, 1501 processes signalled after {sent:?}");
    daemon.end();
}

#[test]
fn nginx_reopens_its_logs() {
    place::host();
    folder("/var/lib/nginx");
    let daemon = Daemon::start_settled(
        "[app]\nname = \"APP\"\nuser = \"root\"\ncommand = [\"/usr/sbin/nginx\"]\ndaemonizes = true\n\
         pid_file = \"/run/nginx.pid\"\nprivate = [\"/run\", \"/var/lib/nginx\"]\n\
         datastore = { path = \"/var/log/nginx\", mode = \"0755\" }\n\
         ready.tcp = 80\nstop = { signal = \"SIGQUIT\", grace = \"5s\" }\n\
         [tenants]\nacme = { ip = \"10.77.0.11\" }\n",
    );
    let known = |acme: &TenantStatus| acme.main.is_some();
    let master = daemon.until_tenant("acme", known).pid.unwrap();
    let log = format!("/var/lib/tenantd/{}/acme/access.log", daemon.app);
    assert_eq!(get("10.77.0.11", "/one").0, 404);
    fs::rename(&log, format!("{log}.1")).unwrap();
    daemon
        .tell(&["kill", "-s", "USR1", "--main", "acme"])
        .expect(0);
    until("nginx has made its log again", || {
        fs::metadata(&log).is_ok().then_some(())
    });
    until("nginx writes to its new log", || {
        get("10.77.0.11", "/two");
        let text = fs::read_to_string(&log).unwrap();
        text.contains("/two").then_some(())
    });
    assert_eq!(daemon.tenant("acme").pid, Some(master));
    daemon.end();
}
