//! When a child has a table of descriptors of its own.
//!
//! A supervisor has a descriptor for each tenant. A child with a copy of the table would take as long to copy and
//! close them as there are tenants. So it is made with the table itself (`CLONE_FILES` of clone(2)), and parts from it by its
//! first system call, which copies only the lowest ones (`CLOSE_RANGE_UNSHARE` of close_range(2)). Those that stay as long as a
//! tenant runs are [put aside](put_aside), above these.
//!
//! Until the child has parted, what this process closes is closed for the child too. So nothing that the child uses may be
//! closed before [`Parting::wait`] has returned, or the child was killed: a process that was sent SIGKILL makes no further system call.

use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::time::{Duration, Instant};

use rustix::event::{EventfdFlags, PollFd, PollFlags, Timespec, eventfd, poll};
use rustix::io::{Errno, fcntl_dupfd_cloexec};

use tenantd_core::stage::{Failure, Stage};

/// The lowest number of a descriptor that is put aside. Launches that run at the same time have some hundred.
const ASIDE: i32 = 2048;

/// Duplicates a descriptor that stays as long as a tenant runs, to a number that no child copies. To any number,
/// if the limit on open descriptors is too low for that.
///
/// # Errors
/// Those of `F_DUPFD_CLOEXEC` in fcntl(2).
pub fn put_aside(fd: impl AsFd) -> Result<OwnedFd, Errno> {
    at_least(fd.as_fd(), ASIDE)
}

/// Has the table of this process grow to where descriptors are put aside. Call it before there are other threads: later the
/// kernel waits, whenever it grows, until no processor uses the former table.
pub fn make_room() {
    // Without it, the table grows when the first one is put aside.
    let _grown = put_aside(rustix::stdio::stdin());
}

fn at_least(fd: BorrowedFd<'_>, number: i32) -> Result<OwnedFd, Errno> {
    match fcntl_dupfd_cloexec(fd, number) {
        Err(Errno::INVAL | Errno::MFILE) => fcntl_dupfd_cloexec(fd, 3),
        aside => aside,
    }
}

/// Where a child says that it has parted: an eventfd(2).
#[derive(Debug)]
pub(super) struct Parting(OwnedFd);

impl Parting {
    /// # Errors
    /// A [`Failure`] of stage clone.
    pub(super) fn new() -> Result<Self, Failure> {
        let made = eventfd(0, EventfdFlags::CLOEXEC | EventfdFlags::NONBLOCK);
        let made = made
            .map_err(|errno| Failure::errno(Stage::Clone, "its eventfd", errno.raw_os_error()))?;
        Ok(Self(made))
    }

    /// Where the child writes.
    pub(super) fn fd(&self) -> BorrowedFd<'_> {
        self.0.as_fd()
    }

    /// Waits until the child has parted, or has ended.
    ///
    /// # Errors
    /// A [`Failure`] of stage descriptors: the child may still share the table.
    pub(super) fn wait(&self, pidfd: BorrowedFd<'_>, limit: Duration) -> Result<(), Failure> {
        let failed = |errno: Errno| Failure::errno(Stage::Descriptors, "", errno.raw_os_error());
        let deadline = Instant::now() + limit;
        loop {
            let left = deadline.saturating_duration_since(Instant::now());
            let left = Timespec::try_from(left).map_err(|_| failed(Errno::OVERFLOW))?;
            let mut either = [
                PollFd::new(&self.0, PollFlags::IN),
                PollFd::from_borrowed_fd(pidfd, PollFlags::IN),
            ];
            match poll(&mut either, Some(&left)) {
                Ok(0) => {
                    let why = format!(
                        "the child has no descriptors of its own after {} s: it was stopped, or gets no processor time",
                        limit.as_secs()
                    );
                    return Err(Failure::detail(Stage::Descriptors, "", why));
                }
                Ok(_) => return Ok(()),
                Err(Errno::INTR) => {}
                Err(errno) => return Err(failed(errno)),
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use std::os::fd::AsRawFd;

    use rustix::io::{FdFlags, fcntl_getfd};
    use rustix::process::{Pid, PidfdFlags, pidfd_open};

    use super::*;

    fn child() -> (std::process::Child, OwnedFd) {
        let mut command = std::process::Command::new("cat");
        let child = command.stdin(std::process::Stdio::piped()).spawn().unwrap();
        let pidfd = pidfd_open(Pid::from_child(&child), PidfdFlags::empty()).unwrap();
        (child, pidfd)
    }

    #[test]
    fn a_child_that_has_not_parted_is_waited_for_within_a_limit() {
        let (mut child, pidfd) = child();
        let parting = Parting::new().unwrap();
        let failed = parting.wait(pidfd.as_fd(), Duration::ZERO).unwrap_err();
        assert_eq!(failed.stage, Stage::Descriptors);
        rustix::io::write(parting.fd(), &1_u64.to_ne_bytes()).unwrap();
        parting.wait(pidfd.as_fd(), Duration::ZERO).unwrap();
        child.kill().unwrap();
        child.wait().unwrap();
    }

    #[test]
    fn a_child_that_has_ended_shares_nothing() {
        let (mut child, pidfd) = child();
        let parting = Parting::new().unwrap();
        child.kill().unwrap();
        parting
            .wait(pidfd.as_fd(), Duration::from_secs(60))
            .unwrap();
        child.wait().unwrap();
    }

    #[test]
    fn what_is_put_aside_has_a_high_number_if_the_limit_permits() {
        let (read, _write) = rustix::pipe::pipe().unwrap();
        let aside = at_least(read.as_fd(), 500).unwrap();
        assert!(aside.as_raw_fd() >= 500);
        let low = at_least(read.as_fd(), i32::MAX).unwrap();
        assert!(low.as_raw_fd() < 500);
        for made in [aside, low] {
            assert_eq!(fcntl_getfd(&made), Ok(FdFlags::CLOEXEC));
        }
    }
}
