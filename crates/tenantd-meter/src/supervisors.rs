//! What the supervisors of this host say about their tenants, so that a round asks none of them.
//!
//! If a supervisor ends, what it said last is kept: its tenants may run on, and are still read.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::rc::Rc;

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

/// What is metered of a tenant, as it was said to be last.
#[derive(Debug)]
pub(crate) struct Told {
    pub(crate) who: Who,
    pub(crate) state: StateWord,
    /// Since when, in milliseconds since 1970.
    pub(crate) since_ms: i64,
    pub(crate) restarts: u32,
    pub(crate) cgroup: Option<PathBuf>,
    pub(crate) link: Option<String>,
}

impl Told {
    fn new(app: &AppName, status: TenantStatus) -> Rc<Self> {
        Rc::new(Self {
            who: (app.clone(), status.name),
            state: status.state,
            since_ms: status.since.as_millisecond(),
            restarts: status.restarts,
            cgroup: status.cgroup.map(PathBuf::from),
            link: status.link,
        })
    }
}

/// The tenants of one application.
type Tenants = BTreeMap<TenantName, Rc<Told>>;

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
    pub(crate) fn tenants(&self) -> Vec<Rc<Told>> {
        self.0.with(|said| {
            let tenants = said.apps.values().flat_map(BTreeMap::values);
            tenants.cloned().collect()
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
                let tenants = tenants
                    .map(|it| (it.name.clone(), Told::new(app, it)))
                    .collect();
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
            (_, Some(status)) => known.insert(event.tenant.clone(), Told::new(app, status)),
        };
        if event.kind == EventKind::Transition
            && let Some(before) = before.filter(|it| it.state == StateWord::Up)
        {
            let until_ms = event.time.as_millisecond();
            self.ran(&before, until_ms);
        }
    }

    /// Notes what ended while no subscription was there, as far as the next state tells it.
    fn note_ends(&mut self, app: &AppName, before: Tenants) {
        for (name, before) in before {
            let known = self.apps.get(app).and_then(|it| it.get(&name));
            let Some(now_ms) = known.map(|now| now.since_ms) else {
                continue;
            };
            if before.state == StateWord::Up && now_ms > before.since_ms {
                self.ran(&before, now_ms);
            }
        }
    }

    fn ran(&mut self, up: &Told, until_ms: i64) {
        if self.ended.len() < ENDS_MAX {
            self.ended.push(Ran {
                who: up.who.clone(),
                since_ms: up.since_ms,
                until_ms,
            });
        }
    }
}
