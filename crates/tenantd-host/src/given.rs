//! The addresses that tenants were given (`ip = "auto"`): each is recorded in a file,
//! `/var/lib/tenantd/.addresses/APP/TENANT`, before its first use, and the tenant keeps it.
//!
//! A record says nothing but which address its tenant has if the manifest leaves that open: an address that is written in
//! the manifest, or a subnet that is another one, counts more. Nothing in tenantd removes a record.

use std::collections::BTreeMap;
use std::fs::{self, DirBuilder, File};
use std::io::{self, ErrorKind, Write};
use std::net::IpAddr;
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt};
use std::path::{Path, PathBuf};

use nix::errno::Errno;

use tenantd_core::name::{AppName, TenantName};
use tenantd_core::plan::facts::NoRecord;
use tenantd_core::plan::model::Plan;

/// The folder of all records.
pub const ROOT: &str = "/var/lib/tenantd/.addresses";

/// The name of a record that is being written. No tenant's name begins with a dot.
const NEW: &str = ".new";

/// A record could not be written.
#[derive(Debug, thiserror::Error)]
#[error("cannot write {}", path.display())]
pub struct NotRecorded {
    /// The file or folder.
    pub path: PathBuf,
    /// The error.
    pub source: io::Error,
}

/// The recorded addresses of an application's tenants.
///
/// # Errors
/// If a record cannot be read, or has no meaning.
pub fn of(app: &AppName) -> Result<BTreeMap<TenantName, Vec<IpAddr>>, NoRecord> {
    let folder = Path::new(ROOT).join(app.as_str());
    let unreadable = |path: &Path, error: &io::Error| NoRecord {
        path: path.to_owned(),
        errno: Errno::from_raw(error.raw_os_error().unwrap_or(libc::EIO)),
    };
    let entries = match fs::read_dir(&folder) {
        Err(error) if error.kind() == ErrorKind::NotFound => return Ok(BTreeMap::new()),
        found => found.map_err(|error| unreadable(&folder, &error))?,
    };
    let mut all = BTreeMap::new();
    for entry in entries {
        let path = entry.map_err(|error| unreadable(&folder, &error))?.path();
        let name = path.file_name().and_then(|name| name.to_str());
        let Some(tenant) = name.and_then(|name| name.parse().ok()) else {
            continue;
        };
        let text = fs::read_to_string(&path).map_err(|error| unreadable(&path, &error))?;
        let addresses: Result<Vec<IpAddr>, _> = text.split_whitespace().map(str::parse).collect();
        let addresses = addresses.map_err(|_| NoRecord {
            path: path.clone(),
            errno: Errno::EINVAL,
        })?;
        all.insert(tenant, addresses);
    }
    Ok(all)
}

/// Records the addresses that tenants of a plan were given, on disk when this returns.
///
/// # Errors
/// See [`NotRecorded`]. Some of them may be recorded.
pub fn record(plan: &Plan) -> Result<(), NotRecorded> {
    if plan.given.is_empty() {
        return Ok(());
    }
    // One that cannot be read is written again.
    let recorded = of(&plan.app).unwrap_or_default();
    let folder = Path::new(ROOT).join(plan.app.as_str());
    for (tenant, addresses) in &plan.given {
        let addresses: Vec<IpAddr> = addresses.iter().collect();
        if recorded.get(tenant) == Some(&addresses) {
            continue;
        }
        let path = folder.join(tenant.as_str());
        write(&folder, &path, &addresses).map_err(|source| NotRecorded { path, source })?;
    }
    Ok(())
}

fn write(folder: &Path, path: &Path, addresses: &[IpAddr]) -> io::Result<()> {
    let mut made = DirBuilder::new();
    made.recursive(true).mode(0o755).create(folder)?;
    let new = folder.join(NEW);
    let lines: Vec<String> = addresses.iter().map(|it| format!("{it}\n")).collect();
    let mut options = File::options();
    let options = options.create(true).truncate(true).write(true).mode(0o644);
    let mut file = options.open(&new)?;
    file.write_all(lines.concat().as_bytes())?;
    file.sync_all()?;
    fs::rename(&new, path)?;
    // The name of the record, and those of new folders.
    for above in [folder, Path::new(ROOT)] {
        File::open(above)?.sync_all()?;
    }
    Ok(())
}
