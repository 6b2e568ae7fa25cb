//! What is remembered of a datastore that was used: a file per tenant,
//! `/var/lib/tenantd/.datastores/APP/TENANT`, beside the permanent wants.
//!
//! While the disk of a datastore is not mounted, the folder is missing, and a new one in its place
//! would be made on the disk below. So what was there before must be there again. A datastore whose
//! filesystem is known is also recognized if it is on another one. A file that is removed makes
//! tenantd forget: the next provision takes what it finds.
//!
//! The files are not synchronized to disk: after a power failure, one that is missing or empty means
//! only that nothing is remembered.

use std::ffi::OsString;
use std::fs::{self, DirBuilder, File};
use std::io::ErrorKind;
use std::os::fd::{AsFd, BorrowedFd};
use std::os::unix::fs::DirBuilderExt;
use std::path::{Path, PathBuf};

use rustix::fs::{fstatfs, fstatvfs};
use rustix::io::Errno;
use serde::{Deserialize, Serialize};

use super::init::Mark;
use super::layout::open_folder;
use crate::boot;
use crate::launch::raw;
use crate::quota::snapshot;
use tenantd_core::name::{AppName, TenantName};
use tenantd_core::plan::model::DatastorePlan;
use tenantd_core::stage::{Failure, Stage};

/// The folder of all records.
pub(super) const ROOT: &str = "/var/lib/tenantd/.datastores";

/// The number of a tmpfs, see statfs(2).
const TMPFS: i64 = 0x0102_1994;

/// Filesystems whose `f_fsid` comes from their UUID. Others derive it from the number of a device,
/// which may be another one after a reboot. That of btrfs also has the number of the subvolume, and a datastore that is
/// moved away, restored or limited is another subvolume afterwards.
const STABLE: [i64; 2] = [0xef53, TMPFS];

/// What is remembered of a datastore.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Record {
    /// Its path on the host.
    pub(super) source: PathBuf,
    /// The last `path` of the program's data.
    #[serde(default)]
    pub(super) path: Option<PathBuf>,
    /// Its filesystem, if that can be recognized.
    #[serde(default)]
    filesystem: Option<String>,
    /// The start of the host, for a filesystem that does not survive the next one.
    #[serde(default)]
    boot: Option<String>,
    /// Whether it is initialized, if that was ever asked for and it is plain. This is written to
    /// disk.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    init: Option<Mark>,
    /// The owner that a new one would have had, when it was used last.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    uid: Option<u32>,
}

fn file(app: &str, tenant: &str) -> PathBuf {
    Path::new(ROOT).join(app).join(tenant)
}

/// The record of a tenant, if there is one that still has a meaning.
///
/// # Errors
/// A [`Failure`] of stage datastore that names the file.
pub(super) fn read(app: &AppName, tenant: &TenantName) -> Result<Option<Record>, Failure> {
    let path = file(app.as_str(), tenant.as_str());
    let found = read_at(&path)?;
    // What was in memory is gone, and is expected to be.
    Ok(found.filter(|record| record.boot.is_none() || record.boot == boot()))
}

/// Where the datastore of a tenant was when it was used last; `None` if that is not known.
///
/// # Errors
/// A [`Failure`] of stage datastore that names the file with what is remembered.
pub fn remembered(app: &AppName, tenant: &TenantName) -> Result<Option<PathBuf>, Failure> {
    Ok(read(app, tenant)?.map(|record| record.source))
}

/// The last `path` of the data in a datastore, whichever tenant has it. Reads all records.
pub(super) fn path_at(source: &Path) -> Option<PathBuf> {
    let found = all().find(|(_, _, record)| record.source == source);
    found.and_then(|(_, _, record)| record.path)
}

/// The datastores that other applications have used, with their `APP/TENANT`.
pub(super) fn of_others(app: &AppName) -> Vec<(PathBuf, String)> {
    let others = all().filter(|(other, ..)| other != app.as_str());
    let others = others.map(|(other, tenant, record)| (record.source, format!("{other}/{tenant}")));
    let mut others: Vec<_> = others.collect();
    others.sort();
    others
}

/// The last owner of each datastore that is remembered, with its `APP/TENANT`.
pub(crate) fn owners() -> Vec<(String, u32)> {
    let each = all().filter_map(|(app, tenant, record)| {
        let uid = record.uid?;
        Some((format!("{app}/{tenant}"), uid))
    });
    each.collect()
}

/// All records that can be read, with the names of application and tenant.
fn all() -> impl Iterator<Item = (String, String, Record)> {
    let names = |folder: &Path| -> Vec<String> {
        let entries = fs::read_dir(folder).into_iter().flatten().flatten();
        let names = entries.filter_map(|entry| entry.file_name().into_string().ok());
        names.filter(|name| !name.starts_with('.')).collect()
    };
    let apps = names(Path::new(ROOT)).into_iter();
    apps.flat_map(move |app| {
        let tenants = names(&Path::new(ROOT).join(&app)).into_iter();
        tenants.filter_map(move |tenant| {
            let record = read_at(&file(&app, &tenant)).ok()??;
            Some((app.clone(), tenant, record))
        })
    })
}

fn read_at(path: &Path) -> Result<Option<Record>, Failure> {
    let text = match fs::read(path) {
        Ok(text) if text.is_empty() => return Ok(None),
        Ok(text) => text,
        Err(error) if error.kind() == ErrorKind::NotFound => return Ok(None),
        Err(error) => return Err(failed(path, &error)),
    };
    serde_json::from_slice(&text).map(Some).map_err(|error| {
        let path = path.display().to_string();
        let why = format!("what is remembered of it is damaged: {error}; remove the file");
        Failure::detail(Stage::Datastore, path, why)
    })
}

/// The last `path` of a tenant's data. `label` is `APP/TENANT`.
pub(super) fn last_path(label: &str) -> Result<Option<PathBuf>, Failure> {
    let Some((app, tenant)) = label.split_once('/') else {
        return Ok(None);
    };
    Ok(read_at(&file(app, tenant))?.and_then(|record| record.path))
}

/// Where a tenant's datastore is remembered. `label` is `APP/TENANT`.
pub(super) fn path(label: &str) -> PathBuf {
    Path::new(ROOT).join(label)
}

/// The mark of a plain datastore, see [`super::init`].
///
/// # Errors
/// A [`Failure`] of stage datastore that names the file.
pub(super) fn init(label: &str, source: &Path) -> Result<Option<Mark>, Failure> {
    let record = read_at(&path(label))?.filter(|record| record.source == source);
    // What was in memory is gone.
    let record = record.filter(|record| record.boot.is_none() || record.boot == boot());
    Ok(record.and_then(|record| record.init))
}

/// Writes the mark of a plain datastore to disk.
///
/// # Errors
/// A [`Failure`] of stage datastore that names the file.
pub(super) fn set_init(
    label: &str,
    plan: &DatastorePlan,
    datastore: BorrowedFd<'_>,
    init: Option<Mark>,
) -> Result<(), Failure> {
    let path = path(label);
    let before = read_at(&path)?;
    let now = Record::of(plan, datastore, before.as_ref());
    let now = now.map_err(|errno| failed(&path, &errno.into()))?;
    let written = Record { init, ..now }.write(&path, true);
    written.map_err(|error| failed(&path, &error))
}

fn failed(path: &Path, error: &std::io::Error) -> Failure {
    let errno = error.raw_os_error().unwrap_or(libc::EIO);
    Failure::errno(Stage::Datastore, path.display().to_string(), errno)
}

impl Record {
    /// What is to be remembered of a datastore that is used now.
    pub(super) fn of(
        plan: &DatastorePlan,
        datastore: BorrowedFd<'_>,
        before: Option<&Record>,
    ) -> Result<Self, Errno> {
        let target = plan.target.as_deref().map(Path::to_path_buf);
        let (filesystem, is_in_memory) = filesystem(datastore)?;
        Ok(Self {
            source: plan.source.clone(),
            path: target.or_else(|| before?.path.clone()),
            filesystem,
            boot: if is_in_memory { boot() } else { None },
            init: before
                .filter(|before| before.source == plan.source)
                .and_then(|before| before.init),
            uid: Some(plan.uid),
        })
    }

    /// The same, for a datastore that is not initialized.
    pub(super) fn uninitialized(self) -> Self {
        Self { init: None, ..self }
    }

    /// Writes it, in place of another one.
    ///
    /// # Errors
    /// A [`Failure`] of stage datastore that names the file.
    pub(super) fn keep(&self, app: &AppName, tenant: &TenantName) -> Result<(), Failure> {
        let path = file(app.as_str(), tenant.as_str());
        let written = self.write(&path, self.init.is_some());
        written.map_err(|error| failed(&path, &error))
    }

    fn write(&self, path: &Path, to_disk: bool) -> std::io::Result<()> {
        let folder = path.parent().unwrap_or(Path::new(ROOT));
        DirBuilder::new()
            .recursive(true)
            .mode(0o700)
            .create(folder)?;
        // No tenant's name begins with a dot.
        let mut name = OsString::from(".");
        name.push(path.file_name().unwrap_or_default());
        let new = folder.join(name);
        fs::write(&new, serde_json::to_vec_pretty(self)?)?;
        if to_disk {
            File::open(&new)?.sync_all()?;
        }
        fs::rename(&new, path)?;
        match to_disk {
            true => File::open(folder)?.sync_all(),
            false => Ok(()),
        }
    }

    /// Why a datastore that is found is not the one of this record.
    pub(super) fn differs(&self, now: &Record) -> Option<String> {
        let (before, now) = (self.filesystem.as_deref()?, now.filesystem.as_deref()?);
        // Another kernel may know another kind of identity.
        let kind = |text: &str| text.split(' ').next().map(str::to_owned);
        (kind(before) == kind(now) && before != now)
            .then(|| format!("it is on another filesystem than before ({now}, before: {before})"))
    }

    /// How to recognize its filesystem, for a message.
    pub(super) fn place(&self) -> String {
        match &self.filesystem {
            Some(filesystem) => format!(" ({filesystem})"),
            None => String::new(),
        }
    }
}

/// The command that makes tenantd forget a datastore.
pub(super) fn forget(app: &AppName, tenant: &TenantName) -> String {
    format!("rm {}", file(app.as_str(), tenant.as_str()).display())
}

/// The identity of a filesystem, the same after a reboot; and whether it is in memory.
///
/// Not every filesystem has one: NFS has none, and XFS has one only with Linux 6.9.
fn filesystem(datastore: BorrowedFd<'_>) -> Result<(Option<String>, bool), Errno> {
    let folder = open_folder(datastore, ".")?;
    let kind = fstatfs(&folder)?.f_type;
    let number = fstatvfs(&folder)?.f_fsid;
    let uuid = match snapshot::is_on_btrfs(folder.as_fd())? {
        true => Some(snapshot::filesystem_uuid(folder.as_fd())?),
        false => raw::filesystem_uuid(folder.as_fd())?,
    };
    let text = uuid.map(|uuid| {
        let digits: Vec<String> = uuid.iter().map(|byte| format!("{byte:02x}")).collect();
        let parts = [(0, 4), (4, 6), (6, 8), (8, 10), (10, 16)];
        let parts = parts.map(|(from, to)| digits[from..to].concat());
        format!("UUID {}", parts.join("-"))
    });
    let number = || (STABLE.contains(&kind) && number != 0).then(|| format!("fsid {number:x}"));
    Ok((text.or_else(number), kind == TMPFS))
}

fn boot() -> Option<String> {
    boot::id().ok().map(str::to_owned)
}
