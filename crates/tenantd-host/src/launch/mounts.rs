//! The detached mounts of a launch, made in the parent, and the order in which the child attaches
//! them.

use std::ffi::CString;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd};
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};

use linux_raw_sys::general::{
    MOUNT_ATTR_NODEV, MOUNT_ATTR_NOSUID, MOUNT_ATTR_RDONLY, MS_PRIVATE, MS_SLAVE, mount_attr,
};
use rustix::fs::{FileType, Mode, OFlags, ResolveFlags, fstat, openat2};
use rustix::io::{Errno, fcntl_dupfd_cloexec};
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

/// A detached mount and the path to attach it to.
#[derive(Debug)]
pub(super) struct Mount {
    /// Whether it is a folder.
    pub(super) is_folder: bool,
    /// The stage to which a failure to attach it belongs.
    pub(super) stage: Stage,
    pub(super) tree: OwnedFd,
    pub(super) target: CString,
    /// Whether the child mounts a sysfs instead of the tree.
    pub(super) is_sysfs: bool,
    /// The path below that sysfs, if it belongs there.
    pub(super) in_sysfs: Option<CString>,
    /// If the tree is the upper layer of a union with the folder at the target.
    pub(super) union: Option<Union>,
}

impl Mount {
    /// Whether the tenant may write to it.
    pub(super) fn is_writable(&self) -> bool {
        let stages = [Stage::Own, Stage::Attach, Stage::Private, Stage::Shared];
        stages.contains(&self.stage) && !self.is_sysfs
    }
}

/// A union that the child makes.
#[derive(Debug)]
pub(super) struct Union {
    /// The layers, as overlayfs takes them: the tree and `lower`.
    pub(super) layers: CString,
    /// The number for the descriptor of the folder at the target, which the child opens.
    pub(super) lower: OwnedFd,
}

/// The mounts of a launch.
#[derive(Default)]
pub(super) struct Mounts {
    all: Vec<(PathBuf, Mount)>,
}

impl Mounts {
    /// Adds a mount.
    ///
    /// # Errors
    /// A [`Failure`] of `stage` if the path contains a NUL byte.
    pub(super) fn add(
        &mut self,
        stage: Stage,
        tree: OwnedFd,
        target: &Path,
    ) -> Result<(), Failure> {
        let failed = |errno: Errno| {
            Failure::errno(stage, target.display().to_string(), errno.raw_os_error())
        };
        let found = fstat(&tree).map_err(failed)?;
        let is_folder = FileType::from_raw_mode(found.st_mode) == FileType::Directory;
        self.add_as(stage, tree, target, (is_folder, None))
    }

    /// Adds a mount that is known to be a folder.
    ///
    /// # Errors
    /// A [`Failure`] of `stage` if the path contains a NUL byte.
    pub(super) fn add_folder(
        &mut self,
        stage: Stage,
        tree: OwnedFd,
        target: &Path,
    ) -> Result<(), Failure> {
        self.add_as(stage, tree, target, (true, None))
    }

    /// Adds a read-only union of `layer` and the host's folder, at the path of the folder.
    ///
    /// # Errors
    /// A [`Failure`] of `stage` if the path contains a NUL byte, or there is no descriptor left.
    pub(super) fn add_union(
        &mut self,
        stage: Stage,
        layer: OwnedFd,
        folder: &Path,
    ) -> Result<(), Failure> {
        let failed = |errno: Errno| {
            Failure::errno(stage, folder.display().to_string(), errno.raw_os_error())
        };
        let lower = fcntl_dupfd_cloexec(&layer, 3).map_err(failed)?;
        let [upper, below] = [&layer, &lower].map(|it| format!("/proc/self/fd/{}", it.as_raw_fd()));
        let layers = CString::new(format!("{upper}:{below}")).map_err(|_| failed(Errno::INVAL))?;
        self.add_as(stage, layer, folder, (true, Some(Union { layers, lower })))
    }

    /// Adds a sysfs, which the child mounts, over a folder.
    ///
    /// # Errors
    /// A [`Failure`] of `stage`.
    pub(super) fn add_sysfs(
        &mut self,
        stage: Stage,
        folder: OwnedFd,
        target: &Path,
    ) -> Result<(), Failure> {
        self.add_folder(stage, folder, target)?;
        if let Some((_, mount)) = self.all.last_mut() {
            mount.is_sysfs = true;
        }
        Ok(())
    }

    /// Adds a cover of a folder of the sysfs that the child mounts over `sysfs`.
    ///
    /// # Errors
    /// A [`Failure`] of `stage` if the path contains a NUL byte.
    pub(super) fn add_in_sysfs(
        &mut self,
        stage: Stage,
        cover: OwnedFd,
        (sysfs, target): (&Path, &Path),
    ) -> Result<(), Failure> {
        self.add_folder(stage, cover, target)?;
        let below = target.strip_prefix(sysfs).ok();
        let below = below.and_then(|below| CString::new(below.as_os_str().as_bytes()).ok());
        if let Some((_, mount)) = self.all.last_mut() {
            mount.in_sysfs = below;
        }
        Ok(())
    }

    fn add_as(
        &mut self,
        stage: Stage,
        tree: OwnedFd,
        target: &Path,
        (is_folder, union): (bool, Option<Union>),
    ) -> Result<(), Failure> {
        let c_target = CString::new(target.as_os_str().as_bytes()).map_err(|_| {
            let shown = target.display().to_string().replace('\0', "\\0");
            Failure::detail(stage, shown, "contains a NUL byte")
        })?;
        let mount = Mount {
            is_folder,
            stage,
            tree,
            target: c_target,
            is_sysfs: false,
            in_sysfs: None,
            union,
        };
        self.all.push((target.to_owned(), mount));
        Ok(())
    }

    /// The stages and the targets of the mounts.
    pub(super) fn targets(&self) -> impl Iterator<Item = (Stage, &Path)> {
        self.all
            .iter()
            .map(|(target, mount)| (mount.stage, target.as_path()))
    }

    /// The stages, the targets and the mounts of the folders.
    pub(super) fn folders(&self) -> impl Iterator<Item = (Stage, &Path, BorrowedFd<'_>)> {
        let folders = self.all.iter().filter(|(_, mount)| mount.is_folder);
        folders.map(|(target, mount)| (mount.stage, target.as_path(), mount.tree.as_fd()))
    }

    /// The stages, the targets and the mounts of the files that a tenant has for itself.
    pub(super) fn files(&self) -> impl Iterator<Item = (Stage, &Path, &OwnedFd)> {
        let files = self.all.iter();
        let files = files.filter(|(_, it)| it.stage == Stage::Files && !it.is_folder);
        files.map(|(target, mount)| (mount.stage, target.as_path(), &mount.tree))
    }

    /// Removes the mounts that `keep` does not keep.
    pub(super) fn retain(&mut self, keep: impl Fn(Stage, &Path) -> bool) {
        self.all.retain(|(target, mount)| keep(mount.stage, target));
    }

    /// The mounts in the order in which to attach them: each after those that contain its target.
    pub(super) fn in_order(mut self) -> Vec<Mount> {
        self.all.sort_by(|(a, _), (b, _)| a.cmp(b));
        self.all.into_iter().map(|(_, mount)| mount).collect()
    }
}

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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_mount_comes_after_what_contains_its_target() {
        let mut mounts = Mounts::default();
        for target in ["/var/lib/wiki", "/run/a-b", "/run/a/c", "/var", "/run/a"] {
            let tree = OwnedFd::from(std::fs::File::open("/").unwrap());
            mounts.add(Stage::Attach, tree, Path::new(target)).unwrap();
        }
        let ordered = mounts.in_order();
        let targets: Vec<_> = ordered
            .iter()
            .map(|it| it.target.to_str().unwrap())
            .collect();
        assert_eq!(
            targets,
            ["/run/a", "/run/a/c", "/run/a-b", "/var", "/var/lib/wiki"]
        );
    }
}
