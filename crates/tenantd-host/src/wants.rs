//! Permanent wants: what an operator wants of a tenant beyond the end of its supervisor and of the
//! host's uptime, in a file for each such tenant, `/var/lib/tenantd/.wants/APP/TENANT`.
//!
//! No datastore can have that name: those of an application lie in a folder that is named like it,
//! and no name begins with a dot. What is written here is on the disk when the call returns.

use std::collections::BTreeMap;
use std::fs::{self, DirBuilder, File};
use std::io::{self, ErrorKind, Write};
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt};
use std::path::{Path, PathBuf};

use tenantd_core::name::{AppName, TenantName};

/// The folder of all permanent wants.
pub const ROOT: &str = "/var/lib/tenantd/.wants";

/// A permanent want that cannot be read, kept or forgotten.
#[derive(Debug, thiserror::Error)]
#[error("cannot {attempt} {}", path.display())]
pub struct WantError {
    attempt: &'static str,
    path: PathBuf,
    source: io::Error,
}

fn failed(attempt: &'static str, path: &Path) -> impl FnOnce(io::Error) -> WantError {
    let path = path.to_owned();
    move |source| WantError {
        attempt,
        path,
        source,
    }
}

fn folder(app: &AppName) -> PathBuf {
    Path::new(ROOT).join(app.as_str())
}

/// All permanent wants of an application: whether each tenant is wanted up.
///
/// # Errors
/// When one cannot be read, or says neither.
pub fn all(app: &AppName) -> Result<BTreeMap<TenantName, bool>, WantError> {
    let folder = folder(app);
    let entries = match fs::read_dir(&folder) {
        Err(error) if error.kind() == ErrorKind::NotFound => return Ok(BTreeMap::new()),
        found => found.map_err(failed("list", &folder))?,
    };
    let mut wants = BTreeMap::new();
    for entry in entries {
        let entry = entry.map_err(failed("list", &folder))?;
        // What has no tenant's name was not made by us, or is half-made.
        let Some(tenant) = entry
            .file_name()
            .to_str()
            .and_then(|name| name.parse().ok())
        else {
            continue;
        };
        let path = entry.path();
        let up = match fs::read_to_string(&path)
            .map_err(failed("read", &path))?
            .trim_end()
        {
            "up" => true,
            "down" => false,
            _ => {
                let neither = io::Error::new(ErrorKind::InvalidData, "neither up nor down");
                return Err(failed("read", &path)(neither));
            }
        };
        wants.insert(tenant, up);
    }
    Ok(wants)
}

/// Keeps what is wanted of a tenant.
///
/// # Errors
/// When it is not on the disk; then what was kept before still is, or is on its way out.
pub fn keep(app: &AppName, tenant: &TenantName, up: bool) -> Result<(), WantError> {
    let folder = folder(app);
    DirBuilder::new()
        .recursive(true)
        .mode(0o700)
        .create(&folder)
        .map_err(failed("make", &folder))?;
    let path = folder.join(tenant.as_str());
    // A name that no tenant has.
    let new = folder.join(format!(".{tenant}"));
    let write = || -> io::Result<()> {
        let mut file = File::options()
            .write(true)
            .create(true)
            .truncate(true)
            .mode(0o600)
            .open(&new)?;
        file.write_all(if up { b"up\n" } else { b"down\n" })?;
        file.sync_all()?;
        fs::rename(&new, &path)
    };
    write().map_err(failed("write", &path))?;
    sync(&folder)?;
    // Both may be new.
    sync(Path::new(ROOT))
}

/// Forgets what was wanted of a tenant. What is not kept is forgotten already.
///
/// # Errors
/// When it is not off the disk.
pub fn remove(app: &AppName, tenant: &TenantName) -> Result<(), WantError> {
    let folder = folder(app);
    let path = folder.join(tenant.as_str());
    match fs::remove_file(&path) {
        Ok(()) => sync(&folder),
        Err(error) if error.kind() == ErrorKind::NotFound => Ok(()),
        Err(error) => Err(failed("remove", &path)(error)),
    }
}

fn sync(folder: &Path) -> Result<(), WantError> {
    let synced = File::open(folder).and_then(|folder| folder.sync_all());
    synced.map_err(failed("write", folder))
}
