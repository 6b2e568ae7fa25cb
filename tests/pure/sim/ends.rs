//! How launches end: the stop signal, the grace, and SIGKILL.

use tenantd_core::supervisor::action::Action;
use tenantd_core::supervisor::event::LaunchId;
use tenantd_core::supervisor::time::Moment;

use super::checker::Checker;
use super::invariant::{Invariant, Violation, check};
use super::model::TenantModel;

impl TenantModel {
    /// The launch is being ended from now on, if it is not already.
    fn end(&mut self, now: Moment, launch: LaunchId) -> Moment {
        let known = self.ending.filter(|(of, _)| *of == launch);
        let ending = known.unwrap_or((launch, now + self.policy.grace));
        self.ending = Some(ending);
        ending.1
    }
}

impl Checker {
    /// The first process has exited. Without others nobody is left to get the stop signal.
    pub(super) fn exited_alone(&mut self, now: Moment, launch: LaunchId, others: bool) {
        let tenant = self.launches.get(&launch).filter(|_| !others);
        if let Some(model) = tenant.and_then(|tenant| self.tenants.get_mut(tenant)) {
            model.end(now, launch);
        }
    }

    /// A launch gets the stop signal or is killed.
    pub(super) fn ended(&mut self, now: Moment, action: &Action) -> Result<(), Violation> {
        let is_running = |tenant, launch| {
            let model: &TenantModel = &self.tenants[tenant];
            let named = model
                .live
                .is_some_and(|live| live.launched && live.id == launch);
            check(named, Invariant::SignalRunningLaunch, || {
                format!("{action:?} for {:?}", model.live)
            })
        };
        match action {
            Action::Terminate { tenant, launch } => {
                is_running(tenant, *launch)?;
                self.tenants.get_mut(tenant).unwrap().end(now, *launch);
                Ok(())
            }
            Action::Kill { tenant, launch } => {
                is_running(tenant, *launch)?;
                let model = self.tenants.get_mut(tenant).unwrap();
                let known = model.ending.filter(|(of, _)| of == launch);
                let over = known.is_some_and(|(_, over)| now >= over);
                let allowed = self.hurry || model.policy.grace.is_zero() || over;
                // It may be killed again.
                model.ending = Some((*launch, now));
                check(allowed, Invariant::KilledAfterGrace, || {
                    format!("{launch:?} of {tenant} at {now:?}, its grace: {known:?}")
                })
            }
            Action::Provision { .. }
            | Action::Launch { .. }
            | Action::Conclude { .. }
            | Action::Apply { .. }
            | Action::Release { .. }
            | Action::Remove { .. } => Ok(()),
        }
    }
}
