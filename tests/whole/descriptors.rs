//! Which descriptors a tenant costs, and what keeps its output and network while nobody has one.

use std::fmt::Write;
use std::fs;

use nix::sys::signal::Signal;
use rustix::process::{Pid, Resource, Rlimit, getrlimit, prlimit};
use tenantd_api::wire::StateWord;

use crate::support::daemon::{Daemon, ends, pidfd, signal, until};
use crate::support::netns;
use crate::support::place::{self, script};
use crate::syslog::{found_collector, logged};

/// What a process has without tenants, as `check` reckons.
const OWN: usize = 96;

/// How many descriptors a process has.
pub fn open(pid: u32) -> usize {
    fs::read_dir(format!("/proc/{pid}/fd")).unwrap().count()
}

/// How many processes a process has put aside: no child of a launch copies these descriptors.
fn aside(pid: u32) -> usize {
    let open = fs::read_dir(format!("/proc/{pid}/fd")).unwrap();
    let open = open.filter_map(|fd| {
        let fd = fd.ok()?;
        let number: u32 = fd.file_name().to_str()?.parse().ok()?;
        Some((number, fs::read_link(fd.path()).ok()?))
    });
    open.filter(|(number, link)| *number >= 2048 && link.ends_with("anon_inode:[pidfd]"))
        .count()
}

fn collector(daemon: &Daemon) -> u32 {
    found_collector(daemon).unwrap().cast_unsigned()
}

fn start(program: &str, tenants: usize) -> Daemon {
    place::host();
    place::folder("/srv/data");
    script("app", program);
    let mut manifest =
        "[app]\nname = \"APP\"\nuser = \"root\"\ncommand = [\"/srv/app\"]\ndatastore.path = \"/srv/data\"\n\
                        [app.restart]\ndelay = \"10m\"\ndelay_max = \"10m\"\nstrikes = 0\n[tenants]\n"
            .to_owned();
    for number in 1..=tenants {
        let address = 10 + number;
        writeln!(manifest, "t{number} = {{ ip = \"10.77.0.{address}\" }}").unwrap();
    }
    Daemon::start_settled(&manifest)
}

/// The numbered lines of a tenant, in the order of its log.
fn lines(daemon: &Daemon, tenant: &str) -> Vec<u64> {
    let log = logged(daemon, tenant, "stdout");
    let numbers = log
        .iter()
        .filter_map(|line| line.strip_prefix("line ")?.parse().ok());
    numbers.collect()
}

#[test]
fn a_hundred_tenants_need_one_descriptor_each_and_three_of_the_log_collector() {
    let mut daemon = start("echo ready\nexec sleep 1000000", 100);
    for how in ["started", "adopted", "upgraded"] {
        match how {
            "adopted" => {
                daemon.kill();
                daemon.again();
            }
            "upgraded" => drop(daemon.tell(&["upgrade"]).expect(0)),
            _ => {}
        }
        // Their output is passed to the collector after the supervisor has begun.
        until("the supervisor has few descriptors", || {
            (open(daemon.pid()) <= OWN + 100).then_some(())
        });
        assert!(open(collector(&daemon)) <= OWN + 3 * 100, "{how}");
        assert_eq!(netns::kept(daemon.pid()).len(), 100, "{how}");
        assert_eq!(aside(daemon.pid()), 100, "{how}");
    }
    daemon.end();
}

#[test]
fn the_last_output_of_a_tenant_that_ends_without_a_supervisor_is_kept() {
    let mut daemon = start(
        "trap 'echo last words; exit 3' TERM\necho ready\nwhile :; do sleep 0.05; done",
        1,
    );
    let tenant = daemon.tenant("t1").pid.unwrap();
    let process = pidfd(tenant);
    let supervisor = daemon.pid();
    until("the collector holds its output", || {
        let open = fs::read_dir(format!("/proc/{supervisor}/fd")).unwrap();
        let links = open.filter_map(|fd| fs::read_link(fd.ok()?.path()).ok());
        let mut its = links.filter(|link| link.ends_with("tenants/t1/stdout"));
        its.next().is_none().then_some(())
    });
    daemon.kill();
    signal(tenant, Signal::SIGTERM);
    assert!(ends(&process, std::time::Duration::from_secs(10)));
    daemon.again();
    daemon.until_state("t1", StateWord::Waiting);
    until("its last output is in its log", || {
        let log = daemon.tell(&["logs", "t1"]).expect(0);
        (log.matches("last words").count() == 1).then_some(())
    });
    daemon.end();
}

#[test]
fn no_line_is_lost_or_doubled_if_the_log_collector_dies() {
    let daemon = start(
        "i=0\nwhile :; do i=$((i+1)); echo line $i; sleep 0.01; done",
        2,
    );
    for _ in 0..2 {
        let before = collector(&daemon);
        let process = pidfd(before);
        signal(before, Signal::SIGKILL);
        assert!(ends(&process, std::time::Duration::from_secs(10)));
        let seen = ["t1", "t2"].map(|tenant| lines(&daemon, tenant).len());
        until("another collector runs", || {
            found_collector(&daemon).filter(|pid| pid.cast_unsigned() != before)
        });
        for (tenant, seen) in ["t1", "t2"].into_iter().zip(seen) {
            until("its output is read", || {
                (lines(&daemon, tenant).len() > seen + 50).then_some(())
            });
        }
        until("the next one holds the output", || {
            (open(daemon.pid()) <= OWN).then_some(())
        });
    }
    for tenant in ["t1", "t2"] {
        let found = lines(&daemon, tenant);
        let all: Vec<u64> = (1..=found.len() as u64).collect();
        assert_eq!(found, all, "{tenant}");
    }
    daemon.end();
}

#[test]
fn another_log_collector_starts_although_few_descriptors_are_left() {
    const TENANTS: usize = 60;
    let daemon = start("echo ready\nexec sleep 1000000", TENANTS);
    until("the collector holds the output", || {
        (open(daemon.pid()) <= OWN + TENANTS).then_some(())
    });
    let (before, old) = (open(daemon.pid()), collector(&daemon));
    // Too few for the pipes of all tenants.
    let had = limit(daemon.pid(), u64::try_from(before + 100).unwrap());
    signal(old, Signal::SIGKILL);
    let new = until("another collector runs", || {
        found_collector(&daemon).filter(|pid| pid.cast_unsigned() != old)
    });
    limit(daemon.pid(), had);
    limit(new.cast_unsigned(), had);
    until("it holds the output of all", || {
        let held = open(new.cast_unsigned()) >= 2 * TENANTS;
        (held && open(daemon.pid()) <= before).then_some(())
    });
    daemon.end();
}

/// Sets the soft limit on open files of a process. Returns the one before.
pub fn limit(process: u32, soft: u64) -> u64 {
    let pid = Pid::from_raw(process.cast_signed()).unwrap();
    let limit = Rlimit {
        current: Some(soft),
        maximum: getrlimit(Resource::Nofile).maximum,
    };
    let before = prlimit(Some(pid), Resource::Nofile, limit).unwrap();
    before.current.unwrap()
}
