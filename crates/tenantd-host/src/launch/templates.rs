//! Mounts that are the same for all tenants: the folder `/dev`, and the cover of hidden folders.
//!
//! Each is made once, and a launch attaches a copy of the mount (`OPEN_TREE_CLONE`, open_tree(2)).
//! The copies are read-only, so that no tenant can change what the others see. That saves about a
//! third of what a tenant's view of the host costs a launch.

use std::os::fd::{AsFd, OwnedFd};
use std::sync::OnceLock;

use rustix::io::Errno;
use rustix::mount::{OpenTreeFlags, open_tree};

use super::mounts::READ_ONLY;
use super::raw;
use super::tmpfs::Tmpfs;
use super::view::own;

/// The mounts that launches share. They belong to the mount namespace of the thread that launches
/// first.
#[derive(Debug, Default)]
pub struct MountTemplates {
    dev: OnceLock<OwnedFd>,
    cover: OnceLock<OwnedFd>,
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
