//! Launches from a process whose other threads keep taking the allocator's locks.

use std::fs::File;
use std::hint::black_box;
use std::process::Command;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use crate::launch::bench::Bench;
use crate::support::passes_alone;

/// The number of launches; all must succeed.
const LAUNCHES: usize = 500;

#[test]
fn every_launch_succeeds_while_others_allocate() {
    // With one arena for all threads, a child that allocates finds the arena locked, and hangs.
    let path = "launch::many::with_one_arena";
    let mut env = Command::new("env");
    assert!(passes_alone(path, env.env("MALLOC_ARENA_MAX", "1")));
}

#[test]
#[ignore = "run by every_launch_succeeds_while_others_allocate, in a process of its own"]
fn with_one_arena() {
    let mut bench = Bench::new();
    bench.launch.program = "/bin/true".into();
    let done = AtomicBool::new(false);
    let mut took: Vec<Duration> = Vec::with_capacity(LAUNCHES);
    std::thread::scope(|scope| {
        for size in [24, 300, 5_000, 90_000] {
            let done = &done;
            scope.spawn(move || {
                while !done.load(Ordering::Relaxed) {
                    black_box(vec![1_u8; size]);
                }
            });
        }
        let all = || {
            for number in 0..LAUNCHES {
                // So that each descriptor of a launch once has the number that the lock gets.
                let others = 0..number % 80;
                let _others: Vec<File> = others.map(|_| File::open("/").unwrap()).collect();
                let begun = Instant::now();
                let mut running = bench.run()?;
                took.push(begun.elapsed());
                running.end();
            }
            Ok::<(), tenantd_core::stage::Failure>(())
        };
        let result = std::panic::catch_unwind(std::panic::AssertUnwindSafe(all));
        done.store(true, Ordering::Relaxed);
        result.unwrap().unwrap();
    });
    took.sort_unstable();
    eprintln!(
        "launch to exec: median {:?}, worst {:?}",
        took[LAUNCHES / 2],
        took[LAUNCHES - 1]
    );
}
