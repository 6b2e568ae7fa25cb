//! Snapshots by which a datastore on btrfs is moved: a read-only one of each moment that is sent, at the source in
//! `.NAME.sending`, and what is received of it, at the target in `.NAME.receiving`. Both are folders for root, beside the
//! datastore, and no tenant can have such a name. A snapshot has a number as its name, which is not used again while any
//! of the move is left.

use std::ffi::CString;
use std::fs::DirBuilder;
use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::DirBuilderExt;
use std::path::{Path, PathBuf};

use rustix::io::Errno;
use serde::{Deserialize, Serialize};

use super::mark::{MoveError, file, mark, mark_of, refused};
use super::{beside, opened};
use crate::crash;
use crate::datastore::{self, remove};
use crate::quota::snapshot;

/// The snapshots of a move, on one of both hosts.
#[derive(Debug, Clone)]
pub struct Snapshots {
    folder: PathBuf,
}

/// A snapshot that the target has completely.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Received {
    /// Its number.
    pub number: u64,
    /// The UUID of that of the source.
    pub of: String,
}

impl Snapshots {
    /// Those that the source of a move has made.
    #[must_use]
    pub fn sent(source: &Path) -> Self {
        Self {
            folder: beside(source, ".sending"),
        }
    }

    /// Those that the target has received.
    #[must_use]
    pub fn received(place: &Path) -> Self {
        Self {
            folder: beside(place, ".receiving"),
        }
    }

    /// Where they are.
    #[must_use]
    pub fn folder(&self) -> &Path {
        &self.folder
    }

    /// Where one of them is.
    #[must_use]
    pub fn path(&self, number: u64) -> PathBuf {
        self.folder.join(number.to_string())
    }

    fn entries(&self) -> Result<Vec<CString>, MoveError> {
        let failed = |source| MoveError::File {
            path: self.folder.clone(),
            source,
        };
        let entries = match std::fs::read_dir(&self.folder) {
            Ok(entries) => entries,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
            Err(error) => return Err(failed(error)),
        };
        let mut names = Vec::new();
        for entry in entries {
            let name = entry.map_err(failed)?.file_name();
            let name = CString::new(name.as_bytes());
            names.push(name.map_err(|_| file(&self.folder)(Errno::INVAL))?);
        }
        Ok(names)
    }

    /// The numbers that are in use, from the smallest one.
    ///
    /// # Errors
    /// Those of readdir(3).
    pub fn numbers(&self) -> Result<Vec<u64>, MoveError> {
        let names = self.entries()?;
        let number = |name: &CString| name.to_str().ok()?.parse().ok();
        let mut numbers: Vec<u64> = names.iter().filter_map(number).collect();
        numbers.sort_unstable();
        Ok(numbers)
    }

    /// The UUID of one of them, if it is there.
    ///
    /// # Errors
    /// Those of the system calls.
    pub fn uuid(&self, number: u64) -> Result<Option<String>, MoveError> {
        Ok(self.facts(number)?.map(|facts| facts.uuid))
    }

    pub(super) fn facts(&self, number: u64) -> Result<Option<snapshot::Facts>, MoveError> {
        let path = self.path(number);
        match datastore::open(&path) {
            Ok(found) => snapshot::facts(found.as_fd()).map_err(file(&path)),
            Err(Errno::NOENT) => Ok(None),
            Err(errno) => Err(file(&path)(errno)),
        }
    }

    /// Those that were received completely.
    ///
    /// # Errors
    /// Those of the system calls.
    pub fn complete(&self) -> Result<Vec<Received>, MoveError> {
        let mut complete = Vec::new();
        for number in self.numbers()? {
            if let Some(of) = self.facts(number)?.and_then(|facts| facts.copy_of) {
                complete.push(Received { number, of });
            }
        }
        Ok(complete)
    }

    pub(super) fn make_folder(&self) -> Result<OwnedFd, MoveError> {
        match DirBuilder::new().mode(0o700).create(&self.folder) {
            Ok(()) => {}
            Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {}
            Err(source) => {
                let path = self.folder.clone();
                return Err(MoveError::File { path, source });
            }
        }
        opened(&self.folder)
    }

    /// Makes a read-only snapshot of a datastore. Returns where it is.
    ///
    /// # Errors
    /// Those of the system calls.
    pub fn make(&self, source: &Path, number: u64) -> Result<PathBuf, MoveError> {
        let folder = self.make_folder()?;
        let (path, store) = (self.path(number), opened(source)?);
        let name = CString::new(number.to_string()).map_err(|_| file(&path)(Errno::INVAL))?;
        snapshot::make(store.as_fd(), folder.as_fd(), &name, true).map_err(file(&path))?;
        let tenant = source.file_name().unwrap_or_default();
        crash::point("move: snapshot made", tenant);
        Ok(path)
    }

    /// Removes all but one of them. One that a process of an earlier move still sends is left.
    ///
    /// # Errors
    /// Those of the system calls.
    pub fn prune(&self, kept: Option<u64>) -> Result<(), MoveError> {
        let kept = kept.map(|number| number.to_string());
        let names = self.entries()?;
        if names.is_empty() {
            return Ok(());
        }
        let folder = opened(&self.folder)?;
        for name in names {
            if kept
                .as_ref()
                .is_some_and(|it| it.as_bytes() == name.to_bytes())
            {
                continue;
            }
            match entry(folder.as_fd(), &name) {
                Ok(()) | Err(Errno::PERM) => {}
                Err(errno) => return Err(file(&self.folder)(errno)),
            }
        }
        Ok(())
    }

    /// Removes all of them, and their folder.
    ///
    /// # Errors
    /// One is still sent; and those of the system calls.
    pub fn sweep(&self) -> Result<(), MoveError> {
        self.prune(None)?;
        match std::fs::remove_dir(&self.folder) {
            Ok(()) => Ok(()),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
            Err(source) if source.kind() == io::ErrorKind::DirectoryNotEmpty => {
                let why = format!(
                    "a snapshot in it is still sent by an earlier `move`: type `btrfs subvolume delete {0}/* && rmdir {0}` \
                     once that has ended",
                    self.folder.display()
                );
                Err(refused(&self.folder, why))
            }
            Err(source) => {
                let path = self.folder.clone();
                Err(MoveError::File { path, source })
            }
        }
    }
}

/// Removes an entry with all that is in it.
pub(super) fn entry(folder: BorrowedFd<'_>, name: &std::ffi::CStr) -> Result<(), Errno> {
    match snapshot::remove(folder, name) {
        Ok(true) | Err(Errno::NOENT) => return Ok(()),
        // There are subvolumes in it.
        Ok(false) | Err(Errno::NOTEMPTY) => {}
        Err(errno) => return Err(errno),
    }
    remove::entry(folder, name)?;
    remove::left(folder)
}

/// Why snapshots of a datastore cannot be sent; `None` if they can. `is_limited` is whether it has a quota.
///
/// # Errors
/// Those of the system calls.
pub fn cannot_send(source: &Path, is_limited: bool) -> Result<Option<String>, MoveError> {
    let failed = || file(source);
    let why = |what: &str| Ok(Some(format!("{} {what}", source.display())));
    let store = opened(source)?;
    let store = store.as_fd();
    if !snapshot::is_on_btrfs(store).map_err(failed())? {
        return why("is not on btrfs");
    }
    if !snapshot::is_top(store).map_err(failed())? {
        return why("is a plain folder, and btrfs sends subvolumes");
    }
    let above = opened(source.parent().unwrap_or(source))?;
    let above = above.as_fd();
    if !snapshot::is_on_btrfs(above).map_err(failed())?
        || !snapshot::is_same_filesystem(store, above).map_err(failed())?
    {
        return why("is a mount of its own");
    }
    if is_limited && snapshot::counts_by_writer(store).map_err(failed())? {
        return why(
            "has a simple quota, which counts what is overwritten as long as a snapshot has it",
        );
    }
    if snapshot::has_subvolumes(store).map_err(failed())? {
        return why("has subvolumes in it, which are no part of a snapshot");
    }
    Ok(None)
}

/// Why snapshots cannot be received beside the place of a datastore; `None` if they can.
///
/// # Errors
/// Those of the system calls.
pub fn cannot_receive(place: &Path) -> Result<Option<String>, MoveError> {
    for folder in place.ancestors().skip(1) {
        let open = match datastore::open(folder) {
            Ok(open) => open,
            Err(Errno::NOENT) => continue,
            Err(errno) => return Err(file(folder)(errno)),
        };
        let (open, shown) = (open.as_fd(), folder.display());
        return Ok(match snapshot::is_on_btrfs(open).map_err(file(folder))? {
            false => Some(format!("{shown} is not on btrfs")),
            true => snapshot::counts_by_writer(open)
                .map_err(file(folder))?
                .then(|| {
                    format!("{shown} has simple quotas, which do not count what a snapshot has for a tenant")
                }),
        });
    }
    Err(file(place)(Errno::NOENT))
}

/// Notes, at the source, that the target has a snapshot, on disk.
///
/// # Errors
/// There is no move; and those of the system calls.
pub fn note_sent(source: &Path, number: u64) -> Result<(), MoveError> {
    let Some(mut noted) = mark_of(source)? else {
        return Err(refused(source, "no move of it is under way"));
    };
    noted.sent = Some(number);
    mark(source, &noted)?;
    let tenant = source.file_name().unwrap_or_default();
    crash::point("move: snapshot noted", tenant);
    Ok(())
}
