//! What the supervisors of this host say about their tenants, so that a round asks none of them.
//!
//! If a supervisor ends, what it said last is kept: its tenants may run on, and are still read.

use std::collections::BTreeMap;

use tenantd_api::client::followed::{Followed, Listener};
use tenantd_api::client::watch::Watched;
use tenantd_api::wire::watch::{EventKind, TenantEvent};
use tenantd_api::wire::{StateWord, TenantStatus};
use tenantd_core::name::{AppName, TenantName};

use crate::store::Who;

/// The most ends that are noted for a round.
const ENDS_MAX: usize = 100_000;

/// A period in which a tenant's program ran, in milliseconds since 1970.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Ran {
    pub(crate) who: Who,
    pub(crate) since_ms: i64,
    pub(crate) until_ms: i64,
}

/// The tenants of one application, as they were said to be last.
type Tenants = BTreeMap<TenantName, TenantStatus>;

/// What the supervisors said.
#[derive(Debug, Default)]
struct Said {
    apps: BTreeMap<AppName, Tenants>,
    ended: Vec<Ran>,
}

/// What the supervisors say. Only for a tokio `LocalSet`.
#[derive(Debug, Clone, Default)]
pub(crate) struct Supervisors(Followed<Said>);

impl Supervisors {
    /// Subscribes to the supervisors that are there and not followed yet. Returns what went wrong.
    pub(crate) async fn find(&self) -> Vec<String> {
        self.0.find().await
    }

    /// Whether the supervisor of an application answers.
    pub(crate) fn is_followed(&self, app: &AppName) -> bool {
        self.0.is_followed(app)
    }

    /// All tenants, as they were said to be last.
    pub(crate) fn tenants(&self) -> Vec<(Who, TenantStatus)> {
        self.0.with(|said| {
            let of = said.apps.iter().flat_map(|(app, tenants)| {
                let tenants = tenants.iter();
                tenants.map(|(name, status)| ((app.clone(), name.clone()), status.clone()))
            });
            of.collect()
        })
    }

    /// The periods that have ended since the last call.
    pub(crate) fn take_ended(&self) -> Vec<Ran> {
        self.0.with(|said| std::mem::take(&mut said.ended))
    }
}

impl Listener for Said {
    fn take(&mut self, app: &AppName, watched: Watched) {
        match watched {
            Watched::Snapshot(snapshot) => {
                let tenants = snapshot.tenants.into_iter();
                let tenants = tenants.map(|it| (it.name.clone(), it)).collect();
                let before = self.apps.insert(app.clone(), tenants);
                self.note_ends(app, before.unwrap_or_default());
            }
            Watched::Event(event) => self.event(app, *event),
            Watched::Request(_) => {}
        }
    }
}

impl Said {
    fn event(&mut self, app: &AppName, event: TenantEvent) {
        let known = self.apps.entry(app.clone()).or_default();
        let before = match (event.kind, event.status) {
            (EventKind::Removed, _) | (_, None) => known.remove(&event.tenant),
            (_, Some(status)) => known.insert(event.tenant.clone(), status),
        };
        if event.kind == EventKind::Transition
            && let Some(before) = before.filter(|it| it.state == StateWord::Up)
        {
            let until_ms = event.time.as_millisecond();
            self.ran((app.clone(), event.tenant), &before, until_ms);
        }
    }

    /// Notes what ended while no subscription was there, as far as the next state tells it.
    fn note_ends(&mut self, app: &AppName, before: Tenants) {
        for (name, before) in before {
            let known = self.apps.get(app).and_then(|it| it.get(&name));
            let Some(now) = known.map(|now| (now.state, now.since)) else {
                continue;
            };
            if before.state == StateWord::Up && now.1 > before.since {
                let until_ms = now.1.as_millisecond();
                self.ran((app.clone(), name), &before, until_ms);
            }
        }
    }

    fn ran(&mut self, who: Who, up: &TenantStatus, until_ms: i64) {
        if self.ended.len() < ENDS_MAX {
            self.ended.push(Ran {
                who,
                since_ms: up.since.as_millisecond(),
                until_ms,
            });
        }
    }
}
