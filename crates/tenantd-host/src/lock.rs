//! The lock that the processes of a launch inherit if the launch has no cgroup, beside its
//! [`claim`](crate::claim). All launches of earlier versions have one.
//!
//! It is a flock(2) on a file in `/run/tenantd/locks`. The file is named by the device and inode of
//! the datastore, so that two paths to the same folder share a lock. The lock belongs to the open
//! file description, which the child inherits: it is held until every process of the launch has
//! ended, even if the supervisor dies, unless one of them unlocks it or all close it.

use std::fs::{DirBuilder, File};
use std::io::Read;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::os::unix::fs::DirBuilderExt;
use std::path::{Path, PathBuf};
use std::time::Duration;

use rustix::fs::{AtFlags, CWD, FlockOperation, Mode, OFlags, StatxFlags};
use rustix::fs::{flock, openat, statx};
use rustix::io::{Errno, fcntl_dupfd_cloexec};

use tenantd_core::name::{AppName, TenantName};
use tenantd_core::stage::{Failure, Stage};

/// The folder of the lock files.
pub const LOCKS: &str = "/run/tenantd/locks";

/// The number of the lock's descriptor in a tenant's processes. Shells and scripts use 3 to 9. This
/// is the highest number in the table that every process has anyway (`NR_OPEN_DEFAULT`, 64
/// entries).
pub const LOCK_FD: i32 = 63;

/// How often, and with which pause, a held lock is tried.
pub(crate) type Patience = (u32, Duration);

/// How often, and with which pause, a held lock is tried again. Between clone and exec, the child
/// of another launch holds copies of all the supervisor's descriptors, including this lock, for
/// about a millisecond.
pub(crate) const PATIENCE: Patience = (20, Duration::from_millis(1));

/// A single attempt: for a sweep over many locks, most of which may be held.
pub(crate) const NO_PATIENCE: Patience = (1, Duration::ZERO);

/// The separator between the two parts of a signature.
const PROCESS: &str = ", process ";

/// The maximum number of bytes that are read of a signature: two names and a number.
const SIGNATURE: u64 = 160;

/// How often the file is opened again because it was removed between open and lock.
const REOPENS: u32 = 100;

/// A lock, held as long as this descriptor or a copy of it in any process is open.
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
    /// Takes the lock of the datastore that `datastore` is open on. `path` is used in messages.
    ///
    /// # Errors
    /// A [`Failure`] of stage lock; with `EWOULDBLOCK` and the holder if the lock is held.
    pub fn take(datastore: BorrowedFd<'_>, path: &Path) -> Result<Self, Failure> {
        let failed = |errno| failure(path, errno);
        let file = file_of(datastore).map_err(failed)?;
        make_folder().map_err(failed)?;
        take_file(file.clone(), PATIENCE).map_err(|errno| match errno {
            Errno::WOULDBLOCK => failed(errno).with(holder(&file)),
            other => failed(other),
        })
    }

    /// The path of the lock file, for messages.
    #[must_use]
    pub fn path(&self) -> String {
        self.file.display().to_string()
    }

    /// Writes the holder into the lock file: another launch that finds the lock held names it.
    ///
    /// # Errors
    /// Those of open(2) and write(2).
    pub fn sign(&self, label: &str, pid: i32) -> std::io::Result<()> {
        std::fs::write(&self.file, format!("{label}{PROCESS}{pid}\n"))
    }
}

/// Whether a process holds a lock file. One that does not exist is free.
///
/// # Errors
/// Those of open(2) and flock(2).
pub(crate) fn is_held(file: &Path, patience: Patience) -> std::io::Result<bool> {
    let flags = OFlags::RDONLY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    let fd = match openat(CWD, file, flags, Mode::empty()) {
        Ok(fd) => fd,
        Err(Errno::NOENT) => return Ok(false),
        Err(errno) => return Err(errno.into()),
    };
    match patiently(fd.as_fd(), FlockOperation::NonBlockingLockShared, patience) {
        Ok(()) => Ok(false),
        Err(Errno::WOULDBLOCK) => Ok(true),
        Err(errno) => Err(errno.into()),
    }
}

/// The signature in a lock file; `None` if it cannot be read.
pub(crate) fn signature_of(file: &Path) -> Option<Signature> {
    let text = File::open(file).and_then(signature).ok()?;
    Some(Signature::parse(&text))
}

/// The label of a tenant's launch in the signature of its lock.
#[must_use]
pub fn label(app: &AppName, tenant: &TenantName) -> String {
    format!("{app}/{tenant}")
}

/// The holder of a lock, as its supervisor wrote it into the lock file.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Signature {
    /// The label of the launch, see [`label`].
    pub label: String,
    /// The process ID of the launch's first process; `None` if it cannot be read.
    pub pid: Option<i32>,
}

/// The holder of this datastore's lock; `None` if it is free. Tries once and does not wait.
///
/// # Errors
/// A [`Failure`] of stage lock.
pub(crate) fn holder_of(
    datastore: BorrowedFd<'_>,
    path: &Path,
) -> Result<Option<Signature>, Failure> {
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

fn take_file(file: PathBuf, patience: Patience) -> Result<Lock, Errno> {
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
        Ok(text) if text.is_empty() => "held by a launch that has just started".to_owned(),
        Ok(text) => format!("held by {text}"),
        Err(error) => format!("cannot read its holder: {error}"),
    }
}

/// Reads the signature. A tenant that runs as root can write to the file too, so the text is
/// truncated and control characters are escaped.
fn signature(file: File) -> std::io::Result<String> {
    let mut bytes = Vec::new();
    file.take(SIGNATURE).read_to_end(&mut bytes)?;
    let text = String::from_utf8_lossy(&bytes);
    Ok(text.trim_end().escape_debug().to_string())
}

pub(crate) fn file_of(datastore: BorrowedFd<'_>) -> Result<PathBuf, Errno> {
    let stat = statx(datastore, "", AtFlags::EMPTY_PATH, StatxFlags::INO)?;
    let (major, minor) = (stat.stx_dev_major, stat.stx_dev_minor);
    let name = format!("{major}:{minor}-{}", stat.stx_ino);
    Ok(Path::new(LOCKS).join(name))
}

pub(crate) fn make_folder() -> Result<(), Errno> {
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
    (times, pause): Patience,
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

/// Moves the descriptor to another number if it has the one that it gets in the child: dup3(2) onto
/// itself would not clear close-on-exec.
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
