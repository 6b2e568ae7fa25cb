//! The pipes of a tenant's output: two FIFOs, see fifo(7).
//!
//! Because they have names, the next supervisor can open them again: the program keeps its ends,
//! and its output stays in the pipe meanwhile. Both sides open a FIFO for reading *and* writing. So
//! the program gets no SIGPIPE while no supervisor runs, because it is a reader itself; and the
//! supervisor gets no hang-up between two launches, because it is a writer itself. epoll(7) would
//! report such a hang-up again and again. This module makes, opens and removes pipes; it never
//! reads or writes them.
//!
//! The kernel discards the content of a FIFO when its last descriptor is closed. The log collector holds one
//! of each, so that the last output of a program stays that ends while no supervisor runs.

use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::path::{Path, PathBuf};

use rustix::fs::{FileType, Gid, Mode, OFlags, Uid};
use rustix::io::Errno;

use crate::crash;
use crate::launch::{LOOKUP_FILES, MACHINE_ID, NAME_FILES};
use crate::{keeper, notify, syslog};
use tenantd_core::layout;
use tenantd_core::name::{AppName, TenantName};
use tenantd_core::stage::{Failure, Stage};

/// The names of the two pipes.
const NAMES: [&str; 2] = ["stdout", "stderr"];

/// The supervisor's ends of a tenant's output: it reads from them, and they do not block.
#[derive(Debug)]
pub struct ReadEnds {
    /// Reads the program's standard output.
    pub stdout: OwnedFd,
    /// Reads the program's standard error.
    pub stderr: OwnedFd,
}

impl ReadEnds {
    /// Both ends, each with the name of its pipe.
    #[must_use]
    pub fn named(&self) -> [(&'static str, BorrowedFd<'_>); 2] {
        let [stdout, stderr] = NAMES;
        [(stdout, self.stdout.as_fd()), (stderr, self.stderr.as_fd())]
    }
}

/// The program's ends of its output, for one launch: it writes to them, and they block when the pipe
/// is full.
#[derive(Debug)]
pub struct WriteEnds {
    /// The program's standard output.
    pub stdout: OwnedFd,
    /// The program's standard error.
    pub stderr: OwnedFd,
}

/// The folder that holds a tenant's pipes.
#[must_use]
pub fn folder(app: &AppName, tenant: &TenantName) -> PathBuf {
    tenants_folder(app).join(tenant.as_str())
}

/// The folder that holds the folders of all tenants.
#[must_use]
pub fn tenants_folder(app: &AppName) -> PathBuf {
    super::runtime::folder(app).join("tenants")
}

/// Remembers how far a tenant's own log files were read. It exists as long as the pipes.
#[must_use]
pub fn positions(app: &AppName, tenant: &TenantName) -> PathBuf {
    folder(app, tenant).join("positions")
}

/// Opens the supervisor's end of the FIFO into which a log collector of an application writes, and
/// makes the FIFO if it does not exist. It does not block.
///
/// # Errors
/// What mknod(2), open(2) or fchmod(2) reports.
pub fn make_collected(app: &AppName, number: u16) -> io::Result<OwnedFd> {
    let made = make_one(&layout::folder(app).join(layout::collected(number)), 0);
    made.map_err(io::Error::other)
}

/// Opens the log collector's end of that FIFO, which blocks while the FIFO is full.
///
/// # Errors
/// What open(2) reports.
pub fn open_collected(app: &AppName, number: u16) -> io::Result<OwnedFd> {
    let opened = open(
        &layout::folder(app).join(layout::collected(number)),
        OFlags::empty(),
    );
    opened.map_err(io::Error::other)
}

/// The tenants of an application that have pipes: provisioned ones, and residue.
///
/// # Errors
/// The stage [`Stage::Log`], with the folder and the errno.
pub fn tenants(app: &AppName) -> Result<Vec<TenantName>, Failure> {
    let folder = tenants_folder(app);
    // Entries with other names were not made by tenantd.
    let (tenants, _strangers) = super::runtime::tenants_in(&folder, |_| true).map_err(|error| {
        let errno = error.raw_os_error().unwrap_or(libc::EIO);
        Failure::errno(Stage::Log, folder.display().to_string(), errno)
    })?;
    Ok(tenants)
}

/// Opens the supervisor's ends of a tenant's pipes, and makes the pipes if they do not exist.
///
/// The pipes belong to `uid`, because a program may open `/dev/stdout` again (nginx does), and the
/// kernel then checks the pipe's permissions, see proc_pid_fd(5).
///
/// # Errors
/// The stage [`Stage::Log`], with the path and the errno.
pub fn make(app: &AppName, tenant: &TenantName, uid: u32) -> Result<ReadEnds, Failure> {
    let own = folder(app, tenant);
    let mut folders: Vec<(&Path, u32)> = own.ancestors().take(4).zip(FOLDER_MODES).collect();
    folders.reverse();
    for (folder, mode) in folders {
        match rustix::fs::mkdir(folder, Mode::from_raw_mode(mode)) {
            Ok(()) => {
                // The umask applies to mkdir(2). An existing folder keeps its permissions.
                rustix::fs::chmod(folder, Mode::from_raw_mode(mode)).map_err(failed(folder))?;
            }
            Err(Errno::EXIST) => {}
            Err(errno) => return Err(failed(folder)(errno)),
        }
    }
    crash::point("pipes: folder made", &own);
    syslog::make_folder(app, tenant)?;
    let [stdout, stderr] = NAMES.map(|name| {
        let made = make_one(&own.join(name), uid);
        crash::point("pipes: one made", &own);
        made
    });
    Ok(ReadEnds {
        stdout: stdout?,
        stderr: stderr?,
    })
}

/// The permissions of a tenant's folder and the three above it, from the bottom up. All users can
/// traverse the application's folder: tenants that see it find the link to their notify socket there.
const FOLDER_MODES: [u32; 4] = [0o700, 0o700, 0o711, 0o755];

fn make_one(path: &Path, uid: u32) -> Result<OwnedFd, Failure> {
    let mode = Mode::RUSR | Mode::WUSR;
    match rustix::fs::mknodat(rustix::fs::CWD, path, FileType::Fifo, mode, 0) {
        Ok(()) | Err(Errno::EXIST) => {}
        Err(errno) => return Err(failed(path)(errno)),
    }
    let fd = open(path, OFlags::NONBLOCK)?;
    let owner = Some(Uid::from_raw(uid));
    rustix::fs::fchown(&fd, owner, Some(Gid::ROOT)).map_err(failed(path))?;
    rustix::fs::fchmod(&fd, mode).map_err(failed(path))?;
    Ok(fd)
}

/// Opens the supervisor's end of one of a tenant's pipes again: `stdout` or `stderr`.
///
/// # Errors
/// What open(2) reports.
pub fn open_read_end(app: &AppName, tenant: &TenantName, name: &str) -> io::Result<OwnedFd> {
    open(&folder(app, tenant).join(name), OFlags::NONBLOCK).map_err(|failure| match failure.errno {
        0 => io::Error::other(failure),
        errno => io::Error::from_raw_os_error(errno),
    })
}

/// Opens the supervisor's ends of a tenant's pipes again.
///
/// # Errors
/// What open(2) reports.
pub fn open_read_ends(app: &AppName, tenant: &TenantName) -> io::Result<ReadEnds> {
    let [stdout, stderr] = NAMES.map(|name| open_read_end(app, tenant, name));
    Ok(ReadEnds {
        stdout: stdout?,
        stderr: stderr?,
    })
}

/// Opens the program's ends for one launch. Each launch needs its own: whether a descriptor blocks
/// belongs to the open file description, and a program may change it (O_NONBLOCK, open(2)).
///
/// # Errors
/// The stage [`Stage::Log`], with the path and the errno.
pub fn open_for_tenant(app: &AppName, tenant: &TenantName) -> Result<WriteEnds, Failure> {
    let own = folder(app, tenant);
    let [stdout, stderr] = NAMES.map(|name| open(&own.join(name), OFlags::empty()));
    Ok(WriteEnds {
        stdout: stdout?,
        stderr: stderr?,
    })
}

fn open(path: &Path, more: OFlags) -> Result<OwnedFd, Failure> {
    let flags = OFlags::RDWR | OFlags::NOFOLLOW | OFlags::CLOEXEC | OFlags::NOCTTY | more;
    let fd = rustix::fs::open(path, flags, Mode::empty()).map_err(failed(path))?;
    let stat = rustix::fs::fstat(&fd).map_err(failed(path))?;
    if FileType::from_raw_mode(stat.st_mode) != FileType::Fifo {
        let what = "the file exists and is not a FIFO";
        return Err(Failure::detail(
            Stage::Log,
            path.display().to_string(),
            what,
        ));
    }
    Ok(fd)
}

/// Removes a tenant's pipes and all else in their folder. Succeeds if they do not exist.
///
/// # Errors
/// The stage [`Stage::Log`], with the path and the errno of the first object that could not be
/// removed. The others are removed nevertheless.
pub fn remove(app: &AppName, tenant: &TenantName) -> Result<(), Failure> {
    let own = folder(app, tenant);
    let mut outcome = syslog::remove(app, tenant).and(notify::remove(app, tenant));
    let positions = positions(app, tenant);
    let names = NAME_FILES.map(|(_, name)| own.join(name));
    let lookup = LOOKUP_FILES.map(|(_, name)| own.join(name));
    let kept = [positions, own.join(MACHINE_ID), own.join(keeper::SOCKET)];
    for path in kept.iter().chain(&names).chain(&lookup) {
        for path in [&path.with_extension("new"), path] {
            outcome = outcome.and(gone(path, rustix::fs::unlink(path)));
        }
    }
    for name in NAMES {
        let path = own.join(name);
        outcome = outcome.and(gone(&path, rustix::fs::unlink(&path)));
        crash::point("pipes: one removed", &own);
    }
    outcome.and(gone(&own, rustix::fs::rmdir(&own)))
}

fn gone(path: &Path, result: rustix::io::Result<()>) -> Result<(), Failure> {
    match result {
        Ok(()) | Err(Errno::NOENT) => Ok(()),
        Err(errno) => Err(failed(path)(errno)),
    }
}

fn failed(path: &Path) -> impl FnOnce(Errno) -> Failure {
    move |errno| Failure::errno(Stage::Log, path.display().to_string(), errno.raw_os_error())
}
