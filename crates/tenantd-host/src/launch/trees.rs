//! Copies of mounts, detached: of the host's paths and of the folders of a datastore.

use std::os::fd::{AsFd, OwnedFd};

use linux_raw_sys::general::{
    MOUNT_ATTR_NODEV, MOUNT_ATTR_NOSUID, MOUNT_ATTR_RDONLY, MS_PRIVATE, MS_SLAVE, mount_attr,
};
use rustix::fs::{Mode, OFlags, ResolveFlags, openat2};
use rustix::io::Errno;
use rustix::mount::{OpenTreeFlags, open_tree};

use super::idmap::{self, Map};
use super::raw;
use super::tmpfs::{Owner, Tmpfs};
use crate::datastore::rehearsal::Shown;
use crate::datastore::{Lower, Part, overlay};
use tenantd_core::plan::model::DatastorePlan;
use tenantd_core::stage::{Failure, Stage};

/// Makes a mount read-only.
pub(super) const READ_ONLY: mount_attr = mount_attr {
    attr_set: MOUNT_ATTR_RDONLY as u64,
    attr_clr: 0,
    propagation: 0,
    userns_fd: 0,
};

/// Makes a mount of a path of the host with the mounts below it. It is a slave of the host's: what
/// the host mounts there later appears, and nothing propagates back.
pub(super) fn clone_host(path: &OwnedFd, read_only: bool) -> Result<OwnedFd, Errno> {
    clone_path(path, OpenTreeFlags::AT_RECURSIVE, MS_SLAVE, read_only)
}

/// Makes a mount of a path of the host, without the mounts below it: neither those that are there nor later
/// ones appear, and what is mounted on it does not appear on the host.
pub(super) fn clone_alone(path: &OwnedFd, read_only: bool) -> Result<OwnedFd, Errno> {
    clone_path(path, OpenTreeFlags::empty(), MS_PRIVATE, read_only)
}

/// Makes a read-only mount of a path of the host with the mounts below it, but not with later ones.
pub(super) fn clone_sealed(path: &OwnedFd) -> Result<OwnedFd, Errno> {
    clone_path(path, OpenTreeFlags::AT_RECURSIVE, MS_PRIVATE, true)
}

fn clone_path(
    path: &OwnedFd,
    below: OpenTreeFlags,
    propagation: u32,
    read_only: bool,
) -> Result<OwnedFd, Errno> {
    let attr = mount_attr {
        propagation: propagation.into(),
        attr_set: match read_only {
            true => READ_ONLY.attr_set,
            false => 0,
        },
        ..READ_ONLY
    };
    let (tree, set) = copy(path, below, &attr)?;
    set.map(|()| tree)
}

/// Copies a mount, and sets its attributes. Returns it with the outcome of that.
fn copy(
    path: &OwnedFd,
    below: OpenTreeFlags,
    attr: &mount_attr,
) -> Result<(OwnedFd, Result<(), Errno>), Errno> {
    let flags = OpenTreeFlags::OPEN_TREE_CLONE
        | OpenTreeFlags::OPEN_TREE_CLOEXEC
        | OpenTreeFlags::AT_EMPTY_PATH
        | below;
    match raw::open_tree_attr(path.as_fd(), flags.bits(), attr) {
        // The kernel has no such call, or a filter permits only what it knows.
        Err(Errno::NOSYS | Errno::PERM) => {
            let tree = open_tree(path, c"", flags)?;
            let set = raw::mount_setattr(tree.as_fd(), attr);
            Ok((tree, set))
        }
        copied => Ok((copied?, Ok(()))),
    }
}

/// Makes a read-only mount of what a tenant would see, for a rehearsal.
pub(super) fn of_rehearsal(
    shown: &Shown,
    plan: &DatastorePlan,
    map: Option<&Map>,
) -> Result<OwnedFd, Errno> {
    let tree = match shown.layers.as_slice() {
        [] => {
            let seen = plan.map.as_ref().map(|map| (map.uid.seen, map.gid.seen));
            let (uid, gid) = seen.unwrap_or((plan.uid, plan.gid));
            let owner = Owner {
                uid,
                gid,
                mode: plan.mode,
            };
            Tmpfs::writable(owner, 4096).mount()?
        }
        layers => {
            let lowest = layers.len() - 1;
            let each = layers.iter().enumerate().map(|(at, layer)| {
                let is_host = shown.of_host && at == lowest;
                let map = map.filter(|map| !is_host || map.of_host().is_some());
                clone_tree(layer, map)
            });
            match <[OwnedFd; 1]>::try_from(each.collect::<Result<Vec<_>, _>>()?) {
                Ok([whole]) => whole,
                Err(all) => overlay::union(&all)?,
            }
        }
    };
    raw::mount_setattr(tree.as_fd(), &READ_ONLY)?;
    Ok(tree)
}

/// Makes a mount of a part of the datastore, with the map of a user namespace if there is one.
///
/// # Errors
/// A [`Failure`] of stage tree, or of stage datastore if it cannot be mounted as an overlay.
pub(super) fn of_datastore(part: &Part, map: Option<&Map>) -> Result<OwnedFd, Failure> {
    let place = part.place.display().to_string();
    match &part.lower {
        None => clone_tree(&part.folder, map).map_err(|errno| {
            let why = Failure::errno(Stage::Tree, place, errno.raw_os_error());
            map.map_or(why.clone(), |_| idmap::explain(why, errno))
        }),
        Some(lower) => overlay(part, lower, map).map_err(|errno| {
            let why = Failure::errno(Stage::Datastore, place, errno.raw_os_error());
            match errno {
                Errno::INVAL => why.with(
                    "the filesystem of the datastore cannot hold the changes of an overlay, as \
                     when it is one itself: use seed = \"copy\", or another filesystem",
                ),
                Errno::NODEV => {
                    why.with("the kernel has no overlay filesystem: load the module overlay")
                }
                _ => why.with("cannot mount it over the host's folder"),
            }
        }),
    }
}

/// Makes a mount of a part of the datastore over the host's folder. With a map, its layers are mounts with it.
fn overlay(part: &Part, lower: &Lower, map: Option<&Map>) -> Result<OwnedFd, Errno> {
    let Some(map) = map else {
        return overlay::mount(&part.folder, lower);
    };
    // The changes and the working folder must be seen through one mount.
    let root = clone_tree(&lower.root, Some(map))?;
    let [upper, work] = [&lower.upper_at, &lower.work_at].map(|at| {
        let flags = OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC;
        let resolve = ResolveFlags::BENEATH | ResolveFlags::NO_SYMLINKS;
        openat2(&root, at, flags, Mode::empty(), resolve)
    });
    let mapped = Lower {
        folder: clone_tree(&lower.folder, map.of_host())?,
        work: work?,
        root,
        upper_at: lower.upper_at.clone(),
        work_at: lower.work_at.clone(),
    };
    overlay::mount(&upper?, &mapped)
}

/// Makes a mount of a folder with all mounts below it. What the host mounts or unmounts there later
/// appears and disappears here too, and nothing propagates back.
///
/// Set-user-ID files and device files have no effect, except in what the host mounts later: a
/// tenant's data needs neither, and root in another tenant could have made them.
pub(super) fn clone_tree(folder: &OwnedFd, map: Option<&Map>) -> Result<OwnedFd, Errno> {
    let attr = mount_attr {
        attr_set: (MOUNT_ATTR_NOSUID | MOUNT_ATTR_NODEV).into(),
        attr_clr: 0,
        propagation: libc::MS_SLAVE,
        userns_fd: 0,
    };
    let attr = idmap::mapped(attr, map);
    let (tree, set) = copy(folder, OpenTreeFlags::AT_RECURSIVE, &attr)?;
    match set {
        Ok(()) => Ok(tree),
        // Linux before 5.12 has no such call; no-new-privs and the lack of CAP_MKNOD still hold.
        Err(Errno::NOSYS) if map.is_none() => Ok(tree),
        Err(errno) => Err(errno),
    }
}
