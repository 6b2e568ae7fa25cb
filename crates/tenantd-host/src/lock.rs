//! The lock of a datastore: at most one launch at a time, whoever started it.
//!
//! It is a flock(2) on a file under `/run/tenantd/locks` that is named by the datastore's device
//! and inode, so that two paths to one folder share it. The lock belongs to the open file
//! description, which the child inherits: it lives as long as any process of the launch does,
//! whatever becomes of the supervisor.

use std::fs::{DirBuilder, File};
use std::io::Read;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::os::unix::fs::DirBuilderExt;
use std::path::{Path, PathBuf};
use std::time::Duration;

use rustix::fs::{AtFlags, CWD, FlockOperation, Mode, OFlags, StatxFlags};
use rustix::fs::{flock, openat, statx, unlinkat};
use rustix::io::{Errno, fcntl_dupfd_cloexec};

use tenantd_core::name::{AppName, TenantName};
use tenantd_core::stage::{Failure, Stage};

/// Where the lock files lie.
pub const LOCKS: &str = "/run/tenantd/locks";

/// The descriptor at which a tenant's processes hold the lock. Not 3 to 9, which shells and
/// scripts use for their own, and the last one that fits into the table every process has
/// anyway (`NR_OPEN_DEFAULT`, 64 entries).
pub const LOCK_FD: i32 = 63;

/// How often, and after which pause, a held lock is looked at again. Between clone and exec the
/// child of another launch holds copies of all the supervisor's descriptors for about a
/// millisecond, this lock's among them.
const PATIENCE: (u32, Duration) = (20, Duration::from_millis(1));

/// No patience at all: for one lock among many, of which most may be held.
const NO_PATIENCE: (u32, Duration) = (1, Duration::ZERO);

/// What stands between the two parts of a signature.
const PROCESS: &str = ", process ";

/// The most bytes of a signature that are shown: two names and a number.
const SIGNATURE: u64 = 160;

/// How often another open is tried because somebody removed the file between open and lock.
const REOPENS: u32 = 100;

/// A lock that is held as long as this descriptor, or a copy of it in any process, is open.
#[derive(Debug)]
pub struct Lock {
    fd: OwnedFd,
    file: PathBuf,
}

impl AsFd for Lock {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.fd.as_fd()
    }
}

impl Lock {
    /// Takes the lock of the datastore that `datastore` is open on. `path` is its name for
    /// people.
    ///
    /// # Errors
    /// A [`Failure`] of stage lock; with `EWOULDBLOCK` if it is held, and by whom.
    pub fn take(datastore: BorrowedFd<'_>, path: &Path) -> Result<Self, Failure> {
        let failed = |errno| failure(path, errno);
        let file = file_of(datastore).map_err(failed)?;
        make_folder().map_err(failed)?;
        take_file(file.clone(), PATIENCE).map_err(|errno| match errno {
            Errno::WOULDBLOCK => failed(errno).with(holder(&file)),
            other => failed(other),
        })
    }

    /// The lock's file, for people.
    #[must_use]
    pub fn path(&self) -> String {
        self.file.display().to_string()
    }

    /// Writes into the lock file who holds it, for the message that the next one gets.
    ///
    /// # Errors
    /// Those of open(2) and write(2).
    pub fn sign(&self, label: &str, pid: i32) -> std::io::Result<()> {
        std::fs::write(&self.file, format!("{label}{PROCESS}{pid}\n"))
    }
}

/// Whether no process holds the lock of this datastore: one of the three proofs that a launch
/// has ended. A lock that was never taken is free.
///
/// # Errors
/// A [`Failure`] of stage lock.
pub fn is_free(datastore: BorrowedFd<'_>, path: &Path) -> Result<bool, Failure> {
    let failed = |errno| failure(path, errno);
    let file = file_of(datastore).map_err(failed)?;
    let flags = OFlags::RDONLY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    let fd = match openat(CWD, &file, flags, Mode::empty()) {
        Ok(fd) => fd,
        Err(Errno::NOENT) => return Ok(true),
        Err(errno) => return Err(failed(errno)),
    };
    match patiently(fd.as_fd(), FlockOperation::NonBlockingLockShared, PATIENCE) {
        Ok(()) => Ok(true),
        Err(Errno::WOULDBLOCK) => Ok(false),
        Err(errno) => Err(failed(errno)),
    }
}

/// What a launch of a tenant is called in the signature of its lock.
#[must_use]
pub fn label(app: &AppName, tenant: &TenantName) -> String {
    format!("{app}/{tenant}")
}

/// Who holds a lock, as its supervisor wrote it down.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Signature {
    /// What the launch was called.
    pub label: String,
    /// Its first process, where that can be read.
    pub pid: Option<i32>,
}

/// Who holds the lock of this datastore; nothing if nobody does. Looks once, and waits for nobody.
///
/// # Errors
/// A [`Failure`] of stage lock.
pub fn holder_of(datastore: BorrowedFd<'_>, path: &Path) -> Result<Option<Signature>, Failure> {
    let failed = |errno| failure(path, errno);
    let file = file_of(datastore).map_err(failed)?;
    let flags = OFlags::RDONLY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    let fd = match openat(CWD, &file, flags, Mode::empty()) {
        Ok(fd) => fd,
        Err(Errno::NOENT) => return Ok(None),
        Err(errno) => return Err(failed(errno)),
    };
    match flock(&fd, FlockOperation::NonBlockingLockShared) {
        Ok(()) => Ok(None),
        Err(Errno::WOULDBLOCK) => match signature(fd.into()) {
            Ok(text) => Ok(Some(Signature::parse(&text))),
            Err(error) => Err(failed(Errno::from_io_error(&error).unwrap_or(Errno::IO))),
        },
        Err(errno) => Err(failed(errno)),
    }
}

impl Signature {
    fn parse(text: &str) -> Self {
        let (label, pid) = text.rsplit_once(PROCESS).unwrap_or((text, ""));
        Self {
            label: label.to_owned(),
            pid: pid.parse().ok(),
        }
    }
}

/// Removes the lock file of a datastore that nobody uses any more.
///
/// # Errors
/// A [`Failure`] of stage lock, with `EWOULDBLOCK` if somebody still holds it.
pub fn remove_unused(datastore: BorrowedFd<'_>, path: &Path) -> Result<(), Failure> {
    let lock = Lock::take(datastore, path)?;
    remove(&lock).map_err(|errno| failure(path, errno))
}

/// Removes the files of all locks that nobody holds: also of datastores that are in no manifest
/// any more. A lock that is held costs no wait, so that this is quick beside a thousand tenants.
///
/// # Errors
/// A [`Failure`] of stage lock.
pub fn sweep() -> Result<(), Failure> {
    let folder = Path::new(LOCKS);
    let failed =
        |error: &std::io::Error| failure(folder, Errno::from_io_error(error).unwrap_or(Errno::IO));
    let entries = match std::fs::read_dir(folder) {
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(()),
        entries => entries.map_err(|error| failed(&error))?,
    };
    for entry in entries {
        let file = entry.map_err(|error| failed(&error))?.path();
        match take_file(file, NO_PATIENCE) {
            Ok(lock) => remove(&lock).map_err(|errno| failure(folder, errno))?,
            Err(Errno::WOULDBLOCK) => {}
            Err(errno) => return Err(failure(folder, errno)),
        }
    }
    Ok(())
}

/// Only the holder may remove it: whoever has it open already finds out by the inode.
fn remove(lock: &Lock) -> Result<(), Errno> {
    unlinkat(CWD, &lock.file, AtFlags::empty())
}

fn take_file(file: PathBuf, patience: (u32, Duration)) -> Result<Lock, Errno> {
    for _ in 0..REOPENS {
        // Read-only: a tenant that inherits it cannot write into it.
        let flags = OFlags::RDONLY | OFlags::CREATE | OFlags::NOFOLLOW | OFlags::CLOEXEC;
        let fd = openat(CWD, &file, flags, Mode::RUSR | Mode::WUSR)?;
        patiently(
            fd.as_fd(),
            FlockOperation::NonBlockingLockExclusive,
            patience,
        )?;
        if is_same(fd.as_fd(), &file)? {
            let fd = beside_the_slot(fd)?;
            return Ok(Lock { fd, file });
        }
    }
    Err(Errno::STALE)
}

fn failure(path: &Path, errno: Errno) -> Failure {
    let object = path.display().to_string();
    Failure::errno(Stage::Lock, object, errno.raw_os_error())
}

fn holder(file: &Path) -> String {
    match File::open(file).and_then(signature) {
        Ok(text) if text.is_empty() => "held by a launch that has only begun".to_owned(),
        Ok(text) => format!("held by {text}"),
        Err(error) => format!("by whom is not known: {error}"),
    }
}

/// What the holder wrote. A tenant that runs as root can write there too, so it is cut short and
/// shown without control characters.
fn signature(file: File) -> std::io::Result<String> {
    let mut bytes = Vec::new();
    file.take(SIGNATURE).read_to_end(&mut bytes)?;
    let text = String::from_utf8_lossy(&bytes);
    Ok(text.trim_end().escape_debug().to_string())
}

fn file_of(datastore: BorrowedFd<'_>) -> Result<PathBuf, Errno> {
    let stat = statx(datastore, "", AtFlags::EMPTY_PATH, StatxFlags::INO)?;
    let (major, minor) = (stat.stx_dev_major, stat.stx_dev_minor);
    let name = format!("{major}:{minor}-{}", stat.stx_ino);
    Ok(Path::new(LOCKS).join(name))
}

fn make_folder() -> Result<(), Errno> {
    for (folder, mode) in [(super::runtime::ROOT, 0o755), (LOCKS, 0o700)] {
        match DirBuilder::new().mode(mode).create(folder) {
            Ok(()) => {}
            Err(error) if error.kind() == std::io::ErrorKind::AlreadyExists => {}
            Err(error) => return Err(Errno::from_io_error(&error).unwrap_or(Errno::IO)),
        }
    }
    Ok(())
}

fn patiently(
    fd: BorrowedFd<'_>,
    operation: FlockOperation,
    (times, pause): (u32, Duration),
) -> Result<(), Errno> {
    for _ in 1..times {
        match flock(fd, operation) {
            Err(Errno::WOULDBLOCK) => std::thread::sleep(pause),
            other => return other,
        }
    }
    flock(fd, operation)
}

fn is_same(fd: BorrowedFd<'_>, file: &Path) -> Result<bool, Errno> {
    let held = statx(fd, "", AtFlags::EMPTY_PATH, StatxFlags::INO)?;
    match statx(CWD, file, AtFlags::SYMLINK_NOFOLLOW, StatxFlags::INO) {
        Ok(named) => Ok(held.stx_ino == named.stx_ino),
        Err(Errno::NOENT) => Ok(false),
        Err(errno) => Err(errno),
    }
}

/// A copy elsewhere if the descriptor happens to have the number that it gets in the child:
/// dup3(2) onto itself would not take close-on-exec off.
fn beside_the_slot(fd: OwnedFd) -> Result<OwnedFd, Errno> {
    use std::os::fd::AsRawFd;
    if fd.as_raw_fd() == LOCK_FD {
        return fcntl_dupfd_cloexec(&fd, LOCK_FD + 1);
    }
    Ok(fd)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_signature_names_a_launch_and_its_first_process() {
        let parsed = |text: &str| {
            let Signature { label, pid } = Signature::parse(text);
            (label, pid)
        };
        assert_eq!(parsed("wiki/a, process 7"), ("wiki/a".into(), Some(7)));
        assert_eq!(parsed("wiki/a, process x"), ("wiki/a".into(), None));
        assert_eq!(parsed(""), (String::new(), None));
    }
}
