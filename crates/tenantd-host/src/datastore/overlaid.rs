//! What a tenant has changed in the folders that lie over the host's (`seed = "overlay"`), and what the
//! host has newer: of such a file the tenant no longer sees the host's.
//!
//! The datastore's side of an overlay says all: a character device 0:0 is a deleted name, the attribute
//! `trusted.overlay.opaque` a folder that was made again, and any other file was changed, or copied only
//! because its owner, mode or times changed. A tenant can write there, so no link is followed and no
//! file is opened; and it can make any number of files, so the search has a time limit.

use std::collections::VecDeque;
use std::ffi::OsStr;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};
use std::time::Instant;

use rustix::fs::{AtFlags, Dir, FileType, Mode, OFlags, ResolveFlags, Statx, StatxFlags};
use rustix::fs::{fgetxattr, openat2, statx};
use rustix::io::Errno;

use super::folders::{below, open_host};
use super::layout::{self, Form, open_folder};
use super::{failure, open};
use tenantd_core::plan::model::DatastorePlan;
use tenantd_core::stage::Failure;

/// The attribute of a folder that hides the whole folder of the host.
const OPAQUE: &str = "trusted.overlay.opaque";

/// What a tenant has done to a file or folder of the host.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Done {
    /// It has other contents.
    Changed,
    /// Only its owner, mode or times were changed, and the tenant sees no change of the host.
    Frozen,
    /// It is deleted.
    Deleted,
    /// The folder was deleted and made again: nothing of the host's is seen in it.
    Replaced,
}

impl Done {
    /// One word for it.
    #[must_use]
    pub fn word(self) -> &'static str {
        match self {
            Done::Changed => "changed",
            Done::Frozen => "frozen",
            Done::Deleted => "deleted",
            Done::Replaced => "replaced",
        }
    }
}

/// A file or folder of the host that a tenant does not see as the host has it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Hidden {
    /// Its path below the folder.
    pub path: PathBuf,
    /// What the tenant has done to it.
    pub done: Done,
    /// Whether the host's has changed since.
    pub newer: bool,
}

/// One folder of a datastore that lies over the host's.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Overlaid {
    /// The path that the program expects.
    pub target: PathBuf,
    /// What is hidden, sorted by path.
    pub hidden: Vec<Hidden>,
    /// Whether everything was examined within the time.
    pub complete: bool,
}

/// Examines the overlays of a datastore until a deadline. Changes nothing.
///
/// # Errors
/// A [`Failure`] of stage datastore that names the folder.
pub fn examine(plan: &DatastorePlan, deadline: Instant) -> Result<Vec<Overlaid>, Failure> {
    let failed = |errno| failure(&plan.source, errno);
    let root = match open(&plan.source) {
        Ok(root) => root,
        Err(Errno::NOENT) => return Ok(Vec::new()),
        Err(errno) => return Err(failed(errno)),
    };
    let Some(own) = layout::open_own(root.as_fd()).map_err(failed)? else {
        return Ok(Vec::new());
    };
    let Some(layout) = layout::read(own.as_fd()).map_err(failed)? else {
        return Ok(Vec::new());
    };
    let mut all = Vec::new();
    for folder in &*plan.folders {
        let target = &folder.target;
        if layout.folders.get(target) != Some(&Form::Overlay) {
            continue;
        }
        let upper = match open_folder(root.as_fd(), below(target)) {
            Ok(upper) => upper,
            Err(Errno::NOENT) => continue,
            Err(errno) => return Err(failure(&plan.place(target), errno)),
        };
        let lower = match open_host(target) {
            Ok(lower) => lower,
            // Nothing of the host is hidden.
            Err(Errno::NOENT) => continue,
            Err(errno) => return Err(failure(target, errno)),
        };
        let mut search = Search {
            hidden: Vec::new(),
            deadline,
        };
        let complete = search.run(&upper, &lower);
        let complete = complete.map_err(|errno| failure(&plan.place(target), errno))?;
        search
            .hidden
            .sort_by(|one, other| one.path.cmp(&other.path));
        all.push(Overlaid {
            target: target.clone(),
            hidden: search.hidden,
            complete,
        });
    }
    Ok(all)
}

struct Search {
    hidden: Vec<Hidden>,
    deadline: Instant,
}

impl Search {
    /// Examines a folder with all that is below it. Returns false if there was not enough time.
    fn run(&mut self, upper: &OwnedFd, lower: &OwnedFd) -> Result<bool, Errno> {
        // Paths, not descriptors: there may be any number of folders.
        let mut waiting = VecDeque::from([PathBuf::new()]);
        while let Some(path) = waiting.pop_front() {
            let (Some(above), Some(below)) = (find(upper, &path)?, find(lower, &path)?) else {
                continue;
            };
            for entry in Dir::new(above.try_clone().map_err(|_| Errno::MFILE)?)? {
                let entry = entry?;
                let name = OsStr::from_bytes(entry.file_name().to_bytes());
                if name == "." || name == ".." {
                    continue;
                }
                if Instant::now() >= self.deadline {
                    return Ok(false);
                }
                let path = path.join(name);
                if self.compare(above.as_fd(), below.as_fd(), name, &path)? {
                    waiting.push_back(path);
                }
            }
        }
        Ok(true)
    }

    /// Examines one name. Returns whether it is a folder on both sides whose contents are merged.
    fn compare(
        &mut self,
        upper: BorrowedFd<'_>,
        lower: BorrowedFd<'_>,
        name: &OsStr,
        path: &Path,
    ) -> Result<bool, Errno> {
        let (Some(own), Some(host)) = (look(upper, name)?, look(lower, name)?) else {
            // Removed meanwhile, or the tenant's alone.
            return Ok(false);
        };
        let (kind, host_kind) = (kind(&own), kind(&host));
        let is_whiteout =
            kind == FileType::CharacterDevice && (own.stx_rdev_major, own.stx_rdev_minor) == (0, 0);
        let is_folder = kind == FileType::Directory && host_kind == FileType::Directory;
        if is_folder && !is_opaque(upper, name)? {
            return Ok(true);
        }
        let done = if is_whiteout {
            Done::Deleted
        } else if is_folder {
            Done::Replaced
        } else if kind == host_kind
            && own.stx_size == host.stx_size
            && modified(&own) == modified(&host)
        {
            // The kernel copies the time too, and each write changes it.
            Done::Frozen
        } else {
            Done::Changed
        };
        self.hidden.push(Hidden {
            path: path.to_owned(),
            done,
            // What a package installs has the time at which the package was built: only the time
            // of the last change of the inode says when it came here.
            newer: changed(&host) > copied(&own),
        });
        Ok(false)
    }
}

/// Opens a folder below another one; `None` if it is none, or was removed.
fn find(root: &OwnedFd, path: &Path) -> Result<Option<OwnedFd>, Errno> {
    if path == Path::new("") {
        return open_folder(root.as_fd(), ".").map(Some);
    }
    let found = openat2(
        root,
        path,
        OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC,
        Mode::empty(),
        ResolveFlags::BENEATH | ResolveFlags::NO_SYMLINKS | ResolveFlags::NO_XDEV,
    );
    match found {
        Ok(found) => Ok(Some(found)),
        // A mount in it is not part of an overlay.
        Err(Errno::NOENT | Errno::NOTDIR | Errno::LOOP | Errno::XDEV | Errno::NAMETOOLONG) => {
            Ok(None)
        }
        Err(errno) => Err(errno),
    }
}

fn look(folder: BorrowedFd<'_>, name: &OsStr) -> Result<Option<Statx>, Errno> {
    let flags = AtFlags::SYMLINK_NOFOLLOW | AtFlags::NO_AUTOMOUNT;
    let wanted = StatxFlags::BASIC_STATS | StatxFlags::BTIME;
    match statx(folder, name, flags, wanted) {
        Ok(found) => Ok(Some(found)),
        Err(Errno::NOENT) => Ok(None),
        Err(errno) => Err(errno),
    }
}

fn kind(found: &Statx) -> FileType {
    FileType::from_raw_mode(found.stx_mode.into())
}

type Time = (i64, u32);

fn modified(found: &Statx) -> Time {
    (found.stx_mtime.tv_sec, found.stx_mtime.tv_nsec)
}

fn changed(found: &Statx) -> Time {
    (found.stx_ctime.tv_sec, found.stx_ctime.tv_nsec)
}

/// When a file came into the datastore; if the filesystem does not keep that, its last change.
fn copied(found: &Statx) -> Time {
    match found.stx_mask & StatxFlags::BTIME.bits() != 0 {
        true => (found.stx_btime.tv_sec, found.stx_btime.tv_nsec),
        false => changed(found),
    }
}

fn is_opaque(folder: BorrowedFd<'_>, name: &OsStr) -> Result<bool, Errno> {
    let folder = match open_folder(folder, name) {
        Ok(folder) => folder,
        Err(Errno::NOENT | Errno::NOTDIR | Errno::LOOP) => return Ok(false),
        Err(errno) => return Err(errno),
    };
    let mut value = [0_u8; 1];
    match fgetxattr(&folder, OPAQUE, &mut value) {
        Ok(_) => Ok(value == *b"y"),
        Err(Errno::NODATA | Errno::OPNOTSUPP | Errno::RANGE) => Ok(false),
        Err(errno) => Err(errno),
    }
}
