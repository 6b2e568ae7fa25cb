//! What a supervisor writes down of a launch, so that the next one knows it again: a file of a
//! few lines beside the tenant's pipes, gone with the launch. It is believed only as far as the
//! kernel confirms it.

use std::io;
use std::path::PathBuf;

use serde::{Deserialize, Serialize};

use crate::crash;
use crate::host::fifo;
use crate::name::{AppName, TenantName};
use crate::plan::derive;
use crate::plan::model::TenantPlan;
use crate::supervisor::event::LaunchId;
use crate::supervisor::time::Moment;

/// The form of the file. A supervisor that meets a later one cannot know what it would miss.
pub(super) const VERSION: u32 = 1;

/// A launch, as it is written down.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Record {
    /// [`VERSION`].
    pub(super) version: u32,
    /// Its name.
    pub(super) launch: LaunchId,
    /// Its first process; 0 once that has left others behind.
    pub(super) pid: i32,
    /// When that process started, in clock ticks since boot: field 22 of proc_pid_stat(5).
    pub(super) start_ticks: u64,
    /// The inode of the tenant's network namespace.
    pub(super) netns: u64,
    /// When it was started.
    pub(super) started_at: Moment,
    /// Whether it is ready.
    pub(super) ready: bool,
    /// How often the tenant has been started again.
    pub(super) restarts: u32,
    /// The [`fingerprint`] of what it was made by.
    pub(super) plan: u64,
}

impl Record {
    /// Writes it in place of the one before, whole or not at all. `/run` is in memory, so nothing
    /// here waits for a disk.
    pub(super) fn write(&self, app: &AppName, tenant: &TenantName) -> io::Result<()> {
        let path = path(app, tenant);
        let new = path.with_extension("new");
        std::fs::write(&new, serde_json::to_vec(self)?)?;
        crash::point("record: half written", tenant.as_str());
        std::fs::rename(&new, &path)?;
        crash::point("record: written", tenant.as_str());
        Ok(())
    }

    /// The record of a tenant's launch, if there is one that can be understood.
    pub(super) fn read(app: &AppName, tenant: &TenantName) -> io::Result<Option<Self>> {
        let bytes = match std::fs::read(path(app, tenant)) {
            Ok(bytes) => bytes,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
            Err(error) => return Err(error),
        };
        let record: Self = serde_json::from_slice(&bytes)?;
        if record.version > VERSION {
            let later = format!(
                "it was written by a later tenantd (form {})",
                record.version
            );
            return Err(io::Error::new(io::ErrorKind::Unsupported, later));
        }
        Ok(Some(record))
    }
}

/// Removes the record of a launch that is over. One that is not there is removed already.
pub(super) fn forget(app: &AppName, tenant: &TenantName) -> io::Result<()> {
    let path = path(app, tenant);
    for path in [path.with_extension("new"), path] {
        match std::fs::remove_file(path) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
            Ok(()) | Err(_) => {}
        }
    }
    Ok(())
}

fn path(app: &AppName, tenant: &TenantName) -> PathBuf {
    fifo::folder(app, tenant).join("launch")
}

/// A number for all of a tenant's plan that a running launch was made by; it stays the same for as
/// long as the launch need not be made anew. The policy is none of it: the supervisor applies a
/// new one to what runs.
pub(super) fn fingerprint(plan: &TenantPlan) -> u64 {
    let TenantPlan {
        name,
        link,
        datastore,
        launch,
        policy: _,
    } = plan;
    // Debug is stable for one version of tenantd; another one may make everything anew.
    derive::hash(&format!("{name:?} {link:?} {datastore:?} {launch:?}"))
}
