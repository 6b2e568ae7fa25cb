//! Checks the invariants from outside: by the events, actions and views of the supervisor. Of its
//! internal data, only the names of its states are used.

use std::collections::BTreeMap;

use tenantd_core::name::TenantName;
use tenantd_core::plan::model::Policy;
use tenantd_core::plan::phase::Phase;
use tenantd_core::supervisor::action::Action;
use tenantd_core::supervisor::event::{Event, LaunchId};
use tenantd_core::supervisor::time::Moment;
use tenantd_core::supervisor::view::{StateWord, View, Want};
use tenantd_core::supervisor::{Limits, Step};

use super::invariant::{Invariant, Violation, check};
use super::model::{Live, Network, TenantModel};

/// What the step that follows an event may do.
#[derive(Debug)]
pub(crate) struct Expectation {
    pub(crate) stale: bool,
    /// The manifest was reloaded.
    pub(super) reloaded: bool,
    /// Processes of this tenant were killed after their grace.
    pub(super) forced: Option<TenantName>,
    /// The main process of this launch has ended.
    pub(super) main_ended: Option<LaunchId>,
}

/// Checks the invariants. Holds everything that is known from outside.
#[derive(Debug)]
pub(crate) struct Checker {
    pub(super) limits: Limits,
    pub(super) tenants: BTreeMap<TenantName, TenantModel>,
    pub(super) launches: BTreeMap<LaunchId, TenantName>,
    pub(super) last_launch: LaunchId,
    automatic: Vec<Moment>,
    /// Whether grace periods are over, for this supervisor.
    pub(super) hurry: bool,
}

impl Checker {
    pub(crate) fn new(limits: Limits) -> Self {
        Self {
            limits,
            tenants: BTreeMap::new(),
            launches: BTreeMap::new(),
            last_launch: LaunchId(0),
            automatic: Vec::new(),
            hurry: false,
        }
    }

    /// The expectation for the step of a deadline.
    pub(crate) fn for_deadline() -> Expectation {
        Expectation {
            stale: false,
            reloaded: false,
            forced: None,
            main_ended: None,
        }
    }

    /// Whether this event would be stale now, or would not fit the state of the tenant.
    pub(crate) fn is_stale(&self, event: &Event) -> bool {
        match event {
            Event::Planned { .. }
            | Event::Replanned { .. }
            | Event::Removed { .. }
            | Event::Awaits { .. }
            | Event::Reloaded
            | Event::Shutdown
            | Event::Hurry => false,
            Event::Provisioned { tenant } | Event::ProvisionFailed { tenant, .. } => {
                self.tenants[tenant].network != Network::Provisioning
            }
            Event::LinkLost { tenant, .. } => self.has_no_link(tenant),
            Event::Released { tenant } | Event::ReleaseFailed { tenant, .. } => {
                self.tenants[tenant].network != Network::Releasing
            }
            Event::Applied { launch } | Event::ApplyFailed { launch, .. } => {
                !self.is_applying(*launch)
            }
            Event::Skipped { launch } => !self.is_launching(*launch, Phase::Init),
            Event::Concluded { launch } | Event::ConcludeFailed { launch, .. } => {
                !self.is_concluding(*launch)
            }
            Event::Launched { launch }
            | Event::LaunchFailed { launch, .. }
            | Event::Ready { launch }
            | Event::Exited { launch, .. }
            | Event::MainExited { launch, .. }
            | Event::Emptied { launch }
            | Event::MountLost { launch, .. }
            | Event::NotAlive { launch, .. }
            | Event::Extend { launch, .. }
            | Event::SaysStopping { launch }
            | Event::Killed { launch, .. }
            | Event::EndFailed { launch, .. } => !self.is_running(*launch),
        }
    }

    pub(crate) fn policy(&self, tenant: &TenantName) -> Option<&Policy> {
        self.tenants.get(tenant).map(|model| &*model.policy)
    }

    /// Whether this launch is not over.
    pub(super) fn is_running(&self, launch: LaunchId) -> bool {
        self.launches.contains_key(&launch)
    }

    /// An event for the supervisor.
    pub(crate) fn event(&mut self, now: Moment, event: &Event) -> Expectation {
        let mut expected = Self::for_deadline();
        expected.stale = match event {
            Event::Planned { .. }
            | Event::Replanned { .. }
            | Event::Removed { .. }
            | Event::Awaits { .. } => {
                self.plan(now, event);
                false
            }
            Event::Reloaded => {
                expected.reloaded = true;
                false
            }
            Event::Applied { launch } | Event::ApplyFailed { launch, .. } => {
                !self.on_apply_result(*launch)
            }
            Event::Shutdown => {
                let models = self.tenants.values_mut();
                models.for_each(|model| model.end_requested = true);
                false
            }
            Event::Hurry => self.hurries(),
            Event::Provisioned { tenant } => {
                !self.change_network(tenant, Network::Provisioning, Network::Provisioned)
            }
            Event::ProvisionFailed { tenant, .. } => !self.provision_failed(now, tenant),
            Event::LinkLost { tenant, .. } => !self.link_lost(tenant),
            Event::Released { tenant } => {
                !self.change_network(tenant, Network::Releasing, Network::None)
            }
            Event::ReleaseFailed { tenant, .. } => {
                !self.change_network(tenant, Network::Releasing, Network::Partial)
            }
            Event::Launched { launch } => !self.launched(*launch),
            Event::Skipped { launch } => !self.skipped(*launch),
            Event::Concluded { launch } => !self.concluded(now, *launch, true),
            Event::ConcludeFailed { launch, .. } => !self.concluded(now, *launch, false),
            Event::LaunchFailed { launch, .. } | Event::Emptied { launch } => {
                !self.end_launch(now, *launch)
            }
            Event::Exited { .. } => !self.first_exited(now, event),
            Event::MainExited { launch, others, .. } => {
                expected.main_ended = Some(*launch);
                self.exited_alone(now, *launch, *others);
                !self.is_running(*launch)
            }
            Event::Ready { launch }
            | Event::MountLost { launch, .. }
            | Event::NotAlive { launch, .. }
            | Event::Extend { launch, .. }
            | Event::SaysStopping { launch }
            | Event::EndFailed { launch, .. } => !self.is_running(*launch),
            Event::Killed { launch, .. } => !self.was_killed(*launch, &mut expected),
        };
        expected
    }

    fn provision_failed(&mut self, now: Moment, tenant: &TenantName) -> bool {
        let fits = self.change_network(tenant, Network::Provisioning, Network::None);
        if let Some(model) = self.tenants.get_mut(tenant).filter(|_| fits) {
            model.trying = false;
            model.count_strike(now);
        }
        fits
    }

    pub(super) fn change_network(
        &mut self,
        tenant: &TenantName,
        from: Network,
        to: Network,
    ) -> bool {
        match self.tenants.get_mut(tenant) {
            Some(model) if model.network == from => {
                model.network = to;
                true
            }
            Some(_) | None => false,
        }
    }

    fn end_launch(&mut self, now: Moment, launch: LaunchId) -> bool {
        if let Some(ended) = self.end_phase(launch) {
            return ended;
        }
        let Some(name) = self.launches.remove(&launch) else {
            return false;
        };
        let model = self.tenants.get_mut(&name).unwrap();
        model.live = None;
        model.applying = None;
        model.count_strike(now);
        true
    }

    /// The step of the supervisor for an event.
    pub(crate) fn step(
        &mut self,
        now: Moment,
        expected: &Expectation,
        step: &Step,
    ) -> Result<(), Violation> {
        check(
            !expected.stale || *step == Step::default(),
            Invariant::StaleDoesNothing,
            || format!("{step:?}"),
        )?;
        Self::check_forced(expected, step)?;
        for action in &step.actions {
            match action {
                Action::Provision { tenant } => self.provision(now, tenant)?,
                Action::Launch {
                    tenant,
                    launch,
                    phase,
                } => self.launch(now, tenant, *launch, *phase)?,
                Action::Conclude {
                    tenant,
                    launch,
                    success,
                } => self.conclude(tenant, *launch, *success)?,
                Action::Terminate { .. } | Action::Kill { .. } => self.ended(now, action)?,
                Action::Abandon { tenant, launch } => self.abandoned(tenant, *launch)?,
                Action::Apply { tenant, launch } => self.apply(tenant, *launch)?,
                Action::Release { tenant } => self.release(tenant)?,
                Action::Remove { .. } => {}
            }
        }
        match expected.main_ended {
            Some(launch) if !expected.stale => self.main_ended(launch),
            Some(_) | None => Ok(()),
        }
    }

    fn provision(&mut self, now: Moment, tenant: &TenantName) -> Result<(), Violation> {
        let model = self.tenants.get_mut(tenant).unwrap();
        let room = matches!(model.network, Network::None | Network::Stale);
        check(room, Invariant::ProvisionOnce, || format!("{model:?}"))?;
        model.network = Network::Provisioning;
        // A tenant that waited for others has used up its place in the budget when its own delay
        // ended.
        let awaited = std::mem::take(&mut model.awaits);
        model.trying = true;
        model.requested |= std::mem::take(&mut model.continuing);
        model.end_requested = false;
        let automatic = model.begin_try(now)?;
        self.check_budget(now, automatic && !awaited)
    }

    fn launch(
        &mut self,
        now: Moment,
        tenant: &TenantName,
        launch: LaunchId,
        phase: Phase,
    ) -> Result<(), Violation> {
        check(launch > self.last_launch, Invariant::UniqueLaunch, || {
            format!("{launch:?}")
        })?;
        self.last_launch = launch;
        let model = self.tenants.get_mut(tenant).unwrap();
        check(model.live.is_none(), Invariant::OneLaunch, || {
            format!("{model:?}")
        })?;
        check(
            model.network == Network::Provisioned,
            Invariant::ProvisionFirst,
            || format!("{model:?}"),
        )?;
        model.ending = None;
        model.killed = false;
        model.forced = false;
        model.live = Some(Live {
            id: launch,
            launched: false,
            known: false,
            phase,
            exit: None,
            over: false,
            concluding: false,
        });
        model.end_requested = false;
        let continuing = std::mem::take(&mut model.continuing);
        let automatic = if model.trying || continuing {
            model.tried_at = now;
            false
        } else {
            model.begin_try(now)?
        };
        model.trying = false;
        self.launches.insert(launch, tenant.clone());
        self.check_budget(now, automatic)
    }

    fn release(&mut self, tenant: &TenantName) -> Result<(), Violation> {
        let model = self.tenants.get_mut(tenant).unwrap();
        check(model.live.is_none(), Invariant::ReleaseLast, || {
            format!("{model:?}")
        })?;
        let there = matches!(
            model.network,
            Network::Provisioned | Network::Partial | Network::Stale
        );
        check(there, Invariant::ReleaseOnce, || format!("{model:?}"))?;
        model.network = Network::Releasing;
        model.trying = false;
        Ok(())
    }

    fn check_budget(&mut self, now: Moment, automatic: bool) -> Result<(), Violation> {
        if !automatic {
            return Ok(());
        }
        self.automatic.push(now);
        let burst = f64::from(self.limits.burst.get());
        let rate = f64::from(self.limits.restarts_per_second.get());
        for (so_far, at) in self.automatic.iter().rev().take(100).enumerate() {
            let most = burst + rate * now.since(*at).as_secs_f64() + 1e-6;
            let count = f64::from(u32::try_from(so_far).unwrap()) + 1.0;
            check(count <= most, Invariant::Budget, || {
                format!("{count} since {at:?} at {now:?}")
            })?;
        }
        Ok(())
    }

    /// The views of the tenants after a step.
    pub(crate) fn check_views(
        &self,
        views: &[View],
        next: Option<Moment>,
    ) -> Result<(), Violation> {
        for view in views {
            let model = &self.tenants[&view.name];
            let launched = model.live.is_some_and(|live| live.launched);
            let concluding = model.live.is_some_and(|live| live.concluding);
            let wanted = match view.state {
                StateWord::Up | StateWord::Waiting | StateWord::Failed | StateWord::Exited => {
                    view.want == Want::Up
                }
                StateWord::Down => view.want == Want::Down,
                _ => true,
            };
            let fits = wanted
                && view.launch == model.live.map(|live| live.id)
                && match view.state {
                    StateWord::Down | StateWord::Exited => model.network == Network::None,
                    StateWord::Provisioning => {
                        model.network == Network::Provisioning
                            || (model.awaits && model.network == Network::None)
                    }
                    StateWord::Launching => model.live.is_some() && !launched,
                    StateWord::Up => launched && (view.ready == Some(true) || next.is_some()),
                    StateWord::Offline => launched,
                    StateWord::Initializing | StateWord::Preparing => {
                        launched && (next.is_some() || concluding)
                    }
                    StateWord::Stopping => concluding || (launched && next.is_some()),
                    StateWord::Waiting => next.is_some(),
                    StateWord::Failed => model.live.is_none(),
                    StateWord::Releasing => model.network == Network::Releasing,
                    StateWord::Stuck => {
                        launched || matches!(model.network, Network::Partial | Network::Stale)
                    }
                };
            check(fits, Invariant::NoTenantHangs, || {
                format!("{view:?}, {model:?}")
            })?;
            model.check_view(view)?;
        }
        Ok(())
    }

    /// A stale event must change nothing.
    pub(crate) fn check_unchanged(
        &self,
        expected: &Expectation,
        before: &[View],
        after: impl Iterator<Item = View>,
    ) -> Result<(), Violation> {
        let same = !expected.stale || after.eq(before.iter().cloned());
        check(same, Invariant::StaleDoesNothing, || {
            format!("{before:?} changed")
        })
    }
}
