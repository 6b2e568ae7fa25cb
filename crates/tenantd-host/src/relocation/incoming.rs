//! The target's side of a snapshot that is received, and of the copy that it becomes.

use std::ffi::CString;
use std::fs::File;
use std::os::fd::{AsFd, OwnedFd};
use std::path::Path;

use rustix::fs::{CWD, FlockOperation, RenameFlags, flock, removexattr, renameat_with, syncfs};
use rustix::io::Errno;

use super::mark::{ATTRIBUTE, Mark, MoveError, file, mark, mark_of, refused};
use super::snapshots::{Snapshots, entry};
use super::{opened, staging, sync};
use crate::quota::snapshot;
use crate::{crash, owner, quota};
use tenantd_core::plan::model::DatastorePlan;

/// The name of the copy that becomes the datastore, before it takes the place of the folder that the target began with.
const READY: &str = "ready";

/// A snapshot that the target receives. No other process receives one meanwhile.
#[derive(Debug)]
pub struct Incoming {
    snapshots: Snapshots,
    number: u64,
    lock: OwnedFd,
}

impl Incoming {
    /// Makes room for it: of earlier ones only `parent` stays. Waits for the end of a process that an earlier move has
    /// left.
    ///
    /// # Errors
    /// The copy of this move is not there; and those of the system calls.
    pub fn begin(
        plan: &DatastorePlan,
        label: &str,
        number: u64,
        parent: Option<u64>,
    ) -> Result<Self, MoveError> {
        let staging = staging(&plan.source);
        if mark_of(&staging)?.is_none_or(|it| it.label != label) {
            return Err(refused(&staging, "no copy of the tenant is there"));
        }
        let snapshots = Snapshots::received(&plan.source);
        snapshots.make_folder()?;
        let folder = readable(snapshots.folder())?;
        flock(&folder, FlockOperation::LockExclusive).map_err(file(snapshots.folder()))?;
        snapshots.prune(parent)?;
        let lock = folder.into();
        Ok(Self {
            snapshots,
            number,
            lock,
        })
    }

    /// The folder that it is received in.
    #[must_use]
    pub fn folder(&self) -> &Path {
        self.snapshots.folder()
    }

    /// After btrfs-receive(8) has ended: whether it is complete. Writes it to the disk.
    ///
    /// # Errors
    /// It is not; and those of the system calls.
    pub fn end(self, tenant: &str) -> Result<(), MoveError> {
        let path = self.snapshots.path(self.number);
        let found = self.snapshots.facts(self.number)?;
        if found.and_then(|it| it.copy_of).is_none() {
            return Err(refused(&path, "it was not received completely"));
        }
        syncfs(&self.lock).map_err(file(&path))?;
        crash::point("move: snapshot received", tenant);
        Ok(())
    }
}

/// As [`seal`](super::seal), for a copy that is a snapshot: makes it writable, without what the other host has noted of
/// its datastore, and puts it in the place of the folder that the move has begun with.
///
/// # Errors
/// There is no such snapshot, or no move; and those of the system calls.
pub fn seal_snapshot(plan: &DatastorePlan, now: &Mark, number: u64) -> Result<(), MoveError> {
    let staging = staging(&plan.source);
    if mark_of(&staging)?.is_none_or(|it| it.label != now.label) {
        return Err(refused(&staging, "no copy of the tenant is there"));
    }
    let snapshots = Snapshots::received(&plan.source);
    let path = snapshots.path(number);
    if snapshots.facts(number)?.and_then(|it| it.copy_of).is_none() {
        return Err(refused(&path, "no complete snapshot is there"));
    }
    let (folder, found) = (opened(snapshots.folder())?, opened(&path)?);
    let ready = snapshots.folder().join(READY);
    let name = CString::new(READY).map_err(|_| file(&ready)(Errno::INVAL))?;
    // Of a move that was killed here.
    entry(folder.as_fd(), &name).map_err(file(&ready))?;
    snapshot::make(found.as_fd(), folder.as_fd(), &name, false).map_err(file(&ready))?;
    for attribute in [owner::ATTRIBUTE, quota::ATTRIBUTE, ATTRIBUTE] {
        match removexattr(&ready, attribute) {
            Ok(()) | Err(Errno::NODATA) => {}
            Err(errno) => return Err(file(&ready)(errno)),
        }
    }
    mark(&ready, now)?;
    syncfs(readable(&ready)?).map_err(file(&ready))?;
    crash::point(
        "move: copy made",
        plan.source.file_name().unwrap_or_default(),
    );
    renameat_with(CWD, &ready, CWD, &staging, RenameFlags::EXCHANGE).map_err(file(&staging))?;
    sync(snapshots.folder())?;
    staging.parent().map_or(Ok(()), sync)
}

/// Open for reading: what is open with `O_PATH` takes no lock, and cannot be written to the disk.
fn readable(folder: &Path) -> Result<File, MoveError> {
    File::open(folder).map_err(|source| MoveError::File {
        path: folder.to_owned(),
        source,
    })
}
