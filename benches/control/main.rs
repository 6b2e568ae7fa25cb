//! How long clients that watch tenants and send requests occupy the loop: with 1,000 tenants, 20
//! subscribers and `status` in a loop, while tenants are killed and restarted, and while all of
//! them are restarted at once.
//!
//! The main figure is reported by the program itself, as it is installed: it logs each stretch of
//! more than 2 ms, the processor time of the loop's thread between two checks for new events. A
//! figure of 2 ms means that no stretch was longer.
//!
//! The time that a client waits is measured from outside: a probe repeats a small request that the
//! loop answers (`Manifest`). It includes the time of other processes on the machine.
//!
//! `cargo bench --bench control` measures with 1,000 tenants, `-- -n 100` with fewer. It needs
//! root, and makes its own test host.

#![allow(unreachable_pub, reason = "the shared modules are private here")]

#[path = "../cold_start/crew.rs"]
#[allow(dead_code, reason = "the cold start uses all of it")]
mod crew;
#[path = "../cold_start/sheet.rs"]
#[allow(dead_code, reason = "the cold start uses all of it")]
mod sheet;
#[path = "../../tests/support/mod.rs"]
mod support;

use std::io::{Read, Write};
use std::os::unix::net::UnixStream;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::thread::scope;
use std::time::{Duration, Instant};

use nix::sys::signal::Signal;
use tenantd_api::client::Connection;
use tenantd_api::client::watch::{Subscription, Watched};
use tenantd_api::wire;
use tenantd_core::name::AppName;

use crew::{Crew, as_divisor, count, ms};
use sheet::Sheet;
use support::daemon::signal;

/// The number of subscribers.
const SUBSCRIBERS: usize = 20;

/// The duration of each measurement.
const WATCHED: Duration = Duration::from_secs(10);

/// The pause between two kills of tenants.
const KILLED: Duration = Duration::from_millis(20);

/// Shorter stretches are not logged.
const LONG: Duration = Duration::from_millis(2);

fn main() {
    let count = count().unwrap_or(1000);
    let mut sheet = Sheet::default();
    support::place::host();
    support::place::folder("/srv/data");
    crew::program();
    let log = ("TENANTD_LOG", "info,tenantd::stretch=debug");
    let crew = Crew::start_with(support::daemon::PROGRAM, count, &[log]);
    let idle = measure(&crew, 0, false, kill);
    idle.show("without clients", &mut sheet);
    let watched = measure(&crew, SUBSCRIBERS, false, kill);
    watched.show("20 subscribers", &mut sheet);
    let both = measure(&crew, SUBSCRIBERS, true, kill);
    both.show("20 subscribers, and status in a loop", &mut sheet);
    let restart = measure(&crew, SUBSCRIBERS, true, restart);
    restart.show("the same, while all are restarted", &mut sheet);
    sheet
        .figure(
            "events sent to the 20 subscribers in that time",
            vec![as_divisor(both.events)],
        )
        .unjudged();
    let each = ms(WATCHED) / as_divisor(both.asked);
    sheet.figure("a status of all, ms", vec![each]);
    crew.stop();
    sheet.print();
}

/// The result of a measurement of [`WATCHED`].
#[derive(Debug)]
struct Found {
    /// The logged stretches.
    long: Vec<Duration>,
    /// The longest time until an answer.
    wait: Duration,
    /// The number of answers to `status`.
    asked: usize,
    /// The number of events that were sent.
    events: usize,
}

impl Found {
    fn show(&self, name: &str, sheet: &mut Sheet) {
        let longest = self.long.iter().max().copied().unwrap_or(LONG).max(LONG);
        sheet
            .figure(&format!("{name}: longest stretch, ms"), vec![ms(longest)])
            .goal(5.0);
        sheet.figure(
            &format!("{name}: stretches over 2 ms"),
            vec![as_divisor(self.long.len())],
        );
        sheet.figure(&format!("{name}: longest answer, ms"), vec![ms(self.wait)]);
    }
}

/// Kills the tenants one after the other.
fn kill(crew: &Crew, ended: &AtomicBool) {
    for pid in crew.victims() {
        if ended.load(Ordering::Relaxed) {
            return;
        }
        signal(pid, Signal::SIGKILL);
        std::thread::sleep(KILLED);
    }
}

/// Restarts all tenants at once.
fn restart(crew: &Crew, _ended: &AtomicBool) {
    crew.tell(&["restart", "--all", "--no-wait"]).expect(0);
}

fn measure(
    crew: &Crew,
    subscribers: usize,
    ask: bool,
    disturb: impl Fn(&Crew, &AtomicBool) + Sync,
) -> Found {
    let (ended, events) = (AtomicBool::new(false), AtomicU64::new(0));
    let app: AppName = crew.app().parse().unwrap();
    let logged = crew.log().len();
    let (mut wait, mut asked) = (Duration::ZERO, 0);
    scope(|threads| {
        for _ in 0..subscribers {
            threads.spawn(|| converse(watch(&app, &ended, &events)));
        }
        let asking = ask.then(|| threads.spawn(|| converse(ask_on(&app, &ended))));
        threads.spawn(|| disturb(crew, &ended));
        let mut probe = Probe::new(&app);
        let begun = Instant::now();
        while begun.elapsed() < WATCHED {
            wait = wait.max(probe.ask());
        }
        ended.store(true, Ordering::Relaxed);
        asked = asking.map_or(0, |asking| asking.join().unwrap());
    });
    Found {
        long: stretches(&crew.log()[logged..]),
        wait,
        asked,
        events: usize::try_from(events.load(Ordering::Relaxed)).unwrap(),
    }
}

/// The long stretches in the supervisor's log.
fn stretches(log: &str) -> Vec<Duration> {
    let of_line = |line: &str| {
        let (_, fields) = line.split_once("long stretch microseconds=")?;
        let number = fields.split_whitespace().next()?;
        Some(Duration::from_micros(number.parse().unwrap()))
    };
    log.lines().filter_map(of_line).collect()
}

async fn watch(app: &AppName, ended: &AtomicBool, events: &AtomicU64) {
    let mut subscription = Subscription::open(app, &[]).await.unwrap();
    while !ended.load(Ordering::Relaxed) {
        let next = tokio::time::timeout(Duration::from_millis(100), subscription.next());
        if let Ok(next) = next.await
            && let Watched::Event(_) = next.unwrap()
        {
            events.fetch_add(1, Ordering::Relaxed);
        }
    }
}

async fn ask_on(app: &AppName, ended: &AtomicBool) -> usize {
    let mut asked = 0;
    while !ended.load(Ordering::Relaxed) {
        // A new connection each time, as the command line makes it.
        let mut connection = Connection::open(app).await.unwrap();
        connection.status(&[]).await.unwrap();
        asked += 1;
    }
    asked
}

fn converse<T>(conversation: impl Future<Output = T>) -> T {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build();
    runtime.unwrap().block_on(conversation)
}

/// Sends a small request to the loop.
struct Probe(UnixStream);

impl Probe {
    fn new(app: &AppName) -> Self {
        Self(UnixStream::connect(wire::control_socket(app)).unwrap())
    }

    /// The time until the answer.
    fn ask(&mut self) -> Duration {
        let begun = Instant::now();
        let request = b"{\"method\":\"io.tenantd.Supervisor.Manifest\"}\0";
        self.0.write_all(request).unwrap();
        let mut answer = [0; 1024];
        let mut last = None;
        while last != Some(0) {
            let read = self.0.read(&mut answer).unwrap();
            last = answer[..read].last().copied();
            assert!(last.is_some(), "the supervisor closed the connection");
        }
        begun.elapsed()
    }
}
