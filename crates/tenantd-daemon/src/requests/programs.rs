//! Finds out which tenants run an older program than the one on disk, and which cannot write to their
//! data.
//!
//! Another thread than the loop's looks at the disk, only for an answer and once for each path. If
//! a filesystem hangs, the answer says that the program is unknown.

use std::cell::Cell;
use std::collections::HashMap;
use std::io::ErrorKind;
use std::path::PathBuf;
use std::rc::Rc;
use std::sync::Arc;
use std::time::Duration;

use tokio::sync::Mutex;
use tokio::time::timeout;

use tenantd_api::wire::{AppStatus, Program, StateWord};
use tenantd_core::name::TenantName;
use tenantd_core::plan::model::TenantPlan;
use tenantd_host::cgroup::Leaf;
use tenantd_host::datastore::survey;
use tenantd_host::process::start_ticks;
use tenantd_host::program::{self, ProgramFile};

use crate::executor::blocking::look as look_aside;
use crate::requests::answer::Tenants;

/// How long an answer waits for the disk.
const LOOK_LIMIT: Duration = Duration::from_secs(1);

/// How many processes of a tenant are looked at. A tenant can have any number.
const LOOKED_AT: usize = 8;

/// Among how many processes of a tenant the oldest is looked for.
const COMPARED: usize = 1000;

/// How the process that the status shows is known, if it is only the oldest one.
const OLDEST: &str = "oldest";

/// The path of the program that a tenant was started from, and its file at that time.
pub(crate) type Started = Option<(PathBuf, ProgramFile)>;

/// The state of some tenants, and what is needed to find out whether their programs are current.
#[derive(Debug)]
pub struct Part {
    /// The state, without the state of the programs.
    pub status: AppStatus,
    started: Vec<Started>,
    running: Vec<Runs>,
}

/// A tenant that runs.
#[derive(Debug)]
struct Runs {
    plan: Arc<TenantPlan>,
    /// Its first process, if that lives.
    first: Option<i32>,
    /// The cgroup of its processes, if there is one.
    leaf: Option<Leaf>,
    /// Whether its main process is known.
    has_main: bool,
}

/// What is found of a tenant that runs.
#[derive(Debug, Default)]
struct Seen {
    /// Why it cannot write to its data.
    misfit: Option<String>,
    /// Whether one of its processes runs a file that was replaced.
    is_replaced: bool,
    /// Its oldest process, if its main process is not known.
    oldest: Option<u32>,
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
        let running = up.filter_map(|tenant| {
            let entry = self.executor.inventory().get(&tenant.name)?;
            let process = entry.running.as_ref()?.process.as_ref();
            Some(Runs {
                plan: Arc::clone(&entry.plan),
                first: process.map(|process| process.pid),
                leaf: entry.provisioned.as_ref()?.leaf.clone(),
                has_main: tenant.pid.is_some(),
            })
        });
        Part {
            running: running.collect(),
            status,
            started,
        }
    }
}

/// What one answer has found on the disk. It looks at each path once, and stops looking once the
/// disk did not answer in time.
#[derive(Debug, Clone, Default)]
pub(crate) struct Disk(Rc<Shared>);

/// What the parts of the answer share.
#[derive(Debug, Default)]
struct Shared {
    /// The program at each path. One part at a time looks for it.
    found: Mutex<HashMap<PathBuf, Option<Option<ProgramFile>>>>,
    hangs: Cell<bool>,
}

impl Disk {
    /// Enters into parts which tenants run the program on disk, and which an older one.
    pub(crate) async fn compare(&self, parts: Vec<Part>) -> Vec<AppStatus> {
        let (mut all, mut running) = (Vec::with_capacity(parts.len()), Vec::new());
        for part in parts {
            let mut status = part.status;
            self.enter_programs(&mut status, part.started).await;
            running.extend(part.running);
            all.push(status);
        }
        if running.is_empty() {
            return all;
        }
        let seen = self.search(move || seen(&running)).await;
        let mut seen = seen.unwrap_or_default();
        for tenant in all.iter_mut().flat_map(|status| &mut status.tenants) {
            let Seen {
                misfit,
                is_replaced,
                oldest,
            } = seen.remove(&tenant.name).unwrap_or_default();
            tenant.misfit = misfit;
            if oldest.is_some() {
                (tenant.pid, tenant.main) = (oldest, Some(OLDEST.to_owned()));
            }
            if is_replaced {
                tenant.program = Some(Program::Older);
            }
        }
        all
    }

    /// Compares the files that tenants were started from with those that are there now.
    async fn enter_programs(&self, status: &mut AppStatus, started: Vec<Started>) {
        let mut found = self.0.found.lock().await;
        let paths = started.iter().flatten().map(|(path, _)| path);
        let mut paths: Vec<PathBuf> = paths
            .filter(|path| !found.contains_key(*path))
            .cloned()
            .collect();
        paths.sort_unstable();
        paths.dedup();
        if !paths.is_empty() {
            found.extend(self.search(move || look(paths)).await.unwrap_or_default());
        }
        for (tenant, started) in status.tenants.iter_mut().zip(started) {
            tenant.program = started.and_then(|(path, program)| {
                let now = (*found.get(&path)?)?;
                Some(if now == Some(program) {
                    Program::Current
                } else {
                    Program::Older
                })
            });
        }
    }

    /// Runs a search on another thread; None if the disk does not answer in time, now or before.
    async fn search<T: Send + 'static>(
        &self,
        search: impl FnOnce() -> T + Send + 'static,
    ) -> Option<T> {
        if self.0.hangs.get() {
            return None;
        }
        match timeout(LOOK_LIMIT, look_aside(search)).await {
            Ok(found) => Some(found),
            Err(elapsed) => {
                if !self.0.hangs.replace(true) {
                    tracing::warn!(
                        "cannot look at the programs and data on disk: no answer of the filesystem: {elapsed}"
                    );
                }
                None
            }
        }
    }
}

/// Looks at the data and at the processes of tenants.
fn seen(running: &[Runs]) -> HashMap<TenantName, Seen> {
    let look = |tenant: &Runs| {
        let misfits = survey::misfits(&tenant.plan);
        Seen {
            misfit: (!misfits.is_empty()).then(|| misfits.join("; ")),
            is_replaced: is_replaced(tenant),
            oldest: oldest(tenant),
        }
    };
    let seen = running.iter();
    seen.map(|tenant| (tenant.plan.name.clone(), look(tenant)))
        .collect()
}

/// Whether a process of a tenant runs a file that was replaced: the first one, or what a script has
/// started as its child.
fn is_replaced(tenant: &Runs) -> bool {
    if tenant.first.is_some_and(program::is_replaced) {
        return true;
    }
    // A cgroup that is gone has no processes.
    let pids = tenant
        .leaf
        .as_ref()
        .and_then(|leaf| leaf.unmoved_pids().ok());
    let mut pids = pids.unwrap_or_default();
    pids.sort_unstable();
    let mut others = pids.into_iter().take(LOOKED_AT);
    others.any(|pid| Some(pid) != tenant.first && program::is_replaced(pid))
}

/// The oldest process of a tenant whose main process is not known.
fn oldest(tenant: &Runs) -> Option<u32> {
    let leaf = tenant.leaf.as_ref().filter(|_| !tenant.has_main)?;
    // A cgroup that is gone has no processes.
    let pids = leaf.pids().ok()?.into_iter().take(COMPARED);
    let ages = pids.filter_map(|pid| Some((start_ticks(pid)?, pid)));
    ages.min().and_then(|(_, pid)| u32::try_from(pid).ok())
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
