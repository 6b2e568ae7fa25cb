//! What programs write to syslog is in their tenant's log, with supervisors and collectors that die.

use std::collections::BTreeMap;
use std::fs;
use std::io::{Read, Write};
use std::os::unix::fs::{FileTypeExt, MetadataExt};
use std::os::unix::net::UnixDatagram;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;

use crate::support::daemon::{Daemon, run, until};
use crate::support::place::{self, script};

const TWO: &str = r#"
[app]
name = "APP"
user = "root"
command = ["/srv/idle"]
datastore.path = "/srv/data"
[tenants]
acme = { ip = "10.77.0.11" }
bolt = { ip = "10.77.0.12" }
"#;

pub fn start() -> Daemon {
    place::host();
    place::folder("/srv/data");
    script("idle", "exec sleep 600");
    Daemon::start_settled(TWO)
}

pub fn socket(daemon: &Daemon, tenant: &str) -> PathBuf {
    format!("/run/tenantd/{}/tenants/{tenant}/log/socket", daemon.app).into()
}

/// The texts of one stream in a tenant's log.
pub fn logged(daemon: &Daemon, tenant: &str, stream: &str) -> Vec<String> {
    let path = format!("/var/log/tenantd/{}/{tenant}.log", daemon.app);
    let mut text = fs::read_to_string(Path::new(&path).with_extension("log.1")).unwrap_or_default();
    text += &fs::read_to_string(path).unwrap_or_default();
    text.truncate(text.rfind('\n').map_or(0, |end| end + 1));
    let of_stream = |line: &str| {
        let mut parts = line.splitn(3, ' ').skip(1);
        (parts.next() == Some(stream)).then(|| parts.next().unwrap_or_default().to_owned())
    };
    text.lines().filter_map(of_stream).collect()
}

/// Sends each line of `text` with logger(1), which sends as glibc does, and blocks as it does.
fn logger(daemon: &Daemon, tenant: &str, options: &[&str], text: &str) {
    let mut logger = Command::new("timeout")
        .args(["30", "logger", "--socket-errors=on", "-u"])
        .arg(socket(daemon, tenant))
        .args(options)
        .stdin(Stdio::piped())
        .spawn()
        .unwrap();
    logger
        .stdin
        .take()
        .unwrap()
        .write_all(text.as_bytes())
        .unwrap();
    assert!(logger.wait().unwrap().success());
}

/// The process that collects the logs.
fn collector(daemon: &Daemon) -> i32 {
    until("the log collector runs", || found_collector(daemon))
}

pub fn found_collector(daemon: &Daemon) -> Option<i32> {
    let wanted = format!("tenantd\0collect-logs\0{}\0", daemon.app);
    fs::read_dir("/proc").unwrap().find_map(|entry| {
        let entry = entry.unwrap();
        let is_it = fs::read_to_string(entry.path().join("cmdline")).is_ok_and(|it| it == wanted);
        entry.file_name().to_str()?.parse().ok().filter(|_| is_it)
    })
}

#[test]
fn messages_are_in_the_log_of_their_tenant_alone() {
    let daemon = start();
    let of = |tenant| fs::metadata(socket(&daemon, tenant)).unwrap();
    assert!(of("acme").file_type().is_socket());
    assert_eq!(of("acme").mode() & 0o777, 0o666);
    let folder = socket(&daemon, "acme");
    let folder = folder.parent().unwrap();
    assert_eq!(fs::metadata(folder).unwrap().mode() & 0o777, 0o755);
    let above = fs::metadata(folder.parent().unwrap()).unwrap();
    assert_eq!(
        (above.mode() & 0o777, above.uid()),
        (0o700, 0),
        "others do not get here"
    );
    logger(
        &daemon,
        "acme",
        &["-t", "squid", "-p", "daemon.err", "--id=7"],
        "no space\n",
    );
    logger(
        &daemon,
        "acme",
        &["--rfc5424", "-t", "slapd", "-p", "auth.info"],
        "conn=1\n",
    );
    logger(&daemon, "bolt", &["-t", "cron"], "of bolt\n");
    let sender = UnixDatagram::unbound().unwrap();
    sender.send_to(b"", socket(&daemon, "acme")).unwrap();
    sender
        .send_to(b"\x1b[2J raw\0", socket(&daemon, "acme"))
        .unwrap();
    until("all are logged", || {
        (logged(&daemon, "acme", "syslog").len() == 3).then_some(())
    });
    let lines = logged(&daemon, "acme", "syslog");
    assert_eq!(
        lines,
        [
            "squid[7] err: no space",
            "slapd info: conn=1",
            "info: \\x1b[2J raw"
        ]
    );
    until("it is logged", || {
        (logged(&daemon, "bolt", "syslog") == ["cron notice: of bolt"]).then_some(())
    });
    let shown = daemon.tell(&["logs", "acme"]).expect(0);
    assert!(
        shown.contains(" syslog  squid[7] err: no space\n"),
        "{shown}"
    );
    daemon.end();
}

/// Whether the supervisor has taken all lines from the FIFO of the collector.
fn is_empty(daemon: &Daemon) -> bool {
    let path = format!("/run/tenantd/{}/collected", daemon.app);
    let mut open = fs::File::options();
    let fifo = open.read(true).write(true).open(path).unwrap();
    rustix::io::ioctl_fionread(fifo).unwrap() == 0
}

#[test]
fn no_message_is_lost_or_doubled_over_killed_supervisors() {
    let mut daemon = start();
    let collector_before = collector(&daemon);
    let numbers = |range: std::ops::Range<usize>| {
        range
            .map(|number| format!("number {number}\n"))
            .collect::<String>()
    };
    let mut sent = 0;
    for round in 0..4 {
        if round > 0 {
            // A kill between the two would repeat the lines of one read.
            until("what was written is consumed", || {
                let all = ["acme", "bolt"].map(|tenant| logged(&daemon, tenant, "syslog").len());
                (all == [sent; 2] && is_empty(&daemon)).then_some(())
            });
            daemon.kill();
        }
        // Far more than the socket alone would hold.
        for tenant in ["acme", "bolt"] {
            logger(&daemon, tenant, &["-t", tenant], &numbers(sent..sent + 300));
        }
        sent += 300;
        if round > 0 {
            daemon.again();
        }
    }
    for tenant in ["acme", "bolt"] {
        until("all are logged", || {
            (logged(&daemon, tenant, "syslog").len() >= sent).then_some(())
        });
        let mut counts: BTreeMap<String, usize> = BTreeMap::new();
        for line in logged(&daemon, tenant, "syslog") {
            *counts.entry(line).or_default() += 1;
        }
        let expected = (0..sent).map(|number| (format!("{tenant} notice: number {number}"), 1));
        assert_eq!(counts, expected.collect());
    }
    assert_eq!(collector(&daemon), collector_before);
    daemon.end();
}

#[test]
fn senders_that_wait_go_on_with_the_next_supervisor() {
    let mut daemon = start();
    daemon.kill();
    let path = socket(&daemon, "acme");
    let writer = std::thread::spawn(move || {
        let sender = UnixDatagram::unbound().unwrap();
        sender.connect(path).unwrap();
        // More than FIFO and socket hold.
        for number in 0..5_000 {
            sender
                .send(format!("<14>n[1]: {number}").as_bytes())
                .unwrap();
        }
    });
    let thread = &writer;
    daemon.again();
    until("it goes on", || thread.is_finished().then_some(()));
    writer.join().unwrap();
    until("all are logged", || {
        (logged(&daemon, "acme", "syslog").len() >= 5_000).then_some(())
    });
    let numbers: Vec<String> = (0..5_000)
        .map(|number| format!("n[1] info: {number}"))
        .collect();
    assert_eq!(logged(&daemon, "acme", "syslog"), numbers);
    daemon.end();
}

#[test]
fn a_collector_that_dies_is_started_again_and_ends_with_the_supervisor() {
    let daemon = start();
    let before = collector(&daemon);
    kill(Pid::from_raw(before), Signal::SIGKILL).unwrap();
    let after = until("another one runs", || {
        found_collector(&daemon).filter(|pid| *pid != before)
    });
    let path = socket(&daemon, "acme");
    until("its sockets are there", || {
        let sender = UnixDatagram::unbound().unwrap();
        sender.send_to(b"<14>again: here", &path).ok()
    });
    until("it is logged", || {
        (logged(&daemon, "acme", "syslog") == ["again info: here"]).then_some(())
    });
    let pid = daemon.pid();
    let zombies = run(Command::new("ps").args(["--ppid", &pid.to_string(), "-o", "stat="])).out;
    assert!(!zombies.contains('Z'), "{zombies}");
    daemon.end();
    assert!(!Path::new(&format!("/proc/{after}")).exists());
}

/// A shell in a mount namespace whose `/dev/log` is that of a tenant, as inside the tenant. It waits for a
/// line before it runs the command.
fn inside(daemon: &Daemon, tenant: &str, command: &str) -> Child {
    let folder = socket(daemon, tenant);
    let folder = folder.parent().unwrap().display();
    let text = format!(
        "set -e
         mount --bind {folder} /srv/inside
         mount -o remount,bind,ro /srv/inside
         mount -t tmpfs -o mode=755 test /srv/dev
         mknod -m 666 /srv/dev/null c 1 3
         ln -s /srv/inside/socket /srv/dev/log
         mount --move /srv/dev /dev
         echo ready
         read line
         {command}"
    );
    place::folder("/srv/dev");
    place::folder("/srv/inside");
    let mut shell = Command::new("timeout")
        .args(["60", "unshare", "-m", "sh", "-c", &text])
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let mut said = [0; 6];
    shell
        .stdout
        .as_mut()
        .unwrap()
        .read_exact(&mut said)
        .unwrap();
    shell
}

fn go_on(mut shell: Child) {
    shell.stdin.take().unwrap().write_all(b"go\n").unwrap();
    assert!(shell.wait().unwrap().success());
    // Of mount(8).
    let _none = fs::remove_dir_all("/run/mount");
}

#[test]
fn libc_and_users_without_rights_reach_the_socket_through_a_bound_folder() {
    let mut daemon = start();
    // su(1) uses syslog(3) of libc.
    go_on(inside(&daemon, "acme", "su root -c true"));
    until("su is logged", || {
        let lines = logged(&daemon, "acme", "syslog");
        lines
            .iter()
            .any(|line| line.starts_with("su"))
            .then_some(())
    });
    // A folder that was bound shows the socket of the next collector.
    let user = "setpriv --reuid=65534 --regid=65534 --clear-groups logger -t nobody said";
    let shell = inside(&daemon, "acme", user);
    let before = collector(&daemon);
    daemon.kill();
    kill(Pid::from_raw(before), Signal::SIGKILL).unwrap();
    daemon.again();
    until("its socket is there", || {
        let sender = UnixDatagram::unbound().unwrap();
        sender.send_to(b"", socket(&daemon, "acme")).ok()
    });
    go_on(shell);
    until("it is logged", || {
        let lines = logged(&daemon, "acme", "syslog");
        lines
            .contains(&"nobody notice: said".to_owned())
            .then_some(())
    });
    daemon.end();
}

#[test]
fn a_program_in_a_tenant_has_a_dev_log_of_its_own() {
    place::host();
    place::folder("/srv/data");
    script(
        "idle",
        "logger -t inside hello from $(stat -c %F /dev/log)\nexec sleep 600",
    );
    let mut daemon = Daemon::start_settled(&TWO.replace("\"root\"", "\"nobody\""));
    for tenant in ["acme", "bolt"] {
        let line = "inside notice: hello from symbolic link".to_owned();
        until("it is logged", || {
            (logged(&daemon, tenant, "syslog") == [line.clone()]).then_some(())
        });
    }
    let seen = daemon
        .tell(&["exec", "acme", "ls", "/run/tenantd/", "-A"])
        .expect(0);
    assert_eq!(seen, ".log\n");
    let denied = daemon.tell(&[
        "exec",
        "acme",
        "sh",
        "-c",
        "rm /dev/log || rm /run/tenantd/.log/socket",
    ]);
    assert_eq!(denied.code, 1, "{denied:?}");
    let before = collector(&daemon);
    daemon.kill();
    kill(Pid::from_raw(before), Signal::SIGKILL).unwrap();
    daemon.again();
    until("the next collector has it", || {
        daemon
            .tell(&["exec", "acme", "logger", "-t", "again", "hello"])
            .expect(0);
        logged(&daemon, "acme", "syslog")
            .contains(&"again notice: hello".into())
            .then_some(())
    });
    daemon.end();
}
