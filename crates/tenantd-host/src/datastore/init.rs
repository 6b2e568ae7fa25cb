//! Whether a datastore is initialized: what a launch of phase init begins with, and how it is
//! concluded.
//!
//! A datastore is *new* as long as nothing is in it. Before the command of phase init runs, and before
//! anything is made in the datastore, it is marked as begun; when the command has succeeded, as done.
//! A datastore that is marked as begun when it is launched again was interrupted: by the end of the
//! supervisor or of the host. Whatever is in it was made since it was new, and by nothing but this
//! command, so it is removed. A datastore that has something and no mark is never changed: it is
//! marked as kept.
//!
//! The mark of a tree is part of its layout, which only root can reach. A tenant could remove a mark
//! in a plain datastore, so that one is in what is remembered of the datastore (see `record`).
//!
//! The caller has claimed the datastore, so no process of the tenant runs.

use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

use rustix::fs::{Gid, Mode, Uid, fchmod, fchown, fstat};
use rustix::io::Errno;
use serde::{Deserialize, Serialize};

use super::layout::{self, Layout, open_folder};
use super::{convert, failure, folders, open, record, remove};
use crate::claim::Claim;
use crate::crash;
use tenantd_core::plan::model::DatastorePlan;
use tenantd_core::stage::{Failure, Stage};

/// The mark of a datastore.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub(super) enum Mark {
    /// Its command has begun, and not succeeded.
    Begun(Root),
    /// Its command has succeeded.
    Done,
    /// It had data when a command was to initialize it.
    Kept,
}

/// The owner, group and mode of a datastore before its command began.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Root {
    uid: u32,
    gid: u32,
    mode: u32,
}

/// Begins to initialize a datastore. Returns whether it is to be initialized.
///
/// # Errors
/// A [`Failure`] of stage datastore. Nothing was run then.
pub(crate) fn begin(
    plan: &DatastorePlan,
    root: BorrowedFd<'_>,
    label: &str,
) -> Result<bool, Failure> {
    let mut store = Store::open(plan, root, label)?;
    match store.mark()? {
        Some(Mark::Done | Mark::Kept) => Ok(false),
        Some(Mark::Begun(root)) => {
            store.clear(root)?;
            tracing::info!("{label}: its init command was interrupted: made the datastore empty");
            Ok(true)
        }
        None if store.is_new()? => {
            store.set(Some(Mark::Begun(store.root()?)))?;
            crash::point("init: begun", &plan.source);
            Ok(true)
        }
        None => {
            store.set(Some(Mark::Kept))?;
            let source = plan.source.display();
            tracing::info!("{label}: its init command is not run: {source} has data already");
            Ok(false)
        }
    }
}

/// Refuses a datastore whose initialization was interrupted, before its program is launched. Returns the
/// `.tenantd` and the mark of a tree.
///
/// # Errors
/// A [`Failure`] of stage datastore.
pub(crate) fn refuse_unfinished(
    plan: &DatastorePlan,
    root: BorrowedFd<'_>,
    label: &str,
) -> Result<Option<(OwnedFd, Layout)>, Failure> {
    let own = layout::open_own(root).map_err(|errno| failure(&plan.source, errno))?;
    let tree = match own {
        Some(own) => {
            let layout = layout::read(own.as_fd());
            let layout = layout.map_err(|errno| convert::unreadable(plan, errno))?;
            layout.map(|layout| (own, layout))
        }
        None => None,
    };
    let (mark, place) = match &tree {
        Some((_, layout)) => (layout.init, plan.source.join(layout::OWN).join("layout")),
        None => (record::init(label, &plan.source)?, record::path(label)),
    };
    if !matches!(mark, Some(Mark::Begun(_))) {
        return Ok(tree);
    }
    let why = format!(
        "its init command was interrupted, so it is not complete: put [app.init] back into the \
         manifest, or, to use it as it is, remove `init` from {}",
        place.display()
    );
    let source = plan.source.display().to_string();
    Err(Failure::detail(Stage::Datastore, source, why))
}

/// Records that a datastore is initialized or, without success, makes it empty again.
///
/// # Errors
/// A [`Failure`] of stage lock or datastore.
pub fn conclude(plan: &DatastorePlan, label: &str, success: bool) -> Result<(), Failure> {
    let datastore = match open(&plan.source) {
        Ok(datastore) => datastore,
        // It failed before there was one.
        Err(Errno::NOENT) if !success => return Ok(()),
        Err(errno) => return Err(failure(&plan.source, errno)),
    };
    // No process of the launch is left. The record stays until the next launch, or the release.
    let _claim = Claim::take(datastore.as_fd(), &plan.source, label, None)?;
    let mut store = Store::open(plan, datastore.as_fd(), label)?;
    match (success, store.mark()?) {
        (true, _) => {
            store.sync()?;
            crash::point("init: before the record", &plan.source);
            store.set(Some(Mark::Done))
        }
        (false, Some(Mark::Begun(root))) => {
            store.clear(root)?;
            crash::point("init: cleared", &plan.source);
            store.set(None)
        }
        (false, Some(Mark::Done | Mark::Kept) | None) => Ok(()),
    }
}

/// Whether a launch would initialize the datastore, as far as its folder shows it. Changes nothing.
pub(crate) fn may_begin(plan: &DatastorePlan) -> bool {
    let Ok(root) = open(&plan.source) else {
        return true;
    };
    let own = layout::open_own(root.as_fd()).ok().flatten();
    let layout = own.and_then(|own| layout::read(own.as_fd()).ok().flatten());
    let is_begun = layout.is_some_and(|layout| matches!(layout.init, Some(Mark::Begun(_))));
    is_begun || convert::entries(root.as_fd()).is_ok_and(|entries| entries.is_empty())
}

/// Whether a datastore has data that was not made by a command of phase init, so that none will run, as far
/// as that can be read. Changes nothing.
pub(super) fn is_kept(plan: &DatastorePlan, label: &str) -> bool {
    let Ok(root) = open(&plan.source) else {
        return false;
    };
    let own = layout::open_own(root.as_fd()).ok().flatten();
    let layout = own.and_then(|own| layout::read(own.as_fd()).ok().flatten());
    let mark = match layout {
        Some(layout) => layout.init,
        None => record::init(label, &plan.source).ok().flatten(),
    };
    match mark {
        Some(Mark::Kept) => true,
        Some(Mark::Begun(_) | Mark::Done) => false,
        None => convert::entries(root.as_fd()).is_ok_and(|entries| !entries.is_empty()),
    }
}

/// A datastore, and where its mark is.
struct Store<'a> {
    plan: &'a DatastorePlan,
    root: BorrowedFd<'a>,
    label: &'a str,
    /// `.tenantd` and its layout, if it is a tree.
    tree: Option<(OwnedFd, Layout)>,
}

impl<'a> Store<'a> {
    fn open(
        plan: &'a DatastorePlan,
        root: BorrowedFd<'a>,
        label: &'a str,
    ) -> Result<Self, Failure> {
        Ok(Self {
            plan,
            root,
            label,
            tree: convert::settled(plan, root, label, None)?,
        })
    }

    fn failed(&self, errno: Errno) -> Failure {
        failure(&self.plan.source, errno)
    }

    fn mark(&self) -> Result<Option<Mark>, Failure> {
        match &self.tree {
            Some((_, layout)) => Ok(layout.init),
            None => record::init(self.label, &self.plan.source),
        }
    }

    /// Writes the mark to disk.
    fn set(&mut self, mark: Option<Mark>) -> Result<(), Failure> {
        match &mut self.tree {
            Some((own, layout)) => {
                layout.init = mark;
                let written = layout::write(own.as_fd(), layout);
                written.map_err(|errno| failure(&self.plan.source, errno))
            }
            None => record::set_init(self.label, self.plan, self.root, mark),
        }
    }

    /// Whether nothing is in it.
    fn is_new(&self) -> Result<bool, Failure> {
        let is_unused = |(_, layout): &(OwnedFd, Layout)| layout.folders.is_empty();
        let entries = convert::entries(self.root).map_err(|errno| self.failed(errno))?;
        Ok(entries.is_empty() && self.tree.as_ref().is_none_or(is_unused))
    }

    fn root(&self) -> Result<Root, Failure> {
        let stat = fstat(self.root).map_err(|errno| self.failed(errno))?;
        Ok(Root {
            uid: stat.st_uid,
            gid: stat.st_gid,
            mode: stat.st_mode & 0o7777,
        })
    }

    /// Removes everything that was made since it was new.
    fn clear(&mut self, was: Root) -> Result<(), Failure> {
        for name in convert::entries(self.root).map_err(|errno| self.failed(errno))? {
            remove::entry(self.root, &name).map_err(|errno| {
                let path = self.plan.source.join(name.to_string_lossy().as_ref());
                let why = "the datastore cannot be made empty for another try of its init command";
                failure(&path, errno).with(why)
            })?;
        }
        if let Some((own, layout)) = &mut self.tree {
            let removed = folders::discard(own.as_fd());
            removed.map_err(|errno| failure(&self.plan.source, errno))?;
            layout.folders.clear();
            let written = layout::write(own.as_fd(), layout);
            return written.map_err(|errno| failure(&self.plan.source, errno));
        }
        if self.root()? == was {
            return Ok(());
        }
        let restore = || {
            let root = open_folder(self.root, ".")?;
            fchown(
                &root,
                Some(Uid::from_raw(was.uid)),
                Some(Gid::from_raw(was.gid)),
            )?;
            fchmod(&root, Mode::from_raw_mode(was.mode))
        };
        restore().map_err(|errno| self.failed(errno))
    }

    /// Writes what the command has made to disk, before it counts.
    fn sync(&self) -> Result<(), Failure> {
        let sync = || rustix::fs::syncfs(open_folder(self.root, ".")?);
        sync().map_err(|errno| self.failed(errno))
    }
}
