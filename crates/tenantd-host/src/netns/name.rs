//! The names by which ip-netns(8) knows the tenants' network namespaces: a symbolic link each, from
//! `/run/netns/APP-TENANT` to the supervisor's own descriptor.
//!
//! ip-netns itself binds each namespace to a file: that is a mount per tenant in the host's table,
//! which every new mount namespace copies. A link costs a name. It is right for as long as the
//! supervisor lives that made it, leads nowhere afterwards, and is made anew by the next one.
//!
//! Its way leads through the tenant's own folder in `/run/tenantd`, which is the mark of its owner
//! and exists as long as the tenant stands. What has no such mark is never touched.

use std::fs;
use std::io::{self, ErrorKind};
use std::os::fd::{AsFd, AsRawFd};
use std::os::unix::fs::symlink;
use std::path::{Path, PathBuf};

use super::Netns;
use crate::fifo;
use tenantd_core::name::{AppName, TenantName};

/// Where ip-netns(8) looks.
pub const FOLDER: &str = "/run/netns";

/// Why a tenant has no such name.
#[derive(Debug, thiserror::Error)]
pub enum NameError {
    /// Something that is not ours has it.
    #[error("{} is there already and is not ours", path.display())]
    Taken {
        /// The name.
        path: PathBuf,
    },
    /// A link or its folder could not be made, read or removed.
    #[error("cannot {attempt} {}", path.display())]
    Io {
        /// What was tried.
        attempt: &'static str,
        /// On what.
        path: PathBuf,
        /// How it failed.
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

/// The name of a tenant's namespace.
#[must_use]
pub fn path(app: &AppName, tenant: &TenantName) -> PathBuf {
    Path::new(FOLDER).join(format!("{app}-{tenant}"))
}

/// Gives a tenant's namespace its name. One that an earlier supervisor gave is replaced.
///
/// # Errors
/// When somebody else has the name, or it cannot be made.
pub fn give(app: &AppName, tenant: &TenantName, netns: &Netns) -> Result<(), NameError> {
    let path = path(app, tenant);
    let (pid, fd) = (std::process::id(), netns.as_fd().as_raw_fd());
    let target = mark(app, tenant).join(format!("{pid}/fd/{fd}"));
    match symlink(&target, &path) {
        Err(error) if error.kind() == ErrorKind::NotFound => {
            // ip-netns(8) makes it too; whoever comes second finds it.
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

/// Takes a tenant's name away, if it is ours, and says whether there is none now.
///
/// # Errors
/// When it cannot be read or removed.
pub fn take(app: &AppName, tenant: &TenantName) -> Result<bool, NameError> {
    let path = path(app, tenant);
    match fs::read_link(&path) {
        Ok(target) if target.starts_with(mark(app, tenant)) => {
            fs::remove_file(&path).map_err(NameError::io("remove", &path))?;
            Ok(true)
        }
        Err(error) if error.kind() == ErrorKind::NotFound => Ok(true),
        // No link at all is EINVAL, see readlink(2).
        Err(error) if error.kind() != ErrorKind::InvalidInput => {
            Err(NameError::io("read", &path)(error))
        }
        Ok(_) | Err(_) => Ok(false),
    }
}

/// Whether a tenant's name bears its mark.
#[must_use]
pub fn is_ours(app: &AppName, tenant: &TenantName) -> bool {
    fs::read_link(path(app, tenant)).is_ok_and(|target| target.starts_with(mark(app, tenant)))
}

/// The tenants of an application that have a name, and what is called like one and is not ours.
///
/// # Errors
/// What reading the folder reports. One that is not there has none.
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
            // Another application's, such as `a-b` with a tenant `c`, and `a` with `b-c`.
            Some(_) if marked => {}
            Some(_) => strangers.push(entry.path()),
            None => {}
        }
    }
    Ok((ours, strangers))
}

/// Removes the folder once the last name is gone from it. One that ip-netns(8) uses stays.
///
/// # Errors
/// When it is empty and cannot be removed.
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

/// How the way of every link to this tenant begins: through its folder, and back to the root.
fn mark(app: &AppName, tenant: &TenantName) -> PathBuf {
    let mut way = fifo::folder(app, tenant);
    let depth = way.components().count() - 1;
    way.extend(std::iter::repeat_n("..", depth));
    way.join("proc")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_way_of_a_link_names_its_owner_and_leads_to_proc() {
        let mark = mark(&"wiki".parse().unwrap(), &"acme".parse().unwrap());
        assert_eq!(
            mark.to_str(),
            Some("/run/tenantd/wiki/tenants/acme/../../../../../proc")
        );
    }
}
