//! Reports: the results that the tasks on the host send to the loop. The executor enters each into
//! the inventory and turns it into an event for the supervisor.

use std::rc::Rc;

use tokio::sync::mpsc::UnboundedSender;

use tenantd_core::cgroup::by_hand::ByHand;
use tenantd_core::name::TenantName;
use tenantd_core::plan::phase::Phase;
use tenantd_core::stage::Failure;
use tenantd_core::supervisor::event::LaunchId;
use tenantd_core::supervisor::forced::Processes;
use tenantd_host::launch::LaunchView;
use tenantd_host::process::Ended;
use tenantd_host::program::ProgramFile;

use crate::executor::inventory::{Process, Provisioned};
use crate::executor::main_process::MainBy;
use crate::logs::Mark;
use crate::ready::notice::Notice;

/// One report about a tenant.
pub(crate) struct Report {
    pub(crate) tenant: TenantName,
    pub(crate) kind: ReportKind,
}

/// Sends reports to the loop. A task that may wait without limit holds only this and not the whole
/// [`Host`](crate::executor::host::Host), so that it does not delay the end of the loop.
#[derive(Clone)]
pub(crate) struct Reporter(UnboundedSender<Report>);

impl Reporter {
    pub(crate) fn new(reports: UnboundedSender<Report>) -> Self {
        Self(reports)
    }

    /// Sends a report. The loop closes the channel only when it ends; then the report is dropped.
    pub(crate) fn report(&self, tenant: &TenantName, kind: ReportKind) {
        let tenant = tenant.clone();
        let _ended = self.0.send(Report { tenant, kind });
    }
}

/// The process of a launch.
pub(crate) struct Spawned {
    pub(crate) process: Rc<Process>,
    /// The file that it is to run.
    pub(crate) program: Option<ProgramFile>,
    /// What is known of its mounts.
    pub(crate) view: LaunchView,
    /// What it executes.
    pub(crate) phase: Phase,
}

/// What a report about a main process is about.
pub(crate) enum MainReport {
    /// The program says that this is its main process.
    Named(LaunchId, i32),
    /// This is the main process.
    Found(LaunchId, Rc<Process>, MainBy),
    /// The main process with this number has ended.
    Ended(LaunchId, i32, Ended),
    /// The program says this of itself.
    Said(LaunchId, Notice),
    /// The last status text is to be recorded now.
    SaidBefore(LaunchId),
}

/// What a report is about.
pub(crate) enum ReportKind {
    /// A provision ended.
    Provisioned(Result<Provisioned, Failure>),
    /// A launch has a process now, though its program may not run yet.
    Spawned(LaunchId, Spawned),
    /// A launch of phase init was not necessary.
    Skipped(LaunchId),
    /// The result of a launch of phase init was recorded, or could not be.
    Concluded(LaunchId, Result<(), Failure>),
    /// A launch's program was executed, or could not be.
    Launched(LaunchId, Phase, Result<(), Failure>),
    /// A live change was applied to a launch, or could not be.
    Applied(LaunchId, Result<(), Failure>),
    /// These limits are set by hand now.
    SetByHand(ByHand),
    /// A launch's first process ended.
    Ended(LaunchId, Ended),
    /// The first process of a command before the program ended; and the last line of its output.
    PhaseEnded(LaunchId, Ended, String),
    /// What concerns its main process, if that is not the first one.
    Main(MainReport),
    /// What the supervisor did, for the tenant's log.
    Mark(Mark),
    /// The tenant's processes changed: perhaps none is left.
    CgroupChanged,
    /// A launch's cgroup is empty, but the end of its first process was not reported.
    Silent(LaunchId),
    /// These processes of a launch were sent SIGKILL.
    Killed(LaunchId, Processes),
    /// The tenant's processes could not be ended.
    EndFailed(Failure),
    /// A release ended; a failed one returns the resources that are left.
    Released(Result<(), (Failure, Provisioned)>),
}
