//! Permanent wants: whether an operator wants a tenant up or down even after a restart of the
//! supervisor or of the host. Each is a file, `/var/lib/tenantd/.wants/APP/TENANT`.
//!
//! The path never collides with a datastore: datastores are in a folder with the application's
//! name, which cannot begin with a dot. A want is on disk when the call that writes it returns.

use std::collections::BTreeMap;
use std::fs::{self, DirBuilder, File};
use std::io::{self, ErrorKind, Write};
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt};
use std::path::{Path, PathBuf};

use tenantd_core::name::{AppName, TenantName};

/// The folder of all permanent wants.
pub const ROOT: &str = "/var/lib/tenantd/.wants";

/// A permanent want could not be read, written or removed.
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

/// The permanent wants of an application: true for up, false for down.
///
/// # Errors
/// If one cannot be read or contains neither `up` nor `down`.
pub fn all(app: &AppName) -> Result<BTreeMap<TenantName, bool>, WantError> {
    let folder = folder(app);
    let entries = match fs::read_dir(&folder) {
        Err(error) if error.kind() == ErrorKind::NotFound => return Ok(BTreeMap::new()),
        found => found.map_err(failed("list", &folder))?,
    };
    let mut wants = BTreeMap::new();
    for entry in entries {
        let entry = entry.map_err(failed("list", &folder))?;
        // Other names are unfinished files or were not made by tenantd.
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
                let neither =
                    io::Error::new(ErrorKind::InvalidData, "contains neither `up` nor `down`");
                return Err(failed("read", &path)(neither));
            }
        };
        wants.insert(tenant, up);
    }
    Ok(wants)
}

/// Writes a tenant's permanent want.
///
/// # Errors
/// If it could not be written to disk. Either the old or the new want may be there after a reboot.
pub fn keep(app: &AppName, tenant: &TenantName, up: bool) -> Result<(), WantError> {
    let folder = folder(app);
    DirBuilder::new()
        .recursive(true)
        .mode(0o700)
        .create(&folder)
        .map_err(failed("make", &folder))?;
    let path = folder.join(tenant.as_str());
    // No tenant's name begins with a dot.
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
    write().map_err(|error| {
        // What is on the disk is as before. If this cannot be removed, it is no tenant's name.
        let _left = fs::remove_file(&new);
        failed("write", &path)(error)
    })?;
    sync(&folder)?;
    // Both folders may be new.
    sync(Path::new(ROOT))
}

/// Removes a tenant's permanent want. Succeeds if there is none.
///
/// # Errors
/// If it could not be removed from disk.
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
