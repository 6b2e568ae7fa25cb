//! The keeper of a launch: a process outside the tenant from which commands of `exec` reach the tenant's program
//! (`exec_reaches` in the manifest).
//!
//! A Landlock domain cannot be entered, only inherited. So a thread enters an outer domain, and makes both from
//! there: the keeper, and the child of the launch, which enters the domain of the launch one level deeper. What
//! the keeper starts is in the outer domain: it reaches the program, and the program does not reach it. No other
//! launch is in that domain, so neighbours are closed to both.
//!
//! The keeper is this program, on the host, with its privileges. It only starts what a client of root on the
//! host sends it: the file to execute, an order that it does not read, and three streams. It is one of the tenant's
//! visitors, and so ends with the launch. A command that runs as root in the tenant can signal it, and no more; a
//! client waits for an answer of the keeper no longer than [`LIMIT`].

mod client;
mod server;

use std::ffi::OsStr;
use std::io;
use std::os::fd::{AsRawFd, OwnedFd};
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use rustix::fs::{CWD, Mode, OFlags, chmod, openat, unlink};
use rustix::io::Errno;
use rustix::net::{
    AddressFamily, SocketAddrUnix, SocketFlags, SocketType, bind, listen, socket_with,
};

pub use client::{Kept, Offer};
pub use server::asked;

use crate::cgroup::Leaf;
use crate::sealed::ITSELF;

/// The name of its socket, in the folder of the tenant's pipes.
pub const SOCKET: &str = "keeper";

/// The variable with the number of the descriptor of an order, for the process that a keeper starts.
pub const ORDER: &str = "TENANTD_EXEC_ORDER";

/// The variable with the cgroup of a keeper.
const KEEPER: &str = "TENANTD_KEEPER";

/// The longest value of `TERM` that is passed on.
const TERM_MAX: usize = 256;

/// How long either side waits for the other.
const LIMIT: Duration = Duration::from_secs(5);

/// How many clients may wait for it.
const BACKLOG: i32 = 16;

/// A keeper that is to be started.
#[derive(Debug)]
pub(crate) struct Starting {
    listener: OwnedFd,
    cgroup: PathBuf,
}

impl Starting {
    /// Makes its socket in `folder`, in place of a former one, and its cgroup among the visitors.
    ///
    /// # Errors
    /// Those of socket(2), bind(2), chmod(2) and mkdir(2).
    pub(crate) fn prepare(folder: &Path, leaf: &Leaf) -> io::Result<Self> {
        let socket = folder.join(SOCKET);
        match unlink(&socket) {
            Ok(()) | Err(Errno::NOENT) => {}
            Err(errno) => return Err(errno.into()),
        }
        let flags = SocketFlags::CLOEXEC;
        let listener = socket_with(AddressFamily::UNIX, SocketType::STREAM, flags, None)?;
        let (_folder, address) = address(&socket)?;
        bind(&listener, &address)?;
        chmod(&socket, Mode::RUSR | Mode::WUSR)?;
        listen(&listener, BACKLOG)?;
        let cgroup = leaf.make_visitors().map_err(io::Error::other)?.join(SOCKET);
        match std::fs::create_dir(&cgroup) {
            Err(error) if error.kind() != io::ErrorKind::AlreadyExists => return Err(error),
            Ok(()) | Err(_) => {}
        }
        Ok(Self { listener, cgroup })
    }

    /// Starts it, in the Landlock domain of this thread.
    ///
    /// # Errors
    /// Those of [`Command::spawn`].
    pub(crate) fn spawn(&self) -> io::Result<Child> {
        Command::new(ITSELF)
            .arg0("tenantd")
            .arg("keeper")
            .env_clear()
            .env(KEEPER, &self.cgroup)
            .current_dir("/")
            .stdin(self.listener.try_clone()?)
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
    }
}

/// The address of a socket with a path of any length, by its folder, which must stay open.
fn address(socket: &Path) -> io::Result<(OwnedFd, SocketAddrUnix)> {
    let folder = socket.parent().unwrap_or(Path::new("/"));
    let flags = OFlags::PATH | OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    let folder = openat(CWD, folder, flags, Mode::empty())?;
    let name = socket.file_name().unwrap_or(OsStr::new(SOCKET));
    let mut path = PathBuf::from(format!("/proc/self/fd/{}", folder.as_raw_fd()));
    path.push(name);
    Ok((folder, SocketAddrUnix::new(path)?))
}
