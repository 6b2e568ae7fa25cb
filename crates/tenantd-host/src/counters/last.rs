//! The last counters of what a supervisor removes, until the meter has read them: a file for each release,
//! `/var/lib/tenantd/.meter/last/APP/TENANT/TIME-PROCESS`.
//!
//! The meter makes the folder at the top; without it nothing is kept, since nobody would read it. A reading that is kept
//! twice, as after a supervisor that died on the way, names the same objects and counts once.

use std::fs::{self, DirBuilder, File};
use std::io::{self, ErrorKind, Write};
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt};
use std::path::{Path, PathBuf};
use std::time::{SystemTime, UNIX_EPOCH};

use serde::{Deserialize, Serialize};

use super::links::of_link;
use super::{Counters, boot, of_cgroup};
use crate::regular;
use tenantd_core::name::{AppName, TenantName};

/// The folder of all last counters. It exists once a meter was started.
pub const ROOT: &str = "/var/lib/tenantd/.meter/last";

/// The most files of one tenant: the meter has not read them for as many releases.
pub const FILES_MAX: usize = 1000;

/// The maximum size of a file in bytes.
const SIZE_MAX: u64 = 16 * 1024;

/// How often the folder is made again that a meter has just removed.
const TRIES: usize = 10;

/// The last counters of what one release removed.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Last {
    /// The boot of the host, see [`boot`].
    pub boot: String,
    /// When they were read, in milliseconds since 1970.
    pub time_ms: i64,
    /// The counters.
    #[serde(flatten)]
    pub counters: Counters,
}

/// The last counters in a file.
#[derive(Debug)]
pub struct Kept {
    /// The application.
    pub app: AppName,
    /// The tenant.
    pub tenant: TenantName,
    /// The file.
    pub path: PathBuf,
    /// What is in it; an error if that cannot be understood.
    pub last: io::Result<Last>,
}

/// The last counters of a tenant could not be kept.
#[derive(Debug, thiserror::Error)]
#[error("its last counters are lost for the meter: cannot {attempt} {}", path.display())]
pub struct LostCounters {
    attempt: &'static str,
    path: PathBuf,
    source: io::Error,
}

fn lost(attempt: &'static str, path: &Path) -> impl FnOnce(io::Error) -> LostCounters {
    let path = path.to_owned();
    move |source| LostCounters {
        attempt,
        path,
        source,
    }
}

/// Whether this host has a meter, which makes the folder.
pub(crate) fn is_wanted() -> bool {
    Path::new(ROOT).exists()
}

/// Reads the counters of a cgroup and a link that are about to be removed or to begin again, and keeps them for the meter, if there is
/// one. Costs one look at a folder without it.
///
/// # Errors
/// [`LostCounters`] if they could not be read or written.
pub fn keep(
    app: &AppName,
    tenant: &TenantName,
    (cgroup, link): (Option<&Path>, Option<&str>),
) -> Result<(), LostCounters> {
    if !is_wanted() {
        return Ok(());
    }
    let counters = Counters {
        cgroup: match cgroup {
            Some(path) => of_cgroup(path).map_err(lost("read", path))?,
            None => None,
        },
        link: match link {
            Some(link) => {
                of_link(link).map_err(lost("read the counters of the link", Path::new(link)))?
            }
            None => None,
        },
    };
    if counters == Counters::default() {
        return Ok(());
    }
    let now = SystemTime::now().duration_since(UNIX_EPOCH);
    let now = now.unwrap_or_default().as_nanos();
    let last = Last {
        boot: boot().map_err(lost("read", Path::new("/proc/sys/kernel/random/boot_id")))?,
        time_ms: i64::try_from(now / 1_000_000).unwrap_or(i64::MAX),
        counters,
    };
    let folder = Path::new(ROOT).join(app.as_str()).join(tenant.as_str());
    let name = format!("{now}-{}", std::process::id());
    let text = serde_json::to_vec(&last).map_err(|error| lost("write", &folder)(error.into()))?;
    let mut written = write(&folder, &name, &text);
    for _ in 0..TRIES {
        match &written {
            Err(error) if error.kind() == ErrorKind::NotFound => {
                written = write(&folder, &name, &text);
            }
            Ok(()) | Err(_) => break,
        }
    }
    written.map_err(lost("write into", &folder))
}

fn write(folder: &Path, name: &str, text: &[u8]) -> io::Result<()> {
    let mut builder = DirBuilder::new();
    builder.recursive(true).mode(0o700).create(folder)?;
    if fs::read_dir(folder)?.count() >= FILES_MAX {
        let why = format!(
            "it has {FILES_MAX} files already: start the meter, which reads and removes them"
        );
        return Err(io::Error::new(ErrorKind::QuotaExceeded, why));
    }
    let new = folder.join(format!(".{name}"));
    let mut options = File::options();
    options.write(true).create(true).truncate(true).mode(0o600);
    let mut file = options.open(&new)?;
    file.write_all(text)?;
    fs::rename(&new, folder.join(name))
}

/// All last counters that were kept, the oldest of each tenant first.
///
/// # Errors
/// Those of listing the folders.
pub fn all() -> io::Result<Vec<Kept>> {
    let mut all = Vec::new();
    for (name, folder) in named(Path::new(ROOT))? {
        let Ok(app) = name.parse::<AppName>() else {
            continue;
        };
        for (name, folder) in named(&folder)? {
            let Ok(tenant) = name.parse::<TenantName>() else {
                continue;
            };
            let mut files = named(&folder)?;
            files.retain(|(name, _)| !name.starts_with('.'));
            files.sort();
            all.extend(files.into_iter().map(|(_, path)| Kept {
                app: app.clone(),
                tenant: tenant.clone(),
                last: read(&path),
                path,
            }));
        }
    }
    Ok(all)
}

/// The names in a folder, and their paths. None if it does not exist.
fn named(folder: &Path) -> io::Result<Vec<(String, PathBuf)>> {
    let entries = match fs::read_dir(folder) {
        Err(error) if error.kind() == ErrorKind::NotFound => return Ok(Vec::new()),
        entries => entries?,
    };
    let named = entries.map(|entry| {
        let entry = entry?;
        let name = entry.file_name().to_string_lossy().into_owned();
        Ok((name, entry.path()))
    });
    named.collect()
}

fn read(path: &Path) -> io::Result<Last> {
    let text = regular::read(path, SIZE_MAX)?;
    Ok(serde_json::from_slice(&text)?)
}

/// Removes a file that was read, and its folder if that is empty now.
///
/// # Errors
/// Those of removing the file.
pub fn forget(kept: &Kept) -> io::Result<()> {
    fs::remove_file(&kept.path)?;
    // It has further files, or gets one just now.
    let _kept = kept.path.parent().map(fs::remove_dir);
    Ok(())
}
