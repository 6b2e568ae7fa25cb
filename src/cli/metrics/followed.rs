//! What the supervisors of this host say: the state of each tenant, and how long launches took.

use std::cell::RefCell;
use std::collections::BTreeMap;
use std::rc::Rc;
use std::time::Duration;

use futures_util::future::join_all;
use jiff::Timestamp;
use tokio::task::spawn_local;
use tokio::time::timeout;

use tenantd_api::client::ClientError;
use tenantd_api::client::app;
use tenantd_api::client::watch::{Subscription, Watched};
use tenantd_api::wire::watch::{EventKind, TenantEvent};
use tenantd_api::wire::{StateWord, TenantStatus};
use tenantd_core::name::{AppName, TenantName};

/// How long a supervisor may take to answer.
const PATIENCE: Duration = Duration::from_secs(2);

/// The upper limits of the histogram of launches, in seconds.
pub(super) const LIMITS: [f64; 10] = [0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 10.0, 60.0];

/// How long launches took until the program was ready.
#[derive(Debug, Clone, Default, PartialEq)]
pub(super) struct Launches {
    /// How many took at most each limit, and more than the one before; the last ones took longer.
    pub(super) counts: [u64; LIMITS.len() + 1],
    /// All of them together, in seconds.
    pub(super) seconds: f64,
}

impl Launches {
    fn add(&mut self, seconds: f64) {
        let at = LIMITS.iter().position(|limit| seconds <= *limit);
        self.counts[at.unwrap_or(LIMITS.len())] += 1;
        self.seconds += seconds;
    }
}

/// What is known of one application.
#[derive(Debug, Clone, Default)]
pub(super) struct App {
    /// The process of its supervisor; `None` if none answers. What it said last is kept.
    pub(super) pid: Option<u32>,
    pub(super) tenants: BTreeMap<TenantName, TenantStatus>,
    pub(super) launches: Launches,
    launching: BTreeMap<TenantName, Timestamp>,
}

/// The supervisors of this host. Only for a tokio `LocalSet`.
#[derive(Debug, Default)]
pub(super) struct Followed {
    apps: Rc<RefCell<BTreeMap<AppName, App>>>,
}

impl Followed {
    /// Subscribes to the supervisors that are there and not followed yet.
    pub(super) async fn find(&self) {
        let running = match app::running() {
            Ok(running) => running,
            Err(error) => {
                return eprintln!("tenantd metrics: cannot list the applications: {error}");
            }
        };
        self.apps
            .borrow_mut()
            .retain(|app, known| known.pid.is_some() || running.contains(app));
        let is_new = |app: &AppName| {
            let apps = self.apps.borrow();
            apps.get(app).is_none_or(|known| known.pid.is_none())
        };
        let new: Vec<AppName> = running.into_iter().filter(is_new).collect();
        join_all(new.into_iter().map(|app| async move {
            match timeout(PATIENCE, self.follow(&app)).await {
                Ok(Ok(())) => {}
                Ok(Err(error)) if error.is_gone() => {}
                Ok(Err(error)) => eprintln!("tenantd metrics: {app}: {error}"),
                Err(_) => eprintln!("tenantd metrics: {app}: its supervisor does not answer"),
            }
            // One that does not answer is shown as such.
            self.apps.borrow_mut().entry(app).or_default();
        }))
        .await;
    }

    async fn follow(&self, app: &AppName) -> Result<(), ClientError> {
        let mut subscription = Subscription::open(app, &[]).await?;
        let first = subscription.next().await?;
        let (apps, app) = (Rc::clone(&self.apps), app.clone());
        take(&mut apps.borrow_mut(), &app, first);
        spawn_local(async move {
            while let Ok(watched) = subscription.next().await {
                take(&mut apps.borrow_mut(), &app, watched);
            }
            apps.borrow_mut().entry(app).or_default().pid = None;
        });
        Ok(())
    }

    /// Shows all applications, as they are said to be now.
    pub(super) fn show<T>(&self, show: impl FnOnce(&BTreeMap<AppName, App>) -> T) -> T {
        show(&self.apps.borrow())
    }
}

fn take(apps: &mut BTreeMap<AppName, App>, app: &AppName, watched: Watched) {
    let known = apps.entry(app.clone()).or_default();
    match watched {
        Watched::Snapshot(snapshot) => {
            known.pid = Some(snapshot.pid);
            let tenants = snapshot.tenants.into_iter();
            known.tenants = tenants.map(|it| (it.name.clone(), it)).collect();
        }
        Watched::Event(event) => known.event(*event),
        Watched::Request(_) => {}
    }
}

impl App {
    fn event(&mut self, event: TenantEvent) {
        let TenantEvent {
            tenant,
            kind,
            state,
            time,
            status,
            ..
        } = event;
        if kind == EventKind::Transition && state == StateWord::Launching {
            self.launching.insert(tenant.clone(), time);
        }
        let is_ready = status.as_ref().is_some_and(|it| it.ready == Some(true));
        match state {
            StateWord::Up if is_ready => {
                if let Some(begun) = self.launching.remove(&tenant) {
                    self.launches.add(time.duration_since(begun).as_secs_f64());
                }
            }
            StateWord::Launching | StateWord::Up => {}
            _ => drop(self.launching.remove(&tenant)),
        }
        match status {
            Some(status) if kind != EventKind::Removed => self.tenants.insert(tenant, status),
            Some(_) | None => self.tenants.remove(&tenant),
        };
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_launch_is_in_the_bucket_of_its_time() {
        let mut launches = Launches::default();
        for seconds in [0.0, 0.01, 0.011, 61.0] {
            launches.add(seconds);
        }
        assert_eq!(launches.counts[..2], [2, 1]);
        assert_eq!(launches.counts[LIMITS.len()], 1);
    }
}
