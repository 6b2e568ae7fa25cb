//! Quotas of projects, on ext4 and xfs: a folder and all that is in it belong to a project, which the filesystem
//! counts and limits.
//!
//! A datastore gets a project of its own, of the numbers in [`OURS`]. The filesystem itself is the record of which are
//! in use: one that is free has neither files nor limits.
//!
//! A tenant may run meanwhile, so its entries are opened below the folder that contains them, and no link is followed. A
//! folder gets the project, which its new entries inherit, before it is read; and the kernel refuses to move or to link
//! what has another project into it (EXDEV). So nothing can be missed: what is not in the project can only move to where
//! it is found later.

use std::ffi::CStr;
use std::fs::File;
use std::ops::Range;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd};
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt};
use std::path::Path;

use rustix::fs::{Dir, FileType, FlockOperation, Mode, OFlags, ResolveFlags, Stat};
use rustix::fs::{flock, fstat, openat2};
use rustix::io::Errno;

use super::raw::{self, INHERITS, Project};
use crate::datastore;

/// The projects of datastores.
pub(super) const OURS: Range<u32> = 0x5400_0000..0x5500_0000;

/// Held while a free project is searched and gets its limits.
const LOCK: &str = "/run/tenantd/.projects.lock";

/// Keeps all supervisors of the host from searching a free project until the file is dropped.
pub(super) fn lock() -> std::io::Result<File> {
    let folder = Path::new(LOCK).parent().unwrap_or(Path::new("/"));
    let mut builder = std::fs::DirBuilder::new();
    builder.recursive(true).mode(0o755).create(folder)?;
    let mut options = File::options();
    let options = options.create(true).truncate(false).write(true).mode(0o600);
    let file = options.open(LOCK)?;
    flock(&file, FlockOperation::LockExclusive)?;
    Ok(file)
}

/// A project of the filesystem that has neither files nor limits. `None` if there is none.
pub(super) fn free(root: BorrowedFd<'_>) -> Result<Option<u32>, Errno> {
    // Where one is searched first differs from folder to folder, so that the search does not grow with their number.
    let apart = fstat(root)?.st_ino % u64::from(OURS.end - OURS.start);
    let first = OURS.start + u32::try_from(apart).unwrap_or_default();
    for number in (first..OURS.end).chain(OURS.start..first) {
        if raw::project(root, number)? == Project::default() {
            return Ok(Some(number));
        }
    }
    Ok(None)
}

/// Whether an entry belongs to a project, and hands it on if it is a folder.
pub(super) fn is_in(entry: BorrowedFd<'_>, project: u32) -> Result<bool, Errno> {
    let found = raw::attributes(entry)?;
    Ok(found.project == project && found.flags & INHERITS != 0)
}

/// A folder on the way from the root to where the walk is.
struct Level {
    stat: Stat,
    /// Where in the folder the walk continues, see `d_off` in getdents(2).
    next: i64,
}

/// Gives a folder and all that is in it to a project. Holds only one folder open at a time, however deep, and no names,
/// however many: a tenant may have made all of them. Symbolic links, sockets, pipes and devices have no data, and are left.
pub(super) fn give(root: &OwnedFd, project: u32) -> Result<(), Errno> {
    let mut folder = openat2(
        root,
        c".",
        OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC,
        Mode::empty(),
        ResolveFlags::BENEATH,
    )?;
    let mut levels = vec![enter(&folder, project)?];
    while let Some(level) = levels.last_mut() {
        if let Some(inner) = next_folder(&folder, level, project)? {
            folder = inner;
            levels.push(enter(&folder, project)?);
            continue;
        }
        levels.pop();
        if let Some(above) = levels.last() {
            folder = datastore::parent(&folder, &above.stat)?;
        }
    }
    Ok(())
}

/// Gives a folder to the project, before it is read.
fn enter(folder: &OwnedFd, project: u32) -> Result<Level, Errno> {
    give_one(folder.as_fd(), project, INHERITS)?;
    let stat = fstat(folder)?;
    Ok(Level { stat, next: 0 })
}

/// Gives the files of a folder to the project, up to the next folder in it, which is returned.
fn next_folder(
    folder: &OwnedFd,
    level: &mut Level,
    project: u32,
) -> Result<Option<OwnedFd>, Errno> {
    let mut entries = Dir::read_from(folder)?;
    if level.next != 0 {
        entries.seek(level.next)?;
    }
    while let Some(entry) = entries.read() {
        let entry = entry?;
        level.next = entry.offset();
        if [c".", c".."].contains(&entry.file_name()) {
            continue;
        }
        if let Some(inner) = visit(folder, entry.file_name(), project)? {
            return Ok(Some(inner));
        }
    }
    Ok(None)
}

/// Gives a file to the project, or returns a folder to walk through.
fn visit(folder: &OwnedFd, name: &CStr, project: u32) -> Result<Option<OwnedFd>, Errno> {
    let flags = OFlags::PATH | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    let resolve = ResolveFlags::BENEATH | ResolveFlags::NO_XDEV | ResolveFlags::NO_MAGICLINKS;
    let entry = match openat2(folder, name, flags, Mode::empty(), resolve) {
        Ok(entry) => entry,
        // It was removed or moved meanwhile, or something is mounted there.
        Err(Errno::NOENT | Errno::XDEV) => return Ok(None),
        Err(errno) => return Err(errno),
    };
    match FileType::from_raw_mode(fstat(&entry)?.st_mode) {
        FileType::Directory => {
            let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC;
            openat2(&entry, c".", flags, Mode::empty(), ResolveFlags::BENEATH).map(Some)
        }
        FileType::RegularFile => {
            // What is open is a file: opening it does not wait for anybody but the holder of a lease.
            let path = format!("/proc/self/fd/{}", entry.as_raw_fd());
            let flags = OFlags::RDONLY | OFlags::NONBLOCK | OFlags::CLOEXEC;
            let file = rustix::fs::open(path, flags, Mode::empty())?;
            give_one(file.as_fd(), project, 0).map(|()| None)
        }
        _ => Ok(None),
    }
}

fn give_one(entry: BorrowedFd<'_>, project: u32, flags: u32) -> Result<(), Errno> {
    let found = raw::attributes(entry)?;
    let mut wanted = found;
    wanted.project = project;
    wanted.flags |= flags;
    match wanted == found {
        true => Ok(()),
        false => raw::set_attributes(entry, wanted),
    }
}
