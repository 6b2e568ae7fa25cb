//! The quotas of datastores: the limits of [`DiskLimits`], where the filesystem has them for a folder.
//!
//! What the filesystem has is what counts, as with limits of cgroups. The attribute [`ATTRIBUTE`] of the folder says that
//! tenantd set its quota, and which project the folder has: no tenant can read or write it. Without the attribute,
//! nothing is ever reset, so what an operator has set is left.

mod mark;
mod place;
mod project;
mod raw;
pub(crate) mod snapshot;
mod subvolume;

use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::path::Path;

use rustix::fs::fstat;
use rustix::io::Errno;

use crate::datastore;
pub use mark::ATTRIBUTE;
use mark::Mark;
use place::Kind;
pub(crate) use subvolume::make_folder;
use tenantd_core::cgroup::DiskLimits;
use tenantd_core::plan::model::TenantPlan;
use tenantd_core::stage::{Failure, Stage};

/// The number of the capability with which ext4 heeds no quota: `CAP_SYS_RESOURCE`.
const SYS_RESOURCE: u32 = 24;

/// What a filesystem has of the quota of a datastore.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Found {
    /// The limits.
    pub limits: DiskLimits,
    /// The bytes that it uses.
    pub bytes: u64,
    /// The files and folders that it has; `None` if they are not counted.
    pub files: Option<u64>,
    /// Whether the folder does not have the project that tenantd gave to it.
    pub is_elsewhere: bool,
}

fn failed(path: &Path, limits: DiskLimits) -> impl Fn(Errno) -> Failure + '_ {
    let name = name_of(limits);
    move |errno| {
        let object = format!("{name} of {}", path.display());
        Failure::errno(Stage::Limits, object, errno.raw_os_error())
    }
}

fn refused(path: &Path, limits: DiskLimits, why: String) -> Failure {
    let object = format!("{} of {}", name_of(limits), path.display());
    Failure::detail(Stage::Limits, object, why)
}

fn name_of(limits: DiskLimits) -> &'static str {
    match limits.bytes.is_none() && limits.files.is_some() {
        true => "disk.files",
        false => "disk.max",
    }
}

/// Sets the quota of a datastore, or resets the one that tenantd has set. Succeeds once the filesystem has it. Blocks, for as
/// long as it takes to give all files to a project the first time.
///
/// # Errors
/// A [`Failure`] of stage limits.
pub fn set(source: &Path, limits: DiskLimits) -> Result<(), Failure> {
    let failed = failed(source, limits);
    let root = match datastore::open(source) {
        Ok(root) => root,
        // A program without data.
        Err(Errno::NOENT) if limits.is_empty() => return Ok(()),
        Err(errno) => return Err(failed(errno)),
    };
    let mark = mark::of(root.as_fd()).map_err(&failed)?;
    if mark.is_none() && limits.is_empty() {
        return Ok(());
    }
    let root = open_again(&root).map_err(&failed)?;
    if !limits.is_empty() {
        check(root.as_fd(), source, source, limits)?;
    }
    let set = match (place::kind(root.as_fd()).map_err(&failed)?, mark) {
        (Kind::Btrfs, mark) => limit_subvolume(&root, limits, mark),
        (Kind::Ext4 | Kind::Xfs, mark) => limit_project(&root, source, limits, mark)?,
        // It was moved to another filesystem.
        (Kind::Other, _) => Ok(()),
    };
    set.map_err(&failed)?;
    match is_set(source, limits)? {
        true => Ok(()),
        false => Err(refused(
            source,
            limits,
            "the filesystem has another quota than the one that was set".to_owned(),
        )),
    }
}

fn open_again(root: &OwnedFd) -> Result<OwnedFd, Errno> {
    use rustix::fs::{Mode, OFlags, ResolveFlags, openat2};
    let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC;
    openat2(root, c".", flags, Mode::empty(), ResolveFlags::BENEATH)
}

fn limit_subvolume(root: &OwnedFd, limits: DiskLimits, mark: Option<Mark>) -> Result<(), Errno> {
    // A datastore that is full cannot be marked again.
    if !limits.is_empty() && mark != Some(Mark::Subvolume) {
        mark::set(root.as_fd(), Mark::Subvolume)?;
    }
    match subvolume::limit(root.as_fd(), limits.bytes) {
        // Quotas were turned off: nothing is limited.
        Err(Errno::NOTCONN) if limits.is_empty() => Ok(()),
        limited => limited,
    }
}

fn limit_project(
    root: &OwnedFd,
    source: &Path,
    limits: DiskLimits,
    mark: Option<Mark>,
) -> Result<Result<(), Errno>, Failure> {
    let wanted = raw::Project {
        bytes: limits.bytes.unwrap_or(0),
        files: limits.files.unwrap_or(0),
        ..raw::Project::default()
    };
    let fd = root.as_fd();
    if let Some(Mark::Project {
        number,
        is_complete,
        ..
    }) = mark
    {
        let set = || {
            match raw::limit_project(fd, number, wanted) {
                // Quotas are off: nothing is limited.
                Err(Errno::SRCH | Errno::NOSYS) if limits.is_empty() => return Ok(()),
                set => set?,
            }
            match is_complete && project::is_in(fd, number)? {
                true => Ok(()),
                false => give(root, number),
            }
        };
        return Ok(set());
    }
    let failed = failed(source, limits);
    let has = raw::attributes(fd).map_err(&failed)?.project;
    if has != 0 {
        let path = source.display();
        let why = format!(
            "it belongs to project {has}, which tenantd did not give to it: stop the tenant and type `chattr -R -f -P -p 0 {path}`, \
             if nothing else needs that project"
        );
        return Err(refused(source, limits, why));
    }
    let lock = project::lock();
    let _lock =
        lock.map_err(|error| refused(source, limits, format!("no project can be given: {error}")))?;
    let free = project::free(fd).map_err(&failed)?;
    let number = free.ok_or_else(|| failed(Errno::NOSPC))?;
    // With a limit, the project is in use.
    Ok(raw::limit_project(fd, number, wanted).and_then(|()| give(root, number)))
}

/// Gives a datastore to a project. If it is interrupted, the next launch continues.
fn give(root: &OwnedFd, number: u32) -> Result<(), Errno> {
    let inode = fstat(root)?.st_ino;
    let mark = |is_complete| {
        let mark = Mark::Project {
            number,
            inode,
            is_complete,
        };
        mark::set(root.as_fd(), mark)
    };
    mark(false)?;
    project::give(root, number)?;
    mark(true)
}

/// What the filesystem has of the quota that tenantd set for a datastore. `None` if it has set none. Needs root.
///
/// # Errors
/// A [`Failure`] of stage limits.
pub fn found(source: &Path) -> Result<Option<Found>, Failure> {
    let failed = failed(source, DiskLimits::default());
    let root = match datastore::open(source) {
        Ok(root) => root,
        Err(Errno::NOENT) => return Ok(None),
        Err(errno) => return Err(failed(errno)),
    };
    let read = || -> Result<Option<Found>, Errno> {
        let Some(mark) = mark::of(root.as_fd())? else {
            return Ok(None);
        };
        let root = open_again(&root)?;
        match mark {
            Mark::Subvolume if place::kind(root.as_fd())? != Kind::Btrfs => Ok(None),
            Mark::Subvolume => {
                let found = subvolume::found(root.as_fd())?;
                Ok(found.map(|(most, bytes)| Found {
                    limits: DiskLimits {
                        bytes: most,
                        files: None,
                    },
                    bytes,
                    ..Found::default()
                }))
            }
            Mark::Project { number, .. } => of_project(&root, number),
        }
    };
    read().map_err(&failed)
}

fn of_project(root: &OwnedFd, number: u32) -> Result<Option<Found>, Errno> {
    if !raw::limits_projects(root.as_fd())? {
        return Ok(None);
    }
    let found = raw::project(root.as_fd(), number)?;
    let some = |limit: u64| (limit != 0).then_some(limit);
    Ok(Some(Found {
        limits: DiskLimits {
            bytes: some(found.bytes),
            files: some(found.files),
        },
        bytes: found.bytes_used,
        files: Some(found.files_used),
        is_elsewhere: !project::is_in(root.as_fd(), number)?,
    }))
}

/// Whether the filesystem has this quota, and the folder the project that is limited.
///
/// # Errors
/// A [`Failure`] of stage limits.
pub fn is_set(source: &Path, limits: DiskLimits) -> Result<bool, Failure> {
    let found = found(source)?;
    Ok(match found {
        None => limits.is_empty(),
        Some(found) => is_same(found.limits, limits) && !found.is_elsewhere,
    })
}

/// The largest block of a filesystem, to which ext4 and xfs round a limit up.
const BLOCK_MAX: u64 = 1 << 16;

/// Whether limits are those that were set.
fn is_same(found: DiskLimits, wanted: DiskLimits) -> bool {
    let is_rounded = |(found, wanted): (u64, u64)| (wanted..wanted + BLOCK_MAX).contains(&found);
    found.files == wanted.files
        && found.bytes.is_some() == wanted.bytes.is_some()
        && found.bytes.zip(wanted.bytes).is_none_or(is_rounded)
}

/// Whether the filesystem of a datastore can have the quota of a tenant. Changes nothing; the datastore need not exist.
///
/// # Errors
/// A [`Failure`] of stage limits that says what mends it.
pub fn can_limit(plan: &TenantPlan) -> Result<(), Failure> {
    can_limit_below(plan, plan.datastore.source.as_path())
}

/// The same for a new datastore, which replaces the one that may be there.
///
/// # Errors
/// See [`can_limit`].
pub fn can_limit_new(plan: &TenantPlan) -> Result<(), Failure> {
    let source = plan.datastore.source.as_path();
    can_limit_below(plan, source.parent().unwrap_or(source))
}

fn can_limit_below(plan: &TenantPlan, nearest: &Path) -> Result<(), Failure> {
    let limits = plan.launch.group.of_disk();
    if limits.is_empty() {
        return Ok(());
    }
    let source = plan.datastore.source.as_path();
    let failed = failed(source, limits);
    for folder in nearest.ancestors() {
        match datastore::open(folder) {
            Ok(root) => {
                let root = open_again(&root).map_err(&failed)?;
                check(root.as_fd(), folder, source, limits)?;
                return check_capabilities(plan, root.as_fd(), limits);
            }
            Err(Errno::NOENT) => {}
            Err(errno) => return Err(failed(errno)),
        }
    }
    Err(failed(Errno::NOENT))
}

/// ext4 heeds no quota for a process with `CAP_SYS_RESOURCE`.
fn check_capabilities(
    plan: &TenantPlan,
    root: BorrowedFd<'_>,
    limits: DiskLimits,
) -> Result<(), Failure> {
    let source = plan.datastore.source.as_path();
    let kind = place::kind(root).map_err(failed(source, limits))?;
    let bounding = plan
        .launch
        .wall
        .privileges
        .bounding(plan.launch.identity.uid);
    let is_free = bounding.iter().any(|it| it.number() == SYS_RESOURCE);
    match kind == Kind::Ext4 && is_free {
        false => Ok(()),
        true => Err(refused(
            source,
            limits,
            "ext4 does not limit a program with CAP_SYS_RESOURCE: take sys_resource from `capabilities` of [app.wall]"
                .to_owned(),
        )),
    }
}

/// Refuses a datastore that cannot be limited. `folder` is the datastore, or the nearest folder above that exists.
fn check(
    root: BorrowedFd<'_>,
    folder: &Path,
    source: &Path,
    limits: DiskLimits,
) -> Result<(), Failure> {
    let failed = failed(source, limits);
    let why = place::lacking(root, folder, source, limits).map_err(failed)?;
    why.map_or(Ok(()), |why| Err(refused(source, limits, why)))
}
