//! Mount points that the host does not have, and files that the tenant has for itself.
//!
//! They are not made on the host. The tenant gets, at the folder that would contain them, a
//! read-only union (overlayfs without an upper layer) of that folder and of one in memory that has
//! just the missing ones and the files. The child makes the union, since both layers must be mounted
//! in its namespace.
//!
//! A union is not always current: a file that the host replaces while a tenant has it open stays the
//! old one there. So it is not used for folders of the whole system or with the host's sockets.

use std::collections::BTreeMap;
use std::os::fd::OwnedFd;
use std::path::{Path, PathBuf};

use rustix::fs::{AtFlags, FileType, Mode, OFlags, open, stat, statat};
use rustix::io::Errno;

use super::files::Added;
use super::on;
use super::own::make_folders;
use crate::launch::mounts::Mounts;
use crate::launch::templates::Taken;
use crate::launch::templates::spares::Kind;
use crate::launch::tmpfs::{Owner, PLAIN, Tmpfs};
use crate::siblings::Siblings;
use tenantd_core::stage::{Failure, Stage};

const STAGE: Stage = Stage::Missing;

/// Folders over which no union is made, see the head of this module.
const NEVER: [&str; 6] = ["/", "/etc", "/dev", "/run", "/proc", "/sys"];

/// The bytes of the folder in memory for the names of the folders. The size of the whole is rounded up to a
/// power of two, so that one that was made before fits most tenants.
const SIZE: u64 = 64 << 10;

/// What is added to a folder of the host.
#[derive(Default)]
struct Layer<'a> {
    folders: Vec<(Stage, &'a Path)>,
    files: Vec<&'a Added<'a>>,
}

/// Adds what makes the missing targets and the files exist.
///
/// # Errors
/// A [`Failure`] of stage missing, or of the target's own stage if it cannot be made.
pub(super) fn add<'a>(
    targets: impl Iterator<Item = &'a (Stage, PathBuf)>,
    files: &'a [Added<'a>],
    taken: &mut Taken<'_>,
    mounts: &mut Mounts,
) -> Result<(), Failure> {
    let mut layers: BTreeMap<PathBuf, Layer<'_>> = BTreeMap::new();
    for file in files {
        let failed = on(Stage::Files, file.path);
        let parent = file.path.parent().unwrap_or(Path::new("/"));
        if let Some(layer) = layers.get_mut(parent) {
            layer.files.push(file);
            continue;
        }
        let existing = existing(parent).map_err(&failed)?;
        let folder = existing.unwrap_or_else(|| parent.to_owned());
        if is_never(&folder) {
            return Err(failed(Errno::NOENT));
        }
        let found = stat(&folder).map_err(&failed)?;
        if FileType::from_raw_mode(found.st_mode) != FileType::Directory {
            return Err(failed(Errno::NOTDIR));
        }
        layers.entry(folder).or_default().files.push(file);
    }
    let (mut targets, mut siblings) = (targets.peekable(), Siblings::default());
    while let Some((stage, target)) = targets.next() {
        let next = targets.peek().map(|(_, next)| next.as_path());
        if is_there(target, next, &mut siblings) {
            continue;
        }
        let Some(folder) = existing(target).map_err(on(*stage, target))? else {
            continue;
        };
        if is_never(&folder) {
            return Err(on(*stage, target)(Errno::NOENT));
        }
        let layer = layers.entry(folder).or_default();
        layer.folders.push((*stage, target));
    }
    for (folder, layer) in layers {
        let stage = match layer.folders.is_empty() {
            true => Stage::Files,
            false => STAGE,
        };
        let tree = made(&folder, &layer, taken).map_err(on(stage, &folder))?;
        mounts.add_union(stage, tree, &folder)?;
    }
    Ok(())
}

fn is_never(folder: &Path) -> bool {
    NEVER.iter().any(|never| folder == Path::new(never))
}

/// Whether a target exists, without its path if it is beside others. False if that cannot be found out.
fn is_there(target: &Path, next: Option<&Path>, siblings: &mut Siblings) -> bool {
    let flags = OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC;
    let found = siblings.find(target, next, |above| open(above, flags, Mode::empty()));
    found.is_some_and(|(above, name)| statat(above, name, AtFlags::empty()).is_ok())
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

/// Makes the folder in memory with the missing folders and the files below `folder`.
fn made(folder: &Path, added: &Layer<'_>, taken: &mut Taken<'_>) -> Result<OwnedFd, Errno> {
    let found = stat(folder)?;
    // The root of the union has the owner and mode of the first layer.
    let owner = Owner {
        uid: found.st_uid,
        gid: found.st_gid,
        mode: found.st_mode & 0o7777,
    };
    let size = SIZE + added.files.iter().map(|file| file.size()).sum::<u64>();
    let layer = Tmpfs {
        owner,
        size: size.next_power_of_two(),
        inodes: None,
        attributes: PLAIN,
    };
    let layer = taken.own(Kind::Memory(layer))?;
    let below = |path: &'_ Path| path.strip_prefix(folder).map(Path::to_owned);
    for (_, target) in &added.folders {
        let below = below(target).map_err(|_| Errno::NOTDIR)?;
        make_folders(&layer, &below, Owner::ROOT)?;
    }
    for file in &added.files {
        let below = below(file.path).map_err(|_| Errno::NOTDIR)?;
        make_folders(&layer, below.parent().unwrap_or(Path::new("")), Owner::ROOT)?;
        file.write(&layer, &below)?;
    }
    Ok(layer)
}
