//! What tenants have used, by real work: read while they run, kept when they are released.

use std::fs;
use std::net::UdpSocket;
use std::path::Path;

use tenantd_host::counters::last::{self, Kept};
use tenantd_host::counters::{Counters, Links, boot, of_cgroup};

use crate::support::daemon::{Daemon, until};
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
import time, resource
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
    f64::from(u32::try_from(usec).unwrap()) / 1e6
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
