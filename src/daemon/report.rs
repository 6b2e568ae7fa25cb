//! What the tasks that act on the host tell the loop, which writes it into the ledger and hands
//! it to the supervisor as an event.

use std::rc::Rc;

use crate::host::process::Ended;
use crate::name::TenantName;
use crate::stage::Failure;
use crate::supervisor::event::LaunchId;

use super::ledger::{Process, Standing};

/// Something was done, or happened, to a tenant.
pub(super) struct Report {
    pub(super) tenant: TenantName,
    pub(super) news: News,
}

/// What it was.
pub(super) enum News {
    /// A provision ended.
    Provisioned(Result<Standing, Failure>),
    /// A launch has a process now, though its program may not run yet.
    Born(LaunchId, Rc<Process>),
    /// A launch's program runs, or never will.
    Launched(LaunchId, Result<(), Failure>),
    /// A launch's program is ready.
    Ready(LaunchId),
    /// A launch's first process ended.
    Ended(LaunchId, Ended),
    /// The tenant's processes changed: perhaps none is left.
    Stirred,
    /// The tenant's processes could not be ended.
    EndFailed(Failure),
    /// A release ended, and what it could not take stands on.
    Released(Result<(), (Failure, Standing)>),
}
