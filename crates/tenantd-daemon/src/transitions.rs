//! Transitions: the one place to which every change of a tenant's state is handed, once it is on
//! record. They are logged and counted here; [`publish`](crate::subscriptions::publish) tells those who watch.

pub(crate) mod state_counts;

use std::time::Duration;

use tenantd_core::name::TenantName;
use tenantd_core::supervisor::event::Event;
use tenantd_core::supervisor::view::{StateWord, View};
use tenantd_core::supervisor::{Cause, Find, Supervisor, Transition};

use crate::clock;
use crate::transitions::state_counts::StateCounts;

/// What became of all tenants so far.
#[derive(Default)]
pub(super) struct Transitions {
    state_counts: StateCounts,
}

impl Transitions {
    /// An event is about to be decided: it may bring a tenant that nobody has counted.
    /// Returns that one.
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

    /// Publishes a transition; `view` is the tenant as it is now.
    pub(super) fn publish(&mut self, transition: &Transition, view: Option<&View>) {
        tell(transition, view);
        self.state_counts.note(transition);
    }

    /// A tenant was removed and is gone.
    pub(super) fn on_forgotten(&mut self) {
        self.state_counts.end();
    }

    /// How many tenants are in which state.
    pub(super) fn state_counts(&self) -> &StateCounts {
        &self.state_counts
    }
}

/// The one place where what becomes of tenants is logged.
fn tell(transition: &Transition, view: Option<&View>) {
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
            tracing::warn!(%tenant, "{tenant}: the live change does not hold: {cause}");
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
            tracing::info!(%tenant, "{tenant}: starts again in {:.1} s", wait.as_secs_f64());
        }
        (_, StateWord::Up | StateWord::Down) => {
            tracing::info!(%tenant, "{tenant}: {from} → {to}: {cause}");
        }
        _ => tracing::debug!(%tenant, "{tenant}: {from} → {to}: {cause}"),
    }
}
