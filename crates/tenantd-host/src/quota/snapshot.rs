//! Snapshots of subvolumes on btrfs: how they are made, told apart and removed.

use std::ffi::CStr;
use std::fs;
use std::os::fd::{AsFd, BorrowedFd};

use rustix::fs::{Mode, OFlags, ResolveFlags, fstatfs, openat2};
use rustix::io::Errno;

use super::raw;
use super::subvolume::{BTRFS, groups, is_subvolume, reopened};

/// What a snapshot is of.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Facts {
    /// Its own UUID, in hexadecimal digits.
    pub(crate) uuid: String,
    /// The UUID of the snapshot of another host that it is a complete copy of.
    pub(crate) copy_of: Option<String>,
}

/// Whether a folder is on btrfs.
pub(crate) fn is_on_btrfs(folder: BorrowedFd<'_>) -> Result<bool, Errno> {
    Ok(fstatfs(folder)?.f_type == BTRFS)
}

/// Whether two folders on btrfs are in the same filesystem. Subvolumes have device numbers of their own.
pub(crate) fn is_same_filesystem(
    one: BorrowedFd<'_>,
    other: BorrowedFd<'_>,
) -> Result<bool, Errno> {
    Ok(filesystem_uuid(one)? == filesystem_uuid(other)?)
}

/// The UUID of the filesystem of a folder on btrfs.
pub(crate) fn filesystem_uuid(folder: BorrowedFd<'_>) -> Result<[u8; 16], Errno> {
    raw::btrfs_uuid(reopened(folder)?.as_fd())
}

/// Whether a folder on btrfs is the top of a subvolume.
pub(crate) fn is_top(folder: BorrowedFd<'_>) -> Result<bool, Errno> {
    is_subvolume(folder)
}

/// Whether there are subvolumes in that of a folder: they are no part of a snapshot.
pub(crate) fn has_subvolumes(folder: BorrowedFd<'_>) -> Result<bool, Errno> {
    raw::has_subvolumes(reopened(folder)?.as_fd())
}

/// Whether quotas count an extent for the subvolume that it was written for, and never for a snapshot: simple quotas,
/// since Linux 6.7.
pub(crate) fn counts_by_writer(folder: BorrowedFd<'_>) -> Result<bool, Errno> {
    match fs::read_to_string(groups(folder)?.join("mode")) {
        Ok(mode) => Ok(mode.trim_end() == "squota"),
        // Quotas are off, or the kernel has one kind only.
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => Ok(false),
        Err(error) => Err(Errno::from_io_error(&error).unwrap_or(Errno::IO)),
    }
}

/// Makes a snapshot of a subvolume, as a new entry of a folder in the same filesystem.
pub(crate) fn make(
    of: BorrowedFd<'_>,
    folder: BorrowedFd<'_>,
    name: &CStr,
    is_read_only: bool,
) -> Result<(), Errno> {
    let (of, folder) = (reopened(of)?, reopened(folder)?);
    raw::make_snapshot(of.as_fd(), folder.as_fd(), name, is_read_only)
}

/// What a snapshot is of; `None` if the folder is no subvolume.
pub(crate) fn facts(folder: BorrowedFd<'_>) -> Result<Option<Facts>, Errno> {
    if !is_on_btrfs(folder)? || !is_subvolume(folder)? {
        return Ok(None);
    }
    let found = raw::of_subvolume(reopened(folder)?.as_fd())?;
    let digits = |uuid: [u8; 16]| uuid.iter().map(|byte| format!("{byte:02x}")).collect();
    // Both are set at the end of what is received.
    let is_copy = found.is_read_only && found.received != [0; 16];
    Ok(Some(Facts {
        uuid: digits(found.uuid),
        copy_of: is_copy.then(|| digits(found.received)),
    }))
}

/// Removes an entry of a folder, if it is a subvolume, with all that is in it. Returns whether it was one.
///
/// # Errors
/// `EPERM` while it is sent, `ENOTEMPTY` if there are subvolumes in it, and those of openat2(2).
pub(crate) fn remove(folder: BorrowedFd<'_>, name: &CStr) -> Result<bool, Errno> {
    let flags = OFlags::PATH | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    let resolve = ResolveFlags::BENEATH | ResolveFlags::NO_SYMLINKS;
    let entry = openat2(folder, name, flags, Mode::empty(), resolve)?;
    if !is_on_btrfs(entry.as_fd())? || !is_subvolume(entry.as_fd())? {
        return Ok(false);
    }
    drop(entry);
    raw::remove_subvolume(reopened(folder)?.as_fd(), name)?;
    Ok(true)
}
