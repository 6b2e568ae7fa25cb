//! Mounts that are the same for all tenants: the folder `/dev`, `/proc`, and the cover of hidden folders.
//!
//! Each is made once, and a launch attaches a copy of the mount (`OPEN_TREE_CLONE`, open_tree(2)).
//! The copies, but for that of `/proc`, are read-only, so that no tenant can change what the others see. That saves about a
//! third of what a tenant's view of the host costs a launch.

use std::ffi::CString;
use std::io;
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::ffi::OsStrExt;
use std::sync::OnceLock;

use rustix::io::Errno;
use rustix::mount::{
    FsMountFlags, FsOpenFlags, MountAttrFlags, OpenTreeFlags, fsconfig_create, fsconfig_set_string,
    fsmount, fsopen, open_tree,
};

use super::mounts::READ_ONLY;
use super::raw;
use super::tmpfs::{PLAIN, Tmpfs};
use super::view::own;
use crate::targets::table;
use tenantd_core::stage::{Failure, Stage};

/// The mounts that launches share. They belong to the mount namespace of the thread that launches
/// first.
#[derive(Debug, Default)]
pub struct MountTemplates {
    dev: OnceLock<OwnedFd>,
    cover: OnceLock<OwnedFd>,
    proc: OnceLock<OwnedFd>,
    cgroups: OnceLock<Vec<CString>>,
}

impl MountTemplates {
    /// A read-only `/dev`, see [`own::device_folder`].
    pub(super) fn dev(&self) -> Result<OwnedFd, Errno> {
        copy(&self.dev, || {
            let tree = own::device_folder()?;
            raw::mount_setattr(tree.as_fd(), &READ_ONLY)?;
            Ok(tree)
        })
    }

    /// A cover, see [`Tmpfs::cover`].
    pub(super) fn cover(&self) -> Result<OwnedFd, Errno> {
        copy(&self.cover, || Tmpfs::cover().mount())
    }

    /// A `/proc` that shows only processes that the reader may trace (`hidepid=4`, proc(5)). It shows each
    /// process what that one may see, and so is one for all.
    pub(super) fn proc(&self) -> Result<OwnedFd, Errno> {
        copy(&self.proc, || {
            let proc = fsopen(c"proc", FsOpenFlags::FSOPEN_CLOEXEC)?;
            fsconfig_set_string(&proc, c"source", c"proc")?;
            fsconfig_set_string(&proc, c"hidepid", c"ptraceable")?;
            fsconfig_create(&proc)?;
            let attributes = PLAIN.union(MountAttrFlags::MOUNT_ATTR_NOEXEC);
            fsmount(&proc, FsMountFlags::FSMOUNT_CLOEXEC, attributes)
        })
    }

    /// The mount points of the cgroup file systems of the host, as they were at the first launch.
    ///
    /// # Errors
    /// A [`Failure`] of stage propagation.
    pub(super) fn cgroups(&self) -> Result<Vec<CString>, Failure> {
        if let Some(found) = self.cgroups.get() {
            return Ok(found.clone());
        }
        let found = cgroup_mounts().map_err(|error| {
            let errno = error.raw_os_error().unwrap_or(libc::EIO);
            Failure::errno(Stage::Propagation, "/proc/thread-self/mountinfo", errno)
        })?;
        Ok(self.cgroups.get_or_init(|| found).clone())
    }
}

/// The file systems of cgroups(7), version 1 and 2.
const CGROUPS: [&[u8]; 2] = [b"cgroup", b"cgroup2"];

fn cgroup_mounts() -> io::Result<Vec<CString>> {
    let text = std::fs::read("/proc/thread-self/mountinfo")?;
    let lines = text.split(|byte| *byte == b'\n');
    let points = lines.filter_map(|line| table::mount_of(line, &CGROUPS));
    let points = points.filter_map(|point| CString::new(point.as_os_str().as_bytes()).ok());
    Ok(points.collect())
}

/// Copies the mount, which is made if it is missing.
fn copy(
    made: &OnceLock<OwnedFd>,
    make: impl Fn() -> Result<OwnedFd, Errno>,
) -> Result<OwnedFd, Errno> {
    let first = match made.get() {
        Some(first) => first,
        None => {
            let new = make()?;
            made.get_or_init(|| new)
        }
    };
    let flags = OpenTreeFlags::OPEN_TREE_CLONE
        | OpenTreeFlags::OPEN_TREE_CLOEXEC
        | OpenTreeFlags::AT_EMPTY_PATH;
    match open_tree(first, c"", flags) {
        // Before Linux 6.15 a mount that is not attached cannot be copied.
        Err(Errno::INVAL) => make(),
        copied => copied,
    }
}
