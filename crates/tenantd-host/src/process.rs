//! A single process, identified by a pidfd, which unlike a process ID is never reused; and all
//! processes of a network namespace, for hosts without cgroups.

mod stat;

use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::os::unix::fs::MetadataExt;
use std::time::{Duration, Instant};

use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::io::Errno;
use rustix::process::{Pid, PidfdFlags, WaitId, WaitIdOptions, pidfd_open, waitid};

use super::children::Known;
use super::launch::raw;
use super::launch::ready_fd::ReadyFd;
use stat::zombie_status;
pub use stat::{has_executed, is_dead, name, start_ticks};
pub(crate) use stat::{is_stopped, lives, parent};
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
pub async fn ended(pidfd: &ReadyFd, known: &Known) -> std::io::Result<Ended> {
    pidfd
        .read_with(|fd| reap_known(fd, known)?.ok_or(Errno::WOULDBLOCK))
        .await
}

/// How the process ended; `None` while it runs. Reaps it if it is a child of this process.
///
/// # Errors
/// Those of waitid(2).
pub fn reap(pidfd: BorrowedFd<'_>) -> Result<Option<Ended>, Errno> {
    wait(pidfd, None)
}

/// How a registered process ended; `None` while it runs. Reaps it, unless that has been done.
///
/// # Errors
/// Those of waitid(2).
pub fn reap_known(pidfd: BorrowedFd<'_>, known: &Known) -> Result<Option<Ended>, Errno> {
    wait(pidfd, Some(known))
}

/// Waits for the end of a child. `None` if it has not ended within a time, for example because it
/// waits for a filesystem that hangs.
pub(super) fn reap_within(
    pidfd: BorrowedFd<'_>,
    known: &Known,
    limit: Duration,
) -> Result<Option<Ended>, Errno> {
    let deadline = Instant::now() + limit;
    loop {
        let left = deadline.saturating_duration_since(Instant::now());
        let left = Timespec::try_from(left).map_err(|_| Errno::OVERFLOW)?;
        match wait_until(pidfd, left) {
            Ok(true) => return reap_known(pidfd, known),
            Ok(false) => return Ok(None),
            Err(Errno::INTR) => {}
            Err(errno) => return Err(errno),
        }
    }
}

/// A process whose pidfd is readable has ended, whatever waitid(2) says.
fn wait(pidfd: BorrowedFd<'_>, known: Option<&Known>) -> Result<Option<Ended>, Errno> {
    match wait_once(pidfd, known)? {
        Some(ended) => Ok(Some(ended)),
        None if !has_ended(pidfd)? => Ok(None),
        // It has ended just now; or a process that traces it keeps it as a zombie. That is reaped
        // when the tracer has ended.
        None => match wait_once(pidfd, known)? {
            Some(ended) => Ok(Some(ended)),
            None => end_of_a_stranger(pidfd).map(Some),
        },
    }
}

fn wait_once(pidfd: BorrowedFd<'_>, known: Option<&Known>) -> Result<Option<Ended>, Errno> {
    let options = WaitIdOptions::EXITED | WaitIdOptions::NOHANG;
    let status = match waitid(WaitId::PidFd(pidfd), options) {
        Ok(Some(status)) => status,
        Ok(None) => return Ok(None),
        Err(Errno::CHILD) => match known.and_then(Known::ended) {
            Some(ended) => return Ok(Some(ended)),
            None if has_ended(pidfd)? => return end_of_a_stranger(pidfd).map(Some),
            None => return Ok(None),
        },
        Err(errno) => return Err(errno),
    };
    let ended = match (status.exit_status(), status.terminating_signal()) {
        (Some(code), _) => Ended::Status(code),
        (None, Some(signal)) => Ended::Signal(signal),
        (None, None) => Ended::Unknown,
    };
    if let Some(known) = known {
        known.set(ended);
    }
    Ok(Some(ended))
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

/// How a process ended; `None` while it runs. Does not block.
///
/// # Errors
/// Those of waitid(2).
pub fn how_it_ended(pidfd: &ReadyFd, known: &Known) -> Result<Option<Ended>, Errno> {
    reap_known(pidfd.as_fd(), known)
}

/// Waits until the process has ended, and leaves it to others to reap it.
///
/// # Errors
/// Those of poll(2).
pub async fn over(pidfd: &ReadyFd) -> std::io::Result<()> {
    let is_over = |fd: BorrowedFd<'_>| match has_ended(fd)? {
        true => Ok(()),
        false => Err(Errno::WOULDBLOCK),
    };
    pidfd.read_with(is_over).await
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

/// Sends a signal to every process of a network namespace. Scans all of `/proc`. Returns the number
/// of processes.
///
/// # Errors
/// A [`Failure`] of stage end.
pub fn signal_netns(inode: u64, number: i32) -> Result<usize, Failure> {
    let held = all_in(inode)?
        .into_iter()
        .filter_map(|pid| open_in_netns(pid, inode));
    let mut sent = 0;
    for pidfd in held {
        match signal(pidfd.as_fd(), number) {
            Ok(()) => sent += 1,
            Err(Errno::SRCH) => {}
            Err(errno) => return Err(end_failure(inode, errno.raw_os_error())),
        }
    }
    Ok(sent)
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
