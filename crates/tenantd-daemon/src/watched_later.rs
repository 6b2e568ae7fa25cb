//! Launches that were adopted, and are watched once requests are answered: whether they reach limits, lose mounts, or have
//! files for look-ups that the host's no longer agree with.
//!
//! All of that notices what happens from then on. Mounts and files that were lost before are found by the first check; a limit that
//! was reached before is not told. It takes longer than the proof of the launches, and `status` shows nothing of it before those checks
//! have ended anyway. So it does not delay the first answer.

use std::collections::BTreeMap;

use tokio::task::yield_now;

use tenantd_core::name::TenantName;
use tenantd_core::supervisor::{Cause, Find, Transition};
use tenantd_host::timeline;

use crate::Daemon;
use crate::executor::host::calm::Calm;

/// How many tenants are taken at a time, between two requests: a few milliseconds of work.
const AT_ONCE: usize = 32;

/// The transitions by which launches were adopted, until their tenants are watched.
#[derive(Debug, Default)]
pub(crate) struct WatchedLater(BTreeMap<TenantName, Transition>);

impl WatchedLater {
    /// Whether any tenant waits.
    pub(crate) fn has_any(&self) -> bool {
        !self.0.is_empty()
    }

    /// Whether a tenant waits.
    pub(crate) fn has(&self, tenant: &TenantName) -> bool {
        self.0.contains_key(tenant)
    }

    /// Keeps a transition if it is an adoption. Returns whether it is kept.
    fn keep(&mut self, transition: &Transition) -> bool {
        let is_adoption = matches!(transition.cause, Cause::Found(Find::Lives));
        if is_adoption {
            let tenant = transition.tenant.clone();
            self.0.insert(tenant, transition.clone());
        }
        is_adoption
    }

    fn next(&mut self) -> Option<Transition> {
        self.0.pop_first().map(|(_, transition)| transition)
    }
}

/// Waits until adopted launches may be watched, for ever if there are none. Cancelling this loses nothing.
pub(crate) async fn may_begin(calm: &Calm, has_any: bool) {
    if !has_any {
        return std::future::pending().await;
    }
    calm.wait().await;
    // What has arrived comes first.
    yield_now().await;
}

impl Daemon {
    /// Tells the owners that watch running programs of a transition. Of an adoption they are told later, but before
    /// the tenant's next transition.
    pub(crate) fn watch_program(&mut self, transition: &Transition) {
        if let Some(adopted) = self.transitions.watched_later.0.remove(&transition.tenant) {
            self.watch_adopted(&adopted);
        }
        if !self.transitions.watched_later.keep(transition) {
            self.watch_now(transition);
        }
    }

    /// Has the next adopted launches watched.
    pub(crate) fn watch_next(&mut self) {
        for _ in 0..AT_ONCE {
            let Some(adopted) = self.transitions.watched_later.next() else {
                return;
            };
            self.watch_adopted(&adopted);
        }
    }

    fn watch_adopted(&mut self, adopted: &Transition) {
        let _span = timeline::span("recovery: watch one", adopted.tenant.as_str());
        self.watch_now(adopted);
        let inventory = self.executor.inventory();
        self.lookups.on_plan(&adopted.tenant, inventory);
    }

    fn watch_now(&mut self, transition: &Transition) {
        let inventory = self.executor.inventory();
        self.reached.on_transition(transition, inventory);
        self.targets.on_transition(transition, inventory);
        self.lookups.on_transition(transition, inventory);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use tenantd_core::supervisor::event::LaunchId;
    use tenantd_core::supervisor::view::StateWord;

    fn transition(tenant: &str, cause: Cause) -> Transition {
        Transition {
            tenant: tenant.parse().unwrap(),
            from: StateWord::Down,
            to: StateWord::Up,
            launch: Some(LaunchId(1)),
            cause,
        }
    }

    #[test]
    fn only_adoptions_wait() {
        let mut later = WatchedLater::default();
        for cause in [
            Cause::Launched,
            Cause::Found(Find::AsItWas(StateWord::Offline)),
        ] {
            assert!(!later.keep(&transition("acme", cause)));
        }
        assert!(!later.has_any());
        for tenant in ["acme", "beta"] {
            assert!(later.keep(&transition(tenant, Cause::Found(Find::Lives))));
            assert!(later.has(&tenant.parse().unwrap()));
        }
        let next = || later.next().map(|it| it.tenant.to_string());
        let all: Vec<String> = std::iter::from_fn(next).collect();
        assert_eq!(all, ["acme", "beta"]);
    }
}
