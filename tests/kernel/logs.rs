//! Tenants' output on the real kernel: FIFOs in `/run`, files in `/var/log`, and one supervisor
//! after another.

use crate::support;

use std::fs::File;
use std::io::Write;
use std::os::fd::AsFd;
use std::os::unix::fs::{FileTypeExt, MetadataExt};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::Duration;

use rustix::event::{PollFd, PollFlags, Timespec, poll};
use tenantd_api::wire::LogPlace;
use tenantd_core::name::{AppName, TenantName};
use tenantd_daemon::logs::Logs;
use tenantd_host::fifo::{self, WriteEnds};

/// More than a few pipes hold, less than the log file before it is rotated.
const LINES: usize = 20_000;

fn names() -> (AppName, TenantName) {
    ("wiki".parse().unwrap(), "acme".parse().unwrap())
}

/// Runs one supervisor on a thread of its own. The objects that it leaves behind stay.
fn supervise(supervisor: impl Future<Output = ()>) {
    let mut builder = tokio::runtime::Builder::new_current_thread();
    let runtime = builder.enable_all().build().unwrap();
    let limited = async { tokio::time::timeout(Duration::from_secs(20), supervisor).await };
    let local = tokio::task::LocalSet::new();
    local.block_on(&runtime, limited).expect("it hangs");
}

fn log_file() -> PathBuf {
    PathBuf::from("/var/log/tenantd/wiki/acme.log")
}

/// The texts in the log, without time and stream. A line that is being written may be visible only
/// in part, because a file grows page by page; it counts once its end is visible.
fn logged(path: &Path) -> Vec<String> {
    let mut text = std::fs::read_to_string(path).unwrap_or_default();
    text.truncate(text.rfind('\n').map_or(0, |end| end + 1));
    let text_of = |line: &str| line.splitn(3, ' ').nth(2).unwrap().to_owned();
    text.lines().map(text_of).collect()
}

fn has_something(fd: impl AsFd) -> bool {
    let mut fds = [PollFd::new(&fd, PollFlags::IN | PollFlags::HUP)];
    poll(&mut fds, Some(&Timespec::default())).unwrap() > 0
}

#[test]
fn pipes_belong_to_the_tenant_alone() {
    support::enter();
    let (app, tenant) = names();
    let ours = fifo::make(&app, &tenant, 65_534).unwrap();
    let folder = fifo::folder(&app, &tenant);
    let mode = |path: &Path| std::fs::metadata(path).unwrap().mode() & 0o7777;
    assert_eq!(mode(&folder), 0o700);
    assert_eq!(mode(folder.parent().unwrap()), 0o700);
    assert_eq!(mode(Path::new("/run/tenantd/wiki")), 0o711);
    for name in ["stdout", "stderr"] {
        let pipe = std::fs::metadata(folder.join(name)).unwrap();
        assert!(pipe.file_type().is_fifo());
        assert_eq!(
            (pipe.mode() & 0o7777, pipe.uid(), pipe.gid()),
            (0o600, 65_534, 0)
        );
    }
    // As nginx does: opened again by its name in /proc, as the tenant's user.
    let theirs = fifo::open_for_tenant(&app, &tenant).unwrap();
    let shell = Command::new("setpriv")
        .args([
            "--reuid=65534",
            "--clear-groups",
            "sh",
            "-c",
            "echo again >/proc/self/fd/1",
        ])
        .stdout(Stdio::from(theirs.stdout))
        .status()
        .unwrap();
    assert!(shell.success());
    assert!(has_something(&ours.stdout));
    // Making and removing can be repeated.
    fifo::make(&app, &tenant, 65_534).unwrap();
    fifo::remove(&app, &tenant).unwrap();
    fifo::remove(&app, &tenant).unwrap();
    assert!(!folder.exists());
    let failure = fifo::open_for_tenant(&app, &tenant).unwrap_err();
    assert_eq!((failure.stage.word(), failure.errno), ("log", libc::ENOENT));
}

#[test]
fn another_file_in_place_of_a_pipe_is_refused() {
    support::enter();
    let (app, tenant) = names();
    let folder = fifo::folder(&app, &tenant);
    std::fs::create_dir_all(&folder).unwrap();
    File::create(folder.join("stdout")).unwrap();
    let failure = fifo::make(&app, &tenant, 0).unwrap_err();
    assert!(failure.to_string().contains("not a FIFO"), "{failure}");
}

#[test]
fn a_pipe_has_no_end_of_file_between_launches() {
    support::enter();
    let (app, tenant) = names();
    let ours = fifo::make(&app, &tenant, 0).unwrap();
    assert!(!has_something(&ours.stdout));
    let WriteEnds { stdout, .. } = fifo::open_for_tenant(&app, &tenant).unwrap();
    File::from(stdout).write_all(b"x").unwrap();
    assert!(has_something(&ours.stdout));
    rustix::io::read(&ours.stdout, &mut [0; 8]).unwrap();
    // A FIFO that is open only for reading would report a hang-up from now on.
    assert!(!has_something(&ours.stdout));
}

#[test]
fn no_line_is_lost_between_supervisors() {
    support::enter();
    let (app, tenant) = names();
    fifo::make(&app, &tenant, 0).unwrap();
    let WriteEnds { stdout, .. } = fifo::open_for_tenant(&app, &tenant).unwrap();
    // It waits for each supervisor, because a pipe does not hold all of its output, and at last for
    // the test: a FIFO that no process has open is empty. SIGPIPE has its default action, which the
    // standard library sets in every program that it starts.
    let mut program = Command::new("sh")
        .args(["-c", &format!("seq {LINES}; read -r _")])
        .stdin(Stdio::piped())
        .stdout(Stdio::from(stdout))
        .spawn()
        .unwrap();
    let mut before = 0;
    for _ in 0..3 {
        supervise(async {
            let read_ends = fifo::make(&app, &tenant, 0).unwrap();
            let logs = Logs::start(&app, LogPlace::Files).unwrap();
            logs.add(&tenant, read_ends).unwrap();
            while logged(&log_file()).len() == before {
                tokio::task::yield_now().await;
            }
            logs.end().await;
        });
        before = logged(&log_file()).len();
    }
    supervise(async {
        let logs = Logs::start(&app, LogPlace::Files).unwrap();
        logs.add(&tenant, fifo::make(&app, &tenant, 0).unwrap())
            .unwrap();
        let ending = tokio::task::spawn_blocking(move || {
            drop(program.stdin.take());
            program.wait().unwrap()
        });
        // sh exits with 1 at the end of its input.
        assert_eq!(ending.await.unwrap().code(), Some(1));
        logs.remove(&tenant).await;
    });
    let lines = logged(&log_file());
    assert_eq!(numbers(&lines).len(), LINES, "of {} lines", lines.len());
}

/// Joins split numbers: a supervisor that ends writes the beginning of a line, and the next one the
/// rest. Ends at the first missing number.
fn numbers(lines: &[String]) -> Vec<usize> {
    let mut numbers = Vec::new();
    let mut text = String::new();
    for line in lines {
        text.push_str(line.strip_suffix(" [no line end]").unwrap_or(line));
        if text == (numbers.len() + 1).to_string() {
            numbers.push(numbers.len() + 1);
            text.clear();
        }
    }
    numbers
}

#[test]
fn a_full_disk_leaves_no_partial_line_and_blocks_nothing() {
    support::enter();
    let (app, tenant) = names();
    let options = Some("size=256k");
    let flags = nix::mount::MsFlags::empty();
    nix::mount::mount(
        Some("test"),
        "/var/log/tenantd",
        Some("tmpfs"),
        flags,
        options,
    )
    .unwrap();
    supervise(async {
        let logs = Logs::start(&app, LogPlace::Files).unwrap();
        logs.add(&tenant, fifo::make(&app, &tenant, 0).unwrap())
            .unwrap();
        let WriteEnds { stdout, .. } = fifo::open_for_tenant(&app, &tenant).unwrap();
        let mut program = Command::new("seq")
            .arg("50000")
            .stdout(stdout)
            .spawn()
            .unwrap();
        let waiting = tokio::task::spawn_blocking(move || program.wait().unwrap());
        assert!(waiting.await.unwrap().success());
        logs.remove(&tenant).await;
    });
    let text = std::fs::read_to_string(log_file()).unwrap();
    assert!(text.ends_with('\n'));
    let lines = logged(&log_file());
    assert!(!lines.is_empty() && lines.len() < 50_000);
    let numbers: Vec<usize> = lines.iter().map(|line| line.parse().unwrap()).collect();
    assert!(numbers.is_sorted(), "a line is cut or mixed up");
}
