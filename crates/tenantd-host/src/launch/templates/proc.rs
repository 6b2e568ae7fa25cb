//! A tenant's `/proc`: with the processes that the reader may trace, and with the settings of the kernel
//! read-only.

use std::os::fd::OwnedFd;
use std::path::{Path, PathBuf};

use rustix::fs::{Mode, OFlags, openat, stat};
use rustix::io::Errno;
use rustix::mount::{
    FsMountFlags, FsOpenFlags, MountAttrFlags, MoveMountFlags, fsconfig_create,
    fsconfig_set_string, fsmount, fsopen, move_mount,
};

use crate::launch::tmpfs::PLAIN;
use crate::launch::trees;
use crate::launch::view::opened;
use tenantd_core::stage::{Failure, Stage};

/// Where it is.
pub(super) const PROC: &str = "/proc";

/// What lies below `/proc` by which root sets the whole kernel: only its user and mode protect it. So it is
/// read-only for everybody: root comes into each tenant, by a set-id program, a capability or `exec --user`.
const KERNEL_SETTINGS: [&str; 11] = [
    "sys",
    "sysrq-trigger",
    "irq",
    "bus",
    "fs",
    "scsi",
    "acpi",
    "driver",
    "asound",
    "dynamic_debug",
    "mtrr",
];

/// A mount with all others in it; `None` before Linux 6.15, where nothing can be mounted on one that is
/// not attached.
pub(super) fn whole(hides: bool) -> Result<Option<OwnedFd>, Failure> {
    let proc = match hides {
        true => hiding(),
        false => hosts(),
    };
    let proc = proc.map_err(failed(Path::new(PROC)))?;
    let machine = super::machine::files().map_err(|error| {
        failed(Path::new(PROC))(Errno::from_io_error(&error).unwrap_or(Errno::IO))
    })?;
    let Some(machine) = machine else {
        return Ok(None);
    };
    let machine = machine.into_iter();
    let machine = machine.map(|(below, tree)| (Path::new(PROC).join(below), tree));
    for (path, tree) in settings()?.into_iter().chain(machine) {
        let below = path.strip_prefix(PROC).unwrap_or(&path);
        let flags = OFlags::PATH | OFlags::NOFOLLOW | OFlags::CLOEXEC;
        let target = openat(&proc, below, flags, Mode::empty()).map_err(failed(&path))?;
        let by_fd =
            MoveMountFlags::MOVE_MOUNT_F_EMPTY_PATH | MoveMountFlags::MOVE_MOUNT_T_EMPTY_PATH;
        match move_mount(&tree, c"", &target, c"", by_fd) {
            Ok(()) => {}
            Err(Errno::INVAL) => return Ok(None),
            Err(errno) => return Err(failed(&path)(errno)),
        }
    }
    Ok(Some(proc))
}

/// The same as mounts to attach one after the other.
pub(super) fn parts(hides: bool) -> Result<Vec<(PathBuf, OwnedFd)>, Failure> {
    let mut all = settings()?;
    if hides {
        let path = PathBuf::from(PROC);
        let proc = hiding().map_err(failed(&path))?;
        all.push((path, proc));
    }
    Ok(all)
}

/// A `/proc` that shows only processes that the reader may trace (`hidepid=4`, proc(5)). It shows each
/// process what that one may see, and so is one for all.
fn hiding() -> Result<OwnedFd, Errno> {
    let proc = fsopen(c"proc", FsOpenFlags::FSOPEN_CLOEXEC)?;
    fsconfig_set_string(&proc, c"source", c"proc")?;
    fsconfig_set_string(&proc, c"hidepid", c"ptraceable")?;
    fsconfig_create(&proc)?;
    let attributes = PLAIN.union(MountAttrFlags::MOUNT_ATTR_NOEXEC);
    fsmount(&proc, FsMountFlags::FSMOUNT_CLOEXEC, attributes)
}

/// That of the host, without what is mounted below it.
fn hosts() -> Result<OwnedFd, Errno> {
    trees::clone_alone(&opened(Path::new(PROC))?, false)
}

/// Read-only mounts of the settings of the kernel. What the host has mounted below them, such as
/// binfmt_misc, and what it mounts there later does not appear.
fn settings() -> Result<Vec<(PathBuf, OwnedFd)>, Failure> {
    let paths = KERNEL_SETTINGS
        .iter()
        .map(|name| Path::new(PROC).join(name));
    let existing = paths.filter(|path| stat(path).is_ok());
    existing
        .map(|path| {
            let tree = opened(&path).and_then(|found| trees::clone_alone(&found, true));
            let tree = tree.map_err(failed(&path))?;
            Ok((path, tree))
        })
        .collect()
}

pub(super) fn failed(path: &Path) -> impl Fn(Errno) -> Failure {
    move |errno| Failure::errno(Stage::Own, path.display().to_string(), errno.raw_os_error())
}
