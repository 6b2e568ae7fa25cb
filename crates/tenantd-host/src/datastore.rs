//! A tenant's datastore: opened, or made with its owner and mode.
//!
//! The owner and mode of an existing datastore are never changed. A symbolic link anywhere in its
//! path is refused, so that the folder which is checked is the folder which is mounted.
//!
//! [`ensure`] makes the datastore itself, at the provision. A launch makes what is in it: see
//! `layout` for the two layouts that a datastore can have.

pub mod chown;
mod convert;
mod copy;
mod folders;
pub mod init;
mod layout;
pub mod overlaid;
pub(crate) mod overlay;
mod owner;
mod record;
pub(crate) mod rehearsal;
pub(crate) mod remove;
pub mod survey;

use std::ffi::OsStr;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::path::{Component, Path, PathBuf};

use rustix::fs::{AtFlags, CWD, Gid, Mode, OFlags, ResolveFlags, Uid};
use rustix::fs::{fchmod, fchown, mkdirat, openat2, unlinkat};
use rustix::io::Errno;

pub(crate) use folders::{Lower, Part, parts};
pub(crate) use layout::parent;
pub(crate) use record::owners;
pub use record::remembered;

use crate::{crash, quota};
use record::Record;
use tenantd_core::name::{AppName, TenantName};
use tenantd_core::plan::model::DatastorePlan;
use tenantd_core::stage::{Failure, Stage};

/// The mode of the folders that tenantd makes above a datastore. Tenants reach their data through
/// the mount, so only root needs to traverse the path on the host.
const ABOVE: Mode = Mode::RWXU;

/// Opens the folder `path` without following any symbolic link, as an `O_PATH` descriptor.
///
/// # Errors
/// `ELOOP` for a symbolic link anywhere in the path, `ENOTDIR` where it leads to no folder, and
/// the others of openat2(2).
pub fn open(path: &Path) -> Result<OwnedFd, Errno> {
    open_below(CWD, path.as_os_str())
}

fn open_below(folder: BorrowedFd<'_>, name: &OsStr) -> Result<OwnedFd, Errno> {
    openat2(
        folder,
        name,
        OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC,
        Mode::empty(),
        ResolveFlags::NO_SYMLINKS | ResolveFlags::NO_MAGICLINKS,
    )
}

/// Opens a tenant's datastore for a provision, and makes it if it is missing, as [`ensure`] does;
/// but not if it was there before, see [`record`].
///
/// # Errors
/// A [`Failure`] of stage datastore.
pub fn claim(app: &AppName, tenant: &TenantName, plan: &DatastorePlan) -> Result<OwnedFd, Failure> {
    let known = Known::read(app, tenant, plan)?;
    check_mounted(plan)?;
    let is_there = !matches!(open(&plan.source), Err(Errno::NOENT));
    if !is_there {
        crate::relocation::refuse_begun(plan)?;
        known.check_missing()?;
    }
    if !is_there && plan.must_exist {
        return Err(must_exist(plan));
    }
    let datastore = ensure(plan)?;
    if !is_there {
        tracing::info!(%tenant, "{tenant}: made the datastore {}", plan.source.display());
        if let Some(other) = &known.record {
            let other = other.source.display();
            tracing::warn!(%tenant, "{tenant}: its data until now stays in {other}");
        }
    }
    let mut now = known.check_found(datastore.as_fd())?;
    if !is_there {
        // It is another one than that of which this was remembered.
        now = now.uninitialized();
    }
    if known.record.as_ref() != Some(&now)
        && let Err(why) = now.keep(app, tenant)
    {
        // The datastore itself is usable, and was so before anything was remembered.
        tracing::warn!(%tenant, "{tenant}: cannot remember its datastore: {why}");
    }
    Ok(datastore)
}

/// What is remembered of a tenant's datastore.
struct Known<'a> {
    plan: &'a DatastorePlan,
    record: Option<Record>,
    /// The command that makes tenantd forget it.
    forget: String,
}

impl<'a> Known<'a> {
    fn read(app: &AppName, tenant: &TenantName, plan: &'a DatastorePlan) -> Result<Self, Failure> {
        Ok(Self {
            plan,
            record: record::read(app, tenant)?,
            forget: record::forget(app, tenant),
        })
    }

    /// The record, if it is of the datastore in the plan.
    fn same(&self) -> Option<&Record> {
        let record = self.record.as_ref();
        record.filter(|record| record.source == self.plan.source)
    }

    fn refused(&self, why: String) -> Failure {
        let path = self.plan.source.display().to_string();
        Failure::detail(Stage::Datastore, path, why)
    }

    /// Refuses a datastore that was there before and is missing.
    fn check_missing(&self) -> Result<(), Failure> {
        let Some(same) = self.same() else {
            return Ok(());
        };
        let (place, forget) = (same.place(), &self.forget);
        Err(self.refused(format!(
            "it was there before and is missing: mount its filesystem{place} or restore it; for a \
             new, empty one, {forget}"
        )))
    }

    /// Refuses a datastore that is not the one that was there before. Returns what is to be
    /// remembered of it.
    fn check_found(&self, datastore: BorrowedFd<'_>) -> Result<Record, Failure> {
        let now = Record::of(self.plan, datastore, self.record.as_ref())
            .map_err(|errno| failure(&self.plan.source, errno))?;
        match self.same().and_then(|same| same.differs(&now)) {
            None => Ok(now),
            Some(why) => Err(self.refused(format!(
                "{why}: mount the right one; to use this one from now on, {}",
                self.forget
            ))),
        }
    }
}

fn must_exist(plan: &DatastorePlan) -> Failure {
    Failure::detail(
        Stage::Datastore,
        plan.source.display().to_string(),
        "it does not exist, and the manifest sets must_exist: mount its filesystem or make it",
    )
}

/// Refuses a datastore that would be in the filesystem of `/`, if the manifest says that it has one
/// of its own.
fn check_mounted(plan: &DatastorePlan) -> Result<(), Failure> {
    if !plan.mounted {
        return Ok(());
    }
    let root = open(Path::new("/")).map_err(|errno| failure(Path::new("/"), errno))?;
    for folder in plan.source.ancestors() {
        let found = match open(folder) {
            Ok(found) => found,
            Err(Errno::NOENT) => continue,
            Err(errno) => return Err(failure(folder, errno)),
        };
        let same = copy::mount_of(found.as_fd())
            .and_then(|mount| Ok(mount == copy::mount_of(root.as_fd())?))
            .map_err(|errno| failure(folder, errno))?;
        if !same {
            return Ok(());
        }
        break;
    }
    Err(Failure::detail(
        Stage::Datastore,
        plan.source.display().to_string(),
        "no filesystem is mounted there, and the manifest sets mounted: mount it",
    ))
}

/// Opens the datastore. If it does not exist, makes it with its owner and mode, and the folders
/// above it, from `root` downwards, for root only (0700). On failure, the folders made here are
/// removed.
///
/// # Errors
/// A [`Failure`] of stage datastore that names the folder at fault and its errno.
pub fn ensure(plan: &DatastorePlan) -> Result<OwnedFd, Failure> {
    if !is_plain(&plan.source) || !is_plain(&plan.root) {
        return Err(Failure::detail(
            Stage::Datastore,
            plan.source.display().to_string(),
            "the path is not absolute, or contains '..'",
        ));
    }
    match open(&plan.source) {
        Ok(folder) => Ok(folder),
        Err(Errno::NOENT) if plan.source.starts_with(&plan.root) => make(plan),
        Err(Errno::NOENT) => Err(Failure::detail(
            Stage::Datastore,
            plan.source.display().to_string(),
            format!(
                "does not exist, and tenantd makes datastores only below {}",
                plan.root.display()
            ),
        )),
        Err(errno) => Err(failure(&plan.source, errno)),
    }
}

fn is_plain(path: &Path) -> bool {
    path.is_absolute() && !path.components().any(|part| part == Component::ParentDir)
}

fn failure(path: &Path, errno: Errno) -> Failure {
    let why = Failure::errno(
        Stage::Datastore,
        path.display().to_string(),
        errno.raw_os_error(),
    );
    match errno {
        Errno::LOOP | Errno::NOTDIR => match no_folder(path) {
            Some((part, what)) if part != path => why.with(format!("{} is {what}", part.display())),
            Some(_) | None => why,
        },
        _ => why,
    }
}

/// The first part of a path that is not a folder, and what it is.
fn no_folder(path: &Path) -> Option<(PathBuf, &'static str)> {
    let mut parts: Vec<&Path> = path.ancestors().collect();
    parts.reverse();
    parts.into_iter().find_map(|part| {
        let found = std::fs::symlink_metadata(part).ok()?;
        let what = match (found.is_dir(), found.is_symlink()) {
            (true, _) => return None,
            (false, true) => "a symbolic link",
            (false, false) => "not a folder",
        };
        Some((part.to_owned(), what))
    })
}

/// Makes the missing folders from `root` down to the datastore.
fn make(plan: &DatastorePlan) -> Result<OwnedFd, Failure> {
    let above = plan.root.parent().unwrap_or(&plan.root);
    let mut path = above.to_path_buf();
    let mut folder = open(above).map_err(|errno| failure(above, errno))?;
    let mut made: Vec<(OwnedFd, PathBuf)> = Vec::new();
    let below = plan.source.strip_prefix(above).unwrap_or(&plan.source);
    for name in below.iter() {
        path.push(name);
        let step = if path == plan.source {
            make_datastore(folder.as_fd(), name, plan)
        } else {
            make_above(folder.as_fd(), name)
        };
        match step {
            Ok((next, new)) => {
                let parent = std::mem::replace(&mut folder, next);
                if new {
                    made.push((parent, path.clone()));
                }
            }
            Err(errno) => return Err(undo(made, failure(&path, errno))),
        }
    }
    Ok(folder)
}

/// Removes the folders that were made, the lowest first. Adds to `why` those that cannot be
/// removed.
fn undo(made: Vec<(OwnedFd, PathBuf)>, mut why: Failure) -> Failure {
    for (parent, path) in made.into_iter().rev() {
        let name = path.file_name().unwrap_or_default();
        if let Err(errno) = unlinkat(&parent, name, AtFlags::REMOVEDIR) {
            why = why.with(format!("and cannot remove {}: {errno}", path.display()));
        }
    }
    why
}

fn make_above(parent: BorrowedFd<'_>, name: &OsStr) -> Result<(OwnedFd, bool), Errno> {
    let new = match mkdirat(parent, name, ABOVE) {
        Ok(()) => true,
        Err(Errno::EXIST) => false,
        // A read-only filesystem may report that before it checks whether the name exists.
        Err(errno) => {
            return open_below(parent, name).map_or(Err(errno), |found| Ok((found, false)));
        }
    };
    Ok((open_below(parent, name)?, new))
}

/// Makes the datastore under a temporary name, and renames it once its owner and mode are set. An
/// existing datastore is never changed, so a supervisor that is killed here must not leave one that
/// belongs to root.
fn make_datastore(
    parent: BorrowedFd<'_>,
    name: &OsStr,
    plan: &DatastorePlan,
) -> Result<(OwnedFd, bool), Errno> {
    let mut unfinished = OsStr::new(".").to_os_string();
    unfinished.push(name);
    unfinished.push(".tenantd-new");
    discard(parent, &unfinished)?;
    quota::make_folder(parent, &unfinished)?;
    crash::point("datastore: half made", &plan.source);
    match settle(parent, &unfinished, name, plan) {
        Ok(()) => Ok((open_below(parent, name)?, true)),
        Err(errno) => {
            discard(parent, &unfinished)?;
            if errno == Errno::EXIST {
                // Another process has made it meanwhile; its owner and mode are kept.
                return Ok((open_below(parent, name)?, false));
            }
            Err(errno)
        }
    }
}

/// Removes a datastore that is not complete, if there is one.
fn discard(parent: BorrowedFd<'_>, unfinished: &OsStr) -> Result<(), Errno> {
    match open_below(parent, unfinished) {
        Ok(folder) => convert::unbegin(folder.as_fd())?,
        Err(Errno::NOENT) => return Ok(()),
        Err(errno) => return Err(errno),
    }
    unlinkat(parent, unfinished, AtFlags::REMOVEDIR)
}

fn settle(
    parent: BorrowedFd<'_>,
    unfinished: &OsStr,
    name: &OsStr,
    plan: &DatastorePlan,
) -> Result<(), Errno> {
    let folder = openat2(
        parent,
        unfinished,
        OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC,
        Mode::empty(),
        ResolveFlags::NO_SYMLINKS,
    )?;
    if plan.is_tree() {
        // The folder is root's already, and nobody else's.
        convert::begin(folder.as_fd())?;
    } else {
        let (owner, group) = (Uid::from_raw(plan.uid), Gid::from_raw(plan.gid));
        fchown(&folder, Some(owner), Some(group))?;
        fchmod(&folder, Mode::from_raw_mode(plan.mode))?;
    }
    layout::rename(parent, unfinished, parent, name)
}
