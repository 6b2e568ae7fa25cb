//! Quotas of subvolumes, on btrfs: its quota group limits what a subvolume refers to. Works with the quotas that count
//! each extent for all that refer to it, and with simple ones, which count it for whom it was written.

use std::ffi::OsStr;
use std::fs;
use std::io::ErrorKind;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::path::PathBuf;

use rustix::fs::{Mode, OFlags, ResolveFlags, fchmod, fstat, fstatfs, mkdirat, openat2};
use rustix::io::Errno;
use rustix::path::Arg;

use super::raw;

/// The number of btrfs, see statfs(2).
pub(super) const BTRFS: i64 = 0x9123_683e;

/// The inode of the top folder of each subvolume.
const TOP: u64 = 256;

/// Makes a folder for root only: a subvolume, where it can have a quota.
///
/// # Errors
/// Those of mkdirat(2).
pub(crate) fn make_folder(parent: BorrowedFd<'_>, name: &OsStr) -> Result<(), Errno> {
    if fstatfs(parent)?.f_type != BTRFS || !is_counted(parent)? {
        return mkdirat(parent, name, Mode::RWXU);
    }
    let above = reopened(parent)?;
    name.into_with_c_str(|name| raw::make_subvolume(above.as_fd(), name))?;
    let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC;
    let resolve = ResolveFlags::BENEATH | ResolveFlags::NO_SYMLINKS;
    let made = openat2(&above, name, flags, Mode::empty(), resolve)?;
    fchmod(made, Mode::RWXU)
}

/// The same folder, open for reading: a descriptor may be an `O_PATH` one, which takes no requests.
pub(super) fn reopened(folder: BorrowedFd<'_>) -> Result<OwnedFd, Errno> {
    let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC;
    openat2(folder, c".", flags, Mode::empty(), ResolveFlags::BENEATH)
}

/// Where the kernel shows the quota groups of a filesystem: only while quotas are on.
pub(super) fn groups(folder: BorrowedFd<'_>) -> Result<PathBuf, Errno> {
    let uuid = raw::btrfs_uuid(reopened(folder)?.as_fd())?;
    let digits: String = uuid.iter().map(|byte| format!("{byte:02x}")).collect();
    let parts: Vec<&str> = [0..8, 8..12, 12..16, 16..20, 20..32]
        .into_iter()
        .filter_map(|part| digits.get(part))
        .collect();
    Ok(PathBuf::from(format!(
        "/sys/fs/btrfs/{}/qgroups",
        parts.join("-")
    )))
}

/// Whether quotas are on in a filesystem.
pub(super) fn is_counted(folder: BorrowedFd<'_>) -> Result<bool, Errno> {
    Ok(groups(folder)?.is_dir())
}

/// Whether a folder is the top of a subvolume.
pub(super) fn is_subvolume(folder: BorrowedFd<'_>) -> Result<bool, Errno> {
    Ok(fstat(folder)?.st_ino == TOP)
}

/// Limits a subvolume.
pub(super) fn limit(folder: BorrowedFd<'_>, bytes: Option<u64>) -> Result<(), Errno> {
    raw::limit_subvolume(reopened(folder)?.as_fd(), bytes)
}

/// The limit of a subvolume in bytes, and what it uses. `None` if quotas are off.
pub(super) fn found(folder: BorrowedFd<'_>) -> Result<Option<(Option<u64>, u64)>, Errno> {
    let number = raw::subvolume(reopened(folder)?.as_fd())?;
    let group = groups(folder)?.join(format!("0_{number}"));
    let read = |name: &str| -> Result<Option<u64>, Errno> {
        match fs::read_to_string(group.join(name)) {
            Ok(text) => Ok(text.trim_end().parse().ok()),
            Err(error) if error.kind() == ErrorKind::NotFound => Ok(None),
            Err(error) => Err(Errno::from_io_error(&error).unwrap_or(Errno::IO)),
        }
    };
    let Some(used) = read("referenced")? else {
        return Ok(None);
    };
    let is_limited = read("limit_flags")?.is_some_and(|flags| flags & 1 != 0);
    let most = read("max_referenced")?.filter(|_| is_limited);
    Ok(Some((most, used)))
}
