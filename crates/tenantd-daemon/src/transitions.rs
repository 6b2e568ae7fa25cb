//! Transitions: logs and counts every change of a tenant's state, once it is recorded. See
//! [`publish`](crate::subscriptions::publish) for the events that subscribers get.

pub(crate) mod state_counts;

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

use tenantd_core::layout;
use tenantd_core::name::{AppName, TenantName};
use tenantd_core::plan::model::TenantPlan;
use tenantd_core::plan::phase::Phase;
use tenantd_core::supervisor::event::Event;
use tenantd_core::supervisor::view::{StateWord, View, Why};
use tenantd_core::supervisor::{Cause, Find, Supervisor, Transition};
use tenantd_host::failures::{self, Failed, Found};

use crate::clock;
use crate::history;
use crate::step::Untold;
use crate::transitions::state_counts::StateCounts;
use crate::watched_later::WatchedLater;

/// Logs transitions and keeps the state counts.
pub(super) struct Transitions {
    state_counts: StateCounts,
    /// The last failure of each tenant that had one.
    failures: BTreeMap<TenantName, Failed>,
    /// Steps whose transitions nobody was told of.
    pub(super) untold: Vec<Untold>,
    pub(super) watched_later: WatchedLater,
}

impl Transitions {
    /// Continues with the last failures that earlier supervisors saw of these tenants.
    pub(super) fn begin(app: &AppName, plans: &[Arc<TenantPlan>]) -> Self {
        let planned: BTreeSet<&TenantName> = plans.iter().map(|plan| &plan.name).collect();
        let found = failures::found(app, |tenant| planned.contains(tenant));
        let found = found.unwrap_or_else(|error| {
            let folder = layout::FAILURES;
            tracing::error!(
                "cannot read {folder}/{app}: what failed before this supervisor began is not shown: {error}"
            );
            Found::default()
        });
        for (path, error) in found.damaged {
            tracing::warn!(
                "cannot understand {}, which is removed: what failed there last is not shown: {error}",
                path.display()
            );
        }
        Self {
            state_counts: StateCounts::default(),
            failures: found.failures,
            untold: Vec::new(),
            watched_later: WatchedLater::default(),
        }
    }

    /// Counts the tenant of an event that plans a new one, before the supervisor handles the event.
    /// Returns the new tenant.
    pub(super) fn on_event(
        &mut self,
        event: &Event,
        supervisor: &Supervisor,
    ) -> Option<TenantName> {
        let Event::Planned { tenant, .. } = event else {
            return None;
        };
        if supervisor.tenant(tenant).is_some() {
            return None;
        }
        self.state_counts.begin();
        Some(tenant.clone())
    }

    /// Logs and counts a transition. `view` is the tenant after it, and `reached` which limits it had reached.
    pub(super) fn publish(
        &mut self,
        transition: &Transition,
        view: Option<&View>,
        reached: Option<&str>,
    ) {
        log(transition, view);
        self.state_counts.note(transition);
        let why = view.and_then(|view| view.why.as_ref());
        let Some(why) = why.filter(|_| is_failure(transition)) else {
            return;
        };
        let reached = reached.filter(|_| matches!(why, Why::Exit(_)));
        let why = reached.map_or_else(|| why.to_string(), |reached| format!("{why}; {reached}"));
        let failed = Failed::new(clock::date(clock::now()), why);
        history::last_failure(&transition.tenant, Some(failed.clone()));
        self.failures.insert(transition.tenant.clone(), failed);
    }

    /// The last failure of a tenant.
    pub(super) fn failure_of(&self, tenant: &TenantName) -> Option<&Failed> {
        self.failures.get(tenant)
    }

    /// Stops counting a tenant that was removed and released.
    pub(super) fn on_removed(&mut self, tenant: &TenantName) {
        if self.failures.remove(tenant).is_some() {
            history::last_failure(tenant, None);
        }
        self.state_counts.end();
    }

    /// The number of tenants in each state.
    pub(super) fn state_counts(&self) -> &StateCounts {
        &self.state_counts
    }
}

/// Whether this is the end of a program that was not requested, or a failed stage or command of a start.
fn is_failure(Transition { cause, to, .. }: &Transition) -> bool {
    match cause {
        Cause::Failed(_) | Cause::GivenUp(_) | Cause::Exited(_) | Cause::Found(Find::Died(_)) => {
            true
        }
        // A command has failed, and nothing of it is left.
        Cause::Finished(..) | Cause::Concluded | Cause::Emptied => {
            matches!(to, StateWord::Waiting | StateWord::Failed)
        }
        _ => false,
    }
}

/// Logs a transition.
fn log(transition: &Transition, view: Option<&View>) {
    let Transition {
        tenant,
        from,
        to,
        launch: _,
        cause,
    } = transition;
    match (cause, to) {
        (Cause::Applied, _) => tracing::info!(%tenant, "{tenant}: {cause}"),
        (Cause::NotApplied(_), _) => {
            tracing::warn!(%tenant, "{tenant}: live change not applied: {cause}");
        }
        (Cause::Killed(_) | Cause::StillRuns(_) | Cause::NoMoreTime(..), _) => {
            tracing::warn!(%tenant, "{tenant}: {cause}");
        }
        (Cause::Ready, _) => tracing::info!(%tenant, "{tenant}: ready"),
        (
            Cause::Failed(_) | Cause::GivenUp(_) | Cause::Exited(_) | Cause::Found(Find::Died(_)),
            _,
        ) => {
            tracing::warn!(%tenant, "{tenant}: {from} → {to}: {cause}");
        }
        (Cause::Found(_), _) => {
            tracing::info!(%tenant, "{tenant}: {from} → {to}: {cause}");
        }
        (_, StateWord::Waiting) => {
            let until = view.and_then(|view| view.until);
            let wait = until.map_or(Duration::ZERO, |until| until.since(clock::now()));
            tracing::info!(%tenant, "{tenant}: starting again in {:.1} s", wait.as_secs_f64());
        }
        (
            Cause::NotRestarted(_)
            | Cause::SaysStopping
            | Cause::Offline(_)
            | Cause::Finished(Phase::Offline, ..),
            _,
        )
        | (_, StateWord::Up | StateWord::Down | StateWord::Exited) => {
            tracing::info!(%tenant, "{tenant}: {from} → {to}: {cause}");
        }
        _ => tracing::debug!(%tenant, "{tenant}: {from} → {to}: {cause}"),
    }
}
