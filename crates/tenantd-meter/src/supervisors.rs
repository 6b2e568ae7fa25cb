//! What the supervisors of this host say about their tenants: a subscription to each, so that a round asks none of them.
//!
//! If a supervisor ends, what it said last is kept: its tenants may run on, and are still read. Each round looks for
//! supervisors that were started.

use std::cell::RefCell;
use std::collections::BTreeMap;
use std::rc::Rc;
use std::time::Duration;

use futures_util::future::join_all;
use tokio::task::spawn_local;
use tokio::time::timeout;

use tenantd_api::client::app;
use tenantd_api::client::watch::{Subscription, Watched};
use tenantd_api::wire::watch::{EventKind, TenantEvent};
use tenantd_api::wire::{StateWord, TenantStatus};
use tenantd_core::name::{AppName, TenantName};

use crate::store::Who;

/// How long a round waits for a supervisor that does not answer.
const PATIENCE: Duration = Duration::from_secs(2);

/// The most ends that are noted for a round.
const ENDS_MAX: usize = 100_000;

/// A period in which a tenant's program ran, in milliseconds since 1970.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Ran {
    pub(crate) who: Who,
    pub(crate) since_ms: i64,
    pub(crate) until_ms: i64,
}

/// What is known of one application.
#[derive(Debug, Default)]
struct App {
    /// Whether its supervisor answers.
    is_followed: bool,
    tenants: BTreeMap<TenantName, TenantStatus>,
}

/// What the supervisors said.
#[derive(Debug, Default)]
struct Said {
    apps: BTreeMap<AppName, App>,
    ended: Vec<Ran>,
}

/// What the supervisors say. Only for a tokio `LocalSet`.
#[derive(Debug, Clone, Default)]
pub(crate) struct Supervisors(Rc<RefCell<Said>>);

impl Supervisors {
    /// Subscribes to the supervisors that are there and not followed yet. Returns what went wrong.
    pub(crate) async fn find(&self) -> Vec<String> {
        let running = match app::running() {
            Ok(running) => running,
            Err(error) => return vec![format!("cannot list the applications: {error}")],
        };
        let is_followed = |app: &AppName| {
            self.0
                .borrow()
                .apps
                .get(app)
                .is_some_and(|it| it.is_followed)
        };
        let new = running.into_iter().filter(|app| !is_followed(app));
        let asked = new.map(|app| async move {
            match timeout(PATIENCE, self.follow(&app)).await {
                Ok(Ok(())) => None,
                // Its socket is left of one that died: not worth a line in each round.
                Ok(Err(error)) if error.is_gone() => None,
                Ok(Err(error)) => Some(format!("{app}: {error}")),
                Err(_) => Some(format!("{app}: its supervisor does not answer")),
            }
        });
        join_all(asked).await.into_iter().flatten().collect()
    }

    async fn follow(&self, app: &AppName) -> Result<(), tenantd_api::client::ClientError> {
        let mut subscription = Subscription::open(app, &[]).await?;
        let first = subscription.next().await?;
        self.take(app, first);
        let (this, app) = (self.clone(), app.clone());
        spawn_local(async move {
            while let Ok(watched) = subscription.next().await {
                this.take(&app, watched);
            }
            // The next round looks for a successor.
            if let Some(app) = this.0.borrow_mut().apps.get_mut(&app) {
                app.is_followed = false;
            }
        });
        Ok(())
    }

    fn take(&self, app: &AppName, watched: Watched) {
        let mut said = self.0.borrow_mut();
        match watched {
            Watched::Snapshot(snapshot) => {
                let tenants = snapshot.tenants.into_iter();
                let known = App {
                    is_followed: true,
                    tenants: tenants.map(|it| (it.name.clone(), it)).collect(),
                };
                let before = said.apps.insert(app.clone(), known);
                said.note_ends(app, before.unwrap_or_default());
            }
            Watched::Event(event) => said.event(app, *event),
            Watched::Request(_) => {}
        }
    }

    /// The applications whose supervisor answers.
    pub(crate) fn is_followed(&self, app: &AppName) -> bool {
        self.0
            .borrow()
            .apps
            .get(app)
            .is_some_and(|it| it.is_followed)
    }

    /// All tenants, as they were said to be last.
    pub(crate) fn tenants(&self) -> Vec<(Who, TenantStatus)> {
        let said = self.0.borrow();
        let of = said.apps.iter().flat_map(|(app, known)| {
            let tenants = known.tenants.iter();
            tenants.map(|(name, status)| ((app.clone(), name.clone()), status.clone()))
        });
        of.collect()
    }

    /// The periods that have ended since the last call.
    pub(crate) fn take_ended(&self) -> Vec<Ran> {
        std::mem::take(&mut self.0.borrow_mut().ended)
    }
}

impl Said {
    fn event(&mut self, app: &AppName, event: TenantEvent) {
        let known = self.apps.entry(app.clone()).or_default();
        let before = match (event.kind, event.status) {
            (EventKind::Removed, _) | (_, None) => known.tenants.remove(&event.tenant),
            (_, Some(status)) => known.tenants.insert(event.tenant.clone(), status),
        };
        if event.kind == EventKind::Transition
            && let Some(before) = before.filter(|it| it.state == StateWord::Up)
        {
            let until_ms = event.time.as_millisecond();
            self.ran((app.clone(), event.tenant), &before, until_ms);
        }
    }

    /// Notes what ended while no subscription was there, as far as the next state tells it.
    fn note_ends(&mut self, app: &AppName, before: App) {
        for (name, before) in before.tenants {
            let known = self.apps.get(app).and_then(|it| it.tenants.get(&name));
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
