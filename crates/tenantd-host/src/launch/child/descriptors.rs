//! The descriptors of the child, and the byte for which it waits.
#![allow(unsafe_code)]

use std::os::fd::{AsFd, AsRawFd, BorrowedFd};

use rustix::io::Errno;

use super::steps::Steps;
use crate::launch::raw::{close_range, outcome};
use crate::launch::spec::Spec;
use crate::lock::LOCK_FD;

/// The pipes between the parent and the child.
pub(in crate::launch) struct Pipes<'a> {
    /// The writing end of the report.
    pub(in crate::launch) report: BorrowedFd<'a>,
    /// Where the child says that it no longer shares the table of its parent; `None` if it never did.
    pub(in crate::launch) parted: Option<BorrowedFd<'a>>,
    /// From which the child reads one byte before it confines itself and executes anything; `None` for a rehearsal.
    pub(in crate::launch) go: Option<BorrowedFd<'a>>,
    /// The times of its steps, for the timeline.
    pub(in crate::launch) steps: Steps<'a>,
    /// All descriptors that the child uses, in order.
    pub(in crate::launch) kept: Vec<u32>,
}

/// Parts from the table of the supervisor, and closes what the child does not use, such as the supervisor's locks and the namespaces of other
/// tenants: a child that is stopped must not hold them.
///
/// It is the first that the child does: until the first call has succeeded, the table may be that of the supervisor,
/// and whatever the child opened or closed, the supervisor would. That call copies no more than the descriptors up to the
/// last one that is used.
pub(super) fn close_others(pipes: &Pipes<'_>) -> Result<(), Errno> {
    let last = pipes.kept.last().copied().unwrap_or_default().max(2);
    close_range(last.saturating_add(1), u32::MAX, libc::CLOSE_RANGE_UNSHARE)?;
    if let Some(parted) = pipes.parted {
        rustix::io::write(parted, &1_u64.to_ne_bytes())?;
    }
    let mut first: u32 = 3;
    for &used in &pipes.kept {
        if used > first {
            close_range(first, used - 1, 0)?;
        }
        first = first.max(used.saturating_add(1));
    }
    Ok(())
}

/// Waits until the parent has recorded this process, and says whether it did.
pub(super) fn may_go(go: Option<BorrowedFd<'_>>) -> bool {
    let Some(go) = go else {
        return true;
    };
    let mut byte = [0_u8];
    loop {
        match rustix::io::read(go, &mut byte) {
            Err(Errno::INTR) => {}
            read => return read == Ok(1),
        }
    }
}

/// Closes all descriptors from 3 upwards at exec, but for the lock of a launch without a cgroup, which
/// gets its number.
pub(super) fn pass_lock_only(spec: &Spec) -> Result<(), Errno> {
    let Some(lock) = spec.lock() else {
        return close_range(3, u32::MAX, libc::CLOSE_RANGE_CLOEXEC);
    };
    duplicate(lock.as_fd(), LOCK_FD)?;
    let slot = LOCK_FD.unsigned_abs();
    close_range(3, slot - 1, libc::CLOSE_RANGE_CLOEXEC)?;
    close_range(slot + 1, u32::MAX, libc::CLOSE_RANGE_CLOEXEC)
}

/// dup3(2): the copy is not close-on-exec. `fd` never has the number already, see
/// `spec::above_stdio` and `Lock::take`.
pub(super) fn duplicate(fd: BorrowedFd<'_>, number: i32) -> Result<(), Errno> {
    // SAFETY: dup3 touches no memory. What it closes at `number` is this process's copy, which
    // nothing here uses again.
    outcome(unsafe { libc::syscall(libc::SYS_dup3, fd.as_raw_fd(), number, 0) })
}
