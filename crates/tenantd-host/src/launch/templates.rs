//! Mounts that are the same for all tenants: the folder `/dev`, `/proc`, and the cover of hidden folders.
//!
//! Each is made once, and a launch attaches a copy of the mount (`OPEN_TREE_CLONE`, open_tree(2)).
//! The copies, but for that of `/proc`, are read-only, so that no tenant can change what the others see. That saves about a
//! third of what a tenant's view of the host costs a launch.
//!
//! Mounts that no two tenants share are made before they are needed: see [`spares`].

mod machine;
mod proc;
pub(super) mod spares;

use std::ffi::CString;
use std::fs::File;
use std::io::{self, Read, Seek};
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, OnceLock, PoisonError};

use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::io::Errno;
use rustix::mount::{OpenTreeFlags, open_tree};

use super::raw;
use super::tmpfs::Tmpfs;
use super::trees::READ_ONLY;
use super::view::own;
use crate::targets::table;
use spares::{Kind, Spares, Used};
use tenantd_core::stage::{Failure, Stage};

/// Copies a mount that is open.
const CLONE: OpenTreeFlags = OpenTreeFlags::OPEN_TREE_CLONE
    .union(OpenTreeFlags::OPEN_TREE_CLOEXEC)
    .union(OpenTreeFlags::AT_EMPTY_PATH);

/// How many launches may have given back what is not closed yet.
const USED_MAX: usize = 8;

/// The mounts that launches share, and those that are made for the next one.
#[derive(Debug, Default)]
pub struct MountTemplates {
    shared: Arc<Shared>,
    spares: Spares,
    /// What launches have used, see [`MountTemplates::give_back`].
    used: Mutex<Vec<Used>>,
}

/// The mounts that launches share. They belong to the mount namespace of the thread that launches
/// first.
#[derive(Debug, Default)]
struct Shared {
    dev: OnceLock<OwnedFd>,
    cover: OnceLock<OwnedFd>,
    hiding_proc: OnceLock<Option<OwnedFd>>,
    hosts_proc: OnceLock<Option<OwnedFd>>,
    cgroups: Mutex<Option<CgroupMounts>>,
}

impl MountTemplates {
    /// Those of rehearsals: the same that launches share, and no others. What a rehearsal uses is closed with the
    /// result: drop that when its outcome is told, since it takes as long as a fifth of the rehearsal.
    #[must_use]
    pub fn for_rehearsals(&self) -> Self {
        Self {
            shared: Arc::clone(&self.shared),
            ..Self::default()
        }
    }

    /// Has what a rehearsal has used, and closes what the one before has used.
    pub(super) fn hold(&self, used: Used) {
        let _before = std::mem::replace(&mut *self.used(), vec![used]);
    }

    /// A read-only `/dev`, see [`own::device_folder`].
    pub(super) fn dev(&self) -> Result<OwnedFd, Errno> {
        copy(&self.shared.dev, || {
            let tree = own::device_folder()?;
            raw::mount_setattr(tree.as_fd(), &READ_ONLY)?;
            Ok(tree)
        })
    }

    /// A cover, see [`Tmpfs::cover`].
    fn cover(&self) -> Result<OwnedFd, Errno> {
        copy(&self.shared.cover, || Tmpfs::cover().mount())
    }

    /// Has what a launch has used, until [`replenish`](Self::replenish).
    pub fn give_back(&self, used: Used) {
        self.used().push(used);
    }

    /// Makes for the next launch what one has taken, and closes the mounts of all that were given back. Takes as long
    /// as a tenth of a launch for each: call it when their programs run.
    /// What cannot be made, the next launch makes for itself, and says why if it cannot.
    pub fn replenish(&self) {
        let mut used = std::mem::take(&mut *self.used());
        let Some(Used {
            kinds,
            mounts,
            namespace,
        }) = used.pop()
        else {
            return;
        };
        drop((mounts, namespace, used));
        self.spares.replenish(&kinds, || self.cover());
    }

    /// The same before a launch, if several are waiting: each has some twenty descriptors, and of a thousand launches
    /// at a time, those that are yet to be made would have no descriptors.
    pub(super) fn replenish_if_many(&self) {
        if self.used().len() >= USED_MAX {
            self.replenish();
        }
    }

    fn used(&self) -> std::sync::MutexGuard<'_, Vec<Used>> {
        // No code panics while the lock is held.
        self.used.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The mounts of `/proc`, with their paths: see [`proc`].
    ///
    /// # Errors
    /// A [`Failure`] of stage own.
    pub(super) fn proc(&self, hides: bool) -> Result<Vec<(PathBuf, OwnedFd)>, Failure> {
        let made = match hides {
            true => &self.shared.hiding_proc,
            false => &self.shared.hosts_proc,
        };
        let whole = match made.get() {
            Some(whole) => whole,
            None => {
                let new = proc::whole(hides)?;
                made.get_or_init(|| new)
            }
        };
        let Some(whole) = whole else {
            return proc::parts(hides);
        };
        match open_tree(whole, c"", CLONE.union(OpenTreeFlags::AT_RECURSIVE)) {
            Err(Errno::INVAL) => proc::parts(hides),
            copied => {
                let copied = copied.map_err(proc::failed(Path::new(proc::PROC)))?;
                Ok(vec![(PathBuf::from(proc::PROC), copied)])
            }
        }
    }

    /// The mount points of the cgroup file systems of the host. The mount table is read again only if it has
    /// changed.
    ///
    /// # Errors
    /// A [`Failure`] of stage propagation.
    pub(super) fn cgroups(&self) -> Result<Vec<CString>, Failure> {
        let read = || {
            let known = self.shared.cgroups.lock();
            let mut known = known.unwrap_or_else(PoisonError::into_inner);
            let table = match known.take() {
                Some(table) => table.refreshed()?,
                None => CgroupMounts::read()?,
            };
            Ok(known.insert(table).points.clone())
        };
        read().map_err(|error: io::Error| {
            let errno = error.raw_os_error().unwrap_or(libc::EIO);
            Failure::errno(Stage::Propagation, MOUNT_TABLE, errno)
        })
    }
}

/// The mounts that a launch takes from those made before.
pub(super) struct Taken<'a> {
    /// Where it takes them from.
    pub(super) templates: &'a MountTemplates,
    /// Those that it has taken.
    pub(super) kinds: Vec<Kind>,
}

impl<'a> Taken<'a> {
    pub(super) fn none(templates: &'a MountTemplates) -> Self {
        Self {
            templates,
            kinds: Vec::new(),
        }
    }

    /// A mount of this kind, which no other launch has.
    pub(super) fn own(&mut self, kind: Kind) -> Result<OwnedFd, Errno> {
        self.kinds.push(kind);
        let templates = self.templates;
        templates.spares.take(kind, || templates.cover())
    }
}

/// The file systems of cgroups(7), version 1 and 2.
const CGROUPS: [&[u8]; 2] = [b"cgroup", b"cgroup2"];

/// The mount table of the calling thread.
const MOUNT_TABLE: &str = "/proc/thread-self/mountinfo";

/// The mount points of the cgroup file systems, and the table in which they were found.
#[derive(Debug)]
struct CgroupMounts {
    table: File,
    points: Vec<CString>,
}

impl CgroupMounts {
    fn read() -> io::Result<Self> {
        let table = File::open(MOUNT_TABLE)?;
        let points = cgroup_mounts(&table)?;
        Ok(Self { table, points })
    }

    /// Reads the table again if something was mounted or unmounted since, see proc_pid_mounts(5).
    fn refreshed(mut self) -> io::Result<Self> {
        let now = Timespec::default();
        let changed = PollFlags::PRI | PollFlags::ERR;
        let mut polled = [PollFd::new(&self.table, changed)];
        poll(&mut polled, Some(&now))?;
        let [is_changed] = polled.map(|table| table.revents().intersects(changed));
        if is_changed {
            self.points = cgroup_mounts(&self.table)?;
        }
        Ok(self)
    }
}

fn cgroup_mounts(mut table: &File) -> io::Result<Vec<CString>> {
    let mut text = Vec::new();
    table.rewind()?;
    table.read_to_end(&mut text)?;
    let lines = text.split(|byte| *byte == b'\n');
    let points = lines.filter_map(|line| table::mount_of(line, &CGROUPS));
    let points = points.filter_map(|point| CString::new(point.as_os_str().as_bytes()).ok());
    Ok(points.collect())
}

/// Copies the mount, which is made if it is missing.
fn copy(
    made: &OnceLock<OwnedFd>,
    make: impl Fn() -> Result<OwnedFd, Errno>,
) -> Result<OwnedFd, Errno> {
    let first = match made.get() {
        Some(first) => first,
        None => {
            let new = make()?;
            made.get_or_init(|| new)
        }
    };
    match open_tree(first, c"", CLONE) {
        // Before Linux 6.15 a mount that is not attached cannot be copied.
        Err(Errno::INVAL) => make(),
        copied => copied,
    }
}
