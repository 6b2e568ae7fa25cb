//! What a supervisor writes down of one tenant, so that the next one knows it again. It is
//! believed only as far as the kernel confirms it. In which form is for
//! [`disk`](super::ledger::disk) to say.

use tenantd_core::name::TenantName;
use tenantd_core::plan::effect::{self, Effect, Fingerprints};
use tenantd_core::plan::holders::Holding;
use tenantd_core::plan::model::TenantPlan;
use tenantd_core::supervisor::memory::Memory;
use tenantd_host::process;
use tenantd_host::program::ProgramFile;

/// A tenant, as it is written down.
#[derive(Debug, Clone, PartialEq, Eq)]
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
    /// What it was made by.
    pub(super) made: Made,
    /// The file of its program as it was when the launch began.
    pub(super) program: Option<ProgramFile>,
}

/// What a tenant was made by, as far as its next supervisor has to know.
#[derive(Debug, Clone, PartialEq, Eq)]
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
        let effect = self.made.by.effect(effect::fingerprints(plan))?;
        Some((effect, self.made.clone()))
    }
}

/// A process that can be told from every other one.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
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
