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
use tenantd_core::name::TenantName;
use tenantd_host::program::ProgramFile;

use crate::requests::answer::Tenants;

/// How long an answer waits for the disk.
const LOOK_LIMIT: Duration = Duration::from_secs(1);

/// The file that a tenant was started from, and the path by which it was.
pub(crate) type Started = Option<(PathBuf, ProgramFile)>;

/// The state of some tenants, and what is needed to tell which program each of them runs.
#[derive(Debug)]
pub struct Part {
    /// The state, in which no program is told.
    pub status: AppStatus,
    started: Vec<Started>,
}

impl Part {
    /// A part of which it is not asked which programs run.
    #[must_use]
    pub fn untold(status: AppStatus) -> Self {
        let started = Vec::new();
        Self { status, started }
    }
}

impl Tenants<'_> {
    /// The state of these tenants, and what each of them was started from.
    pub(crate) fn part(self, tenants: &[TenantName]) -> Part {
        let status = self.status(tenants);
        let started = |name| {
            let entry = self.executor.inventory().get(name)?;
            let program = entry.running.as_ref()?.program?;
            Some((entry.plan.launch.program.clone(), program))
        };
        let started = status.tenants.iter().map(|t| started(&t.name)).collect();
        Part { status, started }
    }
}

/// What is on the disk, as far as one answer has looked: each path once, and none any more once the
/// disk did not answer in time.
#[derive(Debug, Default)]
pub(crate) struct Disk {
    found: HashMap<PathBuf, Option<Option<ProgramFile>>>,
    hangs: bool,
}

impl Disk {
    /// Says in a part which tenants run the program that is on disk, and which an older one.
    pub(crate) async fn compare(&mut self, part: Part) -> AppStatus {
        let Part {
            mut status,
            started,
        } = part;
        let paths = started.iter().flatten().map(|(path, _)| path);
        let mut paths: Vec<PathBuf> = paths
            .filter(|path| !self.found.contains_key(*path))
            .cloned()
            .collect();
        paths.sort_unstable();
        paths.dedup();
        if !paths.is_empty() && !self.hangs {
            self.look(paths).await;
        }
        for (tenant, started) in status.tenants.iter_mut().zip(started) {
            tenant.program = started.and_then(|(path, program)| {
                let now = (*self.found.get(&path)?)?;
                Some(if now == Some(program) {
                    Program::Current
                } else {
                    Program::Older
                })
            });
        }
        status
    }

    async fn look(&mut self, paths: Vec<PathBuf>) {
        match timeout(LOOK_LIMIT, spawn_blocking(move || look(paths))).await {
            Ok(Ok(found)) => self.found.extend(found),
            Ok(Err(panicked)) => std::panic::resume_unwind(panicked.into_panic()),
            Err(elapsed) => {
                tracing::warn!(
                    "cannot tell which program is on disk: its filesystem hangs: {elapsed}"
                );
                self.hangs = true;
            }
        }
    }
}

/// What each path names now: nothing, where the file is gone. Where it cannot be looked at, that is
/// not known.
fn look(paths: Vec<PathBuf>) -> HashMap<PathBuf, Option<Option<ProgramFile>>> {
    let look = |path: PathBuf| {
        let found = match ProgramFile::at(&path) {
            Ok(file) => Some(Some(file)),
            Err(error) if error.kind() == ErrorKind::NotFound => Some(None),
            Err(error) => {
                let path = path.display();
                tracing::warn!("cannot tell which program is on disk as {path}: {error}");
                None
            }
        };
        (path, found)
    };
    paths.into_iter().map(look).collect()
}
