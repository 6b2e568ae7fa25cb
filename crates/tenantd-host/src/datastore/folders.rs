//! The folders of a datastore at a launch: found, or made with their contents.
//!
//! The caller has claimed the datastore, so no process of the tenant runs. A folder is made as
//! `.tenantd/new`, written to disk and renamed, so that an unfinished one is never used. The mark
//! of the datastore names it before that: a folder that is named but missing is made again.

use std::ffi::CString;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::path::{Path, PathBuf};

use rustix::fs::{CWD, Mode, OFlags, ResolveFlags, Stat};
use rustix::fs::{fchmod, fchown, fstat, mkdirat, openat2, syncfs};
use rustix::io::{Errno, fcntl_dupfd_cloexec};

use super::copy::{self, Owner};
use super::layout::{self, Form, Layout, open_folder};
use super::{convert, failure, owner, remove};
use crate::crash;
use crate::siblings::Siblings;
use tenantd_core::plan::model::{DatastorePlan, FolderPlan, Identity, Seed};
use tenantd_core::stage::{Failure, Stage};

/// A folder that is being made.
const NEW: &str = "new";

/// The working folders of overlays.
const WORK: &str = "work";

/// One mount of a datastore.
#[derive(Debug)]
pub(crate) struct Part {
    /// Where the program expects it.
    pub(crate) target: PathBuf,
    /// The path of the folder on the host, for messages.
    pub(crate) place: PathBuf,
    /// The folder.
    pub(crate) folder: OwnedFd,
    /// What it lies over, if it is mounted as an overlay.
    pub(crate) lower: Option<Lower>,
}

/// The other folders of an overlay.
#[derive(Debug)]
pub(crate) struct Lower {
    /// The host's folder.
    pub(crate) folder: OwnedFd,
    /// The working folder, see the kernel's Documentation/filesystems/overlayfs.rst.
    pub(crate) work: OwnedFd,
    /// The datastore.
    pub(crate) root: OwnedFd,
    /// Where the folder of the tenant's changes is in it.
    pub(crate) upper_at: PathBuf,
    /// Where the working folder is in it.
    pub(crate) work_at: PathBuf,
}

/// The `.tenantd` and the mark of a tree.
pub(crate) type Known = (OwnedFd, Layout);

/// The mounts of the datastore of a tenant, `APP/TENANT`. Folders that are missing are made. A folder
/// to which its user cannot write is logged. `known` is what the caller has just read.
///
/// # Errors
/// A [`Failure`] of stage datastore that names the folder.
pub(crate) fn parts(
    plan: &DatastorePlan,
    root: OwnedFd,
    label: &str,
    identity: &Identity,
    known: Option<Known>,
) -> Result<Vec<Part>, Failure> {
    let parts = found(plan, root, label, known)?;
    let empty = |part: &&Part| {
        let folder = plan.folders.iter().find(|it| it.target == part.target);
        folder.is_none_or(|folder| folder.seed == Seed::Empty)
    };
    for part in parts.iter().filter(empty) {
        let misfit = owner::misfit(part.folder.as_fd(), &part.place, plan, identity);
        if let Some(why) = misfit.map_err(|errno| failure(&part.place, errno))? {
            tracing::warn!("{label}: {why}");
        }
    }
    Ok(parts)
}

fn found(
    plan: &DatastorePlan,
    root: OwnedFd,
    label: &str,
    known: Option<Known>,
) -> Result<Vec<Part>, Failure> {
    let Some((own, layout)) = convert::settled(plan, root.as_fd(), label, known)? else {
        let target = plan.target.as_deref().unwrap_or(Path::new("/"));
        return Ok(vec![Part {
            target: target.to_owned(),
            place: plan.source.clone(),
            folder: root,
            lower: None,
        }]);
    };
    let mut tree = Tree {
        plan,
        root,
        own,
        layout,
        siblings: Siblings::default(),
    };
    let path = plan.target.as_deref().map(|target| FolderPlan {
        target: target.to_owned(),
        seed: Seed::Empty,
        uid: Some(plan.uid),
        gid: Some(plan.gid),
        mode: Some(plan.mode),
    });
    let folders: Vec<&FolderPlan> = path.iter().chain(&*plan.folders).collect();
    let next = folders.iter().skip(1).map(Some).chain([None]);
    let both = folders.iter().zip(next);
    both.map(|(folder, next)| tree.part(folder, next.map(|next| below(&next.target))))
        .collect()
}

/// A datastore with several folders.
struct Tree<'a> {
    plan: &'a DatastorePlan,
    root: OwnedFd,
    /// `.tenantd`.
    own: OwnedFd,
    layout: Layout,
    siblings: Siblings,
}

impl Tree<'_> {
    /// `next` is where the next one is, below the root.
    fn part(&mut self, folder: &FolderPlan, next: Option<&Path>) -> Result<Part, Failure> {
        let place = self.plan.place(&folder.target);
        let below = below(&folder.target);
        let form = match self.layout.folders.get(&folder.target) {
            Some(form) => *form,
            None => {
                self.refuse_to_enclose(folder, &place)?;
                form(&folder.seed)
            }
        };
        let root = self.root.as_fd();
        let sibling = self
            .siblings
            .find(below, next, |above| open_folder(root, above));
        let found = sibling.map_or_else(
            || open_folder(root, below),
            |(above, name)| open_folder(above, name),
        );
        let found = match found {
            Ok(found) => found,
            Err(Errno::NOENT) => {
                self.make(folder, form, &place)?;
                let found = open_folder(self.root.as_fd(), below);
                found.map_err(|errno| failure(&place, errno))?
            }
            Err(errno) => return Err(failure(&place, errno)),
        };
        self.note(folder, form, &place)?;
        let lower = match form {
            Form::Whole => None,
            Form::Overlay => Some(self.lower(folder, below)?),
        };
        Ok(Part {
            target: folder.target.clone(),
            folder: found,
            place,
            lower,
        })
    }

    /// A folder that contains others of this datastore cannot be told from one that was made only
    /// to contain them.
    fn refuse_to_enclose(&self, folder: &FolderPlan, place: &Path) -> Result<(), Failure> {
        let mut all = self.layout.folders.keys();
        let Some(inner) = all.find(|inner| inner.starts_with(&folder.target)) else {
            return Ok(());
        };
        Err(Failure::detail(
            Stage::Datastore,
            place.display().to_string(),
            format!(
                "it contains {}, a folder of its own so far: list that one, or move it out of the \
                 datastore and remove it from {}",
                self.plan.place(inner).display(),
                self.plan.source.join(".tenantd/layout").display()
            ),
        ))
    }

    /// Writes a folder into the mark.
    fn note(&mut self, folder: &FolderPlan, form: Form, place: &Path) -> Result<(), Failure> {
        if self.layout.folders.get(&folder.target) == Some(&form) {
            return Ok(());
        }
        self.layout.folders.insert(folder.target.clone(), form);
        layout::write(self.own.as_fd(), &self.layout).map_err(|errno| failure(place, errno))
    }

    fn make(&mut self, folder: &FolderPlan, form: Form, place: &Path) -> Result<(), Failure> {
        let failed = |errno| failure(place, errno);
        // What a supervisor that was killed left unfinished.
        discarded(self.own.as_fd(), NEW).map_err(failed)?;
        mkdirat(&self.own, NEW, Mode::RWXU).map_err(failed)?;
        let new = open_folder(self.own.as_fd(), NEW).map_err(failed)?;
        self.fill(folder, &new, place)?;
        crash::point("datastore: folder half made", &self.plan.source);
        syncfs(&new).map_err(failed)?;
        self.note(folder, form, place)?;
        let below = below(&folder.target);
        let parent = layout::make_parents(self.root.as_fd(), below).map_err(failed)?;
        let name = below.file_name().unwrap_or_default();
        layout::rename(self.own.as_fd(), NEW, parent.as_fd(), name).map_err(failed)?;
        layout::sync(parent.as_fd()).map_err(failed)?;
        tracing::info!(
            "made the folder {}: {}",
            place.display(),
            said(&folder.seed)
        );
        crash::point("datastore: folder made", &self.plan.source);
        Ok(())
    }

    /// Gives a new folder its contents, owner and mode.
    fn fill(&self, folder: &FolderPlan, new: &OwnedFd, place: &Path) -> Result<(), Failure> {
        let failed = |errno| failure(place, errno);
        let said = Owner {
            uid: folder.uid,
            gid: folder.gid,
        };
        let host = match &folder.seed {
            Seed::Empty => match open_host(&folder.target) {
                Ok(host) => Some(host),
                Err(Errno::NOENT) => None,
                Err(errno) => return Err(failure(&folder.target, errno)),
            },
            Seed::Copy | Seed::Overlay => {
                Some(open_host(&folder.target).map_err(|errno| no_seed(&folder.target, errno))?)
            }
            Seed::Template(path) => Some(open_host(path).map_err(|errno| no_seed(path, errno))?),
        };
        match (&folder.seed, &host) {
            (Seed::Copy, Some(host)) => copy_all(&folder.target, host, new, said)?,
            (Seed::Template(path), Some(host)) => {
                let owner = Owner {
                    uid: said.uid.or(Some(self.plan.uid)),
                    gid: said.gid.or(Some(self.plan.gid)),
                };
                copy_all(path, host, new, owner)?;
            }
            (Seed::Empty | Seed::Overlay, Some(host)) => {
                let stat = fstat(host).map_err(failed)?;
                give(
                    new,
                    said,
                    Some(&stat),
                    folder.mode.is_none().then_some(host),
                )
                .map_err(failed)?;
            }
            (_, None) => {
                let owner = Owner {
                    uid: said.uid.or(Some(self.plan.uid)),
                    gid: said.gid.or(Some(self.plan.gid)),
                };
                give(new, owner, None, None).map_err(failed)?;
                let mode = Mode::from_raw_mode(self.plan.mode);
                fchmod(new, mode).map_err(failed)?;
            }
        }
        match folder.mode {
            Some(mode) => fchmod(new, Mode::from_raw_mode(mode)).map_err(failed),
            None => Ok(()),
        }
    }

    fn lower(&self, folder: &FolderPlan, below: &Path) -> Result<Lower, Failure> {
        let host = open_host(&folder.target).map_err(|errno| no_seed(&folder.target, errno))?;
        let path = Path::new(WORK).join(below);
        let work_at = Path::new(layout::OWN).join(&path);
        let failed = |errno| failure(&self.plan.source.join(&work_at), errno);
        let work = layout::make_all(self.own.as_fd(), &path).map_err(failed)?;
        let root = fcntl_dupfd_cloexec(&self.root, 3).map_err(failed)?;
        Ok(Lower {
            folder: host,
            work,
            root,
            upper_at: below.to_owned(),
            work_at,
        })
    }
}

/// Removes what belongs to folders that are no longer there, from `.tenantd`.
pub(super) fn discard(own: BorrowedFd<'_>) -> Result<(), Errno> {
    discarded(own, NEW)?;
    discarded(own, WORK)?;
    remove::left(own)
}

fn discarded(own: BorrowedFd<'_>, name: &str) -> Result<(), Errno> {
    let name = CString::new(name).map_err(|_| Errno::INVAL)?;
    match remove::entry(own, &name) {
        Ok(()) | Err(Errno::NOENT) => Ok(()),
        Err(errno) => Err(errno),
    }
}

fn form(seed: &Seed) -> Form {
    match seed {
        Seed::Empty | Seed::Copy | Seed::Template(_) => Form::Whole,
        Seed::Overlay => Form::Overlay,
    }
}

fn said(seed: &Seed) -> String {
    match seed {
        Seed::Empty => "empty".to_owned(),
        Seed::Copy => "a copy of the host's".to_owned(),
        Seed::Template(path) => format!("a copy of {}", path.display()),
        Seed::Overlay => "the host's, with the tenant's changes".to_owned(),
    }
}

/// The path of a folder below the datastore.
pub(super) fn below(target: &Path) -> &Path {
    target.strip_prefix("/").unwrap_or(target)
}

/// Opens a folder of the host. No component may be a symbolic link: the launch does not follow one
/// to attach a mount either.
pub(super) fn open_host(path: &Path) -> Result<OwnedFd, Errno> {
    openat2(
        CWD,
        path,
        OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC,
        Mode::empty(),
        ResolveFlags::NO_SYMLINKS | ResolveFlags::NO_MAGICLINKS,
    )
}

pub(super) fn no_seed(path: &Path, errno: Errno) -> Failure {
    let why = failure(path, errno);
    if errno == Errno::NOENT {
        return why.with(
            "the host has no such folder to begin with: install the program, or set \
             seed = \"empty\"",
        );
    }
    why
}

fn copy_all(path: &Path, from: &OwnedFd, to: &OwnedFd, owner: Owner) -> Result<(), Failure> {
    copy::tree(from, to, owner).map_err(|fault| {
        failure(&path.join(fault.path), fault.errno).with("it cannot be copied into the datastore")
    })
}

/// Sets the owner, and the mode and access control lists of the host's folder.
fn give(
    new: &OwnedFd,
    owner: Owner,
    host: Option<&Stat>,
    like: Option<&OwnedFd>,
) -> Result<(), Errno> {
    use rustix::fs::{Gid, Uid};
    let (uid, gid) = match host {
        Some(stat) => owner.of(stat),
        None => (owner.uid.map(Uid::from_raw), owner.gid.map(Gid::from_raw)),
    };
    fchown(new, uid, gid)?;
    if let Some(stat) = host {
        fchmod(new, Mode::from_raw_mode(stat.st_mode))?;
    }
    like.map_or(Ok(()), |host| copy::acl(host.as_fd(), new.as_fd()))
}
