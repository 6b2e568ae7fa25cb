//! A folder of a datastore, mounted over the host's folder.
//!
//! The options that decide how changes are stored are set explicitly, because their defaults depend
//! on how the kernel was built: what one launch has written, the next must read in the same way.
//! `volatile` is never set: after it, the kernel refuses to mount the folder again.

use std::os::fd::{AsRawFd, OwnedFd};

use rustix::io::Errno;
use rustix::mount::{
    FsMountFlags, FsOpenFlags, MountAttrFlags, fsconfig_create, fsconfig_set_fd,
    fsconfig_set_string, fsmount, fsopen,
};

use super::folders::Lower;

/// See the kernel's Documentation/filesystems/overlayfs.rst.
const OPTIONS: &[(&str, &str)] = &[
    ("redirect_dir", "off"),
    ("metacopy", "off"),
    ("index", "off"),
    ("nfs_export", "off"),
    ("xino", "off"),
];

/// Makes a detached mount of `upper` over the host's folder.
///
/// # Errors
/// `EINVAL` if the datastore is on a filesystem that cannot store the changes, such as another
/// overlay.
pub(crate) fn mount(upper: &OwnedFd, lower: &Lower) -> Result<OwnedFd, Errno> {
    let plain = MountAttrFlags::MOUNT_ATTR_NOSUID | MountAttrFlags::MOUNT_ATTR_NODEV;
    of_layers(upper, &lower.folder, &lower.work, plain)
}

/// Makes a detached mount of `upper` over `lower`, with these attributes.
///
/// # Errors
/// As [`mount`].
pub(crate) fn of_layers(
    upper: &OwnedFd,
    lower: &OwnedFd,
    work: &OwnedFd,
    attributes: MountAttrFlags,
) -> Result<OwnedFd, Errno> {
    let overlay = fsopen(c"overlay", FsOpenFlags::FSOPEN_CLOEXEC)?;
    fsconfig_set_string(&overlay, c"source", c"tenantd")?;
    for (by_fd, key, folder) in [
        ("lowerdir+", "lowerdir", lower),
        ("upperdir", "upperdir", upper),
        ("workdir", "workdir", work),
    ] {
        // The folders are those that were opened, and no character needs escaping.
        if fsconfig_set_fd(&overlay, by_fd, folder).is_err() {
            // Before Linux 6.15; and what else is wrong, this fails for too.
            let path = format!("/proc/self/fd/{}", folder.as_raw_fd());
            fsconfig_set_string(&overlay, key, path.as_str())?;
        }
    }
    for (key, value) in OPTIONS {
        fsconfig_set_string(&overlay, *key, *value)?;
    }
    fsconfig_create(&overlay)?;
    fsmount(&overlay, FsMountFlags::FSMOUNT_CLOEXEC, attributes)
}

/// Makes a read-only union of these folders, the uppermost first. Unlike [`mount`], it writes nothing
/// to the datastore.
///
/// # Errors
/// Those of fsopen(2), fsconfig(2) and fsmount(2).
pub(crate) fn union(layers: &[OwnedFd]) -> Result<OwnedFd, Errno> {
    let overlay = fsopen(c"overlay", FsOpenFlags::FSOPEN_CLOEXEC)?;
    fsconfig_set_string(&overlay, c"source", c"tenantd")?;
    let paths = layers
        .iter()
        .map(|layer| format!("/proc/self/fd/{}", layer.as_raw_fd()));
    let paths: Vec<String> = paths.collect();
    fsconfig_set_string(&overlay, c"lowerdir", paths.join(":").as_str())?;
    fsconfig_create(&overlay)?;
    let attributes = MountAttrFlags::MOUNT_ATTR_NOSUID | MountAttrFlags::MOUNT_ATTR_NODEV;
    fsmount(&overlay, FsMountFlags::FSMOUNT_CLOEXEC, attributes)
}
