//! The owner record of a datastore: which host uses it. It is an extended attribute of the datastore's
//! folder, `trusted.tenantd.owner`, so it moves with the data, and no process of a tenant can read or write
//! it: that requires CAP_SYS_ADMIN on the host.
//!
//! The claim (see [`claim`](crate::claim)) proves that one host starts no second launch. This record notices
//! that another host has the datastore: one with shared storage, or the one that a copy came from. It is no
//! fence: two hosts that start a tenant at the same moment may both find the datastore free, and a host
//! that is cut off continues to write. Only an engine that ends a host before another one takes over can
//! prevent that.
//!
//! This host takes over what it had before, also after a crash or a reboot: then the claim decides.

use std::fmt;
use std::fs;
use std::os::fd::{AsRawFd, BorrowedFd};
use std::path::{Path, PathBuf};

use jiff::{SignedDuration, Timestamp};
use rustix::fs::{XattrFlags, getxattr, setxattr};
use rustix::io::Errno;
use serde::{Deserialize, Serialize};

use crate::boot;
use tenantd_core::stage::{Failure, Stage};

/// The attribute.
pub const ATTRIBUTE: &str = "trusted.tenantd.owner";

/// The form of a record. A later one is refused.
const VERSION: u32 = 1;

/// A record is much shorter, with the longest names.
const SIZE_MAX: usize = 4096;

/// Which host uses a datastore.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Record {
    version: u32,
    /// The id of the machine, see machine-id(5).
    pub machine: String,
    /// The name of the host.
    pub host: String,
    /// The start of the host, see random(4).
    pub boot: String,
    /// `APP/TENANT`.
    pub label: String,
    /// When it began.
    pub since: Timestamp,
    /// How often the datastore was taken.
    pub generation: u64,
    /// Whether the host uses it: false after a stop.
    pub live: bool,
    /// When the host had proved that it uses it no longer; in a record of [`assign`], when the host before had.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub left: Option<Timestamp>,
}

impl Record {
    /// When another host than that of `now` has proved that it uses the datastore no longer.
    fn left_elsewhere(&self, now: &Self) -> Option<Timestamp> {
        // A host that uses it itself has a record without a time, so one with a time is that of a hand-over to it.
        let is_handed_over = self.live && self.machine == now.machine;
        let is_stopped = !self.live && self.machine != now.machine;
        self.left.filter(|_| is_handed_over || is_stopped)
    }
}

impl Record {
    /// Whether [`assign`] wrote it: the host that it names has not taken the datastore yet, or the datastore is a stub
    /// here.
    #[must_use]
    pub fn is_assigned(&self) -> bool {
        self.boot.is_empty()
    }
}

/// How long after a stop on one host a start on another one is a move of the tenant. The clocks of the hosts may
/// differ by so much.
const MOVE: SignedDuration = SignedDuration::from_secs(10);

/// What [`take`] found.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Before {
    /// The record of another host that used it, with `takeover`.
    pub other: Option<Record>,
    /// Whether another host had used it, and has just proved that it does no longer: until then the tenant had its
    /// addresses there.
    pub is_moved: bool,
}

impl fmt::Display for Record {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let machine = self.machine.get(..8).unwrap_or(&self.machine);
        write!(
            f,
            "host {} (machine {machine}) as {} since {:.0}",
            self.host, self.label, self.since
        )
    }
}

/// This host.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Here {
    machine: String,
    host: String,
    boot: String,
}

impl Here {
    fn read() -> std::io::Result<Self> {
        let host = rustix::system::uname();
        let host = host.nodename().to_string_lossy().into_owned();
        // Another error, such as EMFILE, passes. Without the id this host would take its own records for another's.
        let machine = match fs::read_to_string("/etc/machine-id") {
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => String::new(),
            read => read?,
        };
        let machine = match machine.trim() {
            "" | "uninitialized" => format!("name-{host}"),
            id => id.to_owned(),
        };
        let boot = boot::id()?.to_owned();
        Ok(Self {
            machine,
            host,
            boot,
        })
    }
}

/// A host, as records name it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Host {
    /// The id of the machine, see machine-id(5).
    pub machine: String,
    /// Its name.
    pub host: String,
}

/// This host. `path` is used in messages.
///
/// # Errors
/// A [`Failure`] of stage owner.
pub fn this_host(path: &Path) -> Result<Host, Failure> {
    let Here { machine, host, .. } = here(path)?;
    Ok(Host { machine, host })
}

/// Writes that a host has a datastore, in this generation: the hand-over of a move, or its end. Only that host may
/// start the tenant then. The claim must be held. `left` is when the host before has proved that it uses it no longer,
/// if that is known.
///
/// # Errors
/// A [`Failure`] of stage owner, also if the filesystem keeps no records.
pub fn assign(
    datastore: BorrowedFd<'_>,
    path: &Path,
    label: &str,
    to: &Host,
    (generation, left): (u64, Option<Timestamp>),
) -> Result<(), Failure> {
    let record = Record {
        version: VERSION,
        machine: to.machine.clone(),
        host: to.host.clone(),
        // That of this host would say nothing of the other one.
        boot: String::new(),
        label: label.to_owned(),
        since: Timestamp::now(),
        generation,
        live: true,
        left,
    };
    write(datastore, path, &record)?;
    match read(datastore, path)? {
        Some(written) if written == record => Ok(()),
        Some(_) | None => Err(failure(path, Errno::OPNOTSUPP)),
    }
}

/// The record of a datastore; `None` if no host has used it.
///
/// # Errors
/// A [`Failure`] of stage owner, with the place, if it is damaged or cannot be read.
pub fn read(datastore: BorrowedFd<'_>, path: &Path) -> Result<Option<Record>, Failure> {
    let mut bytes = [0; SIZE_MAX];
    let length = match getxattr(by_descriptor(datastore), ATTRIBUTE, &mut bytes[..]) {
        Ok(length) => length,
        Err(Errno::NODATA | Errno::OPNOTSUPP) => return Ok(None),
        Err(errno) => return Err(failure(path, errno)),
    };
    let record: Record = serde_json::from_slice(&bytes[..length])
        .map_err(|error| damaged(path, &format!("is damaged ({error})")))?;
    match record.version {
        VERSION => Ok(Some(record)),
        version => Err(damaged(path, &format!("has the unknown version {version}"))),
    }
}

/// Takes a datastore for the tenant `label` (`APP/TENANT`) of this host. The claim must be proved before.
/// Returns what there was of another host.
///
/// # Errors
/// A [`Failure`] of stage owner: `EBUSY` and who has it, if another host uses it and `takeover` is not set;
/// else what is wrong with the record.
pub fn take(
    datastore: BorrowedFd<'_>,
    path: &Path,
    label: &str,
    takeover: bool,
) -> Result<Before, Failure> {
    let before = read(datastore, path)?;
    let here = here(path)?;
    let other = before
        .as_ref()
        .filter(|record| record.live && record.machine != here.machine);
    if let Some(other) = other.filter(|_| !takeover) {
        return Err(refused(path, label, other));
    }
    let now = Timestamp::now();
    let record = Record {
        version: VERSION,
        machine: here.machine,
        host: here.host,
        boot: here.boot,
        label: label.to_owned(),
        since: now,
        generation: before.as_ref().map_or(0, |before| before.generation) + 1,
        live: true,
        left: None,
    };
    write(datastore, path, &record)?;
    let left = before.as_ref().and_then(|it| it.left_elsewhere(&record));
    let other = before.filter(|before| before.machine != record.machine);
    Ok(Before {
        is_moved: left.is_some_and(|left| now.duration_since(left).abs() <= MOVE),
        other: other.filter(|other| other.live),
    })
}

/// Checks that no other host uses a datastore, without taking it.
///
/// # Errors
/// Those of [`take`].
pub fn check(datastore: BorrowedFd<'_>, path: &Path, label: &str) -> Result<(), Failure> {
    let Some(record) = read(datastore, path)? else {
        return Ok(());
    };
    match record.live && record.machine != here(path)?.machine {
        true => Err(refused(path, label, &record)),
        false => Ok(()),
    }
}

/// Notes that this host uses a datastore no longer. Returns the record of another host if that has taken it
/// meanwhile; it stays as it is.
///
/// # Errors
/// A [`Failure`] of stage owner.
pub fn leave(datastore: BorrowedFd<'_>, path: &Path) -> Result<Option<Record>, Failure> {
    let Some(record) = read(datastore, path)?.filter(|record| record.live) else {
        return Ok(None);
    };
    if record.machine != here(path)?.machine {
        return Ok(Some(record));
    }
    let record = Record {
        live: false,
        left: Some(Timestamp::now()),
        ..record
    };
    write(datastore, path, &record).map(|()| None)
}

fn here(path: &Path) -> Result<Here, Failure> {
    Here::read().map_err(|error| {
        let errno = error.raw_os_error().unwrap_or(libc::EIO);
        let failed = Failure::errno(Stage::Owner, path.display().to_string(), errno);
        failed.with("the id of this machine or of its start cannot be read")
    })
}

fn write(datastore: BorrowedFd<'_>, path: &Path, record: &Record) -> Result<(), Failure> {
    let text = serde_json::to_vec(record).map_err(|error| damaged(path, &error.to_string()))?;
    let flags = XattrFlags::empty();
    match setxattr(by_descriptor(datastore), ATTRIBUTE, &text, flags) {
        Ok(()) => Ok(()),
        // Such a filesystem has no records, and so none is missed.
        Err(Errno::OPNOTSUPP) => Ok(()),
        Err(errno) => Err(failure(path, errno)),
    }
}

/// The path of an open folder, since the descriptor may be an `O_PATH` one.
fn by_descriptor(folder: BorrowedFd<'_>) -> PathBuf {
    PathBuf::from(format!("/proc/self/fd/{}", folder.as_raw_fd()))
}

fn refused(path: &Path, label: &str, other: &Record) -> Failure {
    let (app, tenant) = label.split_once('/').unwrap_or(("", label));
    let busy = Failure::errno(Stage::Owner, path.display().to_string(), libc::EBUSY);
    busy.with(format!(
        "{other} uses it: stop it there; or, if that host is switched off or will never use it again, \
         `tenantd start {tenant} --app {app} --takeover`"
    ))
}

fn damaged(path: &Path, why: &str) -> Failure {
    let path = path.display().to_string();
    let why = format!(
        "its owner record, the attribute {ATTRIBUTE}, {why}: make sure that no other host uses the \
         datastore, then `setfattr -x {ATTRIBUTE} {path}`"
    );
    Failure::detail(Stage::Owner, path, why)
}

fn failure(path: &Path, errno: Errno) -> Failure {
    let object = path.display().to_string();
    Failure::errno(Stage::Owner, object, errno.raw_os_error())
}
