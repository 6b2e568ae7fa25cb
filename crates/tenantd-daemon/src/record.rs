//! What a supervisor writes down of one tenant, so that the next one knows it again. It is
//! believed only as far as the kernel confirms it.

use std::io;
use std::path::PathBuf;

use serde::{Deserialize, Serialize};

use tenantd_core::name::{AppName, TenantName};
use tenantd_core::plan::derive;
use tenantd_core::plan::effect::{self, Effect, Fingerprints};
use tenantd_core::plan::holders::Holding;
use tenantd_core::plan::model::TenantPlan;
use tenantd_core::supervisor::event::LaunchId;
use tenantd_core::supervisor::memory::Memory;
use tenantd_core::supervisor::time::Moment;
use tenantd_host::program::ProgramFile;
use tenantd_host::{fifo, process};

/// A tenant, as it is written down.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Record {
    /// Which.
    pub(super) tenant: TenantName,
    /// What its supervisor meant.
    pub(super) memory: Memory,
    /// The first process of its launch; none before it has one, and once that has left others
    /// behind.
    pub(super) process: Option<Mark>,
    /// The inode of its network namespace; 0 where it has none.
    pub(super) netns: u64,
    /// The [`fingerprint`] of what it was made by, for a tenantd that knows no `made`.
    pub(super) plan: u64,
    /// What it was made by; none that an earlier tenantd wrote down.
    #[serde(default)]
    pub(super) made: Option<Made>,
    /// The file of its program as it was when the launch began.
    pub(super) program: Option<ProgramFile>,
}

/// What a tenant was made by, as far as its next supervisor has to know.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Made {
    /// By them it is told what is outdated.
    pub(super) by: Fingerprints,
    /// What it holds as long as it stands, where that is known.
    pub(super) holds: Option<Holding>,
}

impl Made {
    /// By this plan.
    pub(super) fn by(plan: &TenantPlan) -> Self {
        Self {
            by: effect::fingerprints(plan),
            holds: Some(Holding::of(plan)),
        }
    }
}

impl Record {
    /// What has to be made anew for today's plan to hold, and by what it was made; nothing if it was
    /// made by that one.
    pub(super) fn outdated(&self, plan: &TenantPlan) -> Option<(Effect, Made)> {
        let made = match &self.made {
            Some(made) => made.clone(),
            None if self.plan == fingerprint(plan) => return None,
            // Which part of it is not known.
            None => Made {
                by: Fingerprints::NONE,
                holds: None,
            },
        };
        let effect = made.by.effect(effect::fingerprints(plan))?;
        Some((effect, made))
    }
}

/// A process that can be told from every other one.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Mark {
    /// Its number.
    pub(super) pid: i32,
    /// When it started, in clock ticks since boot: field 22 of proc_pid_stat(5).
    pub(super) start_ticks: u64,
}

impl Mark {
    /// The process that has this number now.
    pub(super) fn of(pid: i32) -> Option<Self> {
        let start_ticks = process::start_ticks(pid)?;
        Some(Self { pid, start_ticks })
    }
}

/// The first form: a file for each launch, which lay beside the tenant's pipes.
#[derive(Debug, Deserialize)]
struct First {
    version: u32,
    launch: LaunchId,
    pid: i32,
    start_ticks: u64,
    netns: u64,
    started_at: Moment,
    ready: bool,
    restarts: u32,
    plan: u64,
}

/// The record of a launch in the first form, if there is one.
pub(super) fn read_first(app: &AppName, tenant: &TenantName) -> io::Result<Option<Record>> {
    let bytes = match std::fs::read(first_path(app, tenant)) {
        Ok(bytes) => bytes,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
        Err(error) => return Err(error),
    };
    let first: First = serde_json::from_slice(&bytes)?;
    if first.version != 1 {
        let unknown = format!("it has the unknown form {}", first.version);
        return Err(io::Error::new(io::ErrorKind::InvalidData, unknown));
    }
    let (pid, start_ticks) = (first.pid, first.start_ticks);
    Ok(Some(Record {
        tenant: tenant.clone(),
        memory: Memory::of_launch(first.launch, first.started_at, first.ready, first.restarts),
        process: (pid != 0).then_some(Mark { pid, start_ticks }),
        netns: first.netns,
        plan: first.plan,
        made: None,
        program: None,
    }))
}

/// Removes the record of the first form. One that is not there is removed already.
pub(super) fn forget_first(app: &AppName, tenant: &TenantName) -> io::Result<()> {
    let path = first_path(app, tenant);
    for path in [path.with_extension("new"), path] {
        match std::fs::remove_file(path) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
            Ok(()) | Err(_) => {}
        }
    }
    Ok(())
}

fn first_path(app: &AppName, tenant: &TenantName) -> PathBuf {
    fifo::folder(app, tenant).join("launch")
}

/// A number for all of a tenant's plan that a running launch was made by; it stays the same for as
/// long as the launch need not be made anew. The policy is none of it: the supervisor applies a
/// new one to what runs.
pub(super) fn fingerprint(plan: &TenantPlan) -> u64 {
    combined(effect::fingerprints(plan))
}

/// Both fingerprints in one number, as earlier forms have it.
pub(super) fn combined(Fingerprints { renew, relaunch }: Fingerprints) -> u64 {
    derive::hash(&format!("{renew:x} {relaunch:x}"))
}
