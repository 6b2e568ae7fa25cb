//! What a supervisor writes down of one tenant, so that the next one knows it again. It is
//! believed only as far as the kernel confirms it. In which form is for
//! [`disk`](crate::state_file::disk) to say.

use tenantd_core::name::TenantName;
use tenantd_core::plan::effect::{self, Effect, Fingerprints};
use tenantd_core::plan::holders::Holding;
use tenantd_core::plan::model::TenantPlan;
use tenantd_core::supervisor::checkpoint::Checkpoint;
use tenantd_host::process;
use tenantd_host::program::ProgramFile;

/// A tenant, as it is written down.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Record {
    /// Which.
    pub(crate) tenant: TenantName,
    /// What its supervisor meant.
    pub(crate) checkpoint: Checkpoint,
    /// The first process of its launch; none before it has one, and once that has left others
    /// behind.
    pub(crate) process: Option<ProcessKey>,
    /// The inode of its network namespace; 0 where it has none.
    pub(crate) netns: u64,
    /// What it was made by.
    pub(crate) made: Made,
    /// The file of its program as it was when the launch began.
    pub(crate) program: Option<ProgramFile>,
}

/// What a tenant was made by, as far as its next supervisor has to know.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Made {
    /// By them it is told what is outdated.
    pub(crate) by: Fingerprints,
    /// What it holds as long as it stands, where that is known.
    pub(crate) holds: Option<Holding>,
}

impl Made {
    /// By this plan.
    pub(crate) fn by(plan: &TenantPlan) -> Self {
        Self {
            by: effect::fingerprints(plan),
            holds: Some(Holding::of(plan)),
        }
    }
}

impl Record {
    /// What has to be made anew for today's plan to hold, and by what it was made; nothing if it was
    /// made by that one.
    pub(crate) fn outdated(&self, plan: &TenantPlan) -> Option<(Effect, Made)> {
        let effect = self.made.by.effect(effect::fingerprints(plan))?;
        Some((effect, self.made.clone()))
    }
}

/// A process that can be told from every other one.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct ProcessKey {
    /// Its number.
    pub(crate) pid: i32,
    /// When it started, in clock ticks since boot: field 22 of proc_pid_stat(5).
    pub(crate) start_ticks: u64,
}

impl ProcessKey {
    /// The process that has this number now.
    pub(crate) fn of(pid: i32) -> Option<Self> {
        let start_ticks = process::start_ticks(pid)?;
        Some(Self { pid, start_ticks })
    }
}
