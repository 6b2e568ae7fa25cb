//! A tenant's `/dev/log`: a datagram socket in a folder of the host that is bound into the tenant.
//!
//! Each tenant has a socket of its own, so the socket says whose message it is, even if the sender does
//! not exist any more. A folder is bound, not the socket: a bound socket would refuse all messages once
//! another process has replaced it, and a bound folder shows the new one.
//!
//! The kernel refuses messages with descriptors where it can. Elsewhere they are received, so only the log
//! collector receives, never the supervisor. See [`inbox`](crate::inbox).

use std::path::{Path, PathBuf};

use rustix::io::Errno;

use crate::fifo;
use crate::inbox;
use tenantd_core::name::{AppName, TenantName};
use tenantd_core::stage::{Failure, Stage};

/// The name of the socket in its folder.
pub const SOCKET: &str = "socket";

/// The folder of a tenant's socket, which contains nothing else. The tenant sees it, read-only, at
/// [`LOG`](tenantd_core::layout::LOG), and its `/dev/log` is a link to [`SOCKET`] in it.
///
/// All users may use it, but on the host only root reaches it: the folders above deny all others.
#[must_use]
pub fn folder(app: &AppName, tenant: &TenantName) -> PathBuf {
    fifo::folder(app, tenant).join("log")
}

/// Makes a tenant's folder, in the folder of its pipes.
///
/// # Errors
/// The stage [`Stage::Log`], with the path and the errno.
pub fn make_folder(app: &AppName, tenant: &TenantName) -> Result<(), Failure> {
    let folder = folder(app, tenant);
    inbox::make_folder(&folder).map_err(failed(&folder))
}

/// Removes a tenant's folder and socket. Succeeds if they do not exist.
///
/// # Errors
/// The stage [`Stage::Log`], with the path and the errno.
pub fn remove(app: &AppName, tenant: &TenantName) -> Result<(), Failure> {
    let folder = folder(app, tenant);
    inbox::remove_folder(&folder, SOCKET).map_err(failed(&folder))
}

fn failed(path: &Path) -> impl FnOnce(Errno) -> Failure {
    move |errno| Failure::errno(Stage::Log, path.display().to_string(), errno.raw_os_error())
}
