//! One log file of a tenant: how it is opened, and how its lines are read.
//!
//! A tenant is hostile: no symbolic link is followed, nothing but a regular file is opened for reading,
//! and what cannot be read at once is not waited for.

use std::fs::File;
use std::io;
use std::os::fd::{AsRawFd, OwnedFd};
use std::os::unix::fs::{FileExt, MetadataExt};
use std::path::Path;

use rustix::fs::{CWD, FileType, Mode, OFlags, ResolveFlags, fstat, openat2};
use rustix::io::Errno;

use crate::logs::split::{LINE_MAX, whole_characters};

/// How much of a file is read at a time.
pub(super) const TURN: usize = 64 * 1024;

/// How far reading may be behind. More is skipped.
pub(super) const BEHIND_MAX: u64 = 16 * 1024 * 1024;

/// How much of the end is read after a skip.
const AFTER_SKIP: u64 = 1024 * 1024;

/// How many bytes before a position tell whether the file is still the same.
const CHECK_MAX: usize = 64;

/// Paths below a tenant's folder.
const BENEATH: ResolveFlags = ResolveFlags::BENEATH
    .union(ResolveFlags::NO_SYMLINKS)
    .union(ResolveFlags::NO_MAGICLINKS)
    .union(ResolveFlags::NO_XDEV);

/// Opens a folder of the host that is a tenant's, and then a folder in it, which the tenant may have
/// made.
pub(super) fn open_folder(root: &Path, inside: &Path) -> Result<OwnedFd, Errno> {
    let flags = OFlags::PATH | OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    let root = openat2(CWD, root, flags, Mode::empty(), ResolveFlags::NO_MAGICLINKS)?;
    match inside.as_os_str().is_empty() {
        true => Ok(root),
        false => openat2(&root, inside, flags, Mode::empty(), BENEATH),
    }
}

/// Device and inode.
pub(super) type Key = (u64, u64);

/// Opens a regular file of a folder; None if it is something else, or has another name too.
pub(super) fn open(folder: &OwnedFd, name: &str) -> io::Result<Option<(Key, File)>> {
    let flags = OFlags::PATH | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    // Opening a device or a FIFO for reading would have an effect, so this only looks at it.
    let looked = openat2(folder, name, flags, Mode::empty(), BENEATH)?;
    let found = fstat(&looked)?;
    if FileType::from_raw_mode(found.st_mode) != FileType::RegularFile || found.st_nlink != 1 {
        return Ok(None);
    }
    // Not waiting, if the tenant has a lease on it (fcntl(2)).
    let flags = OFlags::RDONLY | OFlags::NONBLOCK | OFlags::NOCTTY | OFlags::CLOEXEC;
    let same = format!("/proc/self/fd/{}", looked.as_raw_fd());
    let file = File::from(rustix::fs::open(same, flags, Mode::empty())?);
    Ok(Some(((found.st_dev, found.st_ino), file)))
}

/// How far a file was read.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Position {
    pub(super) offset: u64,
    /// A hash of the bytes before the offset.
    pub(super) check: u64,
}

impl Position {
    /// The beginning of a file.
    pub(super) const BEGIN: Self = Self {
        offset: 0,
        check: hash(&[]),
    };

    /// The end of a file.
    pub(super) fn end(file: &File) -> io::Result<Self> {
        Self::of(file, file.metadata()?.size())
    }

    pub(super) fn of(file: &File, offset: u64) -> io::Result<Self> {
        let len = usize::try_from(offset).map_or(CHECK_MAX, |offset| offset.min(CHECK_MAX));
        let mut bytes = [0; CHECK_MAX];
        let bytes = &mut bytes[..len];
        file.read_exact_at(bytes, offset - len as u64)?;
        let check = hash(bytes);
        Ok(Self { offset, check })
    }

    /// Whether the file has the same bytes before the position: it was neither truncated nor is another
    /// one with the number of its inode.
    pub(super) fn holds(self, file: &File) -> bool {
        Self::of(file, self.offset).is_ok_and(|now| now == self)
    }
}

/// FNV-1a, which is the same in each version of this program.
const fn hash(bytes: &[u8]) -> u64 {
    let mut hash: u64 = 0xcbf2_9ce4_8422_2325;
    let mut at = 0;
    while at < bytes.len() {
        hash = (hash ^ bytes[at] as u64).wrapping_mul(0x0100_0000_01b3);
        at += 1;
    }
    hash
}

/// What one turn of reading found.
#[derive(Debug, Default)]
pub(super) struct Read {
    /// How many bytes were skipped before.
    pub(super) skipped: u64,
    /// The bytes of whole lines, or of a part of a line that is too long.
    pub(super) bytes: Vec<u8>,
    /// Whether there is more to read.
    pub(super) more: bool,
}

/// Reads the next lines of a file. With `is_last`, a line without an end is one too.
pub(super) fn read(file: &File, position: &mut Position, is_last: bool) -> io::Result<Read> {
    let size = file.metadata()?.size();
    let mut read = Read::default();
    if size < position.offset || !position.holds(file) {
        *position = Position::BEGIN;
    }
    let behind = size - position.offset;
    if behind > BEHIND_MAX {
        let offset = size - AFTER_SKIP;
        read.skipped = offset - position.offset;
        position.offset = offset;
    }
    let mut bytes = vec![0; TURN];
    let count = file.read_at(&mut bytes, position.offset)?;
    bytes.truncate(count);
    let whole = bytes
        .iter()
        .rposition(|&byte| byte == b'\n')
        .map(|end| end + 1);
    let len = match whole {
        Some(len) => len,
        None if is_last => count,
        // Not within a character: what is read next begins with a whole one.
        None if count > LINE_MAX => whole_characters(&bytes),
        None => 0,
    };
    bytes.truncate(len);
    *position = match Position::of(file, position.offset + len as u64) {
        // Truncated meanwhile.
        Err(error) if error.kind() == io::ErrorKind::UnexpectedEof => Position::BEGIN,
        position => position?,
    };
    read.more = len > 0 && position.offset < size;
    read.bytes = bytes;
    Ok(read)
}

#[cfg(test)]
mod tests {
    use std::fs;
    use std::os::unix::fs::symlink;

    use super::*;

    fn folder(path: &Path) -> OwnedFd {
        open_folder(path, Path::new("")).unwrap()
    }

    #[test]
    fn only_regular_files_with_one_name_are_opened() {
        let place = tempfile::tempdir().unwrap();
        let at = |name: &str| place.path().join(name);
        fs::write(at("plain"), "x").unwrap();
        fs::write(at("two"), "x").unwrap();
        fs::hard_link(at("two"), at("names")).unwrap();
        symlink(at("plain"), at("link")).unwrap();
        fs::create_dir(at("folder")).unwrap();
        rustix::fs::mknodat(CWD, at("fifo"), FileType::Fifo, Mode::RUSR, 0).unwrap();
        let folder_fd = folder(place.path());
        assert!(open(&folder_fd, "plain").unwrap().is_some());
        for other in ["two", "folder", "fifo"] {
            assert!(open(&folder_fd, other).unwrap().is_none(), "{other}");
        }
        for outside in ["link", "../x", "/etc/passwd"] {
            let opened = open(&folder_fd, outside);
            assert!(!matches!(opened, Ok(Some(_))), "{outside}");
        }
        symlink("/etc", at("away")).unwrap();
        assert!(open_folder(place.path(), Path::new("away")).is_err());
    }

    #[test]
    fn lines_are_read_once_through_truncation_and_skips() {
        let place = tempfile::tempdir().unwrap();
        let path = place.path().join("a.log");
        fs::write(&path, "one\ntwo\npart").unwrap();
        let (_, file) = open(&folder(place.path()), "a.log").unwrap().unwrap();
        let mut at = Position::BEGIN;
        assert_eq!(read(&file, &mut at, false).unwrap().bytes, b"one\ntwo\n");
        assert_eq!(read(&file, &mut at, false).unwrap().bytes, b"");
        assert_eq!(read(&file, &mut at.clone(), true).unwrap().bytes, b"part");
        // Truncated, and longer than before already.
        fs::write(&path, "another beginning\n").unwrap();
        assert_eq!(
            read(&file, &mut at, false).unwrap().bytes,
            b"another beginning\n"
        );
        fs::write(&path, "").unwrap();
        assert_eq!(read(&file, &mut at, false).unwrap().bytes, b"");
        assert_eq!(at, Position::BEGIN);
        let hole = 40 * 1024 * 1024;
        File::options()
            .write(true)
            .open(&path)
            .unwrap()
            .set_len(hole)
            .unwrap();
        let found = read(&file, &mut at, false).unwrap();
        assert_eq!(found.skipped, hole - AFTER_SKIP);
        assert!(found.more && found.bytes.len() == TURN);
    }
}
