//! What the supervisors of this host say: the state of each tenant, and how long launches took.

use std::collections::BTreeMap;

use jiff::Timestamp;

use tenantd_api::client::followed::Listener;
use tenantd_api::client::watch::Watched;
use tenantd_api::wire::watch::{EventKind, TenantEvent};
use tenantd_api::wire::{StateWord, TenantStatus};
use tenantd_core::name::{AppName, TenantName};

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

/// The applications of this host.
#[derive(Debug, Default)]
pub(super) struct Apps(pub(super) BTreeMap<AppName, App>);

impl Listener for Apps {
    fn take(&mut self, app: &AppName, watched: Watched) {
        let known = self.0.entry(app.clone()).or_default();
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

    fn on_running(&mut self, apps: &[AppName]) {
        self.0
            .retain(|app, known| known.pid.is_some() || apps.contains(app));
        // One that does not answer is shown as such.
        for app in apps {
            self.0.entry(app.clone()).or_default();
        }
    }

    fn on_lost(&mut self, app: &AppName) {
        self.0.entry(app.clone()).or_default().pid = None;
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
