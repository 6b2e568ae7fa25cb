//! Opens the processes of a launch that may be adopted.

use std::io;

use rustix::process::{Pid, PidfdFlags, pidfd_open};
use tokio::sync::Notify;

use tenantd_core::name::{AppName, TenantName};
use tenantd_host::cgroup::Leaf;
use tenantd_host::children::Known;
use tenantd_host::claim::{self, CgroupKey, Key};
use tenantd_host::launch::ready_fd::ReadyFd;
use tenantd_host::{launch, lock, process};

use crate::executor::inventory::Process;
use crate::state_file::record::ProcessKey;

/// The process with this key, if it is alive. Opens the process before it compares the start time,
/// so that a process number that is used again is noticed.
pub(crate) fn open_process(key: ProcessKey) -> io::Result<Option<Process>> {
    let Some(pid) = Pid::from_raw(key.pid) else {
        return Ok(None);
    };
    // First, because it is a child of this process after an upgrade, and may end at any moment.
    let known = Known::register(key.pid);
    let pidfd = match pidfd_open(pid, PidfdFlags::NONBLOCK) {
        Ok(pidfd) => pidfd,
        Err(rustix::io::Errno::SRCH) => return Ok(None),
        Err(errno) => return Err(errno.into()),
    };
    if process::start_ticks(key.pid) != Some(key.start_ticks) {
        return Ok(None);
    }
    Ok(Some(Process {
        pid: key.pid,
        start_ticks: key.start_ticks,
        fd: ReadyFd::new(launch::put_aside(pidfd)?)?,
        known,
        replaced: Notify::new(),
    }))
}

/// The first process of a launch by its claim, if it is alive. The oldest process of the leaf may be another one: the first
/// one may have ended, and what it has left runs on. One that no claim names was not told to continue. Reads all claims of
/// the host, so it is for a launch that has processes: as many as there were threads that launch.
pub(super) fn claimed(
    app: &AppName,
    tenant: &TenantName,
    leaf: &Leaf,
) -> io::Result<Option<Process>> {
    let number = CgroupKey::of(leaf)?.id;
    let first = claim::first_of(&lock::label(app, tenant), number).map_err(io::Error::other)?;
    match first {
        Some(Key { pid, start_ticks }) => open_process(ProcessKey { pid, start_ticks }),
        None => oldest(leaf),
    }
}

/// The oldest process of a leaf.
pub(crate) fn oldest(leaf: &Leaf) -> io::Result<Option<Process>> {
    let pids = leaf.pids().map_err(io::Error::other)?;
    let keys = pids.into_iter().filter_map(ProcessKey::of);
    match keys.min_by_key(|key| (key.start_ticks, key.pid)) {
        Some(key) => open_process(key),
        None => Ok(None),
    }
}

/// Any process of a launch: each is in its network namespace.
pub(super) fn anyone(first: Option<&Process>, leaf: Option<&Leaf>) -> io::Result<Option<i32>> {
    match (first, leaf) {
        (Some(first), _) => Ok(Some(first.pid)),
        (None, Some(leaf)) => Ok(oldest(leaf)?.map(|oldest| oldest.pid)),
        (None, None) => Ok(None),
    }
}
