//! Finds out which tenants run an older program than the one on disk, and which cannot write to their
//! data.
//!
//! Another thread than the loop's looks at the disk, only for an answer and once for each path. If
//! a filesystem hangs, the answer says that the program is unknown.

use std::collections::HashMap;
use std::io::ErrorKind;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use tokio::task::spawn_blocking;
use tokio::time::timeout;

use tenantd_api::wire::{AppStatus, Program, StateWord};
use tenantd_core::name::TenantName;
use tenantd_core::plan::model::TenantPlan;
use tenantd_host::datastore::survey;
use tenantd_host::program::ProgramFile;

use crate::requests::answer::Tenants;

/// How long an answer waits for the disk.
const LOOK_LIMIT: Duration = Duration::from_secs(1);

/// The path of the program that a tenant was started from, and its file at that time.
pub(crate) type Started = Option<(PathBuf, ProgramFile)>;

/// The state of some tenants, and what is needed to find out whether their programs are current.
#[derive(Debug)]
pub struct Part {
    /// The state, without the state of the programs.
    pub status: AppStatus,
    started: Vec<Started>,
    /// The plans of those that run.
    running: Vec<Arc<TenantPlan>>,
}

impl Part {
    /// A part for which the state of the programs is not needed.
    #[must_use]
    pub fn without_programs(status: AppStatus) -> Self {
        Self {
            status,
            started: Vec::new(),
            running: Vec::new(),
        }
    }
}

impl Tenants<'_> {
    /// The state of these tenants, with the file that each of them was started from.
    pub(crate) fn part(self, tenants: &[TenantName]) -> Part {
        let status = self.status(tenants);
        let started = |name| {
            let entry = self.executor.inventory().get(name)?;
            let program = entry.running.as_ref()?.program?;
            Some((entry.plan.launch.program.clone(), program))
        };
        let started = status.tenants.iter().map(|t| started(&t.name)).collect();
        let up = status.tenants.iter().filter(|t| t.state == StateWord::Up);
        let running = up.filter_map(|t| self.executor.inventory().plan(&t.name).cloned());
        Part {
            running: running.collect(),
            status,
            started,
        }
    }
}

/// What one answer has found on the disk. It looks at each path once, and stops looking once the
/// disk did not answer in time.
#[derive(Debug, Default)]
pub(crate) struct Disk {
    found: HashMap<PathBuf, Option<Option<ProgramFile>>>,
    hangs: bool,
}

impl Disk {
    /// Enters into a part which tenants run the program on disk, and which an older one.
    pub(crate) async fn compare(&mut self, part: Part) -> AppStatus {
        let Part {
            mut status,
            started,
            running,
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
        if !running.is_empty() && !self.hangs {
            let misfits = self.search(move || misfits(&running)).await;
            let mut misfits = misfits.unwrap_or_default();
            for tenant in &mut status.tenants {
                tenant.misfit = misfits.remove(&tenant.name);
            }
        }
        status
    }

    async fn look(&mut self, paths: Vec<PathBuf>) {
        let found = self.search(move || look(paths)).await;
        self.found.extend(found.unwrap_or_default());
    }

    /// Runs a search on another thread; None if the disk does not answer in time.
    async fn search<T: Send + 'static>(
        &mut self,
        search: impl FnOnce() -> T + Send + 'static,
    ) -> Option<T> {
        match timeout(LOOK_LIMIT, spawn_blocking(search)).await {
            Ok(Ok(found)) => Some(found),
            Ok(Err(panicked)) => std::panic::resume_unwind(panicked.into_panic()),
            Err(elapsed) => {
                tracing::warn!(
                    "cannot look at the programs and data on disk: no answer of the filesystem: \
                     {elapsed}"
                );
                self.hangs = true;
                None
            }
        }
    }
}

/// Why the users of these tenants' programs cannot write to their data.
fn misfits(tenants: &[Arc<TenantPlan>]) -> HashMap<TenantName, String> {
    let found = tenants.iter().filter_map(|tenant| {
        let why = survey::misfits(tenant);
        (!why.is_empty()).then(|| (tenant.name.clone(), why.join("; ")))
    });
    found.collect()
}

/// The file at each path now: `Some(None)` if there is no file, None if the path cannot be looked
/// at.
fn look(paths: Vec<PathBuf>) -> HashMap<PathBuf, Option<Option<ProgramFile>>> {
    let look = |path: PathBuf| {
        let found = match ProgramFile::at(&path) {
            Ok(file) => Some(Some(file)),
            Err(error) if error.kind() == ErrorKind::NotFound => Some(None),
            Err(error) => {
                let path = path.display();
                tracing::warn!("cannot look at the program {path}: {error}");
                None
            }
        };
        (path, found)
    };
    paths.into_iter().map(look).collect()
}
