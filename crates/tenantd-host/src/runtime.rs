//! The runtime folder of an application, `/run/tenantd/APP`, and the lock that allows one
//! supervisor per application.
//!
//! Others may enter the folder but not list it (0711), because a tenant's program that sees it must
//! find the link to its notify socket in it. Files that others must not reach have restrictive permissions of their own.

use std::fs::{self, DirBuilder, File, OpenOptions};
use std::io::{self, Read, Seek, Write};
use std::os::fd::{AsFd, BorrowedFd};
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt, PermissionsExt};
use std::path::{Path, PathBuf};
use std::time::Duration;

use rustix::fs::{FlockOperation, flock};

use crate::crash;
use tenantd_core::layout;
use tenantd_core::name::{AppName, TenantName};
use tenantd_core::stage::Failure;

use super::claim;
use super::failures;
use super::inherited::{Inherited, is_file};

/// The folder that holds the runtime folders of all applications.
pub const ROOT: &str = layout::RUNTIME;

/// How often, and with which pause, the lock of a dead supervisor is tried again. Until it executes
/// its program, the child of a launch has copies of all the supervisor's descriptors, including
/// this lock. If the supervisor is killed at that moment, its lock outlives it by some
/// milliseconds, or by much more on a host under load.
const PATIENCE: (u32, Duration) = (500, Duration::from_millis(10));
pub use layout::STATE_FILE;

/// The name of the link to a tenant's notify socket.
const NOTIFY: &str = crate::notify::SOCKET;

/// The name of the lock among the inherited descriptors.
pub const LOCK: &str = "lock";

/// Why the runtime folder cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum RuntimeError {
    /// Another supervisor runs this application.
    #[error(
        "{app}: a supervisor is already running (process {holder}): stop it, or see `tenantd \
         status --app {app}`"
    )]
    Taken {
        /// The application.
        app: AppName,
        /// The process ID that the holder wrote into the lock file.
        holder: String,
    },
    /// The unused claims of datastores could not be removed.
    #[error(transparent)]
    Claims(#[from] Failure),
    /// A file or folder could not be made, opened or removed.
    #[error("cannot {attempt} {}{}", path.display(), root_hint(source))]
    Io {
        /// The attempted operation, as a verb.
        attempt: &'static str,
        /// The file or folder.
        path: PathBuf,
        /// The error of the operating system.
        source: io::Error,
    },
}

fn root_hint(source: &io::Error) -> &'static str {
    match source.kind() {
        io::ErrorKind::PermissionDenied => " (running tenants needs root: try again with sudo)",
        _ => "",
    }
}

impl RuntimeError {
    fn io(attempt: &'static str, path: &Path) -> impl FnOnce(io::Error) -> Self {
        let path = path.to_owned();
        move |source| Self::Io {
            attempt,
            path,
            source,
        }
    }
}

/// The runtime folder of `app`.
#[must_use]
pub fn folder(app: &AppName) -> PathBuf {
    layout::folder(app)
}

/// Tenants, and the paths of entries whose names are not valid tenant names.
pub type Named = (Vec<TenantName>, Vec<PathBuf>);

/// The tenants that have an entry in a folder. Only entries for which `counts` returns true count.
///
/// # Errors
/// Those of reading the folder.
pub fn tenants_in(folder: &Path, counts: impl Fn(&fs::DirEntry) -> bool) -> io::Result<Named> {
    let (mut tenants, mut strangers) = (Vec::new(), Vec::new());
    for entry in fs::read_dir(folder)? {
        let entry = entry?;
        let name = entry.file_name();
        match name.to_str().and_then(|name| name.parse().ok()) {
            _ if !counts(&entry) => {}
            Some(tenant) => tenants.push(tenant),
            None => strangers.push(entry.path()),
        }
    }
    Ok((tenants, strangers))
}

/// The runtime folder, locked by this supervisor until this value is dropped.
#[derive(Debug)]
pub struct Runtime {
    folder: PathBuf,
    lock: File,
}

impl Runtime {
    /// Makes the folder and takes its lock (flock(2)). An inherited lock is held already.
    ///
    /// # Errors
    /// If another supervisor holds the lock, or a folder or the lock file cannot be made.
    pub fn take(app: &AppName, inherited: &mut Inherited) -> Result<Self, RuntimeError> {
        let folder = folder(app);
        let path = folder.join("lock");
        let is_it = |fd: BorrowedFd<'_>| is_file(fd, &path).unwrap_or(false);
        if let Some(lock) = inherited.claim(LOCK, is_it) {
            let lock = File::from(lock);
            return Ok(Self { folder, lock });
        }
        let (mut tries, pause) = PATIENCE;
        loop {
            make_folder(Path::new(ROOT), 0o755)?;
            make_folder(&folder, 0o711)?;
            let Some(mut lock) =
                open_lock(&path).map_err(RuntimeError::io("open the lock", &path))?
            else {
                // A supervisor that is exiting removed the folder meanwhile.
                continue;
            };
            match flock(&lock, FlockOperation::NonBlockingLockExclusive) {
                Ok(()) => {}
                Err(rustix::io::Errno::WOULDBLOCK) => {
                    let mut holder = String::new();
                    lock.read_to_string(&mut holder)
                        .map_err(RuntimeError::io("read the lock", &path))?;
                    let holder = holder.trim_end().to_owned();
                    if tries == 0 || is_alive(&holder) {
                        let app = app.clone();
                        return Err(RuntimeError::Taken { app, holder });
                    }
                    tries -= 1;
                    std::thread::sleep(pause);
                    continue;
                }
                Err(errno) => {
                    return Err(RuntimeError::io("lock", &path)(errno.into()));
                }
            }
            if !is_file(lock.as_fd(), &path).map_err(RuntimeError::io("look at the lock", &path))? {
                // Its last holder removed it between our open and our lock.
                continue;
            }
            write_holder(&mut lock).map_err(RuntimeError::io("write the lock", &path))?;
            make_folder(&folder.join("tenants"), 0o700)?;
            return Ok(Self { folder, lock });
        }
    }

    /// The lock's descriptor, for a handoff.
    #[must_use]
    pub fn lock(&self) -> BorrowedFd<'_> {
        self.lock.as_fd()
    }

    /// Removes the folder and releases the lock. Other files in the folder are kept, and the folder
    /// with them.
    ///
    /// # Errors
    /// If the folder is not empty, or something cannot be removed.
    pub fn remove(self) -> Result<(), RuntimeError> {
        let tenants = self.folder.join("tenants");
        fs::remove_dir(&tenants).map_err(RuntimeError::io("remove", &tenants))?;
        crash::point("finish: tenants' folder gone", "");
        let collectors = of_collectors(&self.folder)?;
        let own = [STATE_FILE, NOTIFY].map(str::to_owned);
        for name in collectors.into_iter().chain(own) {
            let path = self.folder.join(name);
            match fs::remove_file(&path) {
                Err(error) if error.kind() != io::ErrorKind::NotFound => {
                    return Err(RuntimeError::io("remove", &path)(error));
                }
                Ok(()) | Err(_) => {}
            }
        }
        crash::point("finish: state file gone", "");
        remove_sockets(&self.folder)?;
        remove_failures(&self.folder)?;
        let path = self.folder.join("lock");
        // Remove the file while the lock is held, so that a process that waits for it notices.
        fs::remove_file(&path).map_err(RuntimeError::io("remove", &path))?;
        match fs::remove_dir(&self.folder) {
            // The next supervisor has started meanwhile, and uses the folder.
            Err(error) if error.kind() == io::ErrorKind::DirectoryNotEmpty && path.exists() => {}
            other => other.map_err(RuntimeError::io("remove", &self.folder))?,
        }
        drop(self.lock);
        crash::point("finish: folder gone", "");
        claim::sweep()?;
        // Shared with other applications: only the last one can remove them.
        let sockets = layout::sockets("");
        let shared = [Path::new(ROOT).join("locks"), sockets, PathBuf::from(ROOT)];
        for folder in shared {
            match fs::remove_dir(&folder) {
                Ok(()) => {}
                Err(error)
                    if matches!(
                        error.kind(),
                        io::ErrorKind::NotFound | io::ErrorKind::DirectoryNotEmpty
                    ) => {}
                Err(error) => return Err(RuntimeError::io("remove", &folder)(error)),
            }
        }
        Ok(())
    }
}

/// The names of the sockets and FIFOs of the log collectors.
fn of_collectors(folder: &Path) -> Result<Vec<String>, RuntimeError> {
    let mut names = Vec::new();
    for entry in fs::read_dir(folder).map_err(RuntimeError::io("read", folder))? {
        let entry = entry.map_err(RuntimeError::io("read", folder))?;
        let name = entry.file_name().into_string();
        names.extend(
            name.ok()
                .filter(|name| layout::of_collector(name).is_some()),
        );
    }
    Ok(names)
}

/// Removes the folder at which tenants see that of their notify socket.
fn remove_sockets(folder: &Path) -> Result<(), RuntimeError> {
    let app = folder.file_name().unwrap_or_default().to_string_lossy();
    let sockets = layout::sockets(&app);
    // Of an earlier version.
    let socket = sockets.join(NOTIFY);
    match fs::remove_file(&socket) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => {
            return Err(RuntimeError::io("remove", &socket)(error));
        }
        Ok(()) | Err(_) => {}
    }
    match fs::remove_dir(&sockets) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => {
            Err(RuntimeError::io("remove", &sockets)(error))
        }
        Ok(()) | Err(_) => Ok(()),
    }
}

fn remove_failures(folder: &Path) -> Result<(), RuntimeError> {
    let name = folder.file_name().unwrap_or_default().to_string_lossy();
    let Ok(app) = name.parse() else {
        return Ok(());
    };
    failures::remove_all(&app).map_err(|(path, error)| RuntimeError::io("remove", &path)(error))
}

fn open_lock(path: &Path) -> io::Result<Option<File>> {
    let opened = OpenOptions::new()
        .read(true)
        .write(true)
        .create(true)
        .truncate(false)
        .mode(0o600)
        .open(path);
    match opened {
        Ok(lock) => Ok(Some(lock)),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
        Err(error) => Err(error),
    }
}

/// Whether a process runs. A zombie, which has no memory, counts as dead. See proc_pid_statm(5).
fn is_alive(pid: &str) -> bool {
    let statm = fs::read_to_string(format!("/proc/{pid}/statm"));
    statm.is_ok_and(|statm| !statm.starts_with("0 "))
}

fn write_holder(lock: &mut File) -> io::Result<()> {
    lock.set_len(0)?;
    lock.rewind()?;
    writeln!(lock, "{}", std::process::id())
}

/// Makes a folder that only root can write to, or sets the permissions of an existing one.
fn make_folder(path: &Path, mode: u32) -> Result<(), RuntimeError> {
    match DirBuilder::new().mode(mode).create(path) {
        Ok(()) => {}
        Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {
            let found = fs::symlink_metadata(path).map_err(RuntimeError::io("look at", path))?;
            if !found.is_dir() {
                let error = io::Error::from_raw_os_error(libc::ENOTDIR);
                return Err(RuntimeError::io("use the folder", path)(error));
            }
        }
        Err(error) => return Err(RuntimeError::io("make the folder", path)(error)),
    }
    // The umask may have removed bits that tenants need.
    fs::set_permissions(path, fs::Permissions::from_mode(mode))
        .map_err(RuntimeError::io("set the permissions of", path))
}
