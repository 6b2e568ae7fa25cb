//! The claim of a datastore, which allows one launch at a time on the whole host.
//!
//! It is a record in `/run/tenantd/locks`, which only root can read or write: which tenant has the
//! datastore, in which cgroup its processes are, which one is the first, and which supervisor started
//! it. The file is named by the device and inode of the datastore, so that two paths to the same folder
//! share a claim. Processes of the tenant inherit nothing of it, so whatever they close, unlock or pass
//! on, it stays. It needs no descriptor while the tenant runs.
//!
//! A lock (flock(2) on `.lock` in that folder) is held for some microseconds, while a record is read,
//! [judged](decide) and replaced by rename(2). A record counts as long as a process that it names
//! lives, or its supervisor lives and has not released the tenant. A launch writes it before there is a
//! process, and again with the process before that may execute its program: see
//! [`launch`](crate::launch).
//!
//! Without a cgroup only the first process can be known. Its launch inherits a [`lock`] in addition, as
//! all launches of earlier versions did. A lock that a process holds counts like a record.

mod decide;
mod facts;
mod files;
mod of_label;
mod record;
#[cfg(test)]
mod simulation;

use std::io;
use std::os::fd::BorrowedFd;
use std::path::Path;

use rustix::io::Errno;

use self::decide::{Sign, Supervisor, Verdict, decide};
use self::files::{Files, Guard};
use crate::boot;
use crate::cgroup::Leaf;
use crate::crash;
use crate::lock::{self, Lock, Patience};
use crate::owner;
use crate::process;
use tenantd_core::stage::{Failure, Stage};

pub use self::of_label::{first_of, held_by};
pub use self::record::{CgroupKey, Key, Record};

/// A claim of the calling process for one launch. Dropping it does not give it up.
#[derive(Debug)]
pub struct Claim {
    files: Files,
    record: Record,
    /// What the launch inherits if it has no cgroup.
    lock: Option<Lock>,
}

impl Claim {
    /// Claims the datastore that `datastore` is open on, for a launch of the tenant `label`
    /// (`APP/TENANT`) in this leaf. `path` is used in messages.
    ///
    /// # Errors
    /// A [`Failure`] of stage lock; with `EBUSY`, and who has it, if it is in use.
    pub fn take(
        datastore: BorrowedFd<'_>,
        path: &Path,
        label: &str,
        leaf: Option<&Leaf>,
    ) -> Result<Self, Failure> {
        // Also before the program is started again: another host may have taken the datastore meanwhile.
        owner::check(datastore, path, label)?;
        let files = Files::of(datastore, path)?;
        let record = new_record(label, leaf, None).map_err(failed(path))?;
        let guard = Guard::take().map_err(failed(path))?;
        judge(&files, path, label)?;
        files.write(&record)?;
        drop(guard);
        let lock = match leaf {
            Some(_) => None,
            None => Some(Lock::take(datastore, path)?),
        };
        Ok(Self {
            files,
            record,
            lock,
        })
    }

    /// Claims a datastore for work of the calling process itself, until [`give_up`](Claim::give_up) or its end.
    ///
    /// # Errors
    /// A [`Failure`] of stage lock; with `EBUSY`, and who has it, if it is in use.
    pub fn hold(datastore: BorrowedFd<'_>, path: &Path, label: &str) -> Result<Self, Failure> {
        let mut claim = Self::take(datastore, path, label, None)?;
        claim.set_process(rustix::process::getpid().as_raw_pid())?;
        Ok(claim)
    }

    /// Ends it. Only for a claim without a launch.
    ///
    /// # Errors
    /// A [`Failure`] of stage lock.
    pub fn give_up(self) -> Result<(), Failure> {
        let failed = |error: io::Error| self.files.failure(&error);
        let _guard = Guard::take().map_err(failed)?;
        self.files.remove().map_err(failed)
    }

    /// The lock that the launch inherits, if it has no cgroup.
    pub(crate) fn lock(&self) -> Option<&Lock> {
        self.lock.as_ref()
    }

    /// Records the first process of the launch, a child that has not been waited for. Until then the
    /// record says only that the supervisor may make one. No other process replaces the record
    /// meanwhile, so the guard is not needed.
    ///
    /// # Errors
    /// A [`Failure`] of stage lock.
    pub(crate) fn set_process(&mut self, pid: i32) -> Result<(), Failure> {
        let key = facts::key_of(pid).map_err(|error| self.files.failure(&error))?;
        self.record.process = Some(key);
        self.files.write(&self.record)?;
        if let Some(lock) = &self.lock {
            let signed = lock.sign(&self.record.label(), pid);
            signed.map_err(|error| self.files.failure(&error))?;
        }
        Ok(())
    }
}

/// Writes the claim of a launch that an earlier supervisor made, and that this one continues.
///
/// # Errors
/// A [`Failure`] of stage lock; with `EBUSY`, and who has it, if another tenant has the datastore.
pub fn adopt(
    datastore: BorrowedFd<'_>,
    path: &Path,
    label: &str,
    (leaf, process): (Option<&Leaf>, Option<Key>),
) -> Result<(), Failure> {
    let files = Files::of(datastore, path)?;
    let record = new_record(label, leaf, process).map_err(failed(path))?;
    let _guard = Guard::take().map_err(failed(path))?;
    let found = files.read().map_err(|error| files.failure(&error))?;
    if found.as_ref() == Some(&record) {
        return Ok(());
    }
    if let Some(found) = found.as_ref().filter(|found| found.label() == label)
        && found.supervisor == record.supervisor
        && (found.process.is_none() || lives(found).map_err(|error| files.failure(&error))?)
    {
        // The launch to be adopted has ended, and this supervisor has begun the next one.
        return Ok(());
    }
    let is_own = match &found {
        Some(found) => found.label() == label,
        // An earlier version made it.
        None => lock::signature_of(&files.lock).is_none_or(|signed| signed.label == label),
    };
    if !is_own {
        judge(&files, path, label)?;
    }
    files.write(&record)?;
    crash::point("adopt: claimed", label);
    Ok(())
}

/// Whether the first process of a record lives.
fn lives(record: &Record) -> io::Result<bool> {
    Ok(facts::of(record, None)?.process)
}

/// Proves that no process of a launch uses a datastore and that no other tenant has it, and removes
/// the record of the tenant `label`.
///
/// # Errors
/// A [`Failure`] of stage lock; with `EBUSY`, and who has it, if it is in use.
pub fn release(datastore: BorrowedFd<'_>, path: &Path, label: &str) -> Result<(), Failure> {
    let files = Files::of(datastore, path)?;
    if !files.exist() {
        return Ok(());
    }
    let _guard = Guard::take().map_err(failed(path))?;
    judge(&files, path, label)?;
    crash::point("release: claim proved", label);
    files.remove().map_err(|error| files.failure(&error))
}

/// A launch that uses a datastore.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Holder {
    /// `APP/TENANT`.
    pub label: String,
    /// The process ID of its first process, if that is known and lives.
    pub first: Option<i32>,
    /// Its cgroup, if its record names one.
    pub cgroup: Option<CgroupKey>,
    /// Whether only an inherited lock says so: an earlier version made the launch.
    pub by_lock: bool,
}

/// The launch that uses a datastore; `None` if no process does, as far as is known.
///
/// # Errors
/// A [`Failure`] of stage lock.
pub fn holder_of(datastore: BorrowedFd<'_>, path: &Path) -> Result<Option<Holder>, Failure> {
    let files = Files::of(datastore, path)?;
    let record = files.read().map_err(|error| files.failure(&error))?;
    if let Some(record) = record {
        let facts = facts::of(&record, None).map_err(|error| files.failure(&error))?;
        match decide(Some(&facts), false) {
            Verdict::Held(Sign::Cgroup | Sign::Process | Sign::Unseen) => {
                return Ok(Some(Holder {
                    label: record.label(),
                    first: record.process.filter(|_| facts.process).map(|key| key.pid),
                    cgroup: record.cgroup,
                    by_lock: false,
                }));
            }
            Verdict::Free | Verdict::Held(Sign::Supervisor | Sign::Lock) => {}
        }
    }
    let signed = lock::holder_of(datastore, path)?;
    Ok(signed.map(|signed| Holder {
        label: signed.label,
        first: signed.pid,
        cgroup: None,
        by_lock: true,
    }))
}

/// Removes the files of all claims that hold nothing, including those of datastores that are no longer
/// in a manifest.
///
/// # Errors
/// A [`Failure`] of stage lock.
pub fn sweep() -> Result<(), Failure> {
    let folder = Path::new(lock::LOCKS);
    let listed = |error: &io::Error| failure(folder, error);
    for files in Files::all().map_err(|error| listed(&error))? {
        let _guard = Guard::take().map_err(failed(folder))?;
        let (verdict, _) =
            verdict(&files, None, lock::NO_PATIENCE).map_err(|error| files.failure(&error))?;
        match verdict {
            Verdict::Free => files.remove().map_err(|error| files.failure(&error))?,
            Verdict::Held(_) => {}
        }
    }
    Guard::remove().map_err(|error| listed(&error))
}

fn new_record(label: &str, leaf: Option<&Leaf>, process: Option<Key>) -> io::Result<Record> {
    let (app, tenant) = label.split_once('/').ok_or(io::ErrorKind::InvalidInput)?;
    Ok(Record {
        boot: boot::id()?.to_owned(),
        app: app.to_owned(),
        tenant: tenant.to_owned(),
        supervisor: facts::own_key()?,
        cgroup: leaf.map(CgroupKey::of).transpose()?,
        process,
    })
}

/// A record that counts, and what is known of it.
type Found = Option<(Record, Supervisor)>;

/// The verdict for the tenant `label`; the caller holds the guard.
fn verdict(files: &Files, label: Option<&str>, patience: Patience) -> io::Result<(Verdict, Found)> {
    let record = files.read()?;
    let facts = record.as_ref().map(|record| facts::of(record, label));
    let facts = facts.transpose()?;
    let locked = lock::is_held(&files.lock, patience)?;
    let supervisor = facts.map_or(Supervisor::Ended, |facts| facts.supervisor);
    let found = record.map(|record| (record, supervisor));
    Ok((decide(facts.as_ref(), locked), found))
}

/// Refuses a datastore that is in use.
fn judge(files: &Files, path: &Path, label: &str) -> Result<(), Failure> {
    let judged = verdict(files, Some(label), lock::PATIENCE);
    let (verdict, found) = judged.map_err(|error| files.failure(&error))?;
    let Verdict::Held(sign) = verdict else {
        return Ok(());
    };
    let busy = Failure::errno(Stage::Lock, path.display().to_string(), libc::EBUSY);
    let why = match (sign, found) {
        (Sign::Lock, _) | (_, None) => by_lock(&files.lock),
        (sign, Some((record, supervisor))) => {
            let uses = uses(sign, &record);
            format!("{} {uses}: {}", record.label(), remedy(&record, supervisor))
        }
    };
    Err(busy.with(why))
}

/// How a tenant uses a datastore, as the end of a sentence.
fn uses(sign: Sign, record: &Record) -> String {
    match sign {
        Sign::Cgroup => {
            let leaf = record.cgroup.as_ref();
            let leaf = leaf.and_then(|key| facts::leaf(key, record).ok());
            match leaf.map(|leaf| leaf.all_pids()) {
                Some(Ok(pids)) if !pids.is_empty() => {
                    format!("uses it ({})", process::name_some(&pids))
                }
                // They cannot be named, but they are there.
                Some(_) | None => "uses it".to_owned(),
            }
        }
        Sign::Process => {
            let pid = record.process.map(|key| key.pid);
            format!("uses it ({})", process::name_some(pid.as_slice()))
        }
        Sign::Supervisor => "has it, although its program does not run now".to_owned(),
        Sign::Unseen => {
            "used it, and whether it still does cannot be seen without a cgroup tree".to_owned()
        }
        Sign::Lock => "uses it".to_owned(),
    }
}

/// What to do about it.
fn remedy(record: &Record, supervisor: Supervisor) -> String {
    let Record { app, tenant, .. } = record;
    match supervisor {
        Supervisor::Asking | Supervisor::Alive => format!("`tenantd stop {tenant} --app {app}`"),
        Supervisor::Ended => {
            "its supervisor has ended: start it, or end them with kill(1)".to_owned()
        }
    }
}

fn by_lock(file: &Path) -> String {
    let who = match lock::signature_of(file) {
        Some(signed) if !signed.label.is_empty() => match signed.pid {
            Some(pid) => format!("{}, process {pid}, uses it", signed.label),
            None => format!("{} uses it", signed.label),
        },
        Some(_) | None => "a launch that has just started uses it".to_owned(),
    };
    format!("{who}: stop it, or wait until it has ended")
}

fn failed<E: Into<io::Error>>(path: &Path) -> impl Fn(E) -> Failure {
    move |error| failure(path, &error.into())
}

fn failure(path: &Path, error: &io::Error) -> Failure {
    let object = path.display().to_string();
    match Errno::from_io_error(error) {
        Some(errno) => Failure::errno(Stage::Lock, object, errno.raw_os_error()),
        None => Failure::detail(Stage::Lock, object, error.to_string()),
    }
}
