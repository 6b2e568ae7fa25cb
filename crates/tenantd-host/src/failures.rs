//! The last failure of each tenant, for the next supervisor: `/run/tenantd/.failures/APP/TENANT`.
//!
//! Only root reads or writes the folder. A file appears whole, by rename(2), and has a limited size. A file that cannot be
//! understood is removed: what failed before is then unknown, and nothing else depends on it.

use std::collections::BTreeMap;
use std::fs::{self, DirBuilder, File};
use std::io::{self, ErrorKind, Write};
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt};
use std::path::{Path, PathBuf};

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use crate::regular;
use tenantd_core::layout;
use tenantd_core::name::{AppName, TenantName};

/// The most characters of a reason.
const REASON_MAX: usize = 1000;

/// The maximum size of a file in bytes: each character of a reason may need six.
const SIZE_MAX: u64 = 8 * 1024;

/// A failure of a tenant.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Failed {
    /// When.
    pub time: Timestamp,
    /// Why, as text for people, of limited length.
    pub reason: String,
}

impl Failed {
    /// A failure with this reason, which is shortened if it is too long.
    #[must_use]
    pub fn new(time: Timestamp, mut reason: String) -> Self {
        if let Some((end, _)) = reason.char_indices().nth(REASON_MAX) {
            reason.truncate(end);
            reason.push('…');
        }
        Self { time, reason }
    }
}

/// What was found of an earlier supervisor.
#[derive(Debug, Default)]
pub struct Found {
    /// The failures, by tenant.
    pub failures: BTreeMap<TenantName, Failed>,
    /// The files that could not be understood, each with its error. They are removed.
    pub damaged: Vec<(PathBuf, io::Error)>,
}

fn folder(app: &AppName) -> PathBuf {
    Path::new(layout::FAILURES).join(app.as_str())
}

/// Writes the last failure of a tenant in place of an earlier one.
///
/// # Errors
/// Those of making the folders and of writing; the earlier one is kept then.
pub fn keep(app: &AppName, tenant: &TenantName, failed: &Failed) -> io::Result<()> {
    keep_in(&folder(app), tenant, failed)
}

fn keep_in(folder: &Path, tenant: &TenantName, failed: &Failed) -> io::Result<()> {
    let text = serde_json::to_vec(failed)?;
    DirBuilder::new()
        .recursive(true)
        .mode(0o700)
        .create(folder)?;
    // No name of a tenant begins with a dot.
    let new = folder.join(format!(".{tenant}"));
    let mut options = File::options();
    options.write(true).create(true).truncate(true).mode(0o600);
    options.open(&new)?.write_all(&text)?;
    fs::rename(&new, folder.join(tenant.as_str()))
}

/// Removes the last failure of a tenant. Succeeds if there is none.
///
/// # Errors
/// Those of removing it.
pub fn forget(app: &AppName, tenant: &TenantName) -> io::Result<()> {
    or_gone(fs::remove_file(folder(app).join(tenant.as_str())))
}

/// The last failures of these tenants. Those of others are removed, as is what cannot be understood.
///
/// # Errors
/// Those of listing the folder, and of removing from it.
pub fn found(app: &AppName, is_planned: impl Fn(&TenantName) -> bool) -> io::Result<Found> {
    found_in(&folder(app), is_planned)
}

fn found_in(folder: &Path, is_planned: impl Fn(&TenantName) -> bool) -> io::Result<Found> {
    let mut found = Found::default();
    let entries = match fs::read_dir(folder) {
        Err(error) if error.kind() == ErrorKind::NotFound => return Ok(found),
        entries => entries?,
    };
    for entry in entries {
        let path = entry?.path();
        let name = path.file_name().and_then(|name| name.to_str());
        let tenant: Option<TenantName> = name.and_then(|name| name.parse().ok());
        // The others are unfinished, or of tenants that were removed.
        let Some(tenant) = tenant.filter(&is_planned) else {
            fs::remove_file(&path)?;
            continue;
        };
        let text = regular::read(&path, SIZE_MAX);
        let read = text.and_then(|text| Ok(serde_json::from_slice::<Failed>(&text)?));
        match read {
            Ok(Failed { time, reason }) => {
                let failed = Failed::new(time, reason);
                found.failures.insert(tenant, failed);
            }
            Err(error) => {
                fs::remove_file(&path)?;
                found.damaged.push((path, error));
            }
        }
    }
    Ok(found)
}

/// Removes all of an application, and the folder at the top if no other application has one.
///
/// # Errors
/// Those of removing them, with the path.
pub(crate) fn remove_all(app: &AppName) -> Result<(), (PathBuf, io::Error)> {
    let (own, top) = (folder(app), PathBuf::from(layout::FAILURES));
    let removed = or_gone(fs::remove_dir_all(&own));
    removed.map_err(|error| (own, error))?;
    match or_gone(fs::remove_dir(&top)) {
        Err(error) if error.kind() != ErrorKind::DirectoryNotEmpty => Err((top, error)),
        Ok(()) | Err(_) => Ok(()),
    }
}

fn or_gone(removed: io::Result<()>) -> io::Result<()> {
    match removed {
        Err(error) if error.kind() == ErrorKind::NotFound => Ok(()),
        removed => removed,
    }
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt;

    use super::*;

    #[test]
    fn the_last_failure_of_each_tenant_is_found_and_what_is_damaged_is_removed() {
        let root = tempfile::tempdir().unwrap();
        let folder = root.path().join("failures/wiki");
        let names = ["acme", "bolt", "cog", "dart"].map(|name| name.parse::<TenantName>().unwrap());
        let [acme, bolt, cog, dart] = &names;
        let time: Timestamp = "2026-11-28T10:00:00Z".parse().unwrap();
        let failed = |reason: &str| Failed::new(time, reason.to_owned());
        let keep = |tenant, reason: &str| keep_in(&folder, tenant, &failed(reason)).unwrap();
        assert!(found_in(&folder, |_| true).unwrap().failures.is_empty());
        keep(acme, "first");
        keep(acme, "was killed by SIGKILL");
        // The longest, with characters that JSON writes with six bytes.
        keep(bolt, &"\u{1}".repeat(5000));
        keep(cog, "of one that was removed");
        let mode = |path: &Path| fs::metadata(path).unwrap().permissions().mode() & 0o777;
        assert_eq!(mode(&folder), 0o700);
        assert_eq!(mode(&folder.join("acme")), 0o600);
        // A supervisor was killed while it wrote; and a host has damaged a file.
        fs::write(folder.join(".acme"), "{\"time\":").unwrap();
        for text in ["", "{\"time\":", "{\"time\":7,\"reason\":\"x\"}"] {
            fs::write(folder.join("dart"), text).unwrap();
            let found = found_in(&folder, |tenant| tenant != cog).unwrap();
            assert_eq!(found.failures[acme], failed("was killed by SIGKILL"));
            let long = &found.failures[bolt].reason;
            assert_eq!(long.chars().count(), REASON_MAX + 1);
            assert!(long.ends_with('…'));
            assert!(!found.failures.contains_key(dart));
            assert_eq!(found.damaged.len(), 1, "{text}");
            assert_eq!(found.damaged[0].0, folder.join("dart"));
            let left = fs::read_dir(&folder).unwrap().count();
            assert_eq!(left, 2, "only those of acme and bolt are left: {cog}");
        }
    }
}
