//! Transitions: logs and counts every change of a tenant's state, once it is recorded. See
//! [`publish`](crate::subscriptions::publish) for the events that subscribers get.

pub(crate) mod state_counts;

use std::time::Duration;

use tenantd_core::name::TenantName;
use tenantd_core::plan::phase::Phase;
use tenantd_core::supervisor::event::Event;
use tenantd_core::supervisor::view::{StateWord, View};
use tenantd_core::supervisor::{Cause, Find, Supervisor, Transition};

use crate::clock;
use crate::transitions::state_counts::StateCounts;

/// Logs transitions and keeps the state counts.
#[derive(Default)]
pub(super) struct Transitions {
    state_counts: StateCounts,
}

impl Transitions {
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

    /// Logs and counts a transition. `view` is the tenant after it.
    pub(super) fn publish(&mut self, transition: &Transition, view: Option<&View>) {
        log(transition, view);
        self.state_counts.note(transition);
    }

    /// Stops counting a tenant that was removed and released.
    pub(super) fn on_removed(&mut self) {
        self.state_counts.end();
    }

    /// The number of tenants in each state.
    pub(super) fn state_counts(&self) -> &StateCounts {
        &self.state_counts
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
