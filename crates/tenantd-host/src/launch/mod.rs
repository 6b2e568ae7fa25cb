//! The launch: one start of a tenant's program, in its network namespace and a mount namespace of
//! its own, in its cgroup, with its datastore locked and in place.
//!
//! ```text
//! parent                                        child
//! spec: lock, mounts, C strings, tables
//! clone: clone3 ──────────────────────────────▶ child: one line per stage, straight down
//! report: read to end of file  ◀── 8 bytes ──── (stage, object, errno), or (exec, 0) and execve
//! ```
//!
//! All allocation is in `spec`; `child` runs in a copy of a threaded process and must never
//! allocate, lock, log or panic. This is the only folder with unsafe code.

mod child;
mod clone;
pub(super) mod raw;
pub mod ready_fd;
mod report;
mod spec;

use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

use rustix::process::Rlimit;

use crate::crash;
use tenantd_core::plan::model::{DatastorePlan, LaunchPlan};
use tenantd_core::stage::{Failure, Stage};

use super::cgroup::Leaf;
use super::{limits, process};

pub use report::Report;
pub use spec::{Capability, DROPPED};

/// What is to be launched, and on what.
#[derive(Debug, Clone, Copy)]
pub struct Order<'a> {
    /// The program.
    pub launch: &'a LaunchPlan,
    /// Its data, which must exist.
    pub datastore: &'a DatastorePlan,
    /// The tenant's network namespace.
    pub netns: BorrowedFd<'a>,
    /// The leaf that tracks its processes; `None` where there is no cgroup tree.
    pub leaf: Option<&'a Leaf>,
    /// Its standard output.
    pub stdout: BorrowedFd<'a>,
    /// Its standard error.
    pub stderr: BorrowedFd<'a>,
    /// How many descriptors it may open where its plan says nothing (`RLIMIT_NOFILE`, getrlimit(2)).
    pub descriptors: Rlimit,
    /// `APP/TENANT`, which goes into the datastore's lock.
    pub label: &'a str,
}

/// A child on its way to its program.
#[derive(Debug)]
pub struct Child {
    /// Its process number, which is also that of its session.
    pub pid: i32,
    /// It itself.
    pub pidfd: OwnedFd,
    /// Where it says how far it came.
    pub report: Report,
}

/// Starts the child, which then reports on its own how far it comes. Blocks for about a
/// millisecond, so it belongs on a blocking thread; the child does not depend on that thread.
///
/// # Errors
/// A [`Failure`] of a stage before the child exists. Nothing is left behind then.
pub fn launch(order: &Order<'_>) -> Result<Child, Failure> {
    let spec = spec::Spec::new(order)?;
    let cgroup = order.leaf.map(Leaf::fd).transpose()?;
    if let Some(leaf) = order.leaf {
        limits::note_launch(leaf, &order.launch.limits)?;
    }
    let (read, write) = report::pipe()?;
    let cgroup = cgroup.as_ref().map(AsFd::as_fd);
    crash::point("launch: before the clone", order.label);
    let (pid, pidfd) = clone::clone(&spec, cgroup, write.as_fd())
        .map_err(|errno| Failure::errno(Stage::Clone, order.label, errno.raw_os_error()))?;
    crash::point("launch: cloned", order.label);
    if let Err(error) = spec.lock.sign(order.label, pid) {
        let errno = error.raw_os_error().unwrap_or(libc::EIO);
        let why = Failure::errno(Stage::Lock, spec.lock.path(), errno);
        return Err(abandon(&pidfd, why));
    }
    crash::point("launch: lock signed", order.label);
    Ok(Child {
        pid,
        pidfd,
        report: Report::new(read, spec.into_names()),
    })
}

/// Kills and reaps a child that may not go on, and gives the reason back, with what went wrong in
/// that if something did.
#[must_use]
pub fn abandon(pidfd: &OwnedFd, why: Failure) -> Failure {
    let ended = process::signal(pidfd.as_fd(), libc::SIGKILL)
        .and_then(|()| process::reap_blocking(pidfd.as_fd()));
    match ended {
        Ok(_) => why,
        Err(errno) => why.with(format!("and the child could not be ended: {errno}")),
    }
}
