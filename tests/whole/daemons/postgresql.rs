//! PostgreSQL with clients during a stop, and after a kill.

use std::process::{Command, Stdio};

use nix::sys::signal::Signal;

use super::{known, restarted, start, stops};
use crate::support::daemon::{Daemon, PROGRAM, signal, until};
use crate::support::place::{self, folder};

const PROGRAMS: &str = "/usr/lib/postgresql/15/bin";

fn postgresql(app: &str) -> Daemon {
    place::host();
    folder("/var/lib/postgresql");
    start(&format!(
        "user = \"postgres\"\nprivate = [\"/run/postgresql\"]\ndatastore.path = \"/var/lib/postgresql\"\n\
         init = {{ command = [\"{PROGRAMS}/initdb\", \"-D\", \"/var/lib/postgresql/main\", \
         \"--no-sync\", \"--auth=trust\"] }}\nstop.signal = \"SIGINT\"\n{app}"
    ))
}

fn sql(daemon: &Daemon, query: &str) -> String {
    let arguments = ["exec", "acme", "psql", "-Atc", query];
    daemon.tell(&arguments).expect(0).trim().to_owned()
}

#[test]
fn its_clients_are_told_of_a_stop_and_nothing_is_to_be_recovered() {
    let daemon = postgresql(&format!(
        "command = [\"{PROGRAMS}/postgres\", \"-D\", \"/var/lib/postgresql/main\", \"-c\", \
         \"listen_addresses=\"]\nready = {{ notify = true, within = \"2m\" }}"
    ));
    sql(&daemon, "create table notes as select 'kept' as note");
    let client = Command::new(PROGRAM)
        .args(["exec", "--app", &daemon.app, "acme", "psql", "-c"])
        .arg("select pg_sleep(600)")
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    until("the client waits", || {
        let query = "select count(*) from pg_stat_activity where query = 'select pg_sleep(600)'";
        (sql(&daemon, query) == "1").then_some(())
    });
    stops(&daemon);
    let client = client.wait_with_output().unwrap();
    let told = String::from_utf8_lossy(&client.stderr).into_owned();
    let why = "terminating connection due to administrator command";
    assert!(told.contains(why), "{told}");
    daemon.tell(&["start", "acme"]).expect(0);
    assert_eq!(sql(&daemon, "select note from notes"), "kept");
    let logs = daemon.tell(&["logs", "acme"]).expect(0);
    assert!(logs.contains("database system was shut down at"), "{logs}");
    assert!(!logs.contains("not properly shut down"), "{logs}");
    daemon.end();
}

/// A zombie would keep the number in `postmaster.pid`, and the next start would be refused.
#[test]
fn it_is_never_refused_because_of_its_pid_file() {
    let daemon = postgresql(&format!(
        "command = [\"{PROGRAMS}/pg_ctl\", \"-D\", \"/var/lib/postgresql/main\", \"-o\", \
         \"-c listen_addresses=\", \"-w\", \"start\"]\n\
         daemonizes = true\npid_file = \"/var/lib/postgresql/main/postmaster.pid\""
    ));
    for kills in 1..=3 {
        let main = known(&daemon, "pid file").pid.unwrap();
        signal(main, Signal::SIGKILL);
        assert_eq!(restarted(&daemon, kills).restarts, kills);
        daemon.until_tenant("acme", |acme| acme.pid.is_some_and(|pid| pid != main));
    }
    until("it serves", || {
        let arguments = ["exec", "acme", "psql", "-Atc", "select 1"];
        daemon.tell(&arguments).out.contains('1').then_some(())
    });
    assert_eq!(daemon.tenant("acme").restarts, 3);
    let logs = daemon.tell(&["logs", "acme"]).expect(0);
    assert!(!logs.contains("already exists"), "{logs}");
    stops(&daemon);
    daemon.end();
}
