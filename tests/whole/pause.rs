//! Paused tenants: `pause`, `resume` and `hibernate`.

use std::fs;
use std::io::{ErrorKind, Read, Write};
use std::net::TcpStream;
use std::path::{Path, PathBuf};
use std::time::Duration;

use tenantd_api::wire::StateWord;

use crate::support::daemon::Daemon;
use crate::support::place::{self, example, folder};

fn start() -> Daemon {
    place::host();
    folder("/var/lib/guestbook");
    let program = example("guestbook");
    Daemon::start_settled(&format!(
        "[app]\nname = \"APP\"\nuser = \"root\"\ncommand = [\"{program}\"]\n\
         datastore.path = \"/var/lib/guestbook\"\nready.tcp = 80\nstop.grace = \"20s\"\n\
         restart.delay = \"100ms\"\n\
         [tenants]\nacme = {{ ip = \"10.77.0.11\" }}\nglobex = {{ ip = \"10.77.0.12\" }}\n"
    ))
}

/// Whether the program answers. One that is frozen accepts, and says nothing.
fn answers(address: &str) -> bool {
    let mut stream = TcpStream::connect((address, 80)).unwrap();
    stream
        .set_read_timeout(Some(Duration::from_millis(500)))
        .unwrap();
    stream.write_all(b"GET / HTTP/1.0\r\n\r\n").unwrap();
    let mut byte = [0];
    match stream.read(&mut byte) {
        Ok(count) => count == 1,
        Err(error) => {
            let late = [ErrorKind::WouldBlock, ErrorKind::TimedOut];
            assert!(late.contains(&error.kind()), "{error}");
            false
        }
    }
}

fn leaf(daemon: &Daemon, tenant: &str) -> PathBuf {
    let pid = daemon.tenant(tenant).pid.unwrap();
    let text = fs::read_to_string(format!("/proc/{pid}/cgroup")).unwrap();
    let own = text.lines().find_map(|line| line.strip_prefix("0::/"));
    let trees = ["/sys/fs/cgroup/unified", "/sys/fs/cgroup"].map(Path::new);
    let tree = trees
        .iter()
        .find(|tree| tree.join("cgroup.controllers").exists());
    let program = tree.unwrap().join(own.unwrap());
    program.parent().unwrap().to_owned()
}

fn paused(daemon: &Daemon) -> Vec<bool> {
    daemon.status().tenants.iter().map(|it| it.paused).collect()
}

fn pauses(daemon: &Daemon) {
    assert_eq!(daemon.tell(&["pause", "acme"]).expect(0), "acme: paused\n");
    daemon.until_tenant("acme", |tenant| tenant.paused);
}

#[test]
fn a_paused_tenant_is_up_and_does_nothing() {
    let mut daemon = start();
    let before = daemon.tenant("acme");
    assert!(answers("10.77.0.11"));
    pauses(&daemon);
    assert!(!answers("10.77.0.11"));
    assert!(answers("10.77.0.12"), "its neighbour is not concerned");
    assert_eq!(paused(&daemon), [true, false]);
    let status = daemon.tell(&["status", "acme"]).expect(0);
    assert!(
        status.contains("  PAUSED its processes are frozen; `tenantd resume acme`"),
        "{status}"
    );
    let again = daemon.tell(&["pause", "acme"]).expect(0);
    assert_eq!(again, "acme: it was paused already\n");
    let other = daemon.tell(&["resume", "--all"]).expect(0);
    assert!(other.contains("globex: it was not paused"), "{other}");
    pauses(&daemon);
    daemon.tell(&["stop", "globex"]).expect(0);
    let down = daemon.tell(&["resume", "globex"]).expect(0);
    assert_eq!(down, "globex: it was not paused\n");
    daemon.tell(&["start", "globex"]).expect(0);
    let exec = daemon.tell(&["exec", "acme", "true"]);
    assert_eq!(exec.code, 125, "{exec:?}");
    assert!(exec.err.contains("it is paused"), "{exec:?}");
    // The next supervisor finds it so.
    daemon.kill();
    daemon.again();
    daemon.settles();
    assert_eq!(paused(&daemon), [true, false]);
    assert!(!answers("10.77.0.11"));
    assert_eq!(
        daemon.tell(&["resume", "acme"]).expect(0),
        "acme: continues\n"
    );
    daemon.until_tenant("acme", |tenant| !tenant.paused);
    assert!(answers("10.77.0.11"));
    assert_eq!(
        daemon.tell(&["resume", "acme"]).expect(0),
        "acme: it was not paused\n"
    );
    let after = daemon.tenant("acme");
    assert_eq!((after.pid, after.restarts), (before.pid, before.restarts));
    daemon.end();
}

#[test]
fn what_another_program_freezes_is_shown() {
    let daemon = start();
    let freezer = leaf(&daemon, "globex").join("cgroup.freeze");
    fs::write(&freezer, "1").unwrap();
    daemon.until_tenant("globex", |tenant| tenant.paused);
    fs::write(&freezer, "0").unwrap();
    daemon.until_tenant("globex", |tenant| !tenant.paused);
    daemon.end();
}

#[test]
fn a_paused_tenant_is_stopped_and_restarted_as_usual() {
    let daemon = start();
    pauses(&daemon);
    let before = daemon.tenant("acme").pid;
    daemon.tell(&["restart", "acme"]).expect(0);
    let acme = daemon.tenant("acme");
    assert_ne!(acme.pid, before);
    assert!(!acme.paused);
    assert_eq!(acme.killed, None, "it was asked to end, and did");
    assert!(answers("10.77.0.11"));
    pauses(&daemon);
    daemon.tell(&["stop", "acme"]).expect(0);
    let acme = daemon.tenant("acme");
    assert_eq!(
        (acme.state, acme.paused, acme.killed),
        (StateWord::Down, false, None)
    );
    let refused = daemon.tell(&["pause", "acme"]);
    assert_eq!(refused.code, 1);
    assert!(format!("{refused:?}").contains("it is down"), "{refused:?}");
    daemon.end();
}

#[test]
fn a_paused_tenant_that_is_killed_is_started_again() {
    let daemon = start();
    pauses(&daemon);
    let before = daemon.tenant("acme").pid.unwrap();
    let pid = nix::unistd::Pid::from_raw(i32::try_from(before).unwrap());
    nix::sys::signal::kill(pid, nix::sys::signal::Signal::SIGKILL).unwrap();
    let acme = daemon.until_tenant("acme", |it| {
        it.ready == Some(true) && it.pid != Some(before)
    });
    assert!(!acme.paused);
    assert!(answers("10.77.0.11"));
    daemon.end();
}

/// A pause may be asked for at any moment of a restart. It is refused, or what it paused is paused: no launch is left
/// frozen, and no end waits for its grace.
#[test]
fn a_pause_beside_a_restart_freezes_no_launch() {
    let daemon = start();
    for round in 0..2 {
        let said = std::thread::scope(|scope| {
            let pauses = scope.spawn(|| {
                let orders = (0..3 + round).map(|_| daemon.tell(&["pause", "acme"]).code);
                orders.collect::<Vec<i32>>()
            });
            daemon.tell(&["restart", "acme"]).expect(0);
            pauses.join().unwrap()
        });
        assert!(said.iter().all(|code| [0, 1].contains(code)), "{said:?}");
        let acme = daemon.tenant("acme");
        assert_eq!(
            (acme.state, acme.ready, acme.killed),
            (StateWord::Up, Some(true), None)
        );
        daemon.tell(&["resume", "acme"]).expect(0);
        assert!(answers("10.77.0.11"));
    }
    daemon.end();
}

#[test]
fn a_host_that_cannot_take_memory_refuses_to_hibernate() {
    let daemon = start();
    let tree = leaf(&daemon, "acme");
    let has = tree.join("memory.reclaim").exists()
        || fs::read_to_string("/sys/fs/cgroup/cgroup.controllers")
            .is_ok_and(|all| all.split_whitespace().any(|it| it == "memory"));
    let said = daemon.tell(&["hibernate", "acme"]);
    if has {
        assert!(said.out.contains("its memory shrank by"), "{said:?}");
        daemon.until_tenant("acme", |tenant| tenant.paused);
    } else {
        assert_eq!(said.code, 1, "{said:?}");
        assert!(
            format!("{said:?}").contains("lacks the controller memory"),
            "{said:?}"
        );
        assert!(answers("10.77.0.11"), "it is not paused either");
    }
    daemon.end();
}
