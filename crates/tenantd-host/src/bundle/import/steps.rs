//! The steps on files, all by descriptors of what was just made.

use std::ffi::OsStr;
use std::fs::File;
use std::io::{self, Read, Seek, SeekFrom, Write};
use std::os::fd::{BorrowedFd, OwnedFd};
use std::os::unix::fs::MetadataExt;
use std::path::Path;

use rustix::fs::{AtFlags, CWD, FlockOperation, Gid, Mode, OFlags, ResolveFlags, Timespec};
use rustix::fs::{Timestamps, Uid, chmod, chown, chownat, flock, fsync, openat2, utimensat};
use rustix::fs::{fstat, statat};
use rustix::io::Errno;

use super::refused;
use crate::bundle::{BundleError, Meta, Part, attributes, file};

const BUFFER: usize = 1 << 17;

pub(super) fn fsync_folder(folder: &OwnedFd) -> Result<(), Errno> {
    let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC;
    fsync(openat2(
        folder,
        ".",
        flags,
        Mode::empty(),
        ResolveFlags::BENEATH,
    )?)
}

/// Opens below a folder, without following a link.
pub(super) fn opened(
    folder: BorrowedFd<'_>,
    path: &OsStr,
    flags: OFlags,
) -> Result<OwnedFd, Errno> {
    let flags = flags | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    let flags = match flags.contains(OFlags::DIRECTORY) {
        true => flags | OFlags::RDONLY,
        false => flags | OFlags::PATH,
    };
    let resolve = ResolveFlags::BENEATH | ResolveFlags::NO_SYMLINKS | ResolveFlags::NO_XDEV;
    openat2(folder, path, flags, Mode::empty(), resolve)
}

/// Locks a folder that was opened by its name in `parent`.
pub(super) fn lock(
    (parent, name): (BorrowedFd<'_>, &OsStr),
    folder: BorrowedFd<'_>,
    path: &Path,
) -> Result<(), BundleError> {
    let other = || refused(path, "another import is making it");
    match flock(folder, FlockOperation::NonBlockingLockExclusive) {
        Ok(()) => {}
        Err(Errno::WOULDBLOCK) => return Err(other()),
        Err(errno) => return Err(file(path)(errno)),
    }
    // Another import may have removed it before, and made its own.
    let locked = fstat(folder).map_err(file(path))?;
    match statat(parent, name, AtFlags::SYMLINK_NOFOLLOW) {
        Ok(named) if (named.st_dev, named.st_ino) == (locked.st_dev, locked.st_ino) => Ok(()),
        Ok(_) | Err(Errno::NOENT) => Err(other()),
        Err(errno) => Err(file(path)(errno)),
    }
}

/// Writes the content of a file.
pub(super) fn fill(
    made: &mut File,
    (size, map): (u64, Option<&[Part]>),
    content: &mut dyn Read,
    path: &Path,
) -> Result<(), BundleError> {
    let failed = |source| BundleError::File {
        path: path.to_owned(),
        source,
    };
    let whole = [Part {
        at: 0,
        length: size,
    }];
    let mut buffer = vec![0; BUFFER];
    for part in map.unwrap_or(&whole) {
        made.seek(SeekFrom::Start(part.at)).map_err(failed)?;
        let mut left = part.length;
        while left > 0 {
            let most = usize::try_from(left).map_or(BUFFER, |left| left.min(BUFFER));
            let read = content
                .read(&mut buffer[..most])
                .map_err(BundleError::Stream)?;
            if read == 0 {
                return Err(BundleError::Stream(io::ErrorKind::UnexpectedEof.into()));
            }
            made.write_all(&buffer[..read]).map_err(failed)?;
            left -= read as u64;
        }
    }
    match map {
        Some(_) => made.set_len(size).map_err(failed),
        None => Ok(()),
    }
}

fn times(meta: &Meta) -> Timestamps {
    let time = Timespec {
        tv_sec: meta.seconds,
        tv_nsec: meta.nanoseconds.into(),
    };
    Timestamps {
        last_access: time,
        last_modification: time,
    }
}

fn ids(meta: &Meta) -> (Option<Uid>, Option<Gid>) {
    (Some(Uid::from_raw(meta.uid)), Some(Gid::from_raw(meta.gid)))
}

/// Sets owner, mode, attributes and times, in this order: a new owner removes bits and capabilities.
pub(super) fn set(entry: BorrowedFd<'_>, meta: &Meta) -> Result<(), Errno> {
    let path = attributes::by_descriptor(entry);
    let (uid, gid) = ids(meta);
    chown(&path, uid, gid)?;
    chmod(&path, Mode::from_raw_mode(meta.mode))?;
    for (name, value) in &meta.attributes {
        attributes::write(entry, name, value)?;
    }
    utimensat(CWD, &path, &times(meta), AtFlags::empty())
}

/// The same for a symbolic link, which has neither mode nor attributes.
pub(super) fn own(folder: BorrowedFd<'_>, name: &OsStr, meta: &Meta) -> Result<(), Errno> {
    let (uid, gid) = ids(meta);
    chownat(folder, name, uid, gid, AtFlags::SYMLINK_NOFOLLOW)?;
    utimensat(folder, name, &times(meta), AtFlags::SYMLINK_NOFOLLOW)
}

/// Whether no user but root can reach what is below one of the folders above.
pub(super) fn is_closed(source: &Path) -> bool {
    source.ancestors().skip(1).any(|folder| {
        let found = std::fs::symlink_metadata(folder);
        found.is_ok_and(|found| found.uid() == 0 && found.mode() & 0o011 == 0)
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::fd::AsFd;

    #[test]
    fn what_another_import_has_made_anew_is_not_locked() {
        let folder = tempfile::tempdir().unwrap();
        let parent = File::open(folder.path()).unwrap();
        let (name, path) = (
            OsStr::new(".acme.importing"),
            folder.path().join(".acme.importing"),
        );
        let lock = |fd: &OwnedFd| lock((parent.as_fd(), name), fd.as_fd(), &path);
        std::fs::create_dir(&path).unwrap();
        let opened = || opened(parent.as_fd(), name, OFlags::DIRECTORY).unwrap();
        let (before, second) = (opened(), opened());
        lock(&before).unwrap();
        assert!(
            lock(&second)
                .unwrap_err()
                .to_string()
                .contains("another import")
        );
        drop(before);
        std::fs::remove_dir(&path).unwrap();
        assert!(lock(&second).is_err(), "it is removed");
        std::fs::create_dir(&path).unwrap();
        assert!(lock(&second).is_err(), "this is another one");
        lock(&opened()).unwrap();
    }
}
