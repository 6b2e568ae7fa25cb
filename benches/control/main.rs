//! How long those who watch and ask keep the loop: with 1,000 tenants, 20 subscribers and `status` in
//! a loop, while tenants are killed and come back.
//!
//! It is measured from outside, on the program as it is installed. A probe sends a small request that
//! the loop itself answers (`Manifest`), again and again, and takes two figures for each: how long the
//! answer took, and how much processor time the loop's thread spent meanwhile, by
//! `/proc/PID/task/PID/schedstat`. The second is the stall that is judged: it counts all that the
//! thread did while something waited for its turn, the request's own turn included, so that no stretch
//! of the loop is longer; and it does not count what other processes of the machine took. The first
//! shows what a peer feels, on a machine that has other things to do.
//!
//! `cargo bench --bench control` measures 1,000 tenants, `-- -n 100` fewer. It needs root, and makes a
//! test host of its own.

#![allow(unreachable_pub, reason = "the shared modules are private here")]

#[path = "../cold_start/crew.rs"]
#[allow(dead_code, reason = "the cold start uses all of it")]
mod crew;
#[path = "../cold_start/sheet.rs"]
#[allow(dead_code, reason = "the cold start uses all of it")]
mod sheet;
#[path = "../../tests/support/mod.rs"]
mod support;

use std::fs;
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

use crew::{Crew, ms, spread};
use sheet::Sheet;
use support::daemon::signal;

/// How many watch.
const SUBSCRIBERS: usize = 20;

/// How long each figure is measured.
const WATCHED: Duration = Duration::from_secs(10);

/// How often a tenant is killed meanwhile.
const KILLED: Duration = Duration::from_millis(20);

fn main() {
    let count = count().unwrap_or(1000);
    support::place::host();
    support::place::folder("/srv/data");
    crew::program();
    let crew = Crew::start(support::daemon::PROGRAM, count);
    let mut sheet = Sheet::default();
    let idle = measure(&crew, 0, false);
    idle.show("nobody watches or asks", &mut sheet, None);
    let watched = measure(&crew, SUBSCRIBERS, false);
    watched.show("20 watch", &mut sheet, Some(5.0));
    let both = measure(&crew, SUBSCRIBERS, true);
    both.show("20 watch, and status in a loop", &mut sheet, Some(5.0));
    sheet.figure(
        "events told to the 20 in that time",
        vec![spread(both.told)],
    );
    let each = ms(WATCHED) / spread(both.asked);
    sheet.figure("a status of all, ms", vec![each]);
    crew.stop();
    sheet.print();
}

/// What was found within [`WATCHED`].
#[derive(Debug, Default)]
struct Found {
    /// The most processor time that the loop's thread spent while a request waited.
    stall: Duration,
    /// The longest that an answer took.
    wait: Duration,
    /// How often `status` was answered.
    asked: usize,
    /// How many events were told.
    told: usize,
}

impl Found {
    fn show(&self, name: &str, sheet: &mut Sheet, goal: Option<f64>) {
        let stall = sheet.figure(&format!("{name}: longest stall, ms"), vec![ms(self.stall)]);
        if let Some(goal) = goal {
            stall.goal(goal);
        }
        sheet.figure(&format!("{name}: longest answer, ms"), vec![ms(self.wait)]);
    }
}

fn measure(crew: &Crew, subscribers: usize, ask: bool) -> Found {
    let (ended, told) = (AtomicBool::new(false), AtomicU64::new(0));
    let app: AppName = crew.app().parse().unwrap();
    let victims = crew.victims();
    let mut found = Found::default();
    scope(|threads| {
        for _ in 0..subscribers {
            threads.spawn(|| converse(watch(&app, &ended, &told)));
        }
        let asking = ask.then(|| threads.spawn(|| converse(ask_on(&app, &ended))));
        threads.spawn(|| {
            for pid in &victims {
                if ended.load(Ordering::Relaxed) {
                    return;
                }
                signal(*pid, Signal::SIGKILL);
                std::thread::sleep(KILLED);
            }
        });
        let mut probe = Probe::new(crew.pid(), &app);
        let begun = Instant::now();
        while begun.elapsed() < WATCHED {
            let (stall, wait) = probe.ask();
            found.stall = found.stall.max(stall);
            found.wait = found.wait.max(wait);
        }
        ended.store(true, Ordering::Relaxed);
        found.asked = asking.map_or(0, |asking| asking.join().unwrap());
    });
    found.told = usize::try_from(told.load(Ordering::Relaxed)).unwrap();
    found
}

async fn watch(app: &AppName, ended: &AtomicBool, told: &AtomicU64) {
    let mut subscription = Subscription::open(app, &[]).await.unwrap();
    while !ended.load(Ordering::Relaxed) {
        let next = tokio::time::timeout(Duration::from_millis(100), subscription.next());
        if let Ok(next) = next.await
            && let Watched::Event(_) = next.unwrap()
        {
            told.fetch_add(1, Ordering::Relaxed);
        }
    }
}

async fn ask_on(app: &AppName, ended: &AtomicBool) -> usize {
    let mut asked = 0;
    while !ended.load(Ordering::Relaxed) {
        // A connection each, as the command line does.
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

/// Asks the loop for something small.
struct Probe {
    stream: UnixStream,
    schedstat: String,
}

impl Probe {
    fn new(pid: u32, app: &AppName) -> Self {
        Self {
            stream: UnixStream::connect(wire::control_socket(app)).unwrap(),
            schedstat: format!("/proc/{pid}/task/{pid}/schedstat"),
        }
    }

    /// The processor time of the loop's thread, and the time of the clock, until the answer is there.
    fn ask(&mut self) -> (Duration, Duration) {
        let (begun, before) = (Instant::now(), self.spent());
        let request = b"{\"method\":\"io.tenantd.Supervisor.Manifest\"}\0";
        self.stream.write_all(request).unwrap();
        let mut answer = [0; 1024];
        let mut last = None;
        while last != Some(0) {
            let read = self.stream.read(&mut answer).unwrap();
            last = answer[..read].last().copied();
            assert!(last.is_some(), "the supervisor closed the connection");
        }
        (self.spent() - before, begun.elapsed())
    }

    fn spent(&self) -> Duration {
        let text = fs::read_to_string(&self.schedstat).unwrap();
        let nanoseconds = text.split_whitespace().next().unwrap();
        Duration::from_nanos(nanoseconds.parse().unwrap())
    }
}

/// `-n COUNT`. Cargo adds `--bench`, which is of no use here.
fn count() -> Option<usize> {
    let mut arguments = std::env::args().skip_while(|argument| argument != "-n");
    let count = arguments.nth(1)?;
    Some(count.parse().expect("-n takes a number of tenants"))
}
