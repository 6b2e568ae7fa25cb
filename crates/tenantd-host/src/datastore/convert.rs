//! Brings a datastore into the layout that its plan needs, at a launch: nothing for a plain one, a
//! mark for a new tree, and the conversion of a plain datastore into a tree.
//!
//! The conversion moves the data by renames within the filesystem. The caller holds the datastore's
//! lock. If the supervisor is killed, the next launch continues, with or without `folders` in the
//! manifest by then:
//!
//! 1. `.tenantd/preparing` gets the owner, the mode and the access control lists of the datastore,
//!    and is renamed `converting`: from here on, the datastore is being converted.
//! 2. Each entry of the datastore is moved into it.
//! 3. The datastore's root is given to root, and the mark is written: from here on, it is a tree.
//! 4. `converting` is renamed to the path where the program expects the data.

use std::ffi::{CStr, CString, OsStr};
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::os::unix::ffi::OsStrExt;
use std::path::PathBuf;

use rustix::fs::{AtFlags, Dir, StatxAttributes, StatxFlags};
use rustix::fs::{FileType, Gid, Mode, Uid};
use rustix::fs::{fchmod, fchown, fstat, mkdirat, renameat, statx, syncfs, unlinkat};
use rustix::io::Errno;

use super::layout::{self, Form, Layout, OWN, open_folder};
use super::{copy, failure, folders, record};
use crate::crash;
use tenantd_core::plan::model::DatastorePlan;
use tenantd_core::stage::{Failure, Stage};

/// Where the data is while a datastore is being converted.
const CONVERTING: &str = "converting";
const PREPARING: &str = "preparing";

/// The folder that ext4 has at its root.
const LOST: &CStr = c"lost+found";

/// Brings a datastore into its layout. Returns `None` if it is plain, else its `.tenantd` and mark, which are `known`
/// if the caller has just read them.
///
/// # Errors
/// A [`Failure`] of stage datastore. If it is because of one entry, nothing was moved.
pub(super) fn settled(
    plan: &DatastorePlan,
    root: BorrowedFd<'_>,
    label: &str,
    known: Option<(OwnedFd, Layout)>,
) -> Result<Option<(OwnedFd, Layout)>, Failure> {
    let failed = |errno| failure(&plan.source, errno);
    let own_path = plan.source.join(OWN);
    let (own, mut mark) = match known {
        Some((own, mark)) => (Some(own), Some(mark)),
        None => {
            let own = layout::open_own(root).map_err(|errno| failure(&own_path, errno))?;
            let mark = own.as_ref().map(|own| layout::read(own.as_fd()));
            let mark = mark.transpose().map_err(|errno| unreadable(plan, errno))?;
            (own, mark.flatten())
        }
    };
    let converting = own.as_ref().map(|own| layout::has(own.as_fd(), CONVERTING));
    let mut converting = converting.transpose().map_err(failed)?.unwrap_or_default();
    if mark.is_none() && !converting && !plan.is_tree() {
        return Ok(None);
    }
    let own = match own {
        Some(own) => own,
        None => layout::make_own(root).map_err(|errno| taken(&own_path, errno))?,
    };
    let target = match (&plan.target, &mark) {
        (Some(target), _) => Some(target.to_path_buf()),
        (None, Some(_)) => None,
        // The manifest has `folders` instead of `path`.
        (None, None) => record::last_path(label)?,
    };
    let work = Conversion {
        plan,
        target,
        root,
        own: own.as_fd(),
    };
    if mark.is_none() && !converting {
        let entries = work.entries()?;
        match &work.target {
            Some(_) => {
                work.check(&entries)?;
                work.prepare().map_err(failed)?;
                converting = true;
            }
            None if entries.is_empty() => mark = Some(work.mark(Layout::default())?),
            None => return Err(refused(plan, &entries)),
        }
    }
    let mark = match mark {
        Some(mark) => {
            // A tenant that runs as root could have made the mark of a plain datastore, of which it
            // owned the root.
            layout::keep_closed(root).map_err(failed)?;
            mark
        }
        None => work.gather()?,
    };
    if converting {
        work.put_in_place(&mark)?;
    }
    Ok(Some((own, mark)))
}

/// Whether [`settled`] would refuse a datastore. Changes nothing.
///
/// # Errors
/// As those of [`settled`].
pub(super) fn rehearse(plan: &DatastorePlan, root: BorrowedFd<'_>) -> Result<(), Failure> {
    let failed = |errno| failure(&plan.source, errno);
    if let Some(own) = layout::open_own(root).map_err(failed)? {
        let mark = layout::read(own.as_fd()).map_err(|errno| unreadable(plan, errno))?;
        if mark.is_some() || layout::has(own.as_fd(), CONVERTING).map_err(failed)? {
            return Ok(());
        }
    } else if plan.is_tree() && layout::has(root, OWN).map_err(failed)? {
        return Err(taken(&plan.source.join(OWN), Errno::EXIST));
    }
    if !plan.is_tree() {
        return Ok(());
    }
    let remembered = || record::path_at(&plan.source);
    let work = Conversion {
        plan,
        target: plan
            .target
            .as_deref()
            .map(PathBuf::from)
            .or_else(remembered),
        root,
        own: root,
    };
    let entries = work.entries()?;
    match work.target.is_some() || entries.is_empty() {
        true => work.check(&entries),
        false => Err(refused(plan, &entries)),
    }
}

/// Makes the mark of a new tree, in the empty folder that will be a datastore.
pub(super) fn begin(root: BorrowedFd<'_>) -> Result<(), Errno> {
    let own = layout::make_own(root)?;
    layout::write(own.as_fd(), &Layout::default())
}

/// Removes what [`begin`] made.
pub(super) fn unbegin(root: BorrowedFd<'_>) -> Result<(), Errno> {
    let own = match open_folder(root, OWN) {
        Err(Errno::NOENT) => return Ok(()),
        own => own?,
    };
    layout::remove(own.as_fd())?;
    unlinkat(root, OWN, AtFlags::REMOVEDIR)
}

pub(super) fn unreadable(plan: &DatastorePlan, errno: Errno) -> Failure {
    let path = plan.source.join(OWN).join("layout");
    let why = failure(&path, errno);
    if errno == Errno::BADMSG {
        return why.with("this version of tenantd cannot read it");
    }
    why
}

fn taken(own: &std::path::Path, errno: Errno) -> Failure {
    let why = failure(own, errno);
    if errno == Errno::EXIST {
        return why.with("it is not a folder of root that only root can write to: rename it");
    }
    why
}

fn refused(plan: &DatastorePlan, entries: &[CString]) -> Failure {
    let first = entries.first().map(|name| name.to_string_lossy());
    Failure::detail(
        Stage::Datastore,
        plan.source.display().to_string(),
        format!(
            "it has the data of a program that had one folder ({}, ...), and the manifest does not \
             say which: set `path` in [app.datastore] to it, beside `folders`",
            first.unwrap_or_default()
        ),
    )
}

/// The names in the root of a datastore, except what is tenantd's or the filesystem's.
pub(super) fn entries(root: BorrowedFd<'_>) -> Result<Vec<CString>, Errno> {
    let mut names = Vec::new();
    for entry in Dir::read_from(open_folder(root, ".")?)? {
        let entry = entry?;
        let name = entry.file_name();
        if [c".", c".."].contains(&name) || name.to_bytes() == OWN.as_bytes() {
            continue;
        }
        if name == LOST && is_of_filesystem(root, name)? {
            continue;
        }
        names.push(name.to_owned());
    }
    names.sort();
    Ok(names)
}

fn is_of_filesystem(root: BorrowedFd<'_>, name: &CStr) -> Result<bool, Errno> {
    let found = statx(
        root,
        name,
        AtFlags::SYMLINK_NOFOLLOW,
        StatxFlags::BASIC_STATS,
    )?;
    let is_folder = FileType::from_raw_mode(found.stx_mode.into()) == FileType::Directory;
    Ok(is_folder && found.stx_uid == 0)
}

struct Conversion<'a> {
    plan: &'a DatastorePlan,
    /// Where the data of a plain datastore belongs.
    target: Option<PathBuf>,
    root: BorrowedFd<'a>,
    own: BorrowedFd<'a>,
}

impl Conversion<'_> {
    fn failed(&self, errno: Errno) -> Failure {
        failure(&self.plan.source, errno)
    }

    /// The names in the datastore's root.
    fn entries(&self) -> Result<Vec<CString>, Failure> {
        entries(self.root).map_err(|errno| self.failed(errno))
    }

    /// Reports an entry that cannot be moved, before any is.
    fn check(&self, entries: &[CString]) -> Result<(), Failure> {
        for name in entries {
            let path = self.plan.source.join(OsStr::from_bytes(name.to_bytes()));
            let flags = StatxFlags::BASIC_STATS;
            let found = statx(self.root, name, AtFlags::SYMLINK_NOFOLLOW, flags)
                .map_err(|errno| failure(&path, errno))?;
            let has = |what| found.stx_attributes.contains(what);
            let why = if has(StatxAttributes::MOUNT_ROOT) {
                "something is mounted on it: unmount it, and mount it at its new place after the \
                 next start"
            } else if has(StatxAttributes::IMMUTABLE) || has(StatxAttributes::APPEND) {
                "it is immutable or append-only: see chattr(1)"
            } else {
                continue;
            };
            let why = format!("it cannot be moved for `folders`, nothing was changed: {why}");
            let path = path.display().to_string();
            return Err(Failure::detail(Stage::Datastore, path, why));
        }
        Ok(())
    }

    /// Makes the folder into which the data is moved, like the datastore itself.
    fn prepare(&self) -> Result<(), Errno> {
        match unlinkat(self.own, PREPARING, AtFlags::REMOVEDIR) {
            Ok(()) | Err(Errno::NOENT) => {}
            Err(errno) => return Err(errno),
        }
        mkdirat(self.own, PREPARING, Mode::RWXU)?;
        let (new, root) = (
            open_folder(self.own, PREPARING)?,
            open_folder(self.root, ".")?,
        );
        let stat = fstat(&root)?;
        fchown(
            &new,
            Some(Uid::from_raw(stat.st_uid)),
            Some(Gid::from_raw(stat.st_gid)),
        )?;
        fchmod(&new, Mode::from_raw_mode(stat.st_mode))?;
        copy::acl(root.as_fd(), new.as_fd())?;
        layout::sync(new.as_fd())?;
        renameat(self.own, PREPARING, self.own, CONVERTING)?;
        layout::sync(self.own)?;
        crash::point("datastore: conversion begun", &self.plan.source);
        Ok(())
    }

    /// Moves the data together and makes the datastore a tree.
    fn gather(&self) -> Result<Layout, Failure> {
        let Some(target) = &self.target else {
            let why = "its conversion to several folders is not complete, and the manifest does \
                       not say where its data belongs: set `path` in [app.datastore] again";
            let path = self.plan.source.display().to_string();
            return Err(Failure::detail(Stage::Datastore, path, why));
        };
        let converting = open_folder(self.own, CONVERTING).map_err(|errno| self.failed(errno))?;
        for name in self.entries()? {
            layout::rename(self.root, &*name, converting.as_fd(), &*name).map_err(|errno| {
                let path = self.plan.source.join(OsStr::from_bytes(name.to_bytes()));
                failure(&path, errno).with("it cannot be moved for `folders`")
            })?;
            crash::point("datastore: entry moved", &self.plan.source);
        }
        syncfs(&converting).map_err(|errno| self.failed(errno))?;
        layout::close_root(self.root).map_err(|errno| self.failed(errno))?;
        let mut mark = Layout::default();
        mark.folders.insert(target.clone(), Form::Whole);
        let mark = self.mark(mark)?;
        crash::point("datastore: data gathered", &self.plan.source);
        Ok(mark)
    }

    /// Writes the mark, which makes the datastore a tree.
    fn mark(&self, mark: Layout) -> Result<Layout, Failure> {
        let write = || {
            layout::close_root(self.root)?;
            layout::write(self.own, &mark)
        };
        write().map_err(|errno| self.failed(errno))?;
        Ok(mark)
    }

    /// Moves the data to where the program expects it.
    fn put_in_place(&self, mark: &Layout) -> Result<(), Failure> {
        // The first folder of the mark is the only one so far.
        let Some(target) = mark.folders.keys().next() else {
            return Err(self.failed(Errno::BADMSG));
        };
        let below = folders::below(target);
        let put = || {
            let parent = layout::make_parents(self.root, below)?;
            let name = below.file_name().unwrap_or_default();
            layout::rename(self.own, CONVERTING, parent.as_fd(), name)?;
            layout::sync(parent.as_fd())?;
            layout::sync(self.own)
        };
        let place = self.plan.place(target);
        put().map_err(|errno| failure(&place, errno))?;
        tracing::info!(
            "converted the datastore {} to several folders: its data is now {}",
            self.plan.source.display(),
            place.display()
        );
        crash::point("datastore: converted", &self.plan.source);
        Ok(())
    }
}
