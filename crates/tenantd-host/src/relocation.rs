//! The steps of a move of a tenant to another host, on the folders of both hosts.
//!
//! At every moment exactly one host may start the tenant, also if a step is interrupted:
//!
//! * The copy grows in `.NAME.importing` beside the place of the datastore, with a [`Mark`]. While it has one, the
//!   target starts no tenant there, see [`refuse_begun`].
//! * The **hand-over** is one setxattr(2): the owner record of the source's datastore names the target. From then on the
//!   source refuses a start, and the target may [`take`] the copy.
//! * [`retire`] replaces the source's datastore, in one renameat2(2), by an empty folder with that record, the *stub*: a
//!   missing datastore would be made again, empty, by a start.
//!
//! A copy that comes by snapshots of btrfs takes the place of the folder with the mark once it is complete, see
//! [`incoming`].
//!
//! It decides nothing about tenants, and never removes a datastore with data.

pub mod incoming;
mod links;
mod lost;
mod mark;
pub mod snapshots;

use std::ffi::{CString, OsString};
use std::fs::{DirBuilder, File};
use std::io;
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::DirBuilderExt;
use std::path::{Path, PathBuf};

use rustix::fs::{CWD, RenameFlags, fsync, getxattr, renameat_with, syncfs};
use rustix::io::Errno;

pub use self::lost::take_over;
use self::mark::{ATTRIBUTE, SIZE_MAX, file, refused};
pub use self::mark::{Mark, MoveError, mark, mark_of, unmark};
pub use self::snapshots::Snapshots;
use crate::datastore;
use crate::owner::{self, Host, Record};
use crate::{crash, lock, quota};
use tenantd_core::name::{AppName, TenantName};
use tenantd_core::plan::model::DatastorePlan;
use tenantd_core::stage::{Failure, Stage};

/// What rsync(1) must leave alone: the records of each host.
pub const KEPT: &str = "-x trusted.tenantd.*";

/// The folder beside a datastore that a copy grows in.
#[must_use]
pub fn staging(source: &Path) -> PathBuf {
    beside(source, ".importing")
}

fn beside(source: &Path, end: &str) -> PathBuf {
    let mut name = OsString::from(".");
    name.push(source.file_name().unwrap_or_default());
    name.push(end);
    source.with_file_name(name)
}

fn sync(folder: &Path) -> Result<(), MoveError> {
    let opened = File::open(folder).map_err(|source| MoveError::File {
        path: folder.to_owned(),
        source,
    })?;
    fsync(&opened).map_err(file(folder))
}

fn opened(folder: &Path) -> Result<OwnedFd, MoveError> {
    datastore::open(folder).map_err(file(folder))
}

/// Whether a folder is a stub: empty, with the record of another host that a move has written. The datastore of a lost
/// host may be empty as well.
fn is_stub(folder: &Path) -> Result<bool, MoveError> {
    let open = opened(folder)?;
    let record = owner::read(open.as_fd(), folder)?;
    let here = owner::this_host(folder)?;
    let elsewhere =
        record.is_some_and(|it| it.live && it.is_assigned() && it.machine != here.machine);
    Ok(elsewhere && is_empty(folder)?)
}

fn is_empty(folder: &Path) -> Result<bool, MoveError> {
    let mut entries = std::fs::read_dir(folder).map_err(|source| MoveError::File {
        path: folder.to_owned(),
        source,
    })?;
    Ok(entries.next().is_none())
}

/// Checks, at the target, that a datastore can get its place.
///
/// # Errors
/// There is one already, or another move or an import is under way.
pub fn check_free(plan: &DatastorePlan, from: &Host, label: &str) -> Result<(), MoveError> {
    let place = plan.source.as_path();
    match datastore::open(place) {
        Err(Errno::NOENT) => {}
        Err(errno) => return Err(file(place)(errno)),
        Ok(_) if is_stub(place)? => {}
        Ok(_) => {
            let why = "there is a datastore already: move it away, or remove it, if the one of the other host is to replace it";
            return Err(refused(place, why));
        }
    }
    let staging = staging(place);
    match mark_of(&staging)? {
        Some(mark) if mark.other.machine == from.machine && mark.label == label => Ok(()),
        Some(Mark { other, label, .. }) => {
            let why = format!(
                "a move of {label} from host {} is under way: finish or undo it there, or remove this folder",
                other.host
            );
            Err(refused(&staging, why))
        }
        None if !staging.exists() || is_empty(&staging)? => Ok(()),
        None => Err(refused(
            &staging,
            "an import is under way, or was interrupted: finish it, or remove this folder",
        )),
    }
}

/// Makes, at the target, the folder that the copy grows in. Returns whether it is a new one. In one of an earlier move no file
/// has several names afterwards.
///
/// # Errors
/// Those of [`check_free`], and of the system calls.
pub fn stage(plan: &DatastorePlan, now: &Mark) -> Result<bool, MoveError> {
    check_free(plan, &now.other, &now.label)?;
    let staging = staging(&plan.source);
    let is_new = mark_of(&staging)?.is_none();
    match is_new {
        true => make(&staging)?,
        false => links::separate(opened(&staging)?.as_fd()).map_err(file(&staging))?,
    }
    mark(&staging, now)?;
    Ok(is_new)
}

/// Makes the folder that a copy grows in, which can have a quota later.
fn make(staging: &Path) -> Result<(), MoveError> {
    let parent = staging.parent().unwrap_or(Path::new("/"));
    let made = DirBuilder::new().recursive(true).mode(0o700).create(parent);
    made.map_err(|source| MoveError::File {
        path: parent.to_owned(),
        source,
    })?;
    // An empty one without a mark is of a move that was killed here.
    match rustix::fs::rmdir(staging) {
        Ok(()) | Err(Errno::NOENT) => {}
        Err(errno) => return Err(file(staging)(errno)),
    }
    let name = staging.file_name().unwrap_or_default();
    quota::make_folder(opened(parent)?.as_fd(), name).map_err(file(staging))
}

/// Notes, at the target, that the copy is complete, after it is on disk.
///
/// # Errors
/// There is no such copy; and those of the system calls.
pub fn seal(plan: &DatastorePlan, now: &Mark) -> Result<(), MoveError> {
    let staging = staging(&plan.source);
    if mark_of(&staging)?.is_none_or(|it| it.label != now.label) {
        return Err(refused(&staging, "no copy of the tenant is there"));
    }
    let folder = File::open(&staging).map_err(|source| MoveError::File {
        path: staging.clone(),
        source,
    })?;
    syncfs(&folder).map_err(file(&staging))?;
    mark(&staging, now)
}

/// Puts, at the target, the copy in its place, after the hand-over. It may be repeated.
///
/// # Errors
/// There is no complete copy of this generation, or something else has got its place.
pub fn take(
    plan: &DatastorePlan,
    from: &Host,
    label: &str,
    generation: u64,
) -> Result<(), MoveError> {
    let place = plan.source.as_path();
    let staging = staging(place);
    let name = label.rsplit('/').next().unwrap_or(label);
    let here = owner::this_host(place)?;
    if let Ok(found) = datastore::open(place) {
        let record = owner::read(found.as_fd(), place)?;
        if record.is_some_and(|it| it.machine == here.machine && it.generation >= generation) {
            return unmark(place);
        }
    }
    let sealed = mark_of(&staging)?.filter(|it| it.other.machine == from.machine);
    let Some(sealed) = sealed.filter(|it| it.sealed == Some(generation)) else {
        let why = format!("no complete copy of {label} in generation {generation} is there");
        return Err(refused(&staging, why));
    };
    owner::assign(
        opened(&staging)?.as_fd(),
        &staging,
        label,
        &here,
        // The next start on the other host would have made this another generation.
        (generation, sealed.left),
    )?;
    crash::point("move: record taken", name);
    let flags = match datastore::open(place) {
        Err(Errno::NOENT) => RenameFlags::NOREPLACE,
        Ok(_) if is_stub(place)? => RenameFlags::EXCHANGE,
        Ok(_) => {
            return Err(refused(
                place,
                "a datastore was made there meanwhile: move it away",
            ));
        }
        Err(errno) => return Err(file(place)(errno)),
    };
    renameat_with(CWD, &staging, CWD, place, flags).map_err(file(place))?;
    crash::point("move: copy in place", name);
    if flags == RenameFlags::EXCHANGE {
        rustix::fs::rmdir(&staging).map_err(file(&staging))?;
    }
    place.parent().map_or(Ok(()), sync)?;
    unmark(place)
}

/// Removes, at the target, what a move has copied that is undone.
///
/// # Errors
/// Another host copies there; and those of the system calls.
pub fn abandon(plan: &DatastorePlan, from: &Host, label: &str) -> Result<(), MoveError> {
    let staging = staging(&plan.source);
    let snapshots = Snapshots::received(&plan.source);
    match mark_of(&staging)? {
        None => snapshots.sweep(),
        Some(mark) if mark.other.machine == from.machine && mark.label == label => {
            let parent = opened(staging.parent().unwrap_or(&staging))?;
            let name = staging.file_name().unwrap_or_default().as_bytes();
            let name = CString::new(name).map_err(|_| file(&staging)(Errno::INVAL))?;
            snapshots::entry(parent.as_fd(), &name).map_err(file(&staging))?;
            snapshots.sweep()
        }
        Some(mark) => {
            let why = format!("it belongs to a move from host {}", mark.other.host);
            Err(refused(&staging, why))
        }
    }
}

/// Hands the datastore over, at the source: from now on this host refuses to start the tenant. The claim is held.
/// `generation` is that which the target has sealed.
///
/// # Errors
/// The record cannot be written: then nothing is handed over.
pub fn hand_over(
    plan: &DatastorePlan,
    (to, label, generation): (&Host, &str, u64),
) -> Result<(), MoveError> {
    let source = plan.source.as_path();
    let store = opened(source)?;
    // On shared storage, the target takes this record.
    let left = owner::read(store.as_fd(), source)?.filter(|it| !it.live);
    let now = (generation, left.and_then(|it| it.left));
    owner::assign(store.as_fd(), source, label, to, now)?;
    sync(source)
}

/// Keeps, at the source, the datastore that was handed over under another name, and puts a stub in its place. It may be
/// repeated. Returns where it is; `None` if that was done before, or it is empty.
///
/// # Errors
/// Those of the system calls.
pub fn retire(
    plan: &DatastorePlan,
    label: &str,
    kept: &Path,
) -> Result<Option<PathBuf>, MoveError> {
    let source = plan.source.as_path();
    let name = label.rsplit('/').next().unwrap_or(label);
    let other = beside(source, ".moved");
    if !is_stub(source)? {
        let record = owner::read(opened(source)?.as_fd(), source)?;
        let Some(record) = record.filter(|it| it.live) else {
            return Err(refused(source, "it was not handed over"));
        };
        let to = Host {
            machine: record.machine,
            host: record.host,
        };
        match DirBuilder::new().mode(0o700).create(&other) {
            Ok(()) => {}
            Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {}
            Err(source) => {
                return Err(MoveError::File {
                    path: other,
                    source,
                });
            }
        }
        owner::assign(
            opened(&other)?.as_fd(),
            &other,
            label,
            &to,
            (record.generation, record.left),
        )?;
        renameat_with(CWD, &other, CWD, source, RenameFlags::EXCHANGE).map_err(file(source))?;
        crash::point("move: stub in place", name);
    }
    if !other.exists() {
        return Ok(None);
    }
    unmark(&other)?;
    renameat_with(CWD, &other, CWD, kept, RenameFlags::NOREPLACE).map_err(file(kept))?;
    source.parent().map_or(Ok(()), sync)?;
    Ok(Some(kept.to_owned()))
}

/// Which host has a datastore that is here no longer: it was moved there, and nothing is left to do here.
///
/// # Errors
/// Its record or its mark is damaged, or cannot be read.
pub fn gone(source: &Path) -> Result<Option<Record>, MoveError> {
    let store = match datastore::open(source) {
        Ok(store) => store,
        Err(Errno::NOENT) => return Ok(None),
        Err(errno) => return Err(file(source)(errno)),
    };
    let here = owner::this_host(source)?;
    let record = owner::read(store.as_fd(), source)?;
    let record = record.filter(|it| it.live && it.machine != here.machine);
    let is_over = mark_of(source)?.is_none() && !beside(source, ".moved").exists();
    Ok(record.filter(|_| is_over))
}

/// Refuses the takeover of a stub, which would start the tenant without its data.
///
/// # Errors
/// A [`Failure`] of stage owner.
pub fn refuse_stub(source: &Path) -> Result<(), Failure> {
    let object = source.display().to_string();
    match is_stub(source) {
        Ok(true) => {}
        Ok(false) => return Ok(()),
        Err(MoveError::Stage(failure)) => return Err(failure),
        Err(error) => return Err(Failure::detail(Stage::Owner, object, error.to_string())),
    }
    let busy = Failure::errno(Stage::Owner, object, libc::EBUSY);
    Err(busy.with(
        "its data was moved to another host, and this is an empty folder: move it back with `tenantd move` there; or, if \
         that host is lost, put the folder NAME.moved-TIME beside it in its place",
    ))
}

/// Refuses to make a datastore while a move brings it here.
pub(crate) fn refuse_begun(plan: &DatastorePlan) -> Result<(), Failure> {
    let staging = staging(&plan.source);
    let object = staging.display().to_string();
    let mut bytes = [0; SIZE_MAX];
    let length = match getxattr(&staging, ATTRIBUTE, &mut bytes[..]) {
        Ok(length) => length,
        Err(Errno::NODATA | Errno::OPNOTSUPP | Errno::NOENT) => return Ok(()),
        Err(errno) => {
            return Err(Failure::errno(
                Stage::Datastore,
                object,
                errno.raw_os_error(),
            ));
        }
    };
    let mark = serde_json::from_slice(&bytes[..length]).ok();
    let why = lost::advice(mark.as_ref(), &object);
    Err(Failure::detail(Stage::Datastore, object, why))
}

/// The label of a tenant.
#[must_use]
pub fn label(app: &AppName, tenant: &TenantName) -> String {
    lock::label(app, tenant)
}
