//! The steps that are measured, one function each.

use std::collections::HashMap;
use std::io::{Read, Write};
use std::os::unix::net::UnixStream;
use std::process::Command;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use nix::sys::signal::Signal;
use tenantd_api::client::Connection;
use tenantd_api::wire;
use tenantd_core::name::AppName;

use crate::PROGRAM;
use crate::crew::Crew;
use crate::support::daemon::signal;

/// The time until a client has the status of all, and the longest time that another client waited meanwhile.
pub fn status(crew: &Crew) -> (Duration, Duration) {
    let app: AppName = crew.app().parse().unwrap();
    let ended = AtomicBool::new(false);
    std::thread::scope(|threads| {
        let waited = threads.spawn(|| probe(&app, &ended));
        let begun = Instant::now();
        let status = converse(async {
            let mut connection = Connection::open(&app).await.unwrap();
            connection.status(&[]).await.unwrap()
        });
        let taken = begun.elapsed();
        ended.store(true, Ordering::Relaxed);
        assert!(!status.tenants.is_empty());
        (taken, waited.join().unwrap())
    })
}

/// The time of `status --json` on the command line.
pub fn printed(crew: &Crew) -> Duration {
    let begun = Instant::now();
    crew.tell(&["status", "--json"]).expect(0);
    begun.elapsed()
}

/// The time until a shell has the names of all tenants, of which it completes one.
pub fn completed(crew: &Crew) -> Duration {
    let begun = Instant::now();
    // As the completion of bash asks: the last word, which has the number 4, is to be completed.
    let said = Command::new(PROGRAM)
        .args(["--", "tenantd", "--app", crew.app(), "status", "t"])
        .env("TENANTD_COMPLETE", "bash")
        .env("_CLAP_COMPLETE_INDEX", "4")
        .env("_CLAP_IFS", "\n")
        .output()
        .unwrap();
    let taken = begun.elapsed();
    let names = String::from_utf8(said.stdout).unwrap();
    assert_eq!(names.lines().count(), crew.victims().len(), "{names}");
    taken
}

/// Kills some tenants at random, and waits until each runs again, as another process.
pub fn kill(crew: &Crew, count: usize) -> Duration {
    let mut victims = crew.victims();
    let seed = victims
        .iter()
        .fold(7_u64, |seed, pid| seed.rotate_left(5) ^ u64::from(*pid));
    let mut random = seed;
    for index in 0..count {
        random = random
            .wrapping_mul(6_364_136_223_846_793_005)
            .wrapping_add(1);
        let left = u64::try_from(victims.len() - index).unwrap();
        victims.swap(
            index,
            index + usize::try_from((random >> 33) % left).unwrap(),
        );
    }
    victims.truncate(count);
    let begun = Instant::now();
    for &pid in &victims {
        signal(pid, Signal::SIGKILL);
    }
    loop {
        let now: HashMap<u32, ()> = crew.victims().into_iter().map(|pid| (pid, ())).collect();
        if victims.iter().all(|pid| !now.contains_key(pid)) {
            return begun.elapsed();
        }
    }
}

/// Changes the line of one tenant so that it is changed live, and reloads.
pub fn reload(crew: &Crew, round: usize) -> Duration {
    let text = std::fs::read_to_string(crew.manifest()).unwrap();
    let line = text.lines().find(|line| line.starts_with("t7 ")).unwrap();
    let ip = line.split('"').nth(1).unwrap();
    let new =
        format!("t7 = {{ ip = \"{ip}\", resolv = {{ nameservers = [\"10.77.1.{round}\"] }} }}");
    std::fs::write(crew.manifest(), text.replace(line, &new)).unwrap();
    let begun = Instant::now();
    crew.tell(&["reload"]).expect(0);
    begun.elapsed()
}

/// Upgrades to the same program.
pub fn upgrade(crew: &Crew) -> Duration {
    let begun = Instant::now();
    crew.tell(&["upgrade"]).expect(0);
    begun.elapsed()
}

/// The longest stretch in a log of a supervisor.
pub fn longest(log: &str) -> Duration {
    let of_line = |line: &str| {
        let (_, fields) = line.split_once("long stretch microseconds=")?;
        let number = fields.split_whitespace().next()?;
        Some(Duration::from_micros(number.parse().unwrap()))
    };
    log.lines().filter_map(of_line).max().unwrap_or_default()
}

fn converse<T>(conversation: impl Future<Output = T>) -> T {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build();
    runtime.unwrap().block_on(conversation)
}

/// Repeats a small request that the loop answers. Returns the longest time until an answer.
fn probe(app: &AppName, ended: &AtomicBool) -> Duration {
    let mut stream = UnixStream::connect(wire::control_socket(app)).unwrap();
    let mut longest = Duration::ZERO;
    while !ended.load(Ordering::Relaxed) {
        let begun = Instant::now();
        stream
            .write_all(b"{\"method\":\"io.tenantd.Supervisor.Manifest\"}\0")
            .unwrap();
        let mut answer = [0; 1024];
        let mut last = None;
        while last != Some(0) {
            let read = stream.read(&mut answer).unwrap();
            last = answer[..read].last().copied();
            assert!(last.is_some(), "the supervisor closed the connection");
        }
        longest = longest.max(begun.elapsed());
    }
    longest
}
