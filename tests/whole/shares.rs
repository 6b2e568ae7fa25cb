//! More tenants than one log collector has room for: further ones have the rest, and no line is lost whatever
//! ends.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::fs::{self, File};
use std::io::Write as _;
use std::os::unix::net::UnixDatagram;

use nix::sys::signal::Signal;

use crate::support::daemon::{Daemon, PROGRAM, ends, pidfd, signal, until};
use crate::support::place::{self, script};
use crate::syslog::{logged, socket};

/// How many descriptors of tenants each collector may have: those of three.
const ROOM: usize = 9;

const TENANTS: usize = 5;

fn names() -> impl Iterator<Item = String> {
    (1..=TENANTS).map(|number| format!("t{number}"))
}

fn start() -> Daemon {
    place::host();
    place::folder("/srv/data");
    script("app", "exec sleep 1000000");
    script(
        "limited",
        &format!("export TENANTD_COLLECTOR_ROOM={ROOM}\nexec {PROGRAM} \"$@\""),
    );
    let mut manifest =
        "[app]\nname = \"APP\"\nuser = \"root\"\ncommand = [\"/srv/app\"]\ndatastore.path = \"/srv/data\"\n\
         [tenants]\n"
            .to_owned();
    for (number, name) in names().enumerate() {
        writeln!(manifest, "{name} = {{ ip = \"10.77.0.{}\" }}", 10 + number).unwrap();
    }
    let daemon = Daemon::start_with("/srv/limited", &manifest);
    daemon.settles();
    daemon
}

/// The log collectors by their numbers.
fn collectors(daemon: &Daemon) -> BTreeMap<u16, u32> {
    let first = format!("tenantd\0collect-logs\0{}\0", daemon.app);
    let processes = fs::read_dir("/proc").unwrap().filter_map(|entry| {
        let entry = entry.unwrap();
        let pid = entry.file_name().to_str()?.parse().ok()?;
        let line = fs::read_to_string(entry.path().join("cmdline")).ok()?;
        let number = line.strip_prefix(&first)?.trim_end_matches('\0').to_owned();
        let number = if number.is_empty() { "0" } else { &number };
        Some((number.parse().unwrap(), pid))
    });
    processes.collect()
}

/// How many tenants' output a process holds.
fn held(pid: u32) -> usize {
    let open = fs::read_dir(format!("/proc/{pid}/fd")).unwrap();
    let links = open.filter_map(|fd| fs::read_link(fd.ok()?.path()).ok());
    let pipes = links.filter(|link| link.ends_with("stdout"));
    pipes.count()
}

fn all_are_held(daemon: &Daemon) -> BTreeMap<u16, u32> {
    until("the collectors hold all output", || {
        let found = collectors(daemon);
        let held: usize = found.values().copied().map(held).sum();
        (held == TENANTS).then_some(found)
    })
}

/// Each program writes a line, and sends one to syslog.
fn write(daemon: &Daemon, line: &str) {
    for tenant in names() {
        let pipe = format!("/run/tenantd/{}/tenants/{tenant}/stdout", daemon.app);
        let mut pipe = File::options().write(true).open(pipe).unwrap();
        writeln!(pipe, "{line}").unwrap();
        let sent = UnixDatagram::unbound().unwrap();
        let message = format!("<13>app: {line}");
        until("its socket is there", || {
            sent.send_to(message.as_bytes(), socket(daemon, &tenant))
                .ok()
        });
    }
}

/// What is logged last before a supervisor is killed.
const BEFORE_KILLS: [&str; 2] = ["replaced", "upgraded"];

#[track_caller]
fn are_logged(daemon: &Daemon, lines: &[&str]) {
    for tenant in names() {
        for stream in ["stdout", "syslog"] {
            until("its lines are logged", || {
                let log = logged(daemon, &tenant, stream);
                let mut found: Vec<&str> =
                    log.iter().filter_map(|it| it.rsplit(' ').next()).collect();
                // The one that was logged just before a supervisor was killed may be logged again by the next.
                found.dedup_by(|one, before| one == before && BEFORE_KILLS.contains(one));
                (found == lines).then_some(())
            });
        }
    }
}

fn kill(pid: u32) {
    let process = pidfd(pid);
    signal(pid, Signal::SIGKILL);
    assert!(ends(&process, std::time::Duration::from_secs(10)));
}

#[test]
fn several_log_collectors_lose_no_line_whatever_ends() {
    let mut daemon = start();
    let first = all_are_held(&daemon);
    assert_eq!(first.len(), 2, "{first:?}");
    assert_eq!(
        first.values().copied().map(held).collect::<Vec<_>>(),
        [3, 2]
    );
    write(&daemon, "started");
    // What waits in the socket of a collector ends with it, see 0030.
    are_logged(&daemon, &["started"]);

    kill(first[&1]);
    let [replaced, upgraded] = BEFORE_KILLS;
    let second = all_are_held(&daemon);
    assert_eq!((second[&0], second.len()), (first[&0], 2));
    assert_ne!(second[&1], first[&1]);
    write(&daemon, replaced);

    daemon.kill();
    write(&daemon, "alone");
    daemon.again();
    assert_eq!(
        all_are_held(&daemon),
        second,
        "each tenant stays where it is"
    );
    write(&daemon, "adopted");

    daemon.tell(&["upgrade"]).expect(0);
    assert_eq!(all_are_held(&daemon), second);
    write(&daemon, upgraded);
    are_logged(
        &daemon,
        &["started", replaced, "alone", "adopted", upgraded],
    );

    daemon.kill();
    kill(second[&1]);
    daemon.again();
    let third = all_are_held(&daemon);
    assert_eq!((third[&0], third.len()), (second[&0], 2));
    write(&daemon, "again");
    let all = ["started", replaced, "alone", "adopted", upgraded, "again"];
    are_logged(&daemon, &all);
    daemon.end();
}
