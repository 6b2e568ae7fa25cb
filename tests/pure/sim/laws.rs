//! Checks the laws from outside: by the events, actions and views of the supervisor. Of its
//! internal data, only the names of its states are used.

use std::collections::BTreeMap;

use tenantd_core::name::TenantName;
use tenantd_core::plan::model::Policy;
use tenantd_core::supervisor::action::{Action, Answer};
use tenantd_core::supervisor::event::{Event, LaunchId, TenantRequest, Verb};
use tenantd_core::supervisor::time::Moment;
use tenantd_core::supervisor::view::{StateWord, View, Want};
use tenantd_core::supervisor::{Limits, Step};

use super::law::{Broken, Law, check};
use super::truth::{Live, Network, Truth};

/// The expectation of an event for the step that follows.
#[derive(Debug)]
pub(crate) struct Heard {
    pub(crate) unfit: bool,
    /// The manifest was reloaded.
    pub(super) reloaded: bool,
}

/// Everything that is known from outside.
#[derive(Debug)]
pub(crate) struct Laws {
    pub(super) limits: Limits,
    pub(super) tenants: BTreeMap<TenantName, Truth>,
    pub(super) launches: BTreeMap<LaunchId, TenantName>,
    pub(super) last_launch: LaunchId,
    automatic: Vec<Moment>,
}

impl Laws {
    pub(crate) fn new(limits: Limits) -> Self {
        Self {
            limits,
            tenants: BTreeMap::new(),
            launches: BTreeMap::new(),
            last_launch: LaunchId(0),
            automatic: Vec::new(),
        }
    }

    /// The expectation of a deadline.
    pub(crate) fn nothing_heard() -> Heard {
        Heard {
            unfit: false,
            reloaded: false,
        }
    }

    /// Whether this event would be stale or not fit now.
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
                self.tenants[tenant].network != Network::Making
            }
            Event::Released { tenant } | Event::ReleaseFailed { tenant, .. } => {
                self.tenants[tenant].network != Network::Taking
            }
            Event::Applied { launch } | Event::ApplyFailed { launch, .. } => {
                !self.is_applying(*launch)
            }
            Event::Launched { launch }
            | Event::LaunchFailed { launch, .. }
            | Event::Ready { launch }
            | Event::Exited { launch, .. }
            | Event::Emptied { launch }
            | Event::EndFailed { launch, .. } => !self.lives(*launch),
        }
    }

    pub(crate) fn policy(&self, tenant: &TenantName) -> Option<&Policy> {
        self.tenants.get(tenant).map(|truth| &*truth.policy)
    }

    /// Whether this launch is not over.
    fn lives(&self, launch: LaunchId) -> bool {
        self.launches.contains_key(&launch)
    }

    /// An event of the world for the supervisor.
    pub(crate) fn event(&mut self, now: Moment, event: &Event) -> Heard {
        let mut heard = Self::nothing_heard();
        heard.unfit = match event {
            Event::Planned { .. }
            | Event::Replanned { .. }
            | Event::Removed { .. }
            | Event::Awaits { .. } => {
                self.plan(now, event);
                false
            }
            Event::Reloaded => {
                heard.reloaded = true;
                false
            }
            Event::Applied { launch } | Event::ApplyFailed { launch, .. } => {
                !self.is_answered(*launch)
            }
            Event::Shutdown => {
                self.tenants
                    .values_mut()
                    .for_each(|truth| truth.asked_end = true);
                false
            }
            Event::Hurry => false,
            Event::Provisioned { tenant } => !self.turned(tenant, Network::Making, Network::There),
            Event::ProvisionFailed { tenant, .. } => {
                let fits = self.turned(tenant, Network::Making, Network::None);
                if let Some(truth) = self.tenants.get_mut(tenant).filter(|_| fits) {
                    truth.trying = false;
                    truth.ended(now);
                }
                !fits
            }
            Event::Released { tenant } => !self.turned(tenant, Network::Taking, Network::None),
            Event::ReleaseFailed { tenant, .. } => {
                !self.turned(tenant, Network::Taking, Network::Partial)
            }
            Event::Launched { launch } => !self.launched(*launch),
            Event::LaunchFailed { launch, .. } | Event::Emptied { launch } => {
                !self.over(now, *launch)
            }
            Event::Ready { launch }
            | Event::Exited { launch, .. }
            | Event::EndFailed { launch, .. } => !self.lives(*launch),
        };
        heard
    }

    fn turned(&mut self, tenant: &TenantName, from: Network, to: Network) -> bool {
        match self.tenants.get_mut(tenant) {
            Some(truth) if truth.network == from => {
                truth.network = to;
                true
            }
            Some(_) | None => false,
        }
    }

    fn launched(&mut self, launch: LaunchId) -> bool {
        let truth = self
            .launches
            .get(&launch)
            .and_then(|name| self.tenants.get_mut(name));
        truth
            .and_then(|truth| truth.live.as_mut())
            .map(|live| {
                live.launched = true;
                live.known = true;
            })
            .is_some()
    }

    fn over(&mut self, now: Moment, launch: LaunchId) -> bool {
        let Some(name) = self.launches.remove(&launch) else {
            return false;
        };
        let truth = self.tenants.get_mut(&name).unwrap();
        truth.live = None;
        truth.applying = None;
        truth.ended(now);
        true
    }

    /// The step of the supervisor for an event.
    pub(crate) fn step(&mut self, now: Moment, heard: &Heard, step: &Step) -> Result<(), Broken> {
        check(
            !heard.unfit || *step == Step::default(),
            Law::StaleIsNothing,
            || format!("{step:?}"),
        )?;
        for action in &step.actions {
            match action {
                Action::Provision { tenant } => self.provision(now, tenant)?,
                Action::Launch { tenant, launch } => self.launch(now, tenant, *launch)?,
                Action::Terminate { tenant, launch } | Action::Kill { tenant, launch } => {
                    let live = self.tenants[tenant].live;
                    let named = live.is_some_and(|live| live.launched && live.id == *launch);
                    check(named, Law::SignalTheLiving, || {
                        format!("{action:?} for {live:?}")
                    })?;
                }
                Action::Apply { tenant, launch } => self.apply(tenant, *launch)?,
                Action::Release { tenant } => self.release(tenant)?,
                Action::Remove { .. } => {}
            }
        }
        Ok(())
    }

    /// The answer of the supervisor to a request, before its step is checked.
    pub(crate) fn answered(
        &mut self,
        request: &TenantRequest,
        answer: &Answer,
        step: &Step,
    ) -> Result<(), Broken> {
        let TenantRequest { tenant, verb } = request;
        if *answer == Answer::Accepted {
            let truth = self.tenants.get_mut(tenant).unwrap();
            truth.asked_end = true;
            if *verb != Verb::Stop {
                truth.free = true;
                truth.strikes = 0;
            }
            return Ok(());
        }
        let of_it = |action: &&Action| match action {
            Action::Provision { tenant: whose }
            | Action::Launch { tenant: whose, .. }
            | Action::Apply { tenant: whose, .. }
            | Action::Terminate { tenant: whose, .. }
            | Action::Kill { tenant: whose, .. }
            | Action::Release { tenant: whose }
            | Action::Remove { tenant: whose } => whose == tenant,
        };
        let done = step.actions.iter().find(of_it);
        check(done.is_none(), Law::NoIsNothing, || {
            format!("{request:?}, {answer:?}: {done:?}")
        })
    }

    fn provision(&mut self, now: Moment, tenant: &TenantName) -> Result<(), Broken> {
        let truth = self.tenants.get_mut(tenant).unwrap();
        let room = matches!(truth.network, Network::None | Network::Stale);
        check(room, Law::ProvisionOnce, || format!("{truth:?}"))?;
        truth.network = Network::Making;
        // Whoever had to wait for others has paid when its own wait was over.
        let awaited = std::mem::take(&mut truth.awaits);
        truth.trying = true;
        truth.asked_end = false;
        let automatic = truth.tries(now)?;
        self.pays(now, automatic && !awaited)
    }

    fn launch(&mut self, now: Moment, tenant: &TenantName, launch: LaunchId) -> Result<(), Broken> {
        check(launch > self.last_launch, Law::FreshLaunch, || {
            format!("{launch:?}")
        })?;
        self.last_launch = launch;
        let truth = self.tenants.get_mut(tenant).unwrap();
        check(truth.live.is_none(), Law::OneLaunch, || {
            format!("{truth:?}")
        })?;
        check(truth.network == Network::There, Law::ProvisionFirst, || {
            format!("{truth:?}")
        })?;
        truth.live = Some(Live {
            id: launch,
            launched: false,
            known: false,
        });
        truth.asked_end = false;
        let automatic = if truth.trying {
            truth.tried_at = now;
            false
        } else {
            truth.tries(now)?
        };
        truth.trying = false;
        self.launches.insert(launch, tenant.clone());
        self.pays(now, automatic)
    }

    fn release(&mut self, tenant: &TenantName) -> Result<(), Broken> {
        let truth = self.tenants.get_mut(tenant).unwrap();
        check(truth.live.is_none(), Law::ReleaseLast, || {
            format!("{truth:?}")
        })?;
        let there = matches!(
            truth.network,
            Network::There | Network::Partial | Network::Stale
        );
        check(there, Law::ReleaseOnce, || format!("{truth:?}"))?;
        truth.network = Network::Taking;
        truth.trying = false;
        Ok(())
    }

    fn pays(&mut self, now: Moment, automatic: bool) -> Result<(), Broken> {
        if !automatic {
            return Ok(());
        }
        self.automatic.push(now);
        let burst = f64::from(self.limits.burst.get());
        let rate = f64::from(self.limits.restarts_per_second.get());
        for (so_far, at) in self.automatic.iter().rev().take(100).enumerate() {
            let most = burst + rate * now.since(*at).as_secs_f64() + 1e-6;
            let count = f64::from(u32::try_from(so_far).unwrap()) + 1.0;
            check(count <= most, Law::Budget, || {
                format!("{count} since {at:?} at {now:?}")
            })?;
        }
        Ok(())
    }

    /// The views of the tenants after a step.
    pub(crate) fn shows(&self, views: &[View], next: Option<Moment>) -> Result<(), Broken> {
        for view in views {
            let truth = &self.tenants[&view.name];
            let launched = truth.live.is_some_and(|live| live.launched);
            let wanted = match view.state {
                StateWord::Up | StateWord::Waiting | StateWord::Failed => view.want == Want::Up,
                StateWord::Down => view.want == Want::Down,
                _ => true,
            };
            let fits = wanted
                && view.launch == truth.live.map(|live| live.id)
                && match view.state {
                    StateWord::Down => truth.network == Network::None,
                    StateWord::Provisioning => {
                        truth.network == Network::Making
                            || (truth.awaits && truth.network == Network::None)
                    }
                    StateWord::Launching => truth.live.is_some() && !launched,
                    StateWord::Up => launched && (view.ready == Some(true) || next.is_some()),
                    StateWord::Stopping => launched && next.is_some(),
                    StateWord::Waiting => next.is_some(),
                    StateWord::Failed => truth.live.is_none(),
                    StateWord::Releasing => truth.network == Network::Taking,
                    StateWord::Stuck => {
                        launched || matches!(truth.network, Network::Partial | Network::Stale)
                    }
                };
            check(fits, Law::WaitForSomething, || {
                format!("{view:?}, {truth:?}")
            })?;
            truth.shows(view)?;
        }
        Ok(())
    }

    /// A stale event must change nothing.
    pub(crate) fn changed(
        &self,
        heard: &Heard,
        before: &[View],
        after: impl Iterator<Item = View>,
    ) -> Result<(), Broken> {
        let same = !heard.unfit || after.eq(before.iter().cloned());
        check(same, Law::StaleIsNothing, || format!("{before:?} changed"))
    }
}
