//! A record: what a supervisor stores of one tenant for the next supervisor. The next supervisor
//! uses it only as far as the kernel confirms it. [`disk`](crate::state_file::disk) defines its
//! format.

use crate::executor::main_process::MainBy;
use crate::ready::notice::Statement;
use tenantd_core::name::TenantName;
use tenantd_core::plan::effect::{self, Effect, Fingerprints};
use tenantd_core::plan::holders::Holding;
use tenantd_core::plan::model::TenantPlan;
use tenantd_core::supervisor::checkpoint::Checkpoint;
use tenantd_host::launch::LaunchView;
use tenantd_host::process;
use tenantd_host::program::ProgramFile;

/// The record of one tenant.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Record {
    /// The name of the tenant.
    pub(crate) tenant: TenantName,
    /// The supervisor's want and state of it.
    pub(crate) checkpoint: Checkpoint,
    /// The first process of its launch; None before that exists and after it has ended.
    pub(crate) process: Option<ProcessKey>,
    /// The main process of its launch, if that is another one, and how it is known.
    pub(crate) main: Option<(ProcessKey, MainBy)>,
    /// What its program says of itself.
    pub(crate) statement: Statement,
    /// The inode of its network namespace; 0 if it has none.
    pub(crate) netns: u64,
    /// What is known of the plan that it was made from.
    pub(crate) made: Made,
    /// The file of its program at the time of its launch.
    pub(crate) program: Option<ProgramFile>,
    /// What is known of the mounts of its launch.
    pub(crate) view: Option<LaunchView>,
}

/// What the next supervisor has to know of the plan from which a tenant was made.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Made {
    /// The fingerprints of the plan, to find out what is outdated.
    pub(crate) by: Fingerprints,
    /// The address and datastore that it holds until its release, if known.
    pub(crate) holds: Option<Holding>,
}

impl Made {
    /// What is stored of this plan.
    pub(crate) fn by(plan: &TenantPlan) -> Self {
        Self::with(effect::fingerprints(plan), plan)
    }

    /// The same, with its fingerprints.
    pub(super) fn with(by: Fingerprints, plan: &TenantPlan) -> Self {
        Self {
            by,
            holds: Some(Holding::of(plan)),
        }
    }
}

impl Record {
    /// What a change to today's plan takes, with what is known of the old plan; None if the plans
    /// are equal.
    pub(crate) fn outdated(&self, plan: &TenantPlan) -> Option<(Effect, Made)> {
        let effect = self.made.by.effect(effect::fingerprints(plan))?;
        Some((effect, self.made.clone()))
    }
}

/// A process key: identifies a process uniquely within a boot.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct ProcessKey {
    /// The process number.
    pub(crate) pid: i32,
    /// The start time in clock ticks since boot: field 22 of proc_pid_stat(5).
    pub(crate) start_ticks: u64,
}

impl ProcessKey {
    /// The key of the process that has this number now.
    pub(crate) fn of(pid: i32) -> Option<Self> {
        let start_ticks = process::start_ticks(pid)?;
        Some(Self { pid, start_ticks })
    }
}
