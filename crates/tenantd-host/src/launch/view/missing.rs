//! Mount points that the host does not have.
//!
//! They are not made on the host. The tenant gets, at the folder that would contain them, a
//! read-only union (overlayfs without an upper layer) of that folder and of one in memory that has
//! just the missing ones.
//!
//! This needs Linux 6.15. Before, such a folder must exist on the host.
//!
//! A union is not always current: a file that the host replaces while a tenant has it open stays the
//! old one there. So it is not used for folders with the host's configuration or sockets.

use std::collections::BTreeMap;
use std::os::fd::{AsRawFd, OwnedFd};
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};

use rustix::fs::stat;
use rustix::io::Errno;
use rustix::mount::{
    FsMountFlags, FsOpenFlags, MountAttrFlags, fsconfig_create, fsconfig_set_string, fsmount,
    fsopen,
};

use super::on;
use super::own::make_folders;
use crate::launch::mounts::Mounts;
use crate::launch::tmpfs::{Owner, PLAIN, Tmpfs};
use tenantd_core::stage::{Failure, Stage};

const STAGE: Stage = Stage::Missing;

/// Folders over which no union is made, see the head of this module.
const NEVER: [&str; 6] = ["/", "/etc", "/dev", "/run", "/proc", "/sys"];

/// The bytes of the folder in memory, for the names of the folders.
const SIZE: u64 = 64 << 10;

/// Adds what makes the missing targets exist.
///
/// # Errors
/// A [`Failure`] of stage missing, or of the target's own stage if it cannot be made.
pub(super) fn add<'a>(
    targets: impl Iterator<Item = &'a (Stage, PathBuf)>,
    mounts: &mut Mounts,
) -> Result<(), Failure> {
    let mut missing: BTreeMap<PathBuf, Vec<(Stage, &Path)>> = BTreeMap::new();
    for (stage, target) in targets {
        let Some(folder) = existing(target).map_err(on(*stage, target))? else {
            continue;
        };
        if NEVER.iter().any(|never| folder == Path::new(never)) {
            return Err(on(*stage, target)(Errno::NOENT));
        }
        missing.entry(folder).or_default().push((*stage, target));
    }
    for (folder, targets) in missing {
        let paths: Vec<&Path> = targets.iter().map(|(_, target)| *target).collect();
        let tree = match union(&folder, &paths) {
            // Before Linux 6.15 a layer must be mounted in a namespace: the folder has to exist.
            Err(Errno::INVAL) => {
                let (stage, target) = targets[0];
                return Err(on(stage, target)(Errno::NOENT));
            }
            union => union.map_err(on(STAGE, &folder))?,
        };
        mounts.add(STAGE, tree, &folder)?;
    }
    Ok(())
}

/// The nearest folder above `target` that exists; `None` if the target itself exists.
fn existing(target: &Path) -> Result<Option<PathBuf>, Errno> {
    for folder in target.ancestors() {
        match stat(folder) {
            Ok(_) if folder == target => return Ok(None),
            Ok(_) => return Ok(Some(folder.to_owned())),
            Err(Errno::NOENT) => {}
            Err(errno) => return Err(errno),
        }
    }
    Err(Errno::NOENT)
}

/// Makes the union of `folder` and the missing folders below it.
fn union(folder: &Path, targets: &[&Path]) -> Result<OwnedFd, Errno> {
    let found = stat(folder)?;
    // The root of the union has the owner and mode of the first layer.
    let owner = Owner {
        uid: found.st_uid,
        gid: found.st_gid,
        mode: found.st_mode & 0o7777,
    };
    let layer = Tmpfs {
        owner,
        size: SIZE,
        inodes: None,
        attributes: PLAIN,
    };
    let layer = layer.mount()?;
    for target in targets {
        let below = target.strip_prefix(folder).map_err(|_| Errno::INVAL)?;
        make_folders(&layer, below, Owner::ROOT)?;
    }
    let mut lower = format!("/proc/self/fd/{}:", layer.as_raw_fd()).into_bytes();
    for &byte in folder.as_os_str().as_bytes() {
        // The separator of layers.
        if byte == b':' || byte == b'\\' {
            lower.push(b'\\');
        }
        lower.push(byte);
    }
    let overlay = fsopen(c"overlay", FsOpenFlags::FSOPEN_CLOEXEC)?;
    fsconfig_set_string(&overlay, c"source", c"tenantd")?;
    fsconfig_set_string(&overlay, c"lowerdir", lower.as_slice())?;
    fsconfig_create(&overlay)?;
    let attributes = PLAIN.union(MountAttrFlags::MOUNT_ATTR_RDONLY);
    fsmount(&overlay, FsMountFlags::FSMOUNT_CLOEXEC, attributes)
}
