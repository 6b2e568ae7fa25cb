//! The true condition of one tenant on the host, independent of the supervisor.

use std::sync::Arc;

use tenantd_core::plan::model::Policy;
use tenantd_core::plan::phase::Phase;
use tenantd_core::supervisor::event::{Exit, LaunchId};
use tenantd_core::supervisor::time::Moment;

use super::invariant::{Invariant, Violation, check};

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Network {
    None,
    Provisioning,
    Provisioned,
    Releasing,
    Partial,
    /// Left by a supervisor that died: removed by a release, and possibly by a provision.
    Stale,
}

#[derive(Debug, Clone, Copy)]
pub(super) struct Live {
    pub(super) id: LaunchId,
    pub(super) launched: bool,
    /// Whether a supervisor knows that it was launched.
    pub(super) known: bool,
    pub(super) phase: Phase,
    /// How its first process exited.
    pub(super) exit: Option<Exit>,
    /// No process of it is left, or there never was one. Its result is to be recorded.
    pub(super) over: bool,
    /// Its result is being recorded.
    pub(super) concluding: bool,
}

/// The true condition of one tenant on the host.
#[derive(Debug)]
pub(super) struct TenantModel {
    pub(super) policy: Arc<Policy>,
    pub(super) network: Network,
    pub(super) live: Option<Live>,
    /// The next try was requested, or is the first.
    pub(super) requested: bool,
    /// A try has been provisioned and not yet launched.
    pub(super) trying: bool,
    /// A phase of the present try has ended well, so the next launch belongs to the same try.
    pub(super) continuing: bool,
    /// When the last try began.
    pub(super) tried_at: Moment,
    /// The launch whose end was requested.
    pub(super) end_requested: bool,
    /// A lower bound of the strikes.
    pub(super) strikes: u32,
    /// Its launch ended without a supervisor, and none has noticed yet.
    pub(super) end_unnoticed: bool,
    /// Another tenant holds, or held, what it needs.
    pub(super) awaits: bool,
    /// The launch that is being ended, and when it may be killed.
    pub(super) ending: Option<(LaunchId, Moment)>,
    /// Whether it was killed.
    pub(super) killed: bool,
    /// Whether it was killed after its grace, and the host has not named its processes.
    pub(super) forced: bool,
    /// The launch that a live change is being applied to.
    pub(super) applying: Option<LaunchId>,
    /// A command of `exec --offline` runs in it, or is being set up.
    pub(super) repairing: bool,
}

impl TenantModel {
    pub(super) fn count_strike(&mut self, now: Moment) {
        if self.end_requested || self.repairing {
            return;
        }
        let healthy = now.since(self.tried_at) >= self.policy.restart.healthy_after;
        self.strikes = if healthy { 1 } else { self.strikes + 1 };
    }

    /// A try begins. Returns whether it is automatic.
    pub(super) fn begin_try(&mut self, now: Moment) -> Result<bool, Violation> {
        let automatic = !self.requested;
        self.requested = false;
        if automatic {
            let restart = &self.policy.restart;
            let factor = 2u32.pow(self.strikes.saturating_sub(1).min(20));
            let delay = (restart.delay * factor).min(restart.delay_max);
            check(now >= self.tried_at + delay, Invariant::Backoff, || {
                format!(
                    "{} strikes, tried at {:?} and {now:?}",
                    self.strikes, self.tried_at
                )
            })?;
        }
        self.tried_at = now;
        Ok(automatic)
    }
}
