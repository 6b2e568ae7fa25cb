//! The socket to which a tenant's program sends notices, see sd_notify(3).
//!
//! It lies in a folder of the host that only root reaches, and that is bound into the tenant: so only the
//! tenant's processes can send to it. See [`inbox`](crate::inbox).

use std::fs::DirBuilder;
use std::io;
use std::os::unix::fs::{DirBuilderExt, PermissionsExt, symlink};
use std::path::{Path, PathBuf};

use crate::fifo;
use crate::inbox::{self, Descriptors, Inbox};
use tenantd_core::layout;
use tenantd_core::name::{AppName, TenantName};
use tenantd_core::stage::{Failure, Stage};

/// The name of the socket in its folder.
pub const SOCKET: &str = "notify";

/// The folder of a tenant's socket, which contains nothing else. The tenant sees it, read-only, at
/// [`sockets`](tenantd_core::layout::sockets).
#[must_use]
pub fn folder(app: &AppName, tenant: &TenantName) -> PathBuf {
    fifo::folder(app, tenant).join("notify")
}

/// Makes what tenants need that see the host's `/run`: the mount point of the folder, and a link to the
/// socket at the path in `NOTIFY_SOCKET`. On the host, the link leads nowhere.
///
/// # Errors
/// What mkdir(2), chmod(2), unlink(2) or symlink(2) reports.
pub fn make_mount_point(app: &AppName) -> io::Result<()> {
    let folder = layout::sockets(app.as_str());
    for made in [folder.parent().unwrap_or(&folder), &folder] {
        match DirBuilder::new().mode(0o711).create(made) {
            Err(error) if error.kind() != io::ErrorKind::AlreadyExists => return Err(error),
            Ok(()) | Err(_) => {}
        }
        // The umask may have removed bits that tenants need.
        std::fs::set_permissions(made, std::fs::Permissions::from_mode(0o711))?;
    }
    // An earlier version has a socket at both paths.
    let socket = folder.join(SOCKET);
    let link = layout::notify_socket(app);
    for path in [&socket, &link] {
        match std::fs::remove_file(path) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
            Ok(()) | Err(_) => {}
        }
    }
    symlink(socket, link)
}

/// Makes a tenant's socket, and its folder, in the folder of its pipes. Replaces an older socket.
///
/// # Errors
/// The stage [`Stage::Visible`], with the path and the errno.
pub fn bind(app: &AppName, tenant: &TenantName) -> Result<Inbox, Failure> {
    let folder = folder(app, tenant);
    inbox::make_folder(&folder)
        .map_err(io::Error::from)
        .and_then(|()| Inbox::bind(&folder, SOCKET, Descriptors::Accepted))
        .map_err(failed(&folder))
}

/// Removes a tenant's folder and socket. Succeeds if they do not exist.
///
/// # Errors
/// The stage [`Stage::Log`], with the path and the errno.
pub fn remove(app: &AppName, tenant: &TenantName) -> Result<(), Failure> {
    let folder = folder(app, tenant);
    inbox::remove_folder(&folder, SOCKET).map_err(|errno| {
        Failure::errno(
            Stage::Log,
            folder.display().to_string(),
            errno.raw_os_error(),
        )
    })
}

fn failed(path: &Path) -> impl FnOnce(io::Error) -> Failure {
    move |error| {
        let object = path.display().to_string();
        Failure::errno(
            Stage::Visible,
            object,
            error.raw_os_error().unwrap_or(libc::EIO),
        )
    }
}
