//! The layout of a datastore.
//!
//! A *plain* datastore is itself mounted where the program expects its data. In a *tree*, each path
//! that the program expects has a folder of its own, `DATASTORE/PATH`; the datastore's root, and the
//! folders above those of the program, belong to root, and nobody else can enter them. What tenantd
//! itself keeps in a tree is in `DATASTORE/.tenantd`:
//!
//! | name | what it is |
//! |---|---|
//! | `layout` | the mark of a tree, and how each of its folders was made |
//! | `new` | a folder that is being made |
//! | `work` | the working folders of overlays |
//! | `preparing`, `converting` | see [`convert`](super::convert) |
//!
//! The mark decides, not the plan, so that a tree stays one if the manifest lists no more folders.
//! A tenant owns a plain datastore, and can write into it what it likes: what is named `.tenantd`
//! counts only if it belongs to root and nobody else can write to it. (A tenant that runs as root
//! could make that too, and would lead only itself astray.)

use std::collections::BTreeMap;
use std::fs::File;
use std::io::{Read, Write};
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::path::{Path, PathBuf};

use rustix::fs::{AtFlags, FileType, Gid, Mode, OFlags, ResolveFlags, Stat, Uid};
use rustix::fs::{RenameFlags, renameat_with, unlinkat};
use rustix::fs::{fchmod, fchown, fremovexattr, fstat, fsync, mkdirat, openat2, renameat, statat};
use rustix::io::Errno;
use serde::{Deserialize, Serialize};

use super::init::Mark;

/// The folder in which tenantd keeps what is its own.
pub(super) const OWN: &str = ".tenantd";

/// The mark.
const LAYOUT: &str = "layout";
const LAYOUT_NEW: &str = "layout.new";

/// The maximum size of the mark in bytes.
const LAYOUT_MAX: u64 = 1 << 20;

/// The version of the mark.
const VERSION: u32 = 1;

/// How a folder was made. This decides how it is mounted, whatever the plan says later.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub(super) enum Form {
    /// It has all that the tenant sees.
    Whole,
    /// It has what the tenant has changed in the host's folder.
    Overlay,
}

/// The mark of a tree.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Layout {
    version: u32,
    /// Each folder that was ever made.
    pub(super) folders: BTreeMap<PathBuf, Form>,
    /// Whether it is initialized, if that was ever asked for.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(super) init: Option<Mark>,
}

impl Default for Layout {
    fn default() -> Self {
        Self {
            version: VERSION,
            folders: BTreeMap::new(),
            init: None,
        }
    }
}

/// Opens a folder below another one. No component may be a symbolic link.
pub(super) fn open_folder(above: BorrowedFd<'_>, name: impl AsRef<Path>) -> Result<OwnedFd, Errno> {
    openat2(
        above,
        name.as_ref(),
        OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC,
        Mode::empty(),
        ResolveFlags::BENEATH | ResolveFlags::NO_SYMLINKS | ResolveFlags::NO_MAGICLINKS,
    )
}

/// The folder above, if it is the one from which the walk came.
pub(crate) fn parent(folder: &OwnedFd, above: &Stat) -> Result<OwnedFd, Errno> {
    let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC;
    let found = openat2(folder, c"..", flags, Mode::empty(), ResolveFlags::NO_XDEV)?;
    let stat = fstat(&found)?;
    match (stat.st_dev, stat.st_ino) == (above.st_dev, above.st_ino) {
        true => Ok(found),
        // It was moved meanwhile: what is above is not the tenant's.
        false => Err(Errno::STALE),
    }
}

/// Opens `.tenantd`, if there is one that tenantd made.
pub(super) fn open_own(root: BorrowedFd<'_>) -> Result<Option<OwnedFd>, Errno> {
    let own = match open_folder(root, OWN) {
        Ok(own) => own,
        Err(Errno::NOENT | Errno::NOTDIR | Errno::LOOP) => return Ok(None),
        Err(errno) => return Err(errno),
    };
    let stat = fstat(&own)?;
    let by_others = Mode::WGRP | Mode::WOTH;
    let is_ours = stat.st_uid == 0 && !Mode::from_raw_mode(stat.st_mode).intersects(by_others);
    Ok(is_ours.then_some(own))
}

/// Opens `.tenantd`, and makes it if it is missing.
///
/// # Errors
/// `EEXIST` if something with this name is not tenantd's.
pub(super) fn make_own(root: BorrowedFd<'_>) -> Result<OwnedFd, Errno> {
    match mkdirat(root, OWN, Mode::RWXU) {
        Ok(()) | Err(Errno::EXIST) => {}
        Err(errno) => return Err(errno),
    }
    open_own(root)?.ok_or(Errno::EXIST)
}

/// Reads the mark; `None` if there is none.
pub(super) fn read(own: BorrowedFd<'_>) -> Result<Option<Layout>, Errno> {
    let found = openat2(
        own,
        LAYOUT,
        // A FIFO would keep us waiting.
        OFlags::RDONLY | OFlags::NONBLOCK | OFlags::CLOEXEC,
        Mode::empty(),
        ResolveFlags::BENEATH | ResolveFlags::NO_SYMLINKS,
    );
    let file = match found {
        Ok(file) => file,
        Err(Errno::NOENT) => return Ok(None),
        Err(errno) => return Err(errno),
    };
    let found = fstat(&file)?;
    if FileType::from_raw_mode(found.st_mode) != FileType::RegularFile {
        return Err(Errno::BADMSG);
    }
    // One byte more, so that the end is found without more memory.
    let size = u64::try_from(found.st_size).map_or(0, |size| size.min(LAYOUT_MAX) + 1);
    let mut text = Vec::with_capacity(usize::try_from(size).unwrap_or_default());
    File::from(file)
        .take(LAYOUT_MAX)
        .read_to_end(&mut text)
        .map_err(|error| Errno::from_io_error(&error).unwrap_or(Errno::IO))?;
    let layout: Layout = serde_json::from_slice(&text).map_err(|_| Errno::BADMSG)?;
    if layout.version != VERSION {
        return Err(Errno::BADMSG);
    }
    Ok(Some(layout))
}

/// Writes the mark to disk.
pub(super) fn write(own: BorrowedFd<'_>, layout: &Layout) -> Result<(), Errno> {
    let flags = OFlags::WRONLY | OFlags::CREATE | OFlags::TRUNC | OFlags::CLOEXEC;
    let file = openat2(
        own,
        LAYOUT_NEW,
        flags,
        Mode::RUSR | Mode::WUSR,
        ResolveFlags::BENEATH | ResolveFlags::NO_SYMLINKS,
    )?;
    let mut text = serde_json::to_vec_pretty(layout).map_err(|_| Errno::BADMSG)?;
    text.push(b'\n');
    let mut file = File::from(file);
    file.write_all(&text)
        .map_err(|error| Errno::from_io_error(&error).unwrap_or(Errno::IO))?;
    fsync(&file)?;
    renameat(own, LAYOUT_NEW, own, LAYOUT)?;
    sync(own)
}

/// Writes the entries of a folder to disk.
pub(super) fn sync(folder: BorrowedFd<'_>) -> Result<(), Errno> {
    // fsync(2) needs more than an O_PATH descriptor.
    fsync(open_folder(folder, ".")?)
}

/// Whether a name exists.
pub(super) fn has(folder: BorrowedFd<'_>, name: &str) -> Result<bool, Errno> {
    match statat(folder, name, AtFlags::SYMLINK_NOFOLLOW) {
        Ok(_) => Ok(true),
        Err(Errno::NOENT) => Ok(false),
        Err(errno) => Err(errno),
    }
}

/// Renames a folder or file, never over another one.
pub(super) fn rename(
    from: BorrowedFd<'_>,
    name: impl rustix::path::Arg + Copy,
    to: BorrowedFd<'_>,
    new_name: impl rustix::path::Arg + Copy,
) -> Result<(), Errno> {
    match renameat_with(from, name, to, new_name, RenameFlags::NOREPLACE) {
        // Network filesystems do not support the flag. At worst, a rename replaces an empty folder.
        Err(Errno::INVAL) => renameat(from, name, to, new_name),
        renamed => renamed,
    }
}

/// Closes the root of a datastore again, if something has opened it since, see [`close_root`].
pub(super) fn keep_closed(root: BorrowedFd<'_>) -> Result<(), Errno> {
    let found = fstat(root)?;
    let owner = (found.st_uid, found.st_gid, found.st_mode & 0o7777);
    match owner == (0, 0, 0o700) {
        true => Ok(()),
        false => close_root(root),
    }
}

/// Gives the root of a tree to root, so that nobody else can enter it.
pub(super) fn close_root(root: BorrowedFd<'_>) -> Result<(), Errno> {
    let root = open_folder(root, ".")?;
    for list in [c"system.posix_acl_access", c"system.posix_acl_default"] {
        match fremovexattr(&root, list) {
            Ok(()) | Err(Errno::NODATA | Errno::OPNOTSUPP) => {}
            Err(errno) => return Err(errno),
        }
    }
    fchown(&root, Some(Uid::ROOT), Some(Gid::ROOT))?;
    fchmod(&root, Mode::RWXU)
}

/// Removes the mark. `.tenantd` must contain nothing else.
pub(super) fn remove(own: BorrowedFd<'_>) -> Result<(), Errno> {
    for name in [LAYOUT, LAYOUT_NEW] {
        match unlinkat(own, name, AtFlags::empty()) {
            Ok(()) | Err(Errno::NOENT) => {}
            Err(errno) => return Err(errno),
        }
    }
    Ok(())
}

/// Opens the folder that contains `path` below `root`, and makes the missing ones for root only.
pub(super) fn make_parents(root: BorrowedFd<'_>, path: &Path) -> Result<OwnedFd, Errno> {
    make_all(root, path.parent().unwrap_or(Path::new("")))
}

/// Opens the folder `path` below `root`, and makes what is missing of it for root only.
pub(super) fn make_all(root: BorrowedFd<'_>, path: &Path) -> Result<OwnedFd, Errno> {
    // After the first launch it is there.
    if path != Path::new("") {
        match open_folder(root, path) {
            Err(Errno::NOENT) => {}
            found => return found,
        }
    }
    let mut folder = open_folder(root, ".")?;
    for name in path {
        match mkdirat(&folder, name, Mode::RWXU) {
            Ok(()) => sync(folder.as_fd())?,
            Err(Errno::EXIST) => {}
            Err(errno) => return Err(errno),
        }
        folder = open_folder(folder.as_fd(), name)?;
    }
    Ok(folder)
}
