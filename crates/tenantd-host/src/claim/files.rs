//! The files of claims, and the lock that orders those who read and replace them.

use std::collections::BTreeSet;
use std::fs::{self, File};
use std::io::{self, Read, Write};
use std::os::fd::{AsFd, BorrowedFd};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use rustix::fs::{FlockOperation, flock};
use rustix::io::Errno;

use super::failure;
use super::record::Record;
use crate::crash;
use crate::inherited::is_file;
use crate::lock::{self, LOCKS};
use tenantd_core::stage::Failure;

/// The end of the name of a record, and of one that is being written.
const RECORD: &str = "claim";
const NEW: &str = "new";

/// The maximum size of a record in bytes: two names and a path.
const RECORD_MAX: u64 = 8192;

/// How often, and with which pause, the lock is tried: 5 s in all. Another supervisor holds it for some
/// microseconds, unless it is stopped.
const PATIENCE: (u32, Duration) = (25_000, Duration::from_micros(200));

/// The files of one datastore.
#[derive(Debug, Clone)]
pub(super) struct Files {
    /// The path of the datastore, for messages; that of the record if the datastore is unknown.
    object: PathBuf,
    record: PathBuf,
    new: PathBuf,
    /// The lock that some launches inherit.
    pub(super) lock: PathBuf,
}

impl Files {
    /// The files of a datastore. Makes their folder.
    ///
    /// # Errors
    /// A [`Failure`] of stage lock.
    pub(super) fn of(datastore: BorrowedFd<'_>, path: &Path) -> Result<Self, Failure> {
        let named = lock::file_of(datastore).and_then(|lock| {
            lock::make_folder()?;
            Ok(Self::named(&lock))
        });
        let named = named.map_err(|errno| failure(path, &errno.into()))?;
        let object = path.to_owned();
        Ok(Self { object, ..named })
    }

    fn named(lock: &Path) -> Self {
        Self {
            object: lock.with_added_extension(RECORD),
            record: lock.with_added_extension(RECORD),
            new: lock.with_added_extension(NEW),
            lock: lock.to_owned(),
        }
    }

    /// The files of every datastore that has one.
    pub(super) fn all() -> io::Result<Vec<Self>> {
        let entries = match fs::read_dir(LOCKS) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
            entries => entries?,
        };
        let mut locks = BTreeSet::new();
        for entry in entries {
            let path = entry?.path();
            match path.extension().and_then(|end| end.to_str()) {
                Some(RECORD | NEW) => locks.insert(path.with_extension("")),
                Some(_) => false,
                None if path.ends_with(Guard::NAME) => false,
                None => locks.insert(path),
            };
        }
        Ok(locks.iter().map(|lock| Self::named(lock)).collect())
    }

    /// Whether there is any.
    pub(super) fn exist(&self) -> bool {
        [&self.record, &self.new, &self.lock]
            .iter()
            .any(|path| fs::symlink_metadata(path).is_ok())
    }

    /// Reads the record.
    pub(super) fn read(&self) -> io::Result<Option<Record>> {
        let mut text = Vec::new();
        match File::open(&self.record) {
            Ok(file) => file.take(RECORD_MAX).read_to_end(&mut text)?,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
            Err(error) => return Err(error),
        };
        serde_json::from_slice(&text).map(Some).map_err(|error| {
            let why = "remove it once no program uses the datastore";
            io::Error::other(format!("it is damaged ({error}): {why}"))
        })
    }

    /// Replaces the record.
    pub(super) fn write(&self, record: &Record) -> Result<(), Failure> {
        let text = serde_json::to_vec(record).map_err(|error| self.failure(&error.into()))?;
        let mut options = File::options();
        options.write(true).create(true).truncate(true).mode(0o600);
        let written = options
            .open(&self.new)
            .and_then(|mut file| file.write_all(&text));
        crash::point("claim: written", &record.tenant);
        let replaced = written.and_then(|()| fs::rename(&self.new, &self.record));
        replaced.map_err(|error| {
            // It needs the room that is missing. If it cannot be removed, the next one replaces it.
            let _left = fs::remove_file(&self.new);
            self.failure(&error)
        })
    }

    /// Removes all of them. The caller has proved that they hold nothing.
    pub(super) fn remove(&self) -> io::Result<()> {
        for path in [&self.new, &self.record, &self.lock] {
            gone(fs::remove_file(path))?;
        }
        Ok(())
    }

    /// A failure about the record.
    pub(super) fn failure(&self, error: &io::Error) -> Failure {
        let failure = failure(&self.object, error);
        let record = self.record.display();
        let detail = match failure.detail.as_str() {
            "" => record.to_string(),
            why => format!("{record}: {why}"),
        };
        failure.with(detail)
    }
}

fn gone(removed: io::Result<()>) -> io::Result<()> {
    match removed {
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
        other => other,
    }
}

/// Held while records are read, judged and replaced. Dropping it frees it, also if a child that was
/// cloned meanwhile has a copy of the descriptor.
pub(super) struct Guard {
    file: File,
    /// Threads of this process wait here, in order.
    _thread: MutexGuard<'static, ()>,
}

impl Guard {
    const NAME: &'static str = ".lock";

    pub(super) fn take() -> io::Result<Self> {
        static THREADS: Mutex<()> = Mutex::new(());
        // It protects no data of this process.
        let thread = THREADS.lock().unwrap_or_else(PoisonError::into_inner);
        let path = Path::new(LOCKS).join(Self::NAME);
        let (tries, pause) = PATIENCE;
        for _ in 0..tries {
            let mut options = File::options();
            options.read(true).write(true).create(true).truncate(false);
            let file = options.mode(0o600).open(&path)?;
            match flock(&file, FlockOperation::NonBlockingLockExclusive) {
                // Otherwise its last holder removed it meanwhile.
                Ok(()) if is_file(file.as_fd(), &path)? => {
                    return Ok(Self {
                        file,
                        _thread: thread,
                    });
                }
                Ok(()) => {}
                Err(Errno::WOULDBLOCK) => std::thread::sleep(pause),
                Err(errno) => return Err(errno.into()),
            }
        }
        let path = path.display();
        Err(io::Error::other(format!(
            "another tenantd holds {path}: see fuser(1) for its process, which may be stopped"
        )))
    }

    /// Removes its file, so that the folder can be removed.
    pub(super) fn remove() -> io::Result<()> {
        let path = Path::new(LOCKS).join(Self::NAME);
        if !path.exists() {
            return Ok(());
        }
        let guard = Self::take()?;
        gone(fs::remove_file(path))?;
        drop(guard);
        Ok(())
    }
}

impl Drop for Guard {
    fn drop(&mut self) {
        // If it fails, closing the descriptor frees it, once no copy is left.
        let _freed = flock(&self.file, FlockOperation::Unlock);
    }
}
