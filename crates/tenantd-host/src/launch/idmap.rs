//! A mount through which a tenant sees files as another user's than the host does: `MOUNT_ATTR_IDMAP` of
//! mount_setattr(2).
//!
//! The kernel takes the map from a user namespace. One is made for that only: a child that has nothing to do is in
//! it, and ends as soon as the namespace is open. No process of a tenant is ever in it, and the namespace is gone
//! with the mounts.
#![allow(unsafe_code)]

use std::fmt::Write as _;
use std::fs;
use std::mem::MaybeUninit;
use std::os::fd::{AsFd, AsRawFd, FromRawFd, OwnedFd};
use std::path::Path;
use std::time::Duration;

use linux_raw_sys::general::{
    CLONE_CLEAR_SIGHAND, CLONE_NEWUSER, CLONE_PIDFD, MOUNT_ATTR_IDMAP, clone_args, mount_attr,
};
use rustix::fs::{CWD, Mode, OFlags, openat};
use rustix::io::Errno;
use rustix::pipe::{PipeFlags, pipe_with};

use super::clone;
use super::raw::outcome;
use super::trees;
use crate::children::{Known, Making};
use crate::datastore;
use crate::process;
use tenantd_core::plan::model::{DatastorePlan, IdMap, Swap};
use tenantd_core::stage::{Failure, Stage};

/// How long the child may take to end once it may. It only has to be scheduled.
const LIMIT: Duration = Duration::from_secs(10);

/// The map of a datastore, as the kernel takes it.
pub(super) struct Map {
    namespace: OwnedFd,
    /// Whether it holds for the host's folders too, see [`IdMap`].
    of_host: bool,
}

impl Map {
    /// This map, if it holds for the host's folders.
    pub(super) fn of_host(&self) -> Option<&Self> {
        self.of_host.then_some(self)
    }
}

/// The map of a datastore; `None` if it has none.
///
/// # Errors
/// A [`Failure`] of stage datastore.
pub(super) fn of(plan: &DatastorePlan) -> Result<Option<Map>, Failure> {
    let Some(map) = &plan.map else {
        return Ok(None);
    };
    let made = make(map).map_err(|errno| {
        let path = plan.source.display().to_string();
        let why = Failure::errno(Stage::Datastore, path, errno.raw_os_error());
        why.with(
            "cannot make the user namespace that maps its owner: see the sysctl user.max_user_namespaces, or remove \
             `owner` from [app.datastore] and use `tenantd chown`",
        )
    });
    Ok(Some(Map {
        namespace: made?,
        of_host: map.of_host,
    }))
}

/// The attributes that make a mount one with a map.
pub(super) fn mapped(attr: mount_attr, map: Option<&Map>) -> mount_attr {
    match map {
        None => attr,
        Some(map) => mount_attr {
            attr_set: attr.attr_set | u64::from(MOUNT_ATTR_IDMAP),
            userns_fd: map.namespace.as_raw_fd().unsigned_abs().into(),
            ..attr
        },
    }
}

/// What it means that a mount could not be made with a map.
pub(super) fn explain(why: Failure, errno: Errno) -> Failure {
    match errno {
        Errno::INVAL => why.with(
            "its file system, or one that is mounted in it, cannot show files as another user's (ext4, xfs, btrfs and \
             tmpfs can): use another one, or remove `owner` from [app.datastore] and use `tenantd chown`",
        ),
        Errno::PERM => why.with(
            "it is mounted with a map of its own already: use it without one, or remove `owner` from [app.datastore]",
        ),
        Errno::NOSYS => why.with("`owner` of [app.datastore] needs Linux 5.12 or later"),
        _ => why,
    }
}

/// Tries whether the file system of a datastore, or that on which it would be made, can show its files as another
/// user's. Changes nothing.
///
/// # Errors
/// A [`Failure`] of stage datastore if it cannot.
pub(super) fn rehearse(plan: &DatastorePlan) -> Result<(), Failure> {
    let Some(map) = of(plan)? else {
        return Ok(());
    };
    let found = plan.source.ancestors().find_map(open);
    let Some((path, folder)) = found else {
        return Ok(());
    };
    let tried = trees::clone_tree(&folder, Some(&map));
    tried.map(drop).map_err(|errno| {
        let path = path.display().to_string();
        let why = Failure::errno(Stage::Datastore, path, errno.raw_os_error());
        explain(why, errno)
    })
}

fn open(path: &Path) -> Option<(&Path, OwnedFd)> {
    datastore::open(path).ok().map(|found| (path, found))
}

fn make(map: &IdMap) -> Result<OwnedFd, Errno> {
    let (go, hold) = pipe_with(PipeFlags::CLOEXEC)?;
    let making = Making::begin();
    let ends = [&go, &hold].map(AsRawFd::as_raw_fd);
    // The child has the stack of the thread that makes it: those of others are not copied.
    let made = clone::on_their_thread(|| clone_waiting(ends));
    let (pid, pidfd) = made.unwrap_or(Err(Errno::CANCELED))?;
    let known = Known::register(pid);
    drop(making);
    drop(go);
    let opened = write_maps(pid, map).and_then(|()| {
        let path = format!("/proc/{pid}/ns/user");
        openat(CWD, path, OFlags::RDONLY | OFlags::CLOEXEC, Mode::empty())
    });
    drop(hold);
    let ended = process::reap_within(pidfd.as_fd(), &known, LIMIT)?;
    if ended.is_none() {
        process::signal(pidfd.as_fd(), libc::SIGKILL)?;
    }
    opened
}

fn write_maps(pid: i32, map: &IdMap) -> Result<(), Errno> {
    for (file, swap) in [("uid_map", map.uid), ("gid_map", map.gid)] {
        // The kernel takes a map with one write only.
        fs::write(format!("/proc/{pid}/{file}"), text(swap)).map_err(|error| {
            let errno = error.raw_os_error().unwrap_or(libc::EIO);
            Errno::from_raw_os_error(errno)
        })?;
    }
    Ok(())
}

fn text(swap: Swap) -> String {
    let mut text = String::new();
    for [disk, seen, count] in swap.parts() {
        // Writing to a string does not fail.
        let _ = writeln!(text, "{disk} {seen} {count}");
    }
    text
}

/// Makes a child in a user namespace of its own. It ends once nobody holds `hold` any more.
#[inline(never)]
fn clone_waiting([go, hold]: [i32; 2]) -> Result<(i32, OwnedFd), Errno> {
    let mut pidfd: libc::c_int = -1;
    // SAFETY: clone_args consists of integers, for which all-zero bytes are a value: "not given".
    let mut args: clone_args = unsafe { MaybeUninit::zeroed().assume_init() };
    args.flags = u64::from(CLONE_PIDFD | CLONE_NEWUSER) | CLONE_CLEAR_SIGHAND;
    args.pidfd = std::ptr::from_mut(&mut pidfd) as u64;
    args.exit_signal = libc::SIGCHLD.unsigned_abs().into();
    // SAFETY: `args` is a clone_args of the size that is given, and its `pidfd` points to an int that outlives
    // the call. The child continues in a copy of this thread's memory, as after fork(2): it only calls wait_and_exit,
    // which makes system calls and does not return.
    let pid = unsafe {
        libc::syscall(
            libc::SYS_clone3,
            std::ptr::from_mut(&mut args),
            size_of::<clone_args>(),
        )
    };
    if pid == 0 {
        wait_and_exit(go, hold);
    }
    outcome(pid)?;
    // SAFETY: the call succeeded, so the kernel has stored a new descriptor that nothing else owns.
    let pidfd = unsafe { OwnedFd::from_raw_fd(pidfd) };
    Ok((i32::try_from(pid).map_err(|_| Errno::OVERFLOW)?, pidfd))
}

/// In the child: waits for the end of the pipe. Allocates nothing.
fn wait_and_exit(go: i32, hold: i32) -> ! {
    let mut byte = 0_u8;
    // SAFETY: close(2) and read(2) on descriptors of this process, which is a copy: closing one here does not close
    // that of the parent. The kernel writes at most one byte to `byte`. exit_group(2) does not return.
    unsafe {
        libc::syscall(libc::SYS_close, hold);
        libc::syscall(libc::SYS_read, go, &raw mut byte, 1);
        libc::syscall(libc::SYS_exit_group, 0);
    }
    loop {
        std::hint::spin_loop();
    }
}
