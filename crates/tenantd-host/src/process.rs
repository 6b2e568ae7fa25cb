//! A single process, identified by a pidfd, which unlike a process ID is never reused; and all
//! processes of a network namespace, for hosts without cgroups.

use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd};
use std::os::unix::fs::MetadataExt;
use std::time::{Duration, Instant};

use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::io::Errno;
use rustix::process::{Pid, PidfdFlags, WaitId, WaitIdOptions, pidfd_open, waitid};

use super::launch::raw;
use super::launch::ready_fd::ReadyFd;
use tenantd_core::stage::{Failure, Stage};

/// The maximum number of processes that a message names.
pub(super) const NAMED: usize = 32;

/// How a process ended, see waitid(2).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Ended {
    /// It exited with this status.
    Status(i32),
    /// This signal killed it.
    Signal(i32),
    /// Only its parent knows: it was the child of another supervisor.
    Unknown,
}

/// Waits until the process has ended. Reaps it if it is a child of this process.
///
/// # Errors
/// Those of waitid(2) but for `ECHILD`, and of ioctl_pidfd(2).
pub async fn ended(pidfd: &ReadyFd) -> std::io::Result<Ended> {
    pidfd
        .read_with(|fd| reap(fd)?.ok_or(Errno::WOULDBLOCK))
        .await
}

/// How the process ended; `None` while it runs. Reaps it if it is a child of this process.
///
/// # Errors
/// Those of waitid(2).
pub fn reap(pidfd: BorrowedFd<'_>) -> Result<Option<Ended>, Errno> {
    wait(pidfd, WaitIdOptions::EXITED | WaitIdOptions::NOHANG)
}

/// Waits until a killed child has ended.
pub(super) fn reap_blocking(pidfd: BorrowedFd<'_>) -> Result<Option<Ended>, Errno> {
    wait(pidfd, WaitIdOptions::EXITED)
}

fn wait(pidfd: BorrowedFd<'_>, options: WaitIdOptions) -> Result<Option<Ended>, Errno> {
    let status = match waitid(WaitId::PidFd(pidfd), options) {
        Ok(Some(status)) => status,
        Ok(None) => return Ok(None),
        Err(Errno::CHILD) if has_ended(pidfd)? => return end_of_a_stranger(pidfd).map(Some),
        Err(Errno::CHILD) => return Ok(None),
        Err(errno) => return Err(errno),
    };
    Ok(Some(
        match (status.exit_status(), status.terminating_signal()) {
            (Some(code), _) => Ended::Status(code),
            (None, Some(signal)) => Ended::Signal(signal),
            (None, None) => Ended::Unknown,
        },
    ))
}

/// How a process ended that is not a child of this one. While it is a zombie, `/proc` has its
/// status; afterwards the kernel does, since Linux 6.15.
fn end_of_a_stranger(pidfd: BorrowedFd<'_>) -> Result<Ended, Errno> {
    let status = match zombie_status(pidfd) {
        Some(status) => Some(status),
        None => match raw::exit_status(pidfd) {
            Ok(status) => status,
            // The kernel does not support it, or did not record the status.
            Err(Errno::NOTTY | Errno::INVAL | Errno::SRCH) => None,
            Err(errno) => return Err(errno),
        },
    };
    Ok(match status {
        Some(status) if libc::WIFEXITED(status) => Ended::Status(libc::WEXITSTATUS(status)),
        Some(status) if libc::WIFSIGNALED(status) => Ended::Signal(libc::WTERMSIG(status)),
        Some(_) | None => Ended::Unknown,
    })
}

/// The wait(2) status of a zombie: field 52 of proc_pid_stat(5). Reading it needs the same
/// permission as opening its network namespace. `None` if the process is not a zombie, or was
/// reaped.
fn zombie_status(pidfd: BorrowedFd<'_>) -> Option<i32> {
    let fd = pidfd.as_raw_fd();
    let about = std::fs::read_to_string(format!("/proc/self/fdinfo/{fd}")).ok()?;
    let mut lines = about.lines();
    let pid: i32 = lines
        .find_map(|line| line.strip_prefix("Pid:"))?
        .trim()
        .parse()
        .ok()?;
    let stat = std::fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
    // If it was not reaped, its process ID was not reused.
    signal(pidfd, 0).ok()?;
    let is_zombie = field(&stat, 3)? == "Z";
    field(&stat, 52)?.parse().ok().filter(|_| is_zombie)
}

/// How a process ended; `None` while it runs. Does not block.
///
/// # Errors
/// Those of waitid(2).
pub fn how_it_ended(pidfd: &ReadyFd) -> Result<Option<Ended>, Errno> {
    reap(pidfd.as_fd())
}

/// Whether a process has ended. It may still be a zombie.
///
/// # Errors
/// Those of poll(2).
pub fn is_over(pidfd: &ReadyFd) -> Result<bool, Errno> {
    has_ended(pidfd.as_fd())
}

fn has_ended(pidfd: BorrowedFd<'_>) -> Result<bool, Errno> {
    let now = Timespec {
        tv_sec: 0,
        tv_nsec: 0,
    };
    wait_until(pidfd, now)
}

fn wait_until(pidfd: BorrowedFd<'_>, limit: Timespec) -> Result<bool, Errno> {
    Ok(poll(
        &mut [PollFd::from_borrowed_fd(pidfd, PollFlags::IN)],
        Some(&limit),
    )? > 0)
}

/// Sends a signal by number, including real-time signals.
///
/// # Errors
/// Those of pidfd_send_signal(2); `ESRCH` once the process has been reaped.
pub fn signal(pidfd: BorrowedFd<'_>, signal: i32) -> Result<(), Errno> {
    raw::pidfd_send_signal(pidfd, signal)
}

/// When a process started, in clock ticks since boot: with its number, the name of a process
/// that no later one shares. `None` if there is no such process.
#[must_use]
pub fn start_ticks(pid: i32) -> Option<u64> {
    parse_start_ticks(&std::fs::read_to_string(format!("/proc/{pid}/stat")).ok()?)
}

/// Whether a process is stopped, as by SIGSTOP; not if a tracer has stopped it.
pub(crate) fn is_stopped(pid: i32) -> bool {
    let stat = std::fs::read_to_string(format!("/proc/{pid}/stat"));
    stat.is_ok_and(|stat| field(&stat, 3) == Some("T"))
}

fn parse_start_ticks(stat: &str) -> Option<u64> {
    field(stat, 22)?.parse().ok()
}

/// A field of proc_pid_stat(5) from the third on. The second is the program's name, which may hold
/// anything.
fn field(stat: &str, number: usize) -> Option<&str> {
    let (_, rest) = stat.rsplit_once(')')?;
    rest.split_ascii_whitespace().nth(number.checked_sub(3)?)
}

/// The processes whose network namespace has this inode. It scans all of `/proc`, so it is only
/// used on hosts without cgroups and to prove that a tenant has stopped.
///
/// # Errors
/// Those of reading the folder `/proc`. A process that ends meanwhile is left out.
pub fn in_netns(inode: u64) -> std::io::Result<Vec<i32>> {
    let mut found = Vec::new();
    for entry in std::fs::read_dir("/proc")? {
        let name = entry?.file_name();
        let Some(pid) = name.to_str().and_then(|name| name.parse().ok()) else {
            continue;
        };
        if netns_of(pid) == Some(inode) {
            found.push(pid);
        }
    }
    Ok(found)
}

fn netns_of(pid: i32) -> Option<u64> {
    // A zombie is in no namespace, so this fails for it.
    let stat = std::fs::metadata(format!("/proc/{pid}/ns/net")).ok()?;
    Some(stat.ino())
}

/// Whether any process is in the network namespace with this inode. Scans all of `/proc`.
///
/// # Errors
/// A [`Failure`] of stage end.
pub fn is_in_netns(inode: u64) -> Result<bool, Failure> {
    all_in(inode).map(|found| !found.is_empty())
}

/// Sends a signal to every process of a network namespace. Scans all of `/proc`.
///
/// # Errors
/// A [`Failure`] of stage end.
pub fn signal_netns(inode: u64, number: i32) -> Result<(), Failure> {
    let held = all_in(inode)?
        .into_iter()
        .filter_map(|pid| open_in_netns(pid, inode));
    for pidfd in held {
        match signal(pidfd.as_fd(), number) {
            Ok(()) | Err(Errno::SRCH) => {}
            Err(errno) => return Err(end_failure(inode, errno.raw_os_error())),
        }
    }
    Ok(())
}

fn all_in(inode: u64) -> Result<Vec<i32>, Failure> {
    in_netns(inode).map_err(|error| end_failure(inode, error.raw_os_error().unwrap_or(libc::EIO)))
}

fn end_failure(inode: u64, errno: i32) -> Failure {
    Failure::errno(Stage::End, format!("in network namespace {inode}"), errno)
}

/// Kills every process of a network namespace, including processes that start meanwhile, until none
/// is left. Used on hosts without cgroups. Blocks for up to `limit`.
///
/// # Errors
/// A [`Failure`] of stage end that names the processes that survived SIGKILL.
pub fn kill_netns(inode: u64, limit: Duration) -> Result<(), Failure> {
    let deadline = Instant::now() + limit;
    loop {
        let found = all_in(inode)?;
        if found.is_empty() {
            return Ok(());
        }
        if Instant::now() >= deadline {
            let named = name_some(&found);
            return Err(Failure::detail(
                Stage::End,
                format!("in network namespace {inode}"),
                format!("{named} survived SIGKILL"),
            ));
        }
        let held: Vec<OwnedFd> = found
            .iter()
            .filter_map(|&pid| open_in_netns(pid, inode))
            .collect();
        for pidfd in &held {
            kill_and_wait(pidfd.as_fd(), deadline)
                .map_err(|errno| end_failure(inode, errno.raw_os_error()))?;
        }
    }
}

/// A pidfd of the process; `None` if the process is not in the namespace any more.
pub(super) fn open_in_netns(pid: i32, inode: u64) -> Option<OwnedFd> {
    let pidfd = pidfd_open(Pid::from_raw(pid)?, PidfdFlags::empty()).ok()?;
    (netns_of(pid) == Some(inode)).then_some(pidfd)
}

fn kill_and_wait(pidfd: BorrowedFd<'_>, deadline: Instant) -> Result<(), Errno> {
    match signal(pidfd, libc::SIGKILL) {
        Ok(()) => {}
        Err(Errno::SRCH) => return Ok(()),
        Err(errno) => return Err(errno),
    }
    let left = deadline.saturating_duration_since(Instant::now());
    let limit = Timespec::try_from(left).map_err(|_| Errno::OVERFLOW)?;
    wait_until(pidfd, limit)?;
    Ok(())
}

/// Formats process IDs for a message, as "process 1" or "processes 1, 2 and 3 more".
#[must_use]
pub fn name_some(pids: &[i32]) -> String {
    let named: Vec<String> = pids.iter().take(NAMED).map(ToString::to_string).collect();
    let named = named.join(", ");
    match (pids.len(), pids.len().saturating_sub(NAMED)) {
        (1, _) => format!("process {named}"),
        (_, 0) => format!("processes {named}"),
        (_, more) => format!("processes {named} and {more} more"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn start_ticks_are_read_despite_parentheses_in_the_name() {
        let tail = "S 1 2 3 4 5 6 7 8 9 10 11 12 13 14 15 16 17 18 4711 20";
        assert_eq!(parse_start_ticks(&format!("7 (sh) {tail}")), Some(4711));
        assert_eq!(
            parse_start_ticks(&format!("7 (a) R 1 (b) {tail}")),
            Some(4711)
        );
        assert_eq!(parse_start_ticks("7 (sh) S 1"), None);
        assert_eq!(parse_start_ticks(""), None);
    }

    #[test]
    fn our_own_start_is_in_the_past() {
        let pid = i32::try_from(std::process::id()).unwrap();
        assert!(start_ticks(pid).unwrap() > 0);
        assert_eq!(start_ticks(-1), None);
    }

    #[test]
    fn the_status_of_a_process_reaped_elsewhere_is_known() {
        for (script, ended) in [
            ("exit 7", Ended::Status(7)),
            ("kill -9 $$", Ended::Signal(libc::SIGKILL)),
        ] {
            let mut child = std::process::Command::new("sh")
                .args(["-c", script])
                .spawn()
                .unwrap();
            let pid = Pid::from_child(&child);
            let pidfd = pidfd_open(pid, PidfdFlags::empty()).unwrap();
            child.wait().unwrap();
            assert_eq!(reap(pidfd.as_fd()).unwrap(), Some(ended), "needs 6.15");
        }
    }

    #[test]
    fn long_lists_of_processes_are_shortened() {
        assert_eq!(name_some(&[1]), "process 1");
        assert_eq!(name_some(&[1, 2]), "processes 1, 2");
        let many: Vec<i32> = (0..40).collect();
        assert!(name_some(&many).ends_with("31 and 8 more"));
    }
}
