//! What the kernel says about a record.

use std::fs::File;
use std::io;
use std::os::unix::fs::MetadataExt;
use std::sync::OnceLock;

use rustix::fs::{FlockOperation, flock};

use super::decide::{Cgroup, Facts, Supervisor};
use super::record::{CgroupKey, Key, Record};
use crate::boot;
use crate::cgroup::{self, Leaf};
use crate::process;
use tenantd_core::layout;

/// The key of this process.
pub(super) fn own_key() -> io::Result<Key> {
    static OWN: OnceLock<Key> = OnceLock::new();
    let pid = std::process::id().cast_signed();
    match OWN.get().filter(|key| key.pid == pid) {
        Some(key) => Ok(*key),
        None => key_of(pid).map(|key| *OWN.get_or_init(|| key)),
    }
}

/// The key of a process that has not been waited for.
pub(super) fn key_of(pid: i32) -> io::Result<Key> {
    let start_ticks = process::start_ticks(pid).ok_or(io::ErrorKind::NotFound)?;
    Ok(Key { pid, start_ticks })
}

/// Looks at everything that a record names. `label` is the tenant that asks. If none does, this process
/// counts as a supervisor that has ended: it has released all its tenants, or has none.
pub(super) fn of(record: &Record, label: Option<&str>) -> io::Result<Facts> {
    let cgroup = match &record.cgroup {
        Some(key) => look(key, record)?,
        None => Cgroup::Unnamed,
    };
    // Without a cgroup, another thread of the launch may live longer than the leader.
    let is_alone = cgroup == Cgroup::Unnamed;
    let lives = |key: Key| process::lives(key.pid, key.start_ticks, is_alone);
    Ok(Facts {
        this_boot: record.boot == boot::id()?,
        own: Some(record.label().as_str()) == label,
        cgroup,
        process: record.process.is_some_and(lives),
        supervisor: supervisor(record, label)?,
    })
}

/// What is known of the cgroup of a record.
fn look(key: &CgroupKey, record: &Record) -> io::Result<Cgroup> {
    if cgroup::mounted().is_none() {
        return Ok(Cgroup::Unseen);
    }
    // No cgroup of version 2 can be renamed: another number at this path means that it is gone.
    match std::fs::metadata(&key.path) {
        Ok(folder) if folder.ino() == key.id => {}
        Ok(_) => return Ok(Cgroup::Removed),
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Cgroup::Removed),
        Err(error) => return Err(error),
    }
    Ok(
        // A command of `exec` uses the datastore too.
        match leaf(key, record)?.is_occupied().map_err(io::Error::other)? {
            true => Cgroup::Populated,
            false => Cgroup::Empty,
        },
    )
}

/// The leaf of a record.
pub(super) fn leaf(key: &CgroupKey, record: &Record) -> io::Result<Leaf> {
    let tenant = record.tenant.parse().map_err(io::Error::other)?;
    Ok(Leaf::new(key.path.clone(), tenant))
}

fn supervisor(record: &Record, label: Option<&str>) -> io::Result<Supervisor> {
    if record.supervisor == own_key()? {
        return Ok(label.map_or(Supervisor::Ended, |_| Supervisor::Asking));
    }
    let Key { pid, start_ticks } = record.supervisor;
    let asks = label.and_then(|label| Some(label.split_once('/')?.0));
    let alive = match asks == Some(record.app.as_str()) {
        // The asking supervisor has the lock of its application, so any other supervisor has ended, or did not
        // get the lock.
        true => process::lives(pid, start_ticks, false),
        // The kernel frees the lock after the last thread of the supervisor: a thread that is being
        // killed can still clone.
        false => process::start_ticks(pid) == Some(start_ticks) && is_locked(record)?,
    };
    Ok(match alive {
        true => Supervisor::Alive,
        false => Supervisor::Ended,
    })
}

/// Whether a supervisor has the lock of the application of a record. Takes the lock for a moment if
/// none has; a supervisor that starts tries again.
fn is_locked(record: &Record) -> io::Result<bool> {
    let Ok(app) = record.app.parse() else {
        return Ok(false);
    };
    let lock = match File::open(layout::folder(&app).join("lock")) {
        Ok(lock) => lock,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(false),
        Err(error) => return Err(error),
    };
    match flock(&lock, FlockOperation::NonBlockingLockShared) {
        Ok(()) => {
            flock(&lock, FlockOperation::Unlock)?;
            Ok(false)
        }
        Err(rustix::io::Errno::WOULDBLOCK) => Ok(true),
        Err(errno) => Err(errno.into()),
    }
}
