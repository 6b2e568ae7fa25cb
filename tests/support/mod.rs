//! The test host, which all tests share.
//!
//! A test host is a network and a mount namespace made for one test. The thread that enters it
//! stays in it, with every thread and process that it starts. So tests run in parallel, and none
//! changes the machine's links, mounts or `/run`.

#![allow(
    dead_code,
    unreachable_pub,
    reason = "each test file uses a part of it"
)]

use std::path::Path;
use std::process::Command;
use std::sync::atomic::{AtomicU32, Ordering};

use nix::mount::{MsFlags, mount};
use nix::sched::{CloneFlags, unshare};
use nix::sys::signal::Signal;

/// Moves the calling thread into a test host of its own: no interface but `lo` (which is up), an
/// empty `/run`, `/mnt`, `/var/lib/tenantd` and `/var/log/tenantd`, its own `/sys` and the unified cgroup
/// tree at `/sys/fs/cgroup`.
///
/// # Panics
/// If the machine cannot make one, for example without root. A test that cannot run must not seem
/// to pass.
pub fn enter() {
    unshare(CloneFlags::CLONE_NEWNET | CloneFlags::CLONE_NEWNS)
        .expect("a test host needs root: its namespaces could not be made");
    let none: Option<&str> = None;
    let nothing = MsFlags::empty();
    mount(none, "/", none, MsFlags::MS_REC | MsFlags::MS_PRIVATE, none).unwrap();
    mount(Some("sysfs"), "/sys", Some("sysfs"), nothing, none).unwrap();
    mount(
        Some("cgroup2"),
        "/sys/fs/cgroup",
        Some("cgroup2"),
        nothing,
        none,
    )
    .unwrap();
    for folder in ["/run", "/mnt", "/var/lib/tenantd", "/var/log/tenantd"] {
        if !Path::new(folder).exists() {
            // Two tests may make it at the same time.
            std::fs::create_dir_all(folder).unwrap();
        }
        mount(
            Some("test"),
            folder,
            Some("tmpfs"),
            nothing,
            Some("mode=755"),
        )
        .unwrap();
    }
    let up = Command::new("ip")
        .args(["link", "set", "lo", "up"])
        .status()
        .expect("the tests need iproute2");
    assert!(up.success());
}

/// Waits until a condition is true.
///
/// # Panics
/// After ten seconds.
pub fn until(what: &str, mut is_so: impl FnMut() -> bool) {
    let begun = std::time::Instant::now();
    while !is_so() {
        assert!(begun.elapsed().as_secs() < 10, "still not so: {what}");
        std::thread::yield_now();
    }
}

/// How many clients are connected to a supervisor, see `/proc/net/unix` in proc_net(5), of the test host.
fn clients(app: &str) -> usize {
    let sockets = std::fs::read_to_string("/proc/thread-self/net/unix").unwrap();
    let path = format!("/run/tenantd/{app}/control");
    let is_client = |line: &&str| {
        let fields: Vec<&str> = line.split_whitespace().collect();
        // The supervisor's end of a connection: its state is SS_CONNECTED.
        fields.get(5) == Some(&"03") && fields.get(7).is_some_and(|it| it.starts_with(&path))
    };
    sockets.lines().filter(is_client).count()
}

/// Waits until a command (its process) waits for tenants: it catches SIGINT and watches them by a second
/// connection. Connections alone prove nothing: one of a command that has ended counts until the
/// supervisor closes it.
///
/// # Panics
/// After ten seconds.
pub fn until_it_waits(app: &str, pid: u32) {
    until("it catches SIGINT", || catches(pid, Signal::SIGINT));
    until("it watches tenants", || clients(app) == 2);
}

/// Whether a process has a handler for a signal, see `SigCgt` in proc_pid_status(5).
fn catches(pid: u32, signal: Signal) -> bool {
    let status = std::fs::read_to_string(format!("/proc/{pid}/status")).unwrap();
    let caught = status.lines().find_map(|line| line.strip_prefix("SigCgt:"));
    let caught = u64::from_str_radix(caught.unwrap().trim(), 16).unwrap();
    caught & (1 << (signal as u32 - 1)) != 0
}

/// An application name that no other test on this machine uses or has used. All test hosts share
/// one cgroup tree, and a failed test of an earlier process with the same ID may have left
/// something there.
pub fn app_name() -> String {
    static COUNT: AtomicU32 = AtomicU32::new(0);
    let count = COUNT.fetch_add(1, Ordering::Relaxed);
    let id = std::process::id();
    let born = tenantd_host::process::start_ticks(id.try_into().unwrap()).unwrap();
    format!("test-{id}-{born}-{count}")
}

/// Runs one test of this binary in a process of its own. `path` is the test's path without the name
/// of the binary; the test is marked `#[ignore]`, so that it does not run otherwise. The process
/// calls `before` first. Returns false if the test fails or does not exist; with a wrong name,
/// libtest runs no test and succeeds.
pub fn passes_alone(path: &str, before: &mut Command) -> bool {
    let output = before
        .arg(std::env::current_exe().unwrap())
        .args(["--ignored", "--exact", "--nocapture", path])
        .output()
        .unwrap();
    let [said, errors] =
        [output.stdout, output.stderr].map(|it| String::from_utf8_lossy(&it).into_owned());
    eprintln!("{said}{errors}");
    output.status.success() && said.contains("1 passed")
}

pub mod daemon;
pub mod netns;
pub mod place;
pub mod puppet;
pub mod reach;
pub mod residue;
pub mod settled;
pub mod state_file;
pub mod store;
pub mod terminal;
pub mod visit;
