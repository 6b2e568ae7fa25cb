//! Makes the child with clone3(2).
#![allow(unsafe_code)]

use std::mem::MaybeUninit;
use std::os::fd::{AsRawFd, BorrowedFd, FromRawFd, OwnedFd};

use linux_raw_sys::general::{
    CLONE_CLEAR_SIGHAND, CLONE_FILES, CLONE_INTO_CGROUP, CLONE_NEWNS, CLONE_PIDFD, clone_args,
};
use rustix::io::Errno;

use super::child::{self, Pipes};
use super::memory::{copy_kept_stack, for_child};
use super::outer::Outer;
use super::raw::outcome;
use super::spec::Spec;
use crate::children::{self, Known};
use tenantd_core::stage::{Failure, Stage};

/// The child of a launch or rehearsal.
#[derive(Debug)]
pub(super) struct Cloned {
    pub(super) pid: i32,
    pub(super) pidfd: OwnedFd,
    pub(super) known: Known,
}

/// Makes and registers the child, on the thread of the children, or in an outer domain while that thread waits.
/// `label` names it.
///
/// # Errors
/// A [`Failure`] of stage clone, or of stage landlock if it cannot be in that domain.
pub(super) fn clone(
    spec: &Spec,
    outer: Option<&Outer>,
    cgroup: Option<BorrowedFd<'_>>,
    pipes: &Pipes<'_>,
    label: &str,
) -> Result<Cloned, Failure> {
    let failed = |errno: Errno| Failure::errno(Stage::Clone, label, errno.raw_os_error());
    let make = || {
        let (pid, pidfd) = clone_here(spec, cgroup, pipes).map_err(failed)?;
        Ok(Cloned {
            pid,
            pidfd,
            known: Known::register(pid),
        })
    };
    let made = on_their_thread(|| match outer {
        Some(outer) => outer.within(make),
        None => make(),
    });
    made.unwrap_or_else(|| Err(failed(Errno::CANCELED)))
}

/// Calls `work`, which makes a child, on the thread of the children, and waits for it. `None` if it panicked, or the
/// child would not get the stack.
pub(super) fn on_their_thread<T: Send>(work: impl FnOnce() -> T + Send) -> Option<T> {
    let mut done = None;
    let result = &mut done;
    let work = move || *result = copy_kept_stack().ok().map(|()| work());
    let work: Box<dyn FnOnce() + Send + '_> = for_child(|| Box::new(work) as _);
    // SAFETY: both types differ in the lifetime of what the closure borrows only. children::run returns
    // when the closure has been called and dropped, so nothing uses it after what it borrows is gone.
    let work: Box<dyn FnOnce() + Send + 'static> = unsafe { std::mem::transmute(work) };
    children::run(work);
    done
}

/// Clones this process. The child gets a copy of the memory and a mount namespace of its own, is in
/// `cgroup` from its start, and runs [`child::run`]. Returns the child's process ID and a pidfd,
/// which is close-on-exec. If the caller waits until it has [parted](super::parting), it shares the table of
/// descriptors until then.
///
/// It uses the raw system call: glibc has no wrapper for clone3(2), and its fork(2) would take the
/// locks of its allocator. The flags are from linux-raw-sys, because libc's overflow to 0.
///
/// The child uses the stack of this thread, and nothing of any other: so this is a call of its own, and what it is
/// given must be [for the child](for_child).
///
/// # Errors
/// Those of clone3(2).
#[inline(never)]
fn clone_here(
    spec: &Spec,
    cgroup: Option<BorrowedFd<'_>>,
    pipes: &Pipes<'_>,
) -> Result<(i32, OwnedFd), Errno> {
    let mut pidfd: libc::c_int = -1;
    // SAFETY: clone_args consists of integers, for which all-zero bytes are a value: "not given".
    let mut args: clone_args = unsafe { MaybeUninit::zeroed().assume_init() };
    args.flags = u64::from(CLONE_PIDFD | CLONE_NEWNS) | CLONE_CLEAR_SIGHAND;
    args.pidfd = std::ptr::from_mut(&mut pidfd) as u64;
    args.exit_signal = libc::SIGCHLD.unsigned_abs().into();
    if pipes.parted.is_some() {
        args.flags |= u64::from(CLONE_FILES);
    }
    if let Some(cgroup) = cgroup {
        args.flags |= CLONE_INTO_CGROUP;
        args.cgroup = cgroup.as_raw_fd().unsigned_abs().into();
    }
    // SAFETY: `args` is a clone_args of the size that is given, and its `pidfd` points to an int
    // that outlives the call. Without CLONE_VM and a stack the child continues here in a copy of
    // this thread's memory, as after fork(2). The process may have other threads, which the child
    // has not: so it only calls child::run, which makes system calls and does not return. Its first call ends
    // the sharing of descriptors, or it exits.
    let pid = unsafe {
        libc::syscall(
            libc::SYS_clone3,
            std::ptr::from_mut(&mut args),
            size_of::<clone_args>(),
        )
    };
    if pid == 0 {
        child::run(spec, pipes);
    }
    outcome(pid)?;
    // SAFETY: the call succeeded, so the kernel has stored a new descriptor that nothing else owns.
    let pidfd = unsafe { OwnedFd::from_raw_fd(pidfd) };
    Ok((i32::try_from(pid).map_err(|_| Errno::OVERFLOW)?, pidfd))
}
