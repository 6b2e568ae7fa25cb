//! The detached mounts of a launch, made in the parent, and the order in which the child attaches
//! them.

use std::ffi::CString;
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};

use linux_raw_sys::general::{MOUNT_ATTR_NODEV, MOUNT_ATTR_NOSUID, mount_attr};
use rustix::io::Errno;
use rustix::mount::{
    FsMountFlags, FsOpenFlags, MountAttrFlags, OpenTreeFlags, fsconfig_create, fsconfig_set_string,
    fsmount, fsopen, open_tree,
};

use super::raw;
use tenantd_core::plan::model::Identity;
use tenantd_core::stage::{Failure, Stage};

/// A detached mount and the path to attach it to.
pub(super) struct Mount {
    /// The stage to which a failure to attach it belongs.
    pub(super) stage: Stage,
    pub(super) tree: OwnedFd,
    pub(super) target: CString,
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
        let c_target = CString::new(target.as_os_str().as_bytes()).map_err(|_| {
            let shown = target.display().to_string().replace('\0', "\\0");
            Failure::detail(stage, shown, "contains a NUL byte")
        })?;
        let mount = Mount {
            stage,
            tree,
            target: c_target,
        };
        self.all.push((target.to_owned(), mount));
        Ok(())
    }

    /// The mounts in the order in which to attach them: each after those that contain its target.
    pub(super) fn in_order(mut self) -> Vec<Mount> {
        self.all.sort_by(|(a, _), (b, _)| a.cmp(b));
        self.all.into_iter().map(|(_, mount)| mount).collect()
    }
}

/// Makes a mount of the datastore without the mounts below it. Set-user-ID files and device files
/// in it have no effect: a tenant's data needs neither, and root in another tenant could have made
/// them.
pub(super) fn clone_tree(folder: &OwnedFd) -> Result<OwnedFd, Errno> {
    let flags = OpenTreeFlags::OPEN_TREE_CLONE
        | OpenTreeFlags::OPEN_TREE_CLOEXEC
        | OpenTreeFlags::AT_EMPTY_PATH;
    let tree = open_tree(folder, c"", flags)?;
    let attr = mount_attr {
        attr_set: (MOUNT_ATTR_NOSUID | MOUNT_ATTR_NODEV).into(),
        attr_clr: 0,
        propagation: 0,
        userns_fd: 0,
    };
    match raw::mount_setattr(tree.as_fd(), &attr) {
        // Linux before 5.12 has no such call; no-new-privs and the lack of CAP_MKNOD still hold.
        Ok(()) | Err(Errno::NOSYS) => Ok(tree),
        Err(errno) => Err(errno),
    }
}

/// Options of a tmpfs, see tmpfs(5).
pub(super) struct Cover {
    options: Vec<(&'static str, String)>,
    attributes: MountAttrFlags,
}

impl Cover {
    /// A cover: empty, not writable, with its root as the only inode.
    pub(super) fn hide() -> Self {
        Self {
            options: vec![
                ("mode", "0000".to_owned()),
                ("size", "4k".to_owned()),
                ("nr_inodes", "1".to_owned()),
            ],
            attributes: MountAttrFlags::MOUNT_ATTR_RDONLY
                | MountAttrFlags::MOUNT_ATTR_NOEXEC
                | MountAttrFlags::MOUNT_ATTR_NOSUID
                | MountAttrFlags::MOUNT_ATTR_NODEV,
        }
    }

    /// An empty folder that belongs to the tenant. Its size is tmpfs's default: half of the memory.
    pub(super) fn private(identity: &Identity) -> Self {
        Self {
            options: vec![
                ("mode", "0755".to_owned()),
                ("uid", identity.uid.to_string()),
                ("gid", identity.gid.to_string()),
            ],
            attributes: MountAttrFlags::MOUNT_ATTR_NOSUID | MountAttrFlags::MOUNT_ATTR_NODEV,
        }
    }

    pub(super) fn mount(&self) -> Result<OwnedFd, Errno> {
        let tmpfs = fsopen(c"tmpfs", FsOpenFlags::FSOPEN_CLOEXEC)?;
        fsconfig_set_string(&tmpfs, c"source", c"tenantd")?;
        for (key, value) in &self.options {
            fsconfig_set_string(&tmpfs, *key, value.as_str())?;
        }
        fsconfig_create(&tmpfs)?;
        fsmount(&tmpfs, FsMountFlags::FSMOUNT_CLOEXEC, self.attributes)
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
