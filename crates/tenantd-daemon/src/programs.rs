//! Which tenants run an older program than the one on disk.
//!
//! The disk is looked at when somebody asks, once for each path, and by another thread than the
//! loop's: what lies on a filesystem that hangs is then not known, and the answer still comes.

use std::collections::HashMap;
use std::io::ErrorKind;
use std::path::PathBuf;
use std::time::Duration;

use tokio::task::spawn_blocking;
use tokio::time::timeout;

use tenantd_api::wire::{AppStatus, Program};
use tenantd_host::program::ProgramFile;

use super::answer::Tenants;

/// How long an answer waits for the disk.
const LOOK_LIMIT: Duration = Duration::from_secs(1);

/// The file that a tenant was started from, and the path by which it was.
pub(super) type Started = Option<(PathBuf, ProgramFile)>;

impl Tenants<'_> {
    /// What each tenant of an answer was started from, in the same order.
    pub(super) fn started(self, status: &AppStatus) -> Vec<Started> {
        let started = |name| {
            let entry = self.executor.ledger().get(name)?;
            let program = entry.running.as_ref()?.program?;
            Some((entry.plan.launch.program.clone(), program))
        };
        status.tenants.iter().map(|t| started(&t.name)).collect()
    }
}

/// Says in an answer which tenants run the program that is on disk, and which an older one.
pub(super) async fn compare(mut status: AppStatus, started: Vec<Started>) -> AppStatus {
    let mut paths: Vec<PathBuf> = started.iter().flatten().map(|(p, _)| p.clone()).collect();
    paths.sort_unstable();
    paths.dedup();
    if paths.is_empty() {
        return status;
    }
    let found = match timeout(LOOK_LIMIT, spawn_blocking(move || look(paths))).await {
        Ok(Ok(found)) => found,
        Ok(Err(panicked)) => std::panic::resume_unwind(panicked.into_panic()),
        Err(elapsed) => {
            tracing::warn!("cannot tell which program is on disk: its filesystem hangs: {elapsed}");
            return status;
        }
    };
    for (tenant, started) in status.tenants.iter_mut().zip(started) {
        tenant.program = started.and_then(|(path, program)| {
            let now = found.get(&path)?;
            Some(if *now == Some(program) {
                Program::Current
            } else {
                Program::Older
            })
        });
    }
    status
}

/// What each path names now: nothing, where the file is gone. Where it cannot be looked at, that is
/// not known.
fn look(paths: Vec<PathBuf>) -> HashMap<PathBuf, Option<ProgramFile>> {
    let look = |path: PathBuf| match ProgramFile::at(&path) {
        Ok(file) => Some((path, Some(file))),
        Err(error) if error.kind() == ErrorKind::NotFound => Some((path, None)),
        Err(error) => {
            let path = path.display();
            tracing::warn!("cannot tell which program is on disk as {path}: {error}");
            None
        }
    };
    paths.into_iter().filter_map(look).collect()
}
