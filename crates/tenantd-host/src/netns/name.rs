//! Names for the tenants' network namespaces, so that `ip netns exec` works: a symbolic link each,
//! from `/run/netns/APP-TENANT` through a descriptor of the supervisor in `/proc` to the namespace, which is
//! mounted in the folder that this descriptor is open on, see [`NetnsMounts`].
//!
//! ip-netns(8) itself bind-mounts each namespace to a file. That would add a mount per tenant to
//! the host's mount table, which every new mount namespace copies. A symbolic link needs none. It
//! is valid while the supervisor that made it runs; the next one replaces it.
//!
//! The target of the link is a path through the tenant's folder in `/run/tenantd`. That identifies
//! its owner, and exists as long as the tenant is provisioned. A link with another target is never
//! changed.

use std::fs;
use std::io::{self, ErrorKind};
use std::os::fd::AsRawFd;
use std::os::unix::fs::symlink;
use std::path::{Path, PathBuf};

use super::NetnsMounts;
use crate::fifo;
use tenantd_core::name::{AppName, TenantName};

/// The folder in which ip-netns(8) looks for names.
pub const FOLDER: &str = "/run/netns";

/// Why a tenant's namespace could not be named.
#[derive(Debug, thiserror::Error)]
pub enum NameError {
    /// A file with this name exists that does not belong to this tenant.
    #[error("{} exists and does not belong to tenantd", path.display())]
    Taken {
        /// The path of the name.
        path: PathBuf,
    },
    /// A link or its folder could not be made, read or removed.
    #[error("cannot {attempt} {}", path.display())]
    Io {
        /// The attempted operation, as a verb.
        attempt: &'static str,
        /// The link or folder.
        path: PathBuf,
        /// The error of the operating system.
        source: io::Error,
    },
}

impl NameError {
    fn io(attempt: &'static str, path: &Path) -> impl FnOnce(io::Error) -> Self {
        let path = path.to_owned();
        move |source| Self::Io {
            attempt,
            path,
            source,
        }
    }
}

/// The path of the name of a tenant's namespace.
#[must_use]
pub fn path(app: &AppName, tenant: &TenantName) -> PathBuf {
    Path::new(FOLDER).join(format!("{app}-{tenant}"))
}

/// Names a tenant's namespace. Replaces the name that an earlier supervisor made.
///
/// # Errors
/// If the name is in use by something else, or cannot be made.
pub fn give(app: &AppName, tenant: &TenantName, kept: &NetnsMounts) -> Result<(), NameError> {
    let path = path(app, tenant);
    let (pid, fd) = (std::process::id(), kept.folder().as_raw_fd());
    let target = mark(app, tenant).join(format!("{pid}/fd/{fd}/{tenant}"));
    match symlink(&target, &path) {
        Err(error) if error.kind() == ErrorKind::NotFound => {
            // ip-netns(8) may make it at the same time; that is not an error.
            fs::create_dir_all(FOLDER).map_err(NameError::io("make", Path::new(FOLDER)))?;
        }
        Err(error) if error.kind() == ErrorKind::AlreadyExists => {
            if !take(app, tenant)? {
                return Err(NameError::Taken { path });
            }
        }
        other => return other.map_err(NameError::io("make", &path)),
    }
    symlink(&target, &path).map_err(NameError::io("make", &path))
}

/// Removes the name of a tenant's namespace, if it belongs to the tenant. Returns whether the name
/// is free now.
///
/// # Errors
/// If the name cannot be read or removed.
pub fn take(app: &AppName, tenant: &TenantName) -> Result<bool, NameError> {
    let path = path(app, tenant);
    match fs::read_link(&path) {
        Ok(target) if target.starts_with(mark(app, tenant)) => {
            fs::remove_file(&path).map_err(NameError::io("remove", &path))?;
            Ok(true)
        }
        Err(error) if error.kind() == ErrorKind::NotFound => Ok(true),
        // EINVAL means that it is not a symbolic link, see readlink(2).
        Err(error) if error.kind() != ErrorKind::InvalidInput => {
            Err(NameError::io("read", &path)(error))
        }
        Ok(_) | Err(_) => Ok(false),
    }
}

/// Whether the name exists and belongs to this tenant.
#[must_use]
pub fn is_ours(app: &AppName, tenant: &TenantName) -> bool {
    fs::read_link(path(app, tenant)).is_ok_and(|target| target.starts_with(mark(app, tenant)))
}

/// The tenants of an application whose namespaces have a name, and the paths of names that look
/// like those of the application but do not belong to it. Both are empty if the folder does not
/// exist.
///
/// # Errors
/// Those of reading the folder.
pub fn all(app: &AppName) -> io::Result<(Vec<TenantName>, Vec<PathBuf>)> {
    let (mut ours, mut strangers) = (Vec::new(), Vec::new());
    let entries = match fs::read_dir(FOLDER) {
        Err(error) if error.kind() == ErrorKind::NotFound => return Ok((ours, strangers)),
        entries => entries?,
    };
    for entry in entries {
        let entry = entry?;
        let name = entry.file_name();
        let tenant = name.to_str().and_then(|name| {
            let tenant = name.strip_prefix(app.as_str())?.strip_prefix('-')?;
            tenant.parse::<TenantName>().ok()
        });
        let marked = fs::read_link(entry.path())
            .is_ok_and(|target| target.starts_with(crate::runtime::ROOT));
        match tenant {
            Some(tenant) if is_ours(app, &tenant) => ours.push(tenant),
            // It belongs to another application: `a-b-c` may be `a-b` and `c`, or `a` and `b-c`.
            Some(_) if marked => {}
            Some(_) => strangers.push(entry.path()),
            None => {}
        }
    }
    Ok((ours, strangers))
}

/// Removes the folder if it is empty. If ip-netns(8) has mounted it, it is kept.
///
/// # Errors
/// If it is empty and cannot be removed.
pub fn remove_folder() -> Result<(), NameError> {
    match fs::remove_dir(FOLDER) {
        Err(error)
            if !matches!(
                error.kind(),
                ErrorKind::NotFound | ErrorKind::DirectoryNotEmpty | ErrorKind::ResourceBusy
            ) =>
        {
            Err(NameError::io("remove", Path::new(FOLDER))(error))
        }
        Ok(()) | Err(_) => Ok(()),
    }
}

/// How the target of every link of this tenant begins: through its folder, back to the root, into
/// `/proc`.
fn mark(app: &AppName, tenant: &TenantName) -> PathBuf {
    let mut target = fifo::folder(app, tenant);
    let depth = target.components().count() - 1;
    target.extend(std::iter::repeat_n("..", depth));
    target.join("proc")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_link_target_names_its_owner_and_ends_in_proc() {
        let mark = mark(&"wiki".parse().unwrap(), &"acme".parse().unwrap());
        assert_eq!(
            mark.to_str(),
            Some("/run/tenantd/wiki/tenants/acme/../../../../../proc")
        );
    }
}
