//! What tenants have used, by real work: read while they run, kept when they are released.

use std::fs;
use std::net::UdpSocket;
use std::path::Path;
use std::process::{Child, Command};

use tenantd_api::usage::{Amounts, Usage};
use tenantd_host::counters::last::{self, Kept};
use tenantd_host::counters::{Counters, Links, boot, of_cgroup};

use crate::support::daemon::{Daemon, PROGRAM, tenantd, until};
use crate::support::place::{self, script};

const MANIFEST: &str = r#"
[app]
name = "APP"
user = "root"
command = ["/srv/app"]
datastore.path = "/srv/data"
[tenants]
acme = { ip = "10.77.0.11" }
globex = { ip = "10.77.0.12" }
"#;

/// Works until it has used some time of the processor, tells how much in `/srv/data/used`, and waits.
const WORK: &str = "python3 -c '
import time
while time.process_time() < 0.5: pass
open(\"/srv/data/used.new\", \"w\").write(str(time.process_time()))
import os; os.rename(\"/srv/data/used.new\", \"/srv/data/used\")
'
exec sleep 1000000";

fn host() {
    place::host();
    place::folder("/srv/data");
    script("app", WORK);
}

fn worked(daemon: &Daemon, tenant: &str) {
    let used = format!("/var/lib/tenantd/{}/{tenant}/used", daemon.app);
    until("the work is done", || {
        Path::new(&used).exists().then_some(())
    });
}

/// What `status` names, read.
fn read(daemon: &Daemon, tenant: &str) -> Counters {
    let status = daemon.tenant(tenant);
    let cgroup = status
        .cgroup
        .map(|path| of_cgroup(Path::new(&path)).unwrap());
    let link = status
        .link
        .map(|name| Links::all().unwrap().named(&name).unwrap());
    Counters {
        cgroup: cgroup.flatten(),
        link: link.flatten(),
    }
}

fn kept(tenant: &str) -> Vec<Counters> {
    let of = |kept: &Kept| kept.tenant.as_str() == tenant;
    let all = last::all().unwrap().into_iter().filter(of);
    let counters = |kept: Kept| {
        let last = kept.last.unwrap();
        assert_eq!(last.boot, boot().unwrap());
        last.counters
    };
    all.map(counters).collect()
}

/// The processor time of a reading, in seconds.
fn seconds(counters: &Counters) -> f64 {
    let usec = counters.cgroup.unwrap().cpu_usec.unwrap();
    number(usec) / 1e6
}

#[test]
fn last_counters_are_kept_before_a_release() {
    host();
    let daemon = Daemon::start_settled(MANIFEST);
    worked(&daemon, "acme");
    worked(&daemon, "globex");
    // Nobody would read them.
    daemon.tell(&["stop", "globex"]).expect(0);
    assert!(!Path::new("/var/lib/tenantd/.meter").exists());
    assert_eq!(read(&daemon, "globex"), Counters::default());

    fs::create_dir_all(last::ROOT).unwrap();
    let before = read(&daemon, "acme");
    assert!((0.5..2.0).contains(&seconds(&before)), "{before:?}");
    // Nobody listens: each is answered with an ICMP message, up to a rate.
    let socket = UdpSocket::bind("10.77.0.1:0").unwrap();
    for _ in 0..3 {
        socket.send_to(&[0; 1000], "10.77.0.11:9").unwrap();
    }
    let after = read(&daemon, "acme");
    let (before, link) = (before.link.unwrap(), after.link.unwrap());
    assert_eq!(before.index, link.index);
    let bytes = link.in_bytes - before.in_bytes;
    assert!(
        (3 * 1042..3 * 1042 + 500).contains(&bytes),
        "{before:?} {link:?}"
    );
    assert!(link.out_bytes > before.out_bytes, "{before:?} {link:?}");
    daemon.tell(&["stop", "acme"]).expect(0);
    let kept = kept("acme");
    let [last] = kept.as_slice() else {
        panic!("{kept:?}");
    };
    assert_eq!(last.cgroup.unwrap().id, after.cgroup.unwrap().id);
    assert!(seconds(last) >= seconds(&after));
    assert!(last.link.unwrap().in_bytes >= link.in_bytes);
    // The next provision counts from the beginning, and is known by that.
    daemon.tell(&["start", "acme"]).expect(0);
    let next = read(&daemon, "acme");
    assert_ne!(next.cgroup.unwrap().id, last.cgroup.unwrap().id);
    assert_ne!(next.link.unwrap().index, last.link.unwrap().index);
    daemon.end();
    assert_eq!(self::kept("acme").len(), 2);
}

#[test]
fn counters_survive_restarts_of_the_program_and_of_the_supervisor() {
    host();
    fs::create_dir_all(last::ROOT).unwrap();
    let mut daemon = Daemon::start_settled(MANIFEST);
    worked(&daemon, "acme");
    let first = read(&daemon, "acme");
    fs::remove_file(format!("/var/lib/tenantd/{}/acme/used", daemon.app)).unwrap();
    daemon.tell(&["restart", "acme"]).expect(0);
    worked(&daemon, "acme");
    let second = read(&daemon, "acme");
    assert_eq!(first.cgroup.unwrap().id, second.cgroup.unwrap().id);
    assert_eq!(first.link.unwrap().index, second.link.unwrap().index);
    assert!(
        seconds(&second) > seconds(&first) + 0.45,
        "{first:?} {second:?}"
    );
    daemon.kill();
    daemon.again();
    let third = read(&daemon, "acme");
    assert_eq!(second.cgroup.unwrap().id, third.cgroup.unwrap().id);
    assert!(seconds(&third) >= seconds(&second));
    assert_eq!(kept("acme"), []);
    daemon.end();
    assert_eq!(kept("acme").len(), 1);
}

#[test]
fn counters_that_are_kept_twice_name_the_same_objects() {
    host();
    fs::create_dir_all(last::ROOT).unwrap();
    let mut daemon = Daemon::spawn_armed(MANIFEST, "release: namespace let go@acme");
    daemon.settles();
    worked(&daemon, "acme");
    let id = read(&daemon, "acme").cgroup.unwrap().id;
    assert_ne!(daemon.tell(&["stop", "acme"]).code, 0);
    daemon.wait();
    daemon.again();
    daemon.settles();
    daemon.end();
    let ids = kept("acme").into_iter().map(|it| it.cgroup.unwrap().id);
    let ids: Vec<u64> = ids.collect();
    assert_eq!(ids.iter().filter(|it| **it == id).count(), 2, "{ids:?}");
    let orphan = kept("globex");
    assert_eq!(orphan.len(), 1, "{orphan:?}");
}

/// An application whose program works three times, each time until it has used a second of the processor, and
/// exits. It notes what it used in `/srv/data/used`, a line each.
const THREE: &str = "python3 -c '
import time
while time.process_time() < 1: pass
open(\"/srv/data/used\", \"a\").write(str(time.process_time()) + \"\\n\")
'
[ $(wc -l < /srv/data/used) = 3 ] && exec sleep 1000000
exit 1";

/// A meter. Dropping it kills it.
struct Meter(Child);

impl Meter {
    fn start() -> Self {
        let mut command = Command::new(PROGRAM);
        command.args(["meter", "--interval", "50ms", "--datastores", "50ms"]);
        Self(command.spawn().unwrap())
    }
}

impl Drop for Meter {
    fn drop(&mut self) {
        self.0.kill().unwrap();
        self.0.wait().unwrap();
    }
}

/// What a tenant has used in all days of this test.
fn used(daemon: &Daemon, tenant: &str) -> Option<Amounts> {
    let said = tenantd(&["usage", "--json", "--from", "2020-01", "--app", &daemon.app]);
    // Before the first round there is no store.
    let days: Vec<Usage> = serde_json::from_str(&said.out).ok()?;
    let days = days.into_iter().filter(|day| day.tenant.as_str() == tenant);
    days.map(|day| day.amounts).reduce(|mut sum, day| {
        sum.add(&day);
        sum
    })
}

/// The lines of what a tenant noted, in microseconds.
fn noted(daemon: &Daemon, tenant: &str) -> Vec<f64> {
    let path = format!("/var/lib/tenantd/{}/{tenant}/used", daemon.app);
    let text = fs::read_to_string(path).unwrap_or_default();
    text.lines()
        .map(|line| line.parse::<f64>().unwrap() * 1e6)
        .collect()
}

fn number(metered: u64) -> f64 {
    f64::from(u32::try_from(metered).unwrap())
}

#[track_caller]
fn assert_within(what: &str, metered: u64, expected: f64) {
    let ratio = number(metered) / expected;
    assert!(
        (0.97..1.03).contains(&ratio),
        "{what}: {metered} of {expected}"
    );
}

fn metered_cpu(daemon: &Daemon, tenant: &str) {
    let expected: f64 = noted(daemon, tenant).iter().sum();
    let mut last = 0;
    let enough = || {
        let metered = used(daemon, tenant)?.cpu_usec?;
        if metered != last {
            eprintln!("{tenant}: metered {metered} of {expected} microseconds");
            last = metered;
        }
        (number(metered) >= expected * 0.97).then_some(metered)
    };
    let metered = until("the work is metered", enough);
    assert_within(tenant, metered, expected);
}

/// Sends datagrams to acme. Returns the bytes of their frames.
fn send() -> f64 {
    let socket = UdpSocket::bind("10.77.0.1:0").unwrap();
    for _ in 0..5000 {
        socket.send_to(&[0; 1458], "10.77.0.11:9").unwrap();
    }
    5000.0 * 1500.0
}

#[test]
fn known_work_is_metered_whatever_is_killed() {
    host();
    script("app", THREE);
    let manifest = MANIFEST
        .replace("10.77.0.12\"", "10.77.0.12\", autostart = false")
        .replace("[tenants]", "[app.restart]\ndelay = \"10ms\"\n[tenants]");
    let meter = Meter::start();
    let mut daemon = Daemon::start(&manifest);
    until("the first work is done", || {
        (!noted(&daemon, "acme").is_empty()).then_some(())
    });
    until("a round has seen it", || {
        used(&daemon, "acme")?.cpu_usec.filter(|it| *it > 0)
    });
    drop(meter);
    until("the second work is done", || {
        (noted(&daemon, "acme").len() > 1).then_some(())
    });
    daemon.kill();
    let meter = Meter::start();
    daemon.again();
    until("the third work is done", || {
        (noted(&daemon, "acme").len() > 2).then_some(())
    });
    let sent = send();
    metered_cpu(&daemon, "acme");
    let bytes = || {
        used(&daemon, "acme")?
            .in_bytes
            .filter(|it| number(*it) >= sent * 0.97)
    };
    assert_within("bytes", until("the bytes are metered", bytes), sent);

    // A tenant that starts, works and is released while no meter runs.
    drop(meter);
    daemon.tell(&["start", "--no-wait", "globex"]).expect(0);
    until("its work is done", || {
        (noted(&daemon, "globex").len() > 2).then_some(())
    });
    daemon.tell(&["stop", "globex"]).expect(0);
    assert_eq!(kept("globex").len(), 1);
    let meter = Meter::start();
    metered_cpu(&daemon, "globex");
    until("the meter has read its last counters", || {
        kept("globex").is_empty().then_some(())
    });

    let all = used(&daemon, "acme").unwrap();
    assert_eq!(all.restarts, Some(2), "{all:?}");
    assert!(
        all.up_ms.unwrap() > 2000 && all.out_packets.unwrap() > 0,
        "{all:?}"
    );
    until("the datastore is measured", || {
        used(&daemon, "acme")?.datastore_bytes
    });
    // The machine's tree has no such controllers.
    let controllers = fs::read_to_string("/sys/fs/cgroup/cgroup.controllers").unwrap();
    assert_eq!(
        all.memory_peak.is_some(),
        controllers.contains("memory"),
        "{all:?}"
    );
    daemon.end();
    drop(meter);
}

#[test]
fn usage_is_shown_in_each_form() {
    host();
    let said = tenantd(&["usage"]);
    assert!(
        said.code == 1 && said.err.contains("no meter has run"),
        "{said:?}"
    );
    let meter = Meter::start();
    let daemon = Daemon::start_settled(MANIFEST);
    until("both are metered", || {
        used(&daemon, "acme").and(used(&daemon, "globex"))
    });
    let second = tenantd(&["meter"]);
    assert!(
        second.code == 1 && second.err.contains("another meter runs"),
        "{second:?}"
    );
    let shown = |arguments: &[&str]| tenantd(&[&["usage"], arguments].concat());
    let table = shown(&[]).expect(0);
    assert!(
        table.contains("TENANT") && table.contains("globex"),
        "{table}"
    );
    let csv = shown(&["--csv", "acme"]).expect(0);
    assert!(
        csv.contains(&format!("\n{},acme,", daemon.app)) && !csv.contains("globex"),
        "{csv}"
    );
    let html = shown(&["--html", "--by", "month", "glo*"]).expect(0);
    assert!(
        html.contains("<h2>globex") && html.contains("<svg"),
        "{html}"
    );
    let unknown = shown(&["initech"]);
    assert!(
        unknown.code == 1 && unknown.err.contains("initech"),
        "{unknown:?}"
    );
    assert_eq!(shown(&["--from", "2026-02", "--to", "2026-01"]).code, 1);
    drop(meter);
    daemon.end();
    // Nothing is asked of a supervisor.
    assert_eq!(shown(&["--csv"]).code, 0);
}
