//! Many tenants crash all the time beside a good one: it answers, and the supervisor does not grow.
//!
//! By default 30 of them for ten seconds. A hundred for ten minutes, with the figures of the begin and the end:
//!
//! ```sh
//! sudo TENANTD_FLAPPING_SECONDS=600 cargo test --test whole flapping -- --nocapture
//! ```

use std::fmt::Write as _;
use std::fs;
use std::io::{Read, Write};
use std::net::TcpStream;
use std::time::{Duration, Instant};

use crate::support::daemon::{Daemon, LIMIT, until};
use crate::support::place::{self, folder, script};
use crate::support::visit::accepts;

const GOOD: &str = "10.77.0.10:8080";

/// The pause between two requests to the good tenant.
const PAUSE: Duration = Duration::from_millis(10);

/// How much more memory the supervisor may use at the end, in KiB: the heap does not shrink at once.
const GROWTH: u64 = 8 * 1024;

fn start(count: usize) -> Daemon {
    place::host();
    folder("/srv/data");
    script(
        "app",
        "[ \"$1\" = good ] || { sleep 0.2; exit 1; }\n\
         exec /usr/bin/python3 -c 'import socket\n\
         server = socket.create_server((\"\", 8080), backlog=64)\n\
         while True:\n    peer, _ = server.accept()\n    peer.sendall(peer.recv(16))\n    peer.close()'",
    );
    let mut manifest = "[app]\nname = \"APP\"\ncommand = [\"/srv/app\", \"{tenant}\"]\n\
         user = \"nobody\"\ndatastore.path = \"/srv/data\"\n\
         restart = { delay = \"500ms\", delay_max = \"1s\", strikes = 0 }\n\
         [network]\nsubnet = \"10.77.0.0/16\"\n[tenants]\n\
         good = { ip = \"10.77.0.10\" }\n"
        .to_owned();
    for number in 1..=count {
        writeln!(
            manifest,
            "f{number} = {{ ip = \"10.77.1.{number}\", autostart = false }}"
        )
        .unwrap();
    }
    let daemon = Daemon::start_settled(&manifest);
    until("the good one accepts connections", || {
        accepts("10.77.0.10", 8080).then_some(())
    });
    daemon
}

/// What the supervisor has.
#[derive(Debug, Clone, Copy)]
struct Size {
    /// Its memory in KiB.
    resident: u64,
    descriptors: usize,
    zombies: usize,
}

impl Size {
    fn of(daemon: &Daemon) -> Self {
        let process = format!("/proc/{}", daemon.pid());
        let status = fs::read_to_string(format!("{process}/status")).unwrap();
        let resident = status
            .lines()
            .find_map(|line| line.strip_prefix("VmRSS:"))
            .unwrap();
        let tasks = fs::read_dir(format!("{process}/task")).unwrap();
        let children = tasks.map(|task| fs::read_to_string(task.unwrap().path().join("children")));
        let children = children.map(Result::unwrap_or_default).collect::<String>();
        let stat = |pid: &str| fs::read_to_string(format!("/proc/{pid}/stat")).unwrap_or_default();
        let zombies = children
            .split_whitespace()
            .filter(|pid| stat(pid).contains(") Z "));
        Self {
            resident: resident.trim().trim_end_matches(" kB").parse().unwrap(),
            descriptors: fs::read_dir(format!("{process}/fd")).unwrap().count(),
            zombies: zombies.count(),
        }
    }
}

/// Asks the good tenant, which answers.
fn ask() -> Duration {
    let begun = Instant::now();
    let mut peer = TcpStream::connect(GOOD).unwrap();
    peer.set_read_timeout(Some(LIMIT)).unwrap();
    peer.write_all(b"x").unwrap();
    let mut answer = [0];
    peer.read_exact(&mut answer).unwrap();
    assert_eq!(&answer, b"x");
    begun.elapsed()
}

/// Asks for some time. Returns how long the answers took, and the greatest size meanwhile.
fn window(daemon: &Daemon, name: &str, length: Duration) -> (Duration, Size) {
    let begun = Instant::now();
    let (mut took, mut most) = (Vec::new(), Size::of(daemon));
    while begun.elapsed() < length {
        took.push(ask());
        if took.len() % 20 == 0 {
            let size = Size::of(daemon);
            most.resident = most.resident.max(size.resident);
            most.descriptors = most.descriptors.max(size.descriptors);
            most.zombies = most.zombies.max(size.zombies);
        }
        // A rate of requests, not a wait for something.
        std::thread::sleep(PAUSE);
    }
    took.sort_unstable();
    let of = |percent: usize| took[took.len() * percent / 100];
    let (count, median, p99) = (took.len(), of(50), of(99));
    eprintln!("{name}: {count} answers, median {median:?}, p99 {p99:?}; at most {most:?}");
    (p99, most)
}

#[test]
fn many_tenants_crash_beside_a_good_one() {
    let seconds = std::env::var("TENANTD_FLAPPING_SECONDS").ok();
    let (count, length) = match seconds {
        Some(seconds) => (100, Duration::from_secs(seconds.parse().unwrap())),
        None => (30, Duration::from_secs(10)),
    };
    let part = (length / 4).min(Duration::from_secs(20));
    let daemon = start(count);
    let good = daemon.tenant("good");
    let (_, alone) = window(&daemon, "alone", part);
    daemon.tell(&["start", "f*", "--no-wait"]).expect(0);
    daemon.until("all have crashed", |status| {
        let mut crashing = status.tenants.iter().filter(|it| it.name != good.name);
        crashing.all(|tenant| tenant.restarts > 0)
    });
    let begun = Instant::now();
    let (first, begin) = window(&daemon, "begin", part);
    while begun.elapsed() + part < length {
        ask();
        std::thread::sleep(PAUSE * 5);
    }
    let (last, end) = window(&daemon, "end", part);
    let restarts: u32 = daemon
        .status()
        .tenants
        .iter()
        .map(|tenant| tenant.restarts)
        .sum();
    let grown = last.as_secs_f64() / first.as_secs_f64();
    eprintln!("{restarts} restarts; p99, end to begin: {grown:.2}");
    assert!(end.resident < begin.resident + GROWTH, "{begin:?} {end:?}");
    daemon.tell(&["stop", "f*"]).expect(0);
    let after = daemon.tenant("good");
    assert_eq!((after.pid, after.restarts), (good.pid, 0));
    // The first release has opened the socket for connections, which stays open (0102).
    let most = alone.descriptors + 1;
    until("no zombie and no descriptor is left", || {
        let now = Size::of(&daemon);
        (now.zombies == 0 && now.descriptors <= most).then_some(())
    });
    daemon.end();
}
