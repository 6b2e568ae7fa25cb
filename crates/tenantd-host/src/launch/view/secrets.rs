//! The secrets of a tenant: files in memory, in a folder that only its user can read.
//!
//! They are read at each start, and are in neither the plan nor the environment.

mod trusted;

use std::fs::File;
use std::io::{self, Write};
use std::os::fd::OwnedFd;
use std::path::Path;

use rustix::fs::{CWD, Gid, Mode, OFlags, ResolveFlags, Uid};
use rustix::fs::{fchmod, fchown, fstat, openat, openat2};
use rustix::io::Errno;
use rustix::mount::MountAttrFlags;

use super::on;
use super::own::OwnFolders;
use crate::launch::mounts::Mounts;
use crate::launch::seal;
use crate::launch::tmpfs::{Owner, PLAIN, Tmpfs};
use crate::regular;
use tenantd_core::plan::model::{Identity, LaunchPlan};
use tenantd_core::plan::secrets::CREDENTIALS_DIRECTORY;
use tenantd_core::stage::{Failure, Stage};
use trusted::Untrusted;

const STAGE: Stage = Stage::Visible;

/// The maximum size of a secret in bytes.
const MAX: u64 = 1 << 20;

/// The bytes for the folder itself.
const FOLDER: u64 = 64 << 10;

/// Adds the folder of the secrets, if there are any.
///
/// # Errors
/// A [`Failure`] of stage visible, which names the file of the host.
pub(super) fn add(
    launch: &LaunchPlan,
    own: &OwnFolders,
    mounts: &mut Mounts,
) -> Result<(), Failure> {
    let Some(folder) = launch.environment.get(CREDENTIALS_DIRECTORY) else {
        return Ok(());
    };
    if launch.secrets.is_empty() {
        // The manifest names another folder.
        return Ok(());
    }
    let folder = Path::new(folder);
    let Identity { uid, gid, .. } = *launch.identity;
    let tmpfs = Tmpfs {
        owner: Owner {
            uid,
            gid,
            mode: 0o500,
        },
        size: FOLDER + launch.secrets.len() as u64 * MAX,
        inodes: None,
        attributes: PLAIN.union(MountAttrFlags::MOUNT_ATTR_NOEXEC),
    };
    let tree = tmpfs.mount().map_err(on(STAGE, folder))?;
    for (name, path) in &*launch.secrets {
        let mut secret = read(name, path)?;
        let written = write(&tree, name, &secret, (uid, gid));
        secret.fill(0);
        written.map_err(on(STAGE, path))?;
    }
    let tree = seal::read_only(tree).map_err(on(STAGE, folder))?;
    own.folder(STAGE, folder, Owner::ROOT)?;
    mounts.add(STAGE, tree, folder)
}

/// Reads each secret as a launch would.
///
/// # Errors
/// The [`Failure`] that a launch would have.
pub(in crate::launch) fn rehearse(launch: &LaunchPlan) -> Result<(), Failure> {
    for (name, path) in &*launch.secrets {
        read(name, path)?.fill(0);
    }
    Ok(())
}

/// Reads a file that only root can read, and that only root can put there.
fn read(name: &str, path: &Path) -> Result<Vec<u8>, Failure> {
    // If it is a FIFO, it must not keep us waiting.
    let flags = OFlags::RDONLY | OFlags::NONBLOCK | OFlags::NOCTTY | OFlags::CLOEXEC;
    let refused = |why: String| Failure::detail(STAGE, path.display().to_string(), why);
    let place = trusted::resolve(path).map_err(|error| match error {
        Untrusted::Failed(errno) => on(STAGE, path)(errno),
        Untrusted::Folder { folder, uid, mode } => refused(format!(
            "others can replace the secret `{name}`: in the folder {} (user {uid}, mode {mode:04o}) not only root can \
             write: type `chown root` and `chmod go-w` for it, or move the secret",
            folder.display()
        )),
    })?;
    let resolve = ResolveFlags::NO_SYMLINKS | ResolveFlags::NO_MAGICLINKS;
    let opened = openat2(CWD, &place, flags, Mode::empty(), resolve).map_err(on(STAGE, path))?;
    let found = fstat(&opened).map_err(on(STAGE, path))?;
    if found.st_uid != 0 || found.st_mode & 0o077 != 0 {
        return Err(refused(format!(
            "the secret `{name}` is not for root alone (user {}, mode {:04o}): type `chown root` and `chmod \
             600` for it",
            found.st_uid,
            found.st_mode & 0o7777
        )));
    }
    let read = regular::read_open(&File::from(opened), MAX);
    read.map_err(|error| refused(format!("cannot read the secret `{name}`: {error}")))
}

fn write(tree: &OwnedFd, name: &str, secret: &[u8], (uid, gid): (u32, u32)) -> Result<(), Errno> {
    let flags = OFlags::WRONLY | OFlags::CREATE | OFlags::EXCL | OFlags::CLOEXEC;
    let file = openat(tree, name, flags, Mode::RUSR)?;
    let mut file = File::from(file);
    file.write_all(secret)
        .map_err(|error: io::Error| Errno::from_io_error(&error).unwrap_or(Errno::IO))?;
    fchown(&file, Some(Uid::from_raw(uid)), Some(Gid::from_raw(gid)))?;
    fchmod(&file, Mode::RUSR)
}
