//! How launches end: the stop signal, the grace, and SIGKILL.

use tenantd_core::name::TenantName;
use tenantd_core::supervisor::action::Action;
use tenantd_core::supervisor::event::{Event, LaunchId};
use tenantd_core::supervisor::time::Moment;
use tenantd_core::supervisor::{Cause, Step, Transition};

use super::checker::{Checker, Expectation};
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
    /// Grace periods are over. This is no stale event.
    pub(super) fn hurries(&mut self) -> bool {
        self.hurry = true;
        false
    }

    /// The first process has exited. Without others nobody is left to get the stop signal.
    pub(super) fn first_exited(&mut self, now: Moment, event: &Event) -> bool {
        let Event::Exited {
            launch,
            exit,
            others,
            ..
        } = event
        else {
            return false;
        };
        self.exited_alone(now, *launch, *others);
        self.exited(*launch, *exit)
    }

    /// The process of a launch that counts has ended, and it was the last one.
    pub(super) fn exited_alone(&mut self, now: Moment, launch: LaunchId, others: bool) {
        let tenant = self.launches.get(&launch).filter(|_| !others);
        if let Some(model) = tenant.and_then(|tenant| self.tenants.get_mut(tenant)) {
            model.end(now, launch);
        }
    }

    /// The host has named what it killed. After a grace that must be said, once.
    pub(super) fn was_killed(&mut self, launch: LaunchId, expected: &mut Expectation) -> bool {
        let tenant = self.launches.get(&launch);
        if let Some(tenant) = tenant
            && let Some(model) = self.tenants.get_mut(tenant)
            && std::mem::take(&mut model.forced)
            // Its last process may have ended just before.
            && model.live.is_some_and(|live| !live.over)
        {
            expected.forced = Some(tenant.clone());
        }
        self.is_running(launch)
    }

    /// A forced kill is said.
    pub(super) fn check_forced(expected: &Expectation, step: &Step) -> Result<(), Violation> {
        let Some(tenant) = &expected.forced else {
            return Ok(());
        };
        let says = |it: &Transition| it.tenant == *tenant && matches!(it.cause, Cause::Killed(_));
        check(
            step.transitions.iter().any(says),
            Invariant::ForcedKillSaid,
            || format!("{tenant}: {step:?}"),
        )
    }

    /// The main process of a launch has ended: the launch is being ended now.
    pub(super) fn main_ended(&self, launch: LaunchId) -> Result<(), Violation> {
        let model = self.launches.get(&launch).map(|name| &self.tenants[name]);
        let ending = model.is_none_or(|model| model.ending.is_some_and(|(of, _)| of == launch));
        check(ending, Invariant::MainEndsLaunch, || format!("{model:?}"))
    }

    /// A launch is abandoned: only before it is reported as executed.
    pub(super) fn abandoned(&self, tenant: &TenantName, launch: LaunchId) -> Result<(), Violation> {
        let live = self.tenants[tenant].live;
        let is_begun = live.is_some_and(|live| live.id == launch && !live.launched);
        check(is_begun, Invariant::AbandonUnexecuted, || {
            format!("{launch:?} of {tenant}: {live:?}")
        })
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
                let first = known.is_some() && !model.killed;
                model.forced = over && first && !model.policy.grace.is_zero();
                model.killed = true;
                // It may be killed again.
                model.ending = Some((*launch, now));
                check(allowed, Invariant::KilledAfterGrace, || {
                    format!("{launch:?} of {tenant} at {now:?}, its grace: {known:?}")
                })
            }
            Action::Provision { .. }
            | Action::Launch { .. }
            | Action::Abandon { .. }
            | Action::Conclude { .. }
            | Action::Apply { .. }
            | Action::Release { .. }
            | Action::Remove { .. } => Ok(()),
        }
    }
}

/// A step after a forced kill that does not say so.
pub(super) fn violations() -> Vec<Result<(), Violation>> {
    let expected = Expectation {
        forced: Some("acme".parse().unwrap()),
        ..Checker::for_deadline()
    };
    vec![Checker::check_forced(&expected, &Step::default())]
}

/// A program that runs is abandoned.
pub(super) fn abandon() -> Action {
    Action::Abandon {
        tenant: "acme".parse().unwrap(),
        launch: LaunchId(1),
    }
}
