//! What it costs to watch many tenants: a round of the meter, a scrape of the metrics, and what both add to the
//! supervisor.
//!
//! The floor of a round and of a scrape is one reading of the same counters by this process. `cargo bench --bench
//! metering` measures 1,000 tenants, `-- -n 100` fewer. It needs root, and makes its own test host.

#![allow(unreachable_pub, reason = "the shared modules are private here")]

#[path = "../cold_start/crew.rs"]
#[allow(dead_code, reason = "the cold start uses all of it")]
mod crew;
#[path = "../cold_start/sheet.rs"]
mod sheet;
#[path = "../../tests/support/mod.rs"]
mod support;

use std::fs;
use std::io::{Read, Write};
use std::os::unix::net::UnixStream;
use std::path::PathBuf;
use std::process::{Child, Command};
use std::time::{Duration, Instant};

use tenantd_api::wire::{AppStatus, TenantStatus};
use tenantd_host::counters::{Cgroups, HeldLinks, Links, Trees};

use crew::{Crew, as_divisor, count, median, ms};
use sheet::Sheet;
use support::daemon::PROGRAM;

/// How often each is measured, of which the median counts.
const ROUNDS: usize = 21;

/// The time between two rounds of the meter: longer than one takes.
const INTERVAL: Duration = Duration::from_millis(200);

/// How long it is watched.
const WATCHED: Duration = Duration::from_secs(10);

const SOCKET: &str = "/run/metrics/socket";

fn main() {
    let count = count().unwrap_or(1000);
    support::place::host();
    support::place::folder("/srv/data");
    crew::program();
    let crew = Crew::start(PROGRAM, count);
    let mut sheet = Sheet::default();
    let (metered_floor, floor) = floors(&crew);
    let before = crew.size();
    let (round, woken) = metered();
    sheet
        .figure(
            &format!("a round of the meter, {count} tenants, CPU ms"),
            vec![round],
        )
        .floor(metered_floor)
        .goal(20.0);
    let scrape = scraped();
    sheet
        .figure(&format!("a scrape of {count} tenants, ms"), vec![scrape])
        .floor(floor)
        .goal(50.0);
    let watching = (Meter::start(), Exporter::start());
    let asleep = crew.woken(WATCHED);
    sheet
        .figure(
            "wake-ups of the supervisor meanwhile, in 10 s",
            vec![asleep],
        )
        .goal(0.0);
    sheet
        .figure("wake-ups of the meter, for each round", vec![woken])
        .goal(1.5);
    let grown = (crew.size().heap - before.heap) / as_divisor(count);
    sheet
        .figure(
            "supervisor's memory by both, KB for each tenant",
            vec![grown],
        )
        .goal(1.0);
    drop(watching);
    // The test host is as it was before.
    fs::remove_dir_all("/run/metrics").unwrap();
    crew.stop();
    sheet.print();
}

/// The time of one reading of all counters by this process in ms: with files that stay open, as the meter has them, and
/// of the paths.
fn floors(crew: &Crew) -> (f64, f64) {
    let said = crew.tell(&["status", "--json"]);
    let status: AppStatus = serde_json::from_str(&said.out).unwrap();
    let of = |tenant: &TenantStatus| {
        let cgroup = PathBuf::from(tenant.cgroup.as_deref().unwrap());
        (cgroup, tenant.link.clone().unwrap())
    };
    let all: Vec<(PathBuf, String)> = status.tenants.iter().map(of).collect();
    let (mut cgroups, mut links) = (Cgroups::new(), HeldLinks::new().unwrap());
    let mut held = || {
        let begun = Instant::now();
        cgroups.begin();
        links.begin().unwrap();
        for (cgroup, link) in &all {
            assert!(cgroups.read(cgroup).unwrap().is_some());
            assert!(links.named(link).unwrap().is_some());
        }
        ms(begun.elapsed())
    };
    let by_path = || {
        let begun = Instant::now();
        let (trees, links) = (Trees::default(), Links::all().unwrap());
        for (cgroup, link) in &all {
            assert!(trees.of_cgroup(cgroup).unwrap().is_some());
            assert!(links.named(link).unwrap().is_some());
        }
        ms(begun.elapsed())
    };
    held();
    let held = median((0..ROUNDS).map(|_| held()).collect());
    (held, median((0..ROUNDS).map(|_| by_path()).collect()))
}

/// A process that watches. Dropping it kills it.
struct Watcher(Child);

struct Meter;
struct Exporter;

impl Meter {
    fn start() -> Watcher {
        let mut command = Command::new(PROGRAM);
        let interval = format!("{}ms", INTERVAL.as_millis());
        // The datastores are measured at another pace.
        command.args(["meter", "--interval", &interval, "--datastores", "1h"]);
        Watcher(command.spawn().unwrap())
    }
}

impl Exporter {
    fn start() -> Watcher {
        let mut command = Command::new(PROGRAM);
        command.args(["metrics", "--listen", &format!("unix:{SOCKET}")]);
        let watcher = Watcher(command.spawn().unwrap());
        support::until("it serves", || UnixStream::connect(SOCKET).is_ok());
        watcher
    }
}

impl Drop for Watcher {
    fn drop(&mut self) {
        self.0.kill().unwrap();
        self.0.wait().unwrap();
    }
}

/// The processor time of a round of the meter in ms, and how often it woke up for one.
fn metered() -> (f64, f64) {
    let meter = Meter::start();
    // Its first rounds take all tenants in.
    std::thread::sleep(10 * INTERVAL);
    let used = || {
        let folder = format!("/proc/{}", meter.0.id());
        let text = fs::read_to_string(format!("{folder}/schedstat")).unwrap();
        let nanoseconds: f64 = text.split(' ').next().unwrap().parse().unwrap();
        let status = fs::read_to_string(format!("{folder}/status")).unwrap();
        let line = status
            .lines()
            .find_map(|it| it.strip_prefix("voluntary_ctxt_switches:"));
        let slept: f64 = line.unwrap().trim().parse().unwrap();
        (nanoseconds / 1e6, slept)
    };
    let before = used();
    let begun = Instant::now();
    std::thread::sleep(WATCHED);
    let after = used();
    let rounds = begun.elapsed().as_secs_f64() / INTERVAL.as_secs_f64();
    ((after.0 - before.0) / rounds, (after.1 - before.1) / rounds)
}

/// The time of a scrape in ms.
fn scraped() -> f64 {
    fs::create_dir_all("/run/metrics").unwrap();
    let _exporter = Exporter::start();
    let scrape = || {
        let begun = Instant::now();
        let mut stream = UnixStream::connect(SOCKET).unwrap();
        write!(
            stream,
            "GET /metrics HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n"
        )
        .unwrap();
        let mut answer = String::new();
        stream.read_to_string(&mut answer).unwrap();
        assert!(
            answer.contains("tenantd_tenant_cpu_seconds_total{"),
            "{answer}"
        );
        ms(begun.elapsed())
    };
    // It knows the tenants a moment later.
    scrape();
    median((0..ROUNDS).map(|_| scrape()).collect())
}
