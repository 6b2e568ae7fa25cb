//! Folders in memory, as detached mounts, see tmpfs(5).

use std::os::fd::OwnedFd;

use rustix::io::Errno;
use rustix::mount::{
    FsMountFlags, FsOpenFlags, MountAttrFlags, fsconfig_create, fsconfig_set_string, fsmount,
    fsopen,
};

/// The owner and mode of a folder.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Owner {
    pub(super) uid: u32,
    pub(super) gid: u32,
    pub(super) mode: u32,
}

impl Owner {
    /// Root's, for everybody to read.
    pub(super) const ROOT: Owner = Owner {
        uid: 0,
        gid: 0,
        mode: 0o755,
    };
}

/// A tmpfs that is to be made.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Tmpfs {
    pub(super) owner: Owner,
    /// The maximum size in bytes.
    pub(super) size: u64,
    /// The maximum number of files and folders; `None` for the kernel's default.
    pub(super) inodes: Option<u32>,
    pub(super) attributes: MountAttrFlags,
}

/// Without set-user-ID files and devices.
pub(super) const PLAIN: MountAttrFlags =
    MountAttrFlags::MOUNT_ATTR_NOSUID.union(MountAttrFlags::MOUNT_ATTR_NODEV);

/// A tenant's own folder may have one file or folder per so many bytes of its size.
const BYTES_PER_INODE: u64 = 4096;

/// And at least so many.
const INODES_MIN: u64 = 1024;

impl Tmpfs {
    /// An empty folder that a tenant may write to. A file without data takes memory too, about 1 KiB,
    /// that `size` does not limit: so their number is limited.
    pub(super) fn writable(owner: Owner, size: u64) -> Self {
        let inodes = (size / BYTES_PER_INODE).max(INODES_MIN);
        Self {
            owner,
            size,
            inodes: Some(u32::try_from(inodes).unwrap_or(u32::MAX)),
            attributes: PLAIN,
        }
    }

    /// A cover: empty, closed to everybody, with its root as the only inode.
    pub(super) fn cover() -> Self {
        Self {
            owner: Owner {
                mode: 0,
                ..Owner::ROOT
            },
            size: 4096,
            inodes: Some(1),
            attributes: PLAIN
                .union(MountAttrFlags::MOUNT_ATTR_RDONLY)
                .union(MountAttrFlags::MOUNT_ATTR_NOEXEC),
        }
    }

    /// Makes it.
    ///
    /// # Errors
    /// Those of fsopen(2), fsconfig(2) and fsmount(2).
    pub(super) fn mount(&self) -> Result<OwnedFd, Errno> {
        let tmpfs = fsopen(c"tmpfs", FsOpenFlags::FSOPEN_CLOEXEC)?;
        let Owner { uid, gid, mode } = self.owner;
        let set = |key, value: String| fsconfig_set_string(&tmpfs, key, value.as_str());
        set("source", "tenantd".to_owned())?;
        set("mode", format!("{mode:04o}"))?;
        set("size", self.size.to_string())?;
        if (uid, gid) != (0, 0) {
            set("uid", uid.to_string())?;
            set("gid", gid.to_string())?;
        }
        if let Some(inodes) = self.inodes {
            set("nr_inodes", inodes.to_string())?;
        }
        fsconfig_create(&tmpfs)?;
        fsmount(&tmpfs, FsMountFlags::FSMOUNT_CLOEXEC, self.attributes)
    }
}
