//! A tenant that writes without a pause is read at `log_rate`: what reads and keeps its lines takes processor time
//! that no limit of the tenant counts.

use std::fs;
use std::time::{Duration, Instant};

use crate::support::daemon::{Daemon, until};
use crate::support::place::{self, script};
use crate::syslog::logged;

const MANIFEST: &str = r#"
[app]
name = "APP"
user = "root"
command = ["/srv/writer", "{tenant}"]
datastore.path = "/srv/data"
logs = ["/srv/data/*.log"]
log_rate = "128 KiB"
[tenants]
file = { ip = "10.77.0.11" }
stdout = { ip = "10.77.0.12" }
syslog = { ip = "10.77.0.13" }
"#;

/// Writes numbered lines of 128 bytes, to the stream that its tenant is named after.
const WRITER: &str = r#"exec python3 -c '
import socket, sys, time
kind, number = sys.argv[1], 0
line = lambda: (b"<14>writer: " if kind == "syslog" else b"") + (b"%d " % number).ljust(127, b".")
if kind == "syslog":
    out = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
    out.connect("/dev/log")
elif kind == "file":
    out = open("/srv/data/own.log", "wb")
while number < 60_000 or kind != "file":
    number += 1
    if kind == "syslog":
        out.send(line())
    else:
        (out if kind == "file" else sys.stdout.buffer).write(line() + b"\n")
time.sleep(600)
' "$1""#;

/// The numbers of the lines in the log of a tenant.
fn numbers(daemon: &Daemon, kind: &str) -> Vec<u64> {
    let lines = logged(daemon, kind, kind);
    let number = |line: &String| {
        let text = line.split(": ").last().unwrap();
        text.split_whitespace().next().unwrap().parse().unwrap()
    };
    lines.iter().map(number).collect()
}

fn reaches(daemon: &Daemon, kind: &str, bytes: u64) {
    until("its lines are in the log", || {
        let last = numbers(daemon, kind).last().copied();
        (last.unwrap_or(0) * 128 >= bytes).then_some(())
    });
}

#[test]
fn tenants_that_write_without_a_pause_are_read_at_the_rate_and_lose_nothing() {
    place::host();
    place::folder("/srv/data");
    script("writer", WRITER);
    let begun = Instant::now();
    let daemon = Daemon::start_settled(MANIFEST);
    for kind in ["file", "stdout", "syslog"] {
        // Four seconds' worth at once, and then 128 KiB a second.
        reaches(&daemon, kind, (512 + 256 + 64) * 1024);
        let taken = begun.elapsed();
        assert!(taken >= Duration::from_secs(2), "{kind}: {taken:?}");
    }
    for kind in ["stdout", "syslog"] {
        let numbers = numbers(&daemon, kind);
        assert!(numbers.windows(2).all(|two| two[0] + 1 == two[1]), "{kind}");
    }
    let shown = daemon.tell(&["status", "stdout"]).expect(0);
    assert!(shown.contains("  REACHED its program waited "), "{shown}");
    let why = "times until its output was read: log_rate is 128 KiB a second\n";
    assert!(shown.contains(why), "{shown}");
    // Another rate holds for programs that run.
    let pids = |daemon: &Daemon| {
        daemon
            .status()
            .tenants
            .iter()
            .map(|it| it.pid)
            .collect::<Vec<_>>()
    };
    let before = pids(&daemon);
    let text = fs::read_to_string(&daemon.manifest).unwrap();
    fs::write(&daemon.manifest, text.replace("128 KiB", "1 GiB")).unwrap();
    daemon.tell(&["reload"]).expect(0);
    for kind in ["stdout", "syslog"] {
        reaches(&daemon, kind, 6 * 1024 * 1024);
    }
    assert_eq!(before, pids(&daemon));
    daemon.end();
}
