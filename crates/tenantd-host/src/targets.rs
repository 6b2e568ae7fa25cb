//! The mount targets of a launch: which folders of the host its mounts hang on, whether the mounts
//! are still there, and a watch that tells when the host takes one of these folders away.
//!
//! A mount hangs on the folder that it covers, in every mount namespace. If the host removes that
//! folder, the kernel detaches the mount in all namespaces; if the host renames it or a folder above
//! it, the mount moves along. Both happen in silence, see rmdir(2), rename(2) and inotify(7).
//!
//! Only the outermost targets matter: a mount inside another one hangs on that one.

pub(crate) mod table;
#[cfg(test)]
mod tests;

use std::collections::VecDeque;
use std::fs::File;
use std::io;
use std::mem::MaybeUninit;
use std::os::fd::{BorrowedFd, OwnedFd};
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::sync::Mutex;

use nix::sched::CloneFlags;
use rustix::fs::inotify::{self, CreateFlags, ReadFlags, WatchFlags};
use rustix::fs::{AtFlags, CWD, Mode, OFlags, ResolveFlags, StatxAttributes, StatxFlags};
use rustix::fs::{openat2, statx};
use rustix::io::Errno;

use crate::launch::ready_fd::ReadyFd;
use tenantd_core::plan::model::{DatastorePlan, HostAccess, LaunchPlan, OWN};

pub use table::{MountTable, Sealed};

/// Bytes of the read buffer. An event of a folder has a name of up to 255 bytes.
const BUFFER: usize = 8192;

/// The folders that a launch by this plan mounts something on, and its files, without those inside another
/// one. See [`resolved`].
#[must_use]
pub fn of(launch: &LaunchPlan, datastore: &DatastorePlan) -> Vec<PathBuf> {
    let view = &launch.view;
    let mut all: Vec<PathBuf> = datastore.targets().map(Path::to_owned).collect();
    all.extend(launch.private.iter().cloned());
    all.extend(launch.hidden.iter().cloned());
    all.extend(view.shared.iter().chain(&view.visible).cloned());
    // Those outside of the tenant's own folders are in a union over a folder of the host.
    all.extend(launch.files.iter().map(|file| file.path.clone()));
    if view.host == HostAccess::ReadOnly {
        all.extend(OWN.map(PathBuf::from));
    }
    outermost(all)
}

/// The same as the launch makes them: a tenant's own folder that is a link is made where it leads, and
/// one that the host does not have is not made.
#[must_use]
pub fn resolved(targets: &[PathBuf]) -> Vec<PathBuf> {
    let is_own = |path: &Path| OWN.iter().any(|own| path == Path::new(own));
    let resolved = targets.iter().filter_map(|path| match is_own(path) {
        true => std::fs::canonicalize(path).ok(),
        false => Some(path.clone()),
    });
    outermost(resolved.collect())
}

fn outermost(mut all: Vec<PathBuf>) -> Vec<PathBuf> {
    all.sort();
    let mut outermost: Vec<PathBuf> = Vec::new();
    for path in all {
        // Sorted by parts, so what contains a path comes before it.
        if !outermost.last().is_some_and(|last| path.starts_with(last)) {
            outermost.push(path);
        }
    }
    outermost
}

/// The mount namespace of a process.
#[derive(Debug)]
pub struct MountNamespace {
    file: File,
    inode: u64,
}

impl MountNamespace {
    /// Opens the mount namespace of a process. `None` if the process has ended.
    ///
    /// # Errors
    /// Those of open(2) on `/proc/PID/ns/mnt`.
    pub fn of(pid: i32) -> io::Result<Option<Self>> {
        let opened = File::open(format!("/proc/{pid}/ns/mnt"));
        match opened.and_then(|file| Ok((file.metadata()?.ino(), file))) {
            Ok((inode, file)) => Ok(Some(Self { file, inode })),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
            Err(error) => match error.raw_os_error() {
                Some(libc::ESRCH) => Ok(None),
                Some(_) | None => Err(error),
            },
        }
    }

    /// Its inode, which no other mount namespace has as long as this one exists.
    #[must_use]
    pub fn inode(&self) -> u64 {
        self.inode
    }

    /// The calling thread enters the namespace and can never be used for anything else: call it in
    /// [`on_own_thread`].
    pub(crate) fn enter(&self) -> io::Result<()> {
        Ok(nix::sched::setns(&self.file, CloneFlags::CLONE_NEWNS)?)
    }
}

/// What to do in a mount namespace.
#[derive(Debug)]
pub struct Visit {
    /// The namespace.
    pub namespace: MountNamespace,
    /// Whether to make what the host has mounted since the launch read-only there.
    pub seal: bool,
}

/// What a [`Visit`] found.
#[derive(Debug)]
pub struct Visited {
    /// The targets that are not mount points, and the files that are in no union.
    pub unmounted: Vec<PathBuf>,
    /// The mounts that were made read-only, or could not be.
    pub sealed: Vec<Sealed>,
}

impl Visit {
    fn run(&self, proc: &OwnedFd, targets: &[PathBuf]) -> io::Result<Visited> {
        self.namespace.enter()?;
        let mut unmounted = Vec::new();
        for target in targets {
            if !is_mount_point(target)? && !is_in_union(target)? {
                unmounted.push(target.clone());
            }
        }
        let sealed = match self.seal {
            true => table::seal(proc, targets)?,
            false => Vec::new(),
        };
        Ok(Visited { unmounted, sealed })
    }
}

/// Looks in each namespace which of these targets are mount points. Blocks, also if a filesystem of
/// the host hangs.
///
/// # Errors
/// Those of pthread_create(3) and unshare(2); for each namespace those of setns(2), openat2(2) and
/// statx(2).
pub fn visit(visits: &[Visit], targets: &[PathBuf]) -> io::Result<Vec<io::Result<Visited>>> {
    let proc = table::proc()?;
    on_own_thread(|| visits.iter().map(|it| it.run(&proc, targets)).collect())
}

/// Runs work that enters mount namespaces: on a thread that ends afterwards, with a root and working
/// directory of its own.
///
/// # Errors
/// Those of pthread_create(3) and unshare(2).
pub(crate) fn on_own_thread<T: Send>(work: impl FnOnce() -> T + Send) -> io::Result<T> {
    std::thread::scope(|scope| {
        let thread = std::thread::Builder::new().name("mounts".to_owned());
        let running = thread.spawn_scoped(scope, || {
            // Otherwise setns(2) would refuse, because all threads share their root.
            nix::sched::unshare(CloneFlags::CLONE_FS)?;
            Ok(work())
        })?;
        running
            .join()
            .unwrap_or_else(|panic| std::panic::resume_unwind(panic))
    })
}

/// Whether a path of the calling thread's namespace is a mount point. A path that does not exist is
/// none.
fn is_mount_point(path: &Path) -> io::Result<bool> {
    let found = openat2(
        CWD,
        path,
        OFlags::PATH | OFlags::CLOEXEC,
        Mode::empty(),
        ResolveFlags::NO_SYMLINKS | ResolveFlags::NO_MAGICLINKS,
    );
    let found = match found {
        Ok(found) => found,
        Err(Errno::NOENT | Errno::NOTDIR | Errno::LOOP) => return Ok(false),
        Err(errno) => return Err(errno.into()),
    };
    let flags = AtFlags::EMPTY_PATH | AtFlags::STATX_DONT_SYNC;
    let found = statx(&found, c"", flags, StatxFlags::empty())?;
    Ok(found.stx_attributes.contains(StatxAttributes::MOUNT_ROOT))
}

/// Whether a path of the calling thread's namespace is a file in a union, which is mounted on one of the
/// folders above it.
fn is_in_union(path: &Path) -> io::Result<bool> {
    use rustix::fs::{FileType, lstat, statfs};
    match lstat(path) {
        Ok(found) if FileType::from_raw_mode(found.st_mode) == FileType::RegularFile => {}
        Ok(_) | Err(Errno::NOENT | Errno::NOTDIR) => return Ok(false),
        Err(errno) => return Err(errno.into()),
    }
    let parent = path.parent().unwrap_or(Path::new("/"));
    for folder in parent.ancestors().filter(|it| it.parent().is_some()) {
        if is_mount_point(folder)? && statfs(folder)?.f_type == libc::OVERLAYFS_SUPER_MAGIC {
            return Ok(true);
        }
    }
    Ok(false)
}

/// What is watched of a folder.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Scope {
    /// Its own removal and renaming.
    Itself,
    /// Also the removal and replacement of what is in it.
    Entries,
    /// Also what appears in it.
    NewEntries,
    /// Also what is written in it.
    Written,
}

impl Scope {
    fn flags(self) -> WatchFlags {
        let itself = WatchFlags::MOVE_SELF | WatchFlags::DELETE_SELF | WatchFlags::DONT_FOLLOW;
        // A removed folder that a process still uses is reported only by the folder above it.
        let entries = itself | WatchFlags::DELETE | WatchFlags::MOVED_TO;
        match self {
            // The same folder may be watched as one that contains another target.
            Self::Itself => itself | WatchFlags::MASK_ADD,
            Self::Entries => entries,
            Self::NewEntries => entries | WatchFlags::CREATE,
            Self::Written => entries | WatchFlags::CREATE | WatchFlags::CLOSE_WRITE,
        }
    }
}

/// The folders to watch for a target: itself and those above it, or, if it does not exist, the
/// nearest one that does and those above that.
#[must_use]
pub fn chain(target: &Path) -> Vec<(PathBuf, Scope)> {
    let exists = |path: &&Path| rustix::fs::lstat(*path).is_ok();
    let found = target.ancestors().skip_while(|path| !exists(path));
    let scopes = std::iter::once(Scope::Itself).chain(std::iter::repeat(Scope::Entries));
    found.map(Path::to_owned).zip(scopes).collect()
}

/// A change that [`HostWatch`] has seen.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Change {
    /// The watched folder was renamed.
    Renamed(i32),
    /// The watched folder was removed.
    Removed(i32),
    /// Something in the watched folder was removed, replaced or made.
    Entry(i32, PathBuf),
    /// The number is not watched any longer.
    Unwatched(i32),
    /// Changes were lost: anything may have changed.
    Overflow,
}

impl Change {
    /// The number of the watch that has seen it.
    #[must_use]
    pub fn number(&self) -> Option<i32> {
        match self {
            Self::Renamed(number)
            | Self::Removed(number)
            | Self::Entry(number, _)
            | Self::Unwatched(number) => Some(*number),
            Self::Overflow => None,
        }
    }
}

/// Whether a folder can be watched now.
///
/// # Errors
/// Those of inotify_init(2), such as `EMFILE`, and of inotify_add_watch(2), such as `ENOSPC`.
pub fn probe() -> Result<(), Errno> {
    let fd = inotify::init(CreateFlags::CLOEXEC)?;
    inotify::add_watch(&fd, "/", Scope::Itself.flags()).map(drop)
}

/// Watches folders of the host, each once, with one inotify(7) instance.
#[derive(Debug)]
pub struct HostWatch {
    inotify: ReadyFd,
    changes: Mutex<VecDeque<Change>>,
}

impl HostWatch {
    /// Makes a watch without folders, on the current tokio runtime.
    ///
    /// # Errors
    /// Those of inotify_init(2) and epoll_ctl(2).
    ///
    /// # Panics
    /// Outside a tokio runtime.
    pub fn new() -> io::Result<Self> {
        let fd = inotify::init(CreateFlags::CLOEXEC | CreateFlags::NONBLOCK)?;
        Ok(Self {
            inotify: ReadyFd::new(fd)?,
            changes: Mutex::default(),
        })
    }

    /// Watches a folder. Returns its number: the same one for the same folder by another path.
    ///
    /// # Errors
    /// Those of inotify_add_watch(2): `ENOSPC` if the user has too many watches.
    pub fn add(&self, path: &Path, scope: Scope) -> Result<i32, Errno> {
        inotify::add_watch(&self.inotify, path, scope.flags())
    }

    /// Ends the watch with this number.
    ///
    /// # Errors
    /// Those of inotify_rm_watch(2), except that there is none.
    pub fn remove(&self, number: i32) -> Result<(), Errno> {
        match inotify::remove_watch(&self.inotify, number) {
            // The kernel has removed it with the folder.
            Ok(()) | Err(Errno::INVAL) => Ok(()),
            Err(errno) => Err(errno),
        }
    }

    /// Waits for changes, and returns all that have happened. Cancelling this loses nothing.
    ///
    /// # Errors
    /// Those of reading an inotify(7) instance.
    pub async fn next(&self) -> io::Result<Vec<Change>> {
        loop {
            self.inotify.read_with(|fd| self.take_in(fd)).await?;
            let changes: Vec<Change> = self.changes().drain(..).collect();
            if !changes.is_empty() {
                return Ok(changes);
            }
        }
    }

    fn changes(&self) -> std::sync::MutexGuard<'_, VecDeque<Change>> {
        // No code panics while the lock is held.
        let changes = self.changes.lock();
        changes.unwrap_or_else(std::sync::PoisonError::into_inner)
    }

    fn take_in(&self, fd: BorrowedFd<'_>) -> Result<(), Errno> {
        let mut buffer = [MaybeUninit::uninit(); BUFFER];
        let mut reader = inotify::Reader::new(fd, &mut buffer);
        let mut changes = self.changes();
        loop {
            let event = reader.next()?;
            let (flags, number) = (event.events(), event.wd());
            changes.extend(match event.file_name() {
                _ if flags.contains(ReadFlags::QUEUE_OVERFLOW) => Some(Change::Overflow),
                _ if flags.contains(ReadFlags::MOVE_SELF) => Some(Change::Renamed(number)),
                _ if flags.contains(ReadFlags::DELETE_SELF) => Some(Change::Removed(number)),
                _ if flags.contains(ReadFlags::IGNORED) => Some(Change::Unwatched(number)),
                Some(name) => {
                    use std::os::unix::ffi::OsStrExt;
                    let name = std::ffi::OsStr::from_bytes(name.to_bytes());
                    Some(Change::Entry(number, name.into()))
                }
                None => None,
            });
            if reader.is_buffer_empty() {
                return Ok(());
            }
        }
    }
}
