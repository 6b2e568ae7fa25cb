//! The detached mounts of a launch, made in the parent, and the order in which the child attaches
//! them.

use std::cmp::Ordering;
use std::ffi::CString;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd};
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};

use rustix::fs::{FileType, fstat};
use rustix::io::{Errno, fcntl_dupfd_cloexec};

use tenantd_core::stage::{Failure, Stage};

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
    /// If others are attached beside it.
    pub(super) beside: Option<Beside>,
}

impl Mount {
    /// The folder above its target, unless the child has its own way to the target, or nothing is saved: below `/`.
    fn above(&self) -> Option<&[u8]> {
        let is_plain = self.union.is_none() && !self.is_sysfs && self.in_sysfs.is_none();
        if !is_plain || !self.is_folder {
            return None;
        }
        let target = self.target.as_bytes();
        let slash = target.iter().rposition(|byte| *byte == b'/')?;
        target.get(..slash).filter(|above| !above.is_empty())
    }

    /// Whether the tenant may write to it.
    pub(super) fn is_writable(&self) -> bool {
        let stages = [Stage::Own, Stage::Attach, Stage::Private, Stage::Shared];
        stages.contains(&self.stage) && !self.is_sysfs
    }
}

/// A target that the child finds by its name in the folder above it, which it opens once for all that are there.
#[derive(Debug)]
pub(super) struct Beside {
    /// The folder, for the first of them.
    pub(super) above: Option<CString>,
    /// Where the name begins in the target.
    pub(super) name: usize,
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
            beside: None,
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
    pub(super) fn in_order(self) -> Vec<Mount> {
        let mut all: Vec<Mount> = self.all.into_iter().map(|(_, mount)| mount).collect();
        all.sort_by(|a, b| order(a.target.as_bytes(), b.target.as_bytes()));
        for at in 0..all.len() {
            let (before, rest) = all.split_at_mut(at);
            let [mount, after @ ..] = rest else { break };
            let opened = before.iter().rev().find(|it| it.beside.is_some());
            let opened = opened.and_then(Mount::above);
            let next = after.first().and_then(Mount::above);
            let Some(above) = mount.above() else { continue };
            if opened == Some(above) || next == Some(above) {
                let is_first = opened != Some(above);
                mount.beside = Some(Beside {
                    name: above.len() + 1,
                    // No target has a NUL byte.
                    above: is_first.then(|| CString::new(above).unwrap_or_default()),
                });
            }
        }
        all
    }
}

/// The order of two paths by their parts, of which each is absolute and has one `/` between two.
fn order(a: &[u8], b: &[u8]) -> Ordering {
    let rank = |byte: u8| if byte == b'/' { 0 } else { byte };
    let differ = a.iter().zip(b).find(|(x, y)| x != y);
    differ.map_or_else(|| a.len().cmp(&b.len()), |(x, y)| rank(*x).cmp(&rank(*y)))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ordered(targets: &[&str]) -> Vec<Mount> {
        let mut mounts = Mounts::default();
        for target in targets {
            let tree = OwnedFd::from(std::fs::File::open("/").unwrap());
            mounts.add(Stage::Attach, tree, Path::new(target)).unwrap();
        }
        mounts.in_order()
    }

    #[test]
    fn those_beside_each_other_are_found_by_one_folder() {
        let found = ordered(&[
            "/run", "/tmp", "/s/a", "/s/b", "/s/b/x", "/s/b/y", "/s/c", "/t/a",
        ]);
        let beside = found.iter().map(|mount| {
            let beside = mount.beside.as_ref()?;
            let name = &mount.target.to_str().unwrap()[beside.name..];
            Some((beside.above.as_ref().map(|it| it.to_str().unwrap()), name))
        });
        let expected = [
            None,
            Some((Some("/s"), "a")),
            Some((None, "b")),
            Some((Some("/s/b"), "x")),
            Some((None, "y")),
            // Nothing is saved for it: the other folder is opened since.
            None,
            None,
            None,
        ];
        assert_eq!(beside.collect::<Vec<_>>(), expected);
    }

    #[test]
    fn a_mount_comes_after_what_contains_its_target() {
        let ordered = ordered(&["/var/lib/wiki", "/run/a-b", "/run/a/c", "/var", "/run/a"]);
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
