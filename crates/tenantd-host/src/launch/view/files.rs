//! The files that a tenant has for itself.
//!
//! Nothing is ever mounted over a file of the host: as soon as the host replaces that one by
//! rename(2), as each upgrade of a package does, the kernel removes the mount, and the tenant reads
//! the host's file. In a folder that is the tenant's own, a file is written into that; elsewhere, it
//! is in the upper layer of a read-only union over its folder, see [`missing`](super::missing).
//!
//! A tenant may have made what is in its folders, symbolic links among it. No link is followed, and
//! nothing is written outside of the mount that the tenant has for itself.

use std::ffi::OsString;
use std::fs::File;
use std::io::{Read, Write};
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::path::Path;

use rustix::fs::{AtFlags, CWD, FileType, Gid, Mode, OFlags, ResolveFlags, Stat, Uid};
use rustix::fs::{fchmod, fchown, fstat, mkdirat, openat2, renameat, statat, unlinkat};
use rustix::io::Errno;

use super::on;
use super::own::OwnFolders;
use crate::launch::mounts::Mounts;
use crate::launch::tmpfs::Owner;
use tenantd_core::plan::model::{FilePlan, Identity, LaunchPlan};
use tenantd_core::stage::{Failure, Stage};

const STAGE: Stage = Stage::Files;

/// The mode of a file that the host does not have.
const MODE: u32 = 0o640;

/// No link is followed, and no `..` leads out.
const BENEATH: ResolveFlags = ResolveFlags::BENEATH
    .union(ResolveFlags::NO_SYMLINKS)
    .union(ResolveFlags::NO_MAGICLINKS);

/// A file that is to be in a union over its folder.
pub(super) struct Added<'a> {
    pub(super) path: &'a Path,
    contents: &'a str,
    owner: Owner,
}

impl Added<'_> {
    /// The number of bytes that it takes in memory, at most.
    pub(super) fn size(&self) -> u64 {
        (self.contents.len() as u64).next_multiple_of(4096) + 4096
    }

    /// Writes it below a folder, whose folders exist.
    pub(super) fn write(&self, layer: &OwnedFd, below: &Path) -> Result<(), Errno> {
        let flags = OFlags::WRONLY | OFlags::CREATE | OFlags::EXCL | OFlags::CLOEXEC;
        let file = openat2(layer, below, flags, Mode::RUSR | Mode::WUSR, BENEATH)?;
        fill(file, self.contents, self.owner)
    }
}

/// Writes the files that lie in folders of the tenant, and returns the others. In a rehearsal, the
/// datastore is only looked at.
///
/// # Errors
/// A [`Failure`] of stage files.
pub(super) fn write<'a>(
    launch: &'a LaunchPlan,
    own: &OwnFolders,
    mounts: &Mounts,
    is_rehearsal: bool,
) -> Result<Vec<Added<'a>>, Failure> {
    let mut added = Vec::new();
    for file in &*launch.files {
        let path = file.path.as_path();
        let owner = owner(file, &launch.identity).map_err(on(STAGE, path))?;
        let Some((stage, tree, below)) = place(path, own, mounts) else {
            added.push(Added {
                path,
                contents: &file.contents,
                owner,
            });
            continue;
        };
        let folder = Owner {
            uid: launch.identity.uid,
            gid: launch.identity.gid,
            mode: 0o755,
        };
        let written = match is_rehearsal && stage == Stage::Attach {
            true => look(tree, below),
            false => put(stage, tree, below, (file, owner, folder)),
        };
        written.map_err(on(STAGE, path))?;
    }
    Ok(added)
}

/// The innermost folder of the tenant that contains a path: its stage, its mount, and the path in it.
fn place<'m, 'p>(
    path: &'p Path,
    own: &'m OwnFolders,
    mounts: &'m Mounts,
) -> Option<(Stage, BorrowedFd<'m>, &'p Path)> {
    let mounted = mounts.folders().filter_map(|(stage, target, tree)| {
        let is_tenants = matches!(stage, Stage::Attach | Stage::Private);
        let below = path.strip_prefix(target).ok()?;
        is_tenants.then_some((stage, tree, below))
    });
    let own = own.tree_of(path);
    let own = own.map(|(tree, below)| (Stage::Own, tree, below));
    // The innermost leaves the shortest rest.
    mounted
        .chain(own)
        .min_by_key(|(.., below)| below.as_os_str().len())
}

/// Owner, group and mode of a file.
fn owner(file: &FilePlan, identity: &Identity) -> Result<Owner, Errno> {
    let host = host_file(&file.path)?;
    let mut owner = match &host {
        Some(host) => Owner {
            uid: host.st_uid,
            gid: host.st_gid,
            mode: host.st_mode & 0o777,
        },
        None => Owner {
            uid: 0,
            gid: identity.gid,
            mode: MODE,
        },
    };
    // The host's file is for all, and this one is perhaps not: it is for the tenant then.
    if file.secret && owner.mode & 0o004 != 0 {
        owner.gid = identity.gid;
        owner.mode = owner.mode & !0o007 | 0o040;
    }
    let said = Owner {
        uid: file.uid.unwrap_or(owner.uid),
        gid: file.gid.unwrap_or(owner.gid),
        mode: file.mode.unwrap_or(owner.mode),
    };
    Ok(said)
}

/// The host's file at this path.
fn host_file(path: &Path) -> Result<Option<Stat>, Errno> {
    let flags = OFlags::PATH | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    let found = match openat2(CWD, path, flags, Mode::empty(), ResolveFlags::NO_MAGICLINKS) {
        Ok(found) => fstat(&found)?,
        Err(Errno::NOENT | Errno::NOTDIR) => return Ok(None),
        Err(errno) => return Err(errno),
    };
    let is_file = FileType::from_raw_mode(found.st_mode) == FileType::RegularFile;
    Ok(is_file.then_some(found))
}

/// Checks that a file could be written.
fn look(tree: BorrowedFd<'_>, below: &Path) -> Result<(), Errno> {
    let above: Vec<&Path> = below.ancestors().skip(1).collect();
    let kinds = above.iter().rev().map(|path| (*path, OFlags::DIRECTORY));
    for (path, kind) in kinds.filter(|(path, _)| *path != Path::new("")) {
        let flags = OFlags::PATH | OFlags::CLOEXEC | kind;
        match openat2(tree, path, flags, Mode::empty(), BENEATH) {
            Ok(_) => {}
            Err(Errno::NOENT) => return Ok(()),
            Err(errno) => return Err(errno),
        }
    }
    let flags = OFlags::PATH | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    let found = match openat2(tree, below, flags, Mode::empty(), BENEATH) {
        Ok(found) => fstat(&found)?,
        Err(Errno::NOENT) => return Ok(()),
        Err(errno) => return Err(errno),
    };
    match FileType::from_raw_mode(found.st_mode) == FileType::Directory {
        true => Err(Errno::ISDIR),
        false => Ok(()),
    }
}

/// Writes a file in a folder of the tenant. Nobody sees one in memory yet, and mostly it has nothing of this
/// name.
fn put(
    stage: Stage,
    tree: BorrowedFd<'_>,
    below: &Path,
    (file, owner, folder): (&FilePlan, Owner, Owner),
) -> Result<(), Errno> {
    let is_new = stage != Stage::Attach && below.components().count() == 1;
    if is_new {
        let flags = OFlags::WRONLY | OFlags::CREATE | OFlags::EXCL | OFlags::CLOEXEC;
        match openat2(tree, below, flags, Mode::RUSR | Mode::WUSR, BENEATH) {
            Ok(made) => return fill(made, &file.contents, owner),
            Err(Errno::EXIST) => {}
            Err(errno) => return Err(errno),
        }
    }
    replace(tree, below, file, owner, folder)
}

/// Writes a file in a folder of the tenant, at once for its readers, unless it is there already.
fn replace(
    tree: BorrowedFd<'_>,
    below: &Path,
    file: &FilePlan,
    owner: Owner,
    folder: Owner,
) -> Result<(), Errno> {
    let parent = parents(tree, below.parent().unwrap_or(Path::new("")), folder)?;
    let name = below.file_name().ok_or(Errno::ISDIR)?;
    if is_there(&parent, Path::new(name), &file.contents, owner)? {
        return Ok(());
    }
    let mut new = OsString::from(".");
    new.push(name);
    new.push(".tenantd-new");
    match unlinkat(&parent, &new, AtFlags::empty()) {
        Ok(()) | Err(Errno::NOENT) => {}
        Err(errno) => return Err(errno),
    }
    let flags = OFlags::WRONLY | OFlags::CREATE | OFlags::EXCL | OFlags::CLOEXEC;
    let made = openat2(&parent, &new, flags, Mode::RUSR | Mode::WUSR, BENEATH)?;
    let written =
        fill(made, &file.contents, owner).and_then(|()| renameat(&parent, &new, &parent, name));
    if written.is_err() {
        // What is reported is why it could not be written.
        let _removed = unlinkat(&parent, &new, AtFlags::empty());
    }
    written
}

/// Opens the folder `path`, and makes what is missing of it.
fn parents(tree: BorrowedFd<'_>, path: &Path, owner: Owner) -> Result<OwnedFd, Errno> {
    let open = |above: BorrowedFd<'_>, name: &Path| {
        let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC;
        openat2(above, name, flags, Mode::empty(), BENEATH)
    };
    let mut folder = open(tree, Path::new("."))?;
    for name in path {
        let name = Path::new(name);
        folder = match open(folder.as_fd(), name) {
            Err(Errno::NOENT) => {
                mkdirat(&folder, name, Mode::RWXU)?;
                let made = open(folder.as_fd(), name)?;
                settle(&made, owner)?;
                made
            }
            found => found?,
        };
    }
    Ok(folder)
}

/// Whether a file has these contents, this owner and mode.
fn is_there(folder: &OwnedFd, name: &Path, contents: &str, owner: Owner) -> Result<bool, Errno> {
    let found = match statat(folder, name, AtFlags::SYMLINK_NOFOLLOW) {
        Ok(found) => found,
        Err(Errno::NOENT) => return Ok(false),
        Err(errno) => return Err(errno),
    };
    match FileType::from_raw_mode(found.st_mode) {
        FileType::RegularFile => {}
        FileType::Directory => return Err(Errno::ISDIR),
        // It is replaced.
        FileType::Symlink
        | FileType::Fifo
        | FileType::Socket
        | FileType::CharacterDevice
        | FileType::BlockDevice
        | FileType::Unknown => return Ok(false),
    }
    let is_same = found.st_uid == owner.uid
        && found.st_gid == owner.gid
        && found.st_mode & 0o7777 == owner.mode
        && u64::try_from(found.st_size).is_ok_and(|size| size == contents.len() as u64)
        // Another name could be changed by whom this one is closed to.
        && found.st_nlink == 1;
    if !is_same {
        return Ok(false);
    }
    // If it is a FIFO by now, it must not keep us waiting.
    let flags = OFlags::RDONLY | OFlags::NONBLOCK | OFlags::NOCTTY | OFlags::CLOEXEC;
    let file = openat2(folder, name, flags, Mode::empty(), BENEATH)?;
    let mut bytes = Vec::with_capacity(contents.len());
    let read = File::from(file)
        .take(contents.len() as u64 + 1)
        .read_to_end(&mut bytes);
    read.map_err(|error| failed(&error))?;
    Ok(bytes == contents.as_bytes())
}

fn fill(file: OwnedFd, contents: &str, owner: Owner) -> Result<(), Errno> {
    let mut file = File::from(file);
    file.write_all(contents.as_bytes())
        .map_err(|error| failed(&error))?;
    settle(file.as_fd(), owner)
}

/// Sets owner and mode; the umask applies to what openat2(2) and mkdirat(2) make.
fn settle(file: impl AsFd, owner: Owner) -> Result<(), Errno> {
    let Owner { uid, gid, mode } = owner;
    fchown(&file, Some(Uid::from_raw(uid)), Some(Gid::from_raw(gid)))?;
    fchmod(&file, Mode::from_raw_mode(mode))
}

fn failed(error: &std::io::Error) -> Errno {
    Errno::from_io_error(error).unwrap_or(Errno::IO)
}
