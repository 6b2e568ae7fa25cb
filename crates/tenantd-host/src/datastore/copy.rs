//! Copies a folder with everything in it: owners, modes, times, extended attributes and access
//! control lists, symbolic links as links, hard links and holes as such. Where the filesystem can
//! share the data of files (`FICLONE`), it does.
//!
//! A FIFO becomes another FIFO. Sockets and device files are left out: a socket is of no use without the
//! process that listens on it, and device files have no effect in a datastore. A folder on which
//! something is mounted becomes an empty folder.
//!
//! Every name is resolved from the open folder that contains it, and no symbolic link is followed:
//! the source may belong to a user who replaces parts of it meanwhile.

use std::collections::HashMap;
use std::ffi::{CStr, OsStr};
use std::fs::File;
use std::io::{Read, Seek};
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};

use rustix::fs::{AtFlags, Dir, FileType, Gid, Mode, OFlags, SeekFrom, Stat, StatxFlags, Timespec};
use rustix::fs::{Timestamps, Uid, XattrFlags};
use rustix::fs::{chmodat, chownat, fchmod, fchown, fgetxattr, flistxattr, fsetxattr, fstat};
use rustix::fs::{futimens, ioctl_ficlone, linkat, mkdirat, mknodat, openat, readlinkat, statat};
use rustix::fs::{seek, statx, symlinkat, utimensat};
use rustix::io::Errno;

use crate::crash;

/// Folders nested deeper than this are refused: each level needs two descriptors.
const DEPTH: usize = 200;

/// Attributes of an overlay, which mean something else in another one.
const OVERLAY: &[u8] = b"trusted.overlay.";

/// Access control lists. Without them, a copy could give more access than the original.
const ACL: &[u8] = b"system.posix_acl_";

const FLAGS: OFlags = OFlags::NOFOLLOW.union(OFlags::CLOEXEC);

/// What could not be copied: its path below the folder, and why.
#[derive(Debug)]
pub(super) struct Fault {
    pub(super) path: PathBuf,
    pub(super) errno: Errno,
}

/// Who owns the copies, where it is not the owner of the original.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct Owner {
    pub(super) uid: Option<u32>,
    pub(super) gid: Option<u32>,
}

impl Owner {
    pub(super) fn of(self, original: &Stat) -> (Option<Uid>, Option<Gid>) {
        let uid = Uid::from_raw(self.uid.unwrap_or(original.st_uid));
        let gid = Gid::from_raw(self.gid.unwrap_or(original.st_gid));
        (Some(uid), Some(gid))
    }
}

/// Copies the contents of `from` into the empty folder `to`, and then what `from` itself has: owner,
/// mode, attributes and times.
pub(super) fn tree(from: &OwnedFd, to: &OwnedFd, owner: Owner) -> Result<(), Fault> {
    let mut copy = Copy {
        top: to.as_fd(),
        owner,
        mount: mount_of(from.as_fd()).map_err(at(Path::new("")))?,
        links: HashMap::new(),
    };
    copy.contents(from, to, Path::new(""), 0)?;
    copy.settle(from.as_fd(), to.as_fd())
        .map_err(at(Path::new("")))
}

fn at(path: &Path) -> impl Fn(Errno) -> Fault {
    let path = path.to_owned();
    move |errno| Fault {
        path: path.clone(),
        errno,
    }
}

/// The mount that a file is seen through.
pub(super) fn mount_of(file: BorrowedFd<'_>) -> Result<u64, Errno> {
    let found = statx(file, c"", AtFlags::EMPTY_PATH, StatxFlags::MNT_ID)?;
    Ok(found.stx_mnt_id)
}

struct Copy<'a> {
    top: BorrowedFd<'a>,
    owner: Owner,
    /// The mount of the source.
    mount: u64,
    /// Files with more than one name: the path of the copy, by device and inode.
    links: HashMap<(u64, u64), PathBuf>,
}

impl Copy<'_> {
    fn contents(
        &mut self,
        from: &OwnedFd,
        to: &OwnedFd,
        path: &Path,
        depth: usize,
    ) -> Result<(), Fault> {
        if depth == DEPTH {
            return Err(at(path)(Errno::NAMETOOLONG));
        }
        for entry in Dir::read_from(from).map_err(at(path))? {
            let entry = entry.map_err(at(path))?;
            let name = entry.file_name();
            if name == c"." || name == c".." {
                continue;
            }
            let path = path.join(OsStr::from_bytes(name.to_bytes()));
            match self.entry(from, to, name, &path, depth) {
                // It was removed since its folder was read.
                Err(Fault {
                    errno: Errno::NOENT,
                    path: gone,
                }) if gone == path => {}
                copied => copied?,
            }
        }
        Ok(())
    }

    fn entry(
        &mut self,
        from: &OwnedFd,
        to: &OwnedFd,
        name: &CStr,
        path: &Path,
        depth: usize,
    ) -> Result<(), Fault> {
        let stat = statat(from, name, AtFlags::SYMLINK_NOFOLLOW).map_err(at(path))?;
        match FileType::from_raw_mode(stat.st_mode) {
            FileType::Directory => return self.folder(from, to, name, path, depth),
            FileType::RegularFile => self.file(from, to, name, path),
            FileType::Symlink => self.symlink(from, to, name, &stat),
            FileType::Fifo => self.fifo(to, name, &stat),
            FileType::Socket
            | FileType::CharacterDevice
            | FileType::BlockDevice
            | FileType::Unknown => Ok(()),
        }
        .map_err(at(path))
    }

    fn folder(
        &mut self,
        from: &OwnedFd,
        to: &OwnedFd,
        name: &CStr,
        path: &Path,
        depth: usize,
    ) -> Result<(), Fault> {
        let flags = FLAGS | OFlags::RDONLY | OFlags::DIRECTORY;
        let inner = openat(from, name, flags, Mode::empty()).map_err(at(path))?;
        mkdirat(to, name, Mode::RWXU).map_err(at(path))?;
        let copy = openat(to, name, flags, Mode::empty()).map_err(at(path))?;
        if mount_of(inner.as_fd()).map_err(at(path))? == self.mount {
            self.contents(&inner, &copy, path, depth + 1)?;
        }
        self.settle(inner.as_fd(), copy.as_fd()).map_err(at(path))
    }

    fn file(
        &mut self,
        from: &OwnedFd,
        to: &OwnedFd,
        name: &CStr,
        path: &Path,
    ) -> Result<(), Errno> {
        // Without NONBLOCK, a FIFO that has taken the file's place would keep us waiting.
        let flags = FLAGS | OFlags::RDONLY | OFlags::NONBLOCK;
        let original = openat(from, name, flags, Mode::empty())?;
        let stat = fstat(&original)?;
        if FileType::from_raw_mode(stat.st_mode) != FileType::RegularFile {
            return Err(Errno::STALE);
        }
        let id = (stat.st_dev, stat.st_ino);
        if stat.st_nlink > 1 {
            if let Some(first) = self.links.get(&id) {
                return linkat(self.top, first, to, name, AtFlags::empty());
            }
            self.links.insert(id, path.to_owned());
        }
        let flags = FLAGS | OFlags::WRONLY | OFlags::CREATE | OFlags::EXCL;
        let copy = openat(to, name, flags, Mode::RUSR | Mode::WUSR)?;
        let (original, copy) = (File::from(original), File::from(copy));
        data(&original, &copy, u64::try_from(stat.st_size).unwrap_or(0))?;
        crash::point("datastore: file copied", "");
        self.settle(original.as_fd(), copy.as_fd())
    }

    fn symlink(&self, from: &OwnedFd, to: &OwnedFd, name: &CStr, stat: &Stat) -> Result<(), Errno> {
        let target = readlinkat(from, name, Vec::new())?;
        symlinkat(target, to, name)?;
        let (uid, gid) = self.owner.of(stat);
        chownat(to, name, uid, gid, AtFlags::SYMLINK_NOFOLLOW)?;
        utimensat(to, name, &times(stat), AtFlags::SYMLINK_NOFOLLOW)
    }

    fn fifo(&self, to: &OwnedFd, name: &CStr, stat: &Stat) -> Result<(), Errno> {
        mknodat(to, name, FileType::Fifo, Mode::RUSR | Mode::WUSR, 0)?;
        let (uid, gid) = self.owner.of(stat);
        chownat(to, name, uid, gid, AtFlags::SYMLINK_NOFOLLOW)?;
        chmodat(
            to,
            name,
            Mode::from_raw_mode(stat.st_mode),
            AtFlags::empty(),
        )?;
        utimensat(to, name, &times(stat), AtFlags::SYMLINK_NOFOLLOW)
    }

    /// Gives a copy what its original has.
    fn settle(&self, original: BorrowedFd<'_>, copy: BorrowedFd<'_>) -> Result<(), Errno> {
        let stat = fstat(original)?;
        let (uid, gid) = self.owner.of(&stat);
        // In this order: chown(2) clears set-user-ID bits and capabilities of files.
        fchown(copy, uid, gid)?;
        fchmod(copy, Mode::from_raw_mode(stat.st_mode))?;
        attributes(original, copy, |_| true)?;
        futimens(copy, &times(&stat))
    }
}

fn times(stat: &Stat) -> Timestamps {
    let time = |seconds, nanoseconds: u64| Timespec {
        tv_sec: seconds,
        tv_nsec: i64::try_from(nanoseconds).unwrap_or(0),
    };
    Timestamps {
        last_access: time(stat.st_atime, stat.st_atime_nsec),
        last_modification: time(stat.st_mtime, stat.st_mtime_nsec),
    }
}

/// Copies the access control lists of a folder.
pub(super) fn acl(original: BorrowedFd<'_>, copy: BorrowedFd<'_>) -> Result<(), Errno> {
    attributes(original, copy, |name| name.starts_with(ACL))
}

/// Copies extended attributes. Those that the filesystem of the copy cannot have are left out,
/// except for access control lists.
fn attributes(
    original: BorrowedFd<'_>,
    copy: BorrowedFd<'_>,
    wanted: impl Fn(&[u8]) -> bool,
) -> Result<(), Errno> {
    let mut names = Vec::with_capacity(1 << 16);
    match flistxattr(original, rustix::buffer::spare_capacity(&mut names)) {
        Ok(_) => {}
        Err(Errno::OPNOTSUPP) => return Ok(()),
        Err(errno) => return Err(errno),
    }
    let mut value = Vec::with_capacity(1 << 16);
    for name in names
        .split(|byte| *byte == 0)
        .filter(|name| !name.is_empty())
    {
        if name.starts_with(OVERLAY) || !wanted(name) {
            continue;
        }
        value.clear();
        match fgetxattr(original, name, rustix::buffer::spare_capacity(&mut value)) {
            Ok(_) => {}
            // Removed meanwhile.
            Err(Errno::NODATA) => continue,
            Err(errno) => return Err(errno),
        }
        match fsetxattr(copy, name, &value, XattrFlags::empty()) {
            Err(Errno::OPNOTSUPP) if !name.starts_with(ACL) => {}
            set => set?,
        }
    }
    Ok(())
}

/// Copies the data of a file: shared if the filesystem can, otherwise without the holes.
fn data(original: &File, copy: &File, size: u64) -> Result<(), Errno> {
    match ioctl_ficlone(copy, original) {
        Ok(()) => return Ok(()),
        Err(Errno::OPNOTSUPP | Errno::XDEV | Errno::INVAL | Errno::NOTTY | Errno::NOSYS) => {}
        Err(errno) => return Err(errno),
    }
    let failed = |error: std::io::Error| Errno::from_io_error(&error).unwrap_or(Errno::IO);
    let mut at = 0;
    while at < size {
        let start = match seek(original, SeekFrom::Data(at)) {
            Ok(start) => start,
            // Only a hole is left.
            Err(Errno::NXIO) => break,
            Err(Errno::INVAL) => at,
            Err(errno) => return Err(errno),
        };
        let end = match seek(original, SeekFrom::Hole(start)) {
            Ok(end) => end,
            Err(Errno::INVAL) => size,
            Err(errno) => return Err(errno),
        };
        let (mut from, mut to) = (original, copy);
        from.seek(std::io::SeekFrom::Start(start)).map_err(failed)?;
        to.seek(std::io::SeekFrom::Start(start)).map_err(failed)?;
        let mut part = from.take(end - start);
        std::io::copy(&mut part, &mut to).map_err(failed)?;
        at = end;
    }
    copy.set_len(size).map_err(failed)
}
