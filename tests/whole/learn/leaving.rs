//! Nothing of a scratch run stays on the host, however it ends.

use std::collections::BTreeMap;
use std::fs;
use std::io::{BufRead, BufReader};
use std::process::{Child, Command, Stdio};
use std::time::Instant;

use nix::sys::signal::Signal;

use crate::recipes::host;
use crate::support::daemon::{PROGRAM, in_time, run, signal, until};
use crate::support::place::{script, traces};

/// All that could stay.
fn everything() -> BTreeMap<&'static str, String> {
    let mut all = traces("learn");
    // What is written elsewhere is in /mnt, see `host`.
    let find = ["/run", "/srv", "/var/lib/tenantd", "/mnt", "/dev/shm"];
    let files = run(Command::new("find")
        .args(find)
        .args(["-not", "-path", "/mnt/tmp*"]));
    all.insert("files", files.out);
    all
}

#[track_caller]
fn same(before: &BTreeMap<&'static str, String>) {
    let now = everything();
    for (kind, before) in before {
        assert_eq!(now[kind], *before, "{kind}");
    }
}

/// A scratch run that runs until it is ended.
fn begin() -> Child {
    let mut child = Command::new(PROGRAM)
        .args(["learn", "--for", "1h", "--", "/srv/program"])
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    let stderr = child.stderr.take().unwrap();
    let mut lines = BufReader::new(stderr).lines();
    assert!(lines.any(|line| line.unwrap() == "it runs"));
    child
}

/// The children of a process.
fn children(pid: u32) -> Vec<u32> {
    let text = fs::read_to_string(format!("/proc/{pid}/task/{pid}/children")).unwrap();
    text.split_whitespace()
        .map(|it| it.parse().unwrap())
        .collect()
}

/// The cgroup of a scratch run is named by its process.
fn is_over(pid: u32) -> Option<()> {
    let entries = fs::read_dir("/sys/fs/cgroup/tenantd-learn");
    let mut entries = entries.into_iter().flatten().flatten();
    let own = format!("{pid}-");
    let left = entries.any(|it| it.file_name().to_string_lossy().starts_with(&own));
    (!left).then_some(())
}

fn program() {
    let text =
        "mkdir -p /var/lib/left /run/left; echo x >/etc/left; echo x >/tmp/left\nexec sleep 1000";
    script("program", text);
}

#[test]
fn a_scratch_run_that_ends_leaves_nothing() {
    host::enter();
    program();
    let before = everything();
    let learned = in_time(PROGRAM)
        .args(["learn", "--for", "100ms", "--", "/srv/program"])
        .output()
        .unwrap();
    assert!(!learned.stdout.is_empty(), "{learned:?}");
    same(&before);
}

#[test]
fn a_scratch_run_whose_command_is_killed_leaves_nothing() {
    host::enter();
    program();
    let before = everything();
    let mut child = begin();
    signal(child.id(), Signal::SIGKILL);
    child.wait().unwrap();
    until("the scratch run has ended", || is_over(child.id()));
    same(&before);
}

#[test]
fn a_scratch_run_whose_own_process_is_killed_leaves_nothing() {
    host::enter();
    program();
    let before = everything();
    let mut child = begin();
    for process in children(child.id()) {
        signal(process, Signal::SIGKILL);
    }
    assert_eq!(child.wait().unwrap().code(), Some(1));
    is_over(child.id()).unwrap();
    same(&before);
}

#[test]
fn an_interrupted_scratch_run_leaves_nothing() {
    host::enter();
    program();
    let before = everything();
    let mut child = begin();
    signal(child.id(), Signal::SIGINT);
    assert_eq!(child.wait().unwrap().code(), Some(130));
    is_over(child.id()).unwrap();
    same(&before);
}

/// If both are killed at once, the next scratch run ends what they left.
#[test]
fn the_next_scratch_run_ends_what_a_killed_one_left() {
    host::enter();
    program();
    let mut child = begin();
    let processes = children(child.id());
    for process in processes.iter().chain([&child.id()]) {
        signal(*process, Signal::SIGSTOP);
    }
    for process in processes.iter().chain([&child.id()]) {
        signal(*process, Signal::SIGKILL);
    }
    child.wait().unwrap();
    let next = in_time(PROGRAM)
        .args(["learn", "--for", "100ms", "--", "/srv/program"])
        .output()
        .unwrap();
    assert!(!next.stdout.is_empty(), "{next:?}");
    is_over(child.id()).unwrap();
}

#[test]
fn a_program_that_ends_with_success_is_not_waited_for() {
    host::enter();
    script("program", "exit 0");
    let before = everything();
    let begun = Instant::now();
    let said = run(in_time(PROGRAM).args(["learn", "--for", "1s", "--", "/srv/program"]));
    assert!(
        begun.elapsed().as_secs() < 20,
        "{:?}: {said:?}",
        begun.elapsed()
    );
    assert_ne!(said.code, 0, "{said:?}");
    let why = "it does not run, so nothing can be learned from it: exited with status 0";
    assert!(
        said.err.contains(why) && !said.err.contains("START"),
        "{said:?}"
    );
    same(&before);
}
