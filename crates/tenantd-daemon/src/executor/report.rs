//! What the tasks that act on the host tell the loop, which writes it into the inventory and hands
//! it to the supervisor as an event.

use std::rc::Rc;

use tokio::sync::mpsc::UnboundedSender;

use tenantd_core::name::TenantName;
use tenantd_core::stage::Failure;
use tenantd_core::supervisor::event::LaunchId;
use tenantd_host::process::Ended;
use tenantd_host::program::ProgramFile;

use crate::executor::inventory::{Process, Provisioned};

/// Something was done, or happened, to a tenant.
pub(crate) struct Report {
    pub(crate) tenant: TenantName,
    pub(crate) kind: ReportKind,
}

/// The way to the loop. A task that waits for something without an end of its own holds this and
/// no more, so that the loop can end without it.
#[derive(Clone)]
pub(crate) struct Reporter(UnboundedSender<Report>);

impl Reporter {
    pub(crate) fn new(reports: UnboundedSender<Report>) -> Self {
        Self(reports)
    }

    /// Tells the loop. It stops listening only when it ends, and then nothing is news.
    pub(crate) fn report(&self, tenant: &TenantName, kind: ReportKind) {
        let tenant = tenant.clone();
        let _ended = self.0.send(Report { tenant, kind });
    }
}

/// What it was.
pub(crate) enum ReportKind {
    /// A provision ended.
    Provisioned(Result<Provisioned, Failure>),
    /// A launch has a process now, though its program may not run yet; and the file it is to run.
    Spawned(LaunchId, Rc<Process>, Option<ProgramFile>),
    /// A launch's program runs, or never will.
    Launched(LaunchId, Result<(), Failure>),
    /// A launch is as it is planned now, or could not be made so.
    Applied(LaunchId, Result<(), Failure>),
    /// A launch's first process ended.
    Ended(LaunchId, Ended),
    /// The tenant's processes changed: perhaps none is left.
    CgroupChanged,
    /// The tenant's processes could not be ended.
    EndFailed(Failure),
    /// A release ended, and what it could not take stands on.
    Released(Result<(), (Failure, Provisioned)>),
}
