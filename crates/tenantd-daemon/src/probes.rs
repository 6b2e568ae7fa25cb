//! Probes: asks programs that are ready whether they are alive, as `[app.alive]` says. The supervisor
//! decides what follows. A tenant without that has no timer here.
//!
//! A tenant is probed from the transition in which it became ready until it stops being up, in a task
//! of its own. Each begins at another moment of its interval, by its name, so that a thousand tenants
//! are not asked at once. A probe begins only once fewer than [`NETWORK_MAX`] (or [`COMMANDS_MAX`])
//! are under way, and its time limit counts from then. While a tenant is frozen (cgroups(7)), a
//! failed probe does not count.

mod ask;
mod command;
pub(crate) mod watchdogs;

use std::cell::RefCell;
use std::collections::BTreeMap;
use std::hash::{DefaultHasher, Hash, Hasher};
use std::net::IpAddr;
use std::rc::Rc;
use std::sync::Arc;
use std::time::Duration;

use tokio::sync::{Semaphore, mpsc};
use tokio::task::{AbortHandle, spawn_local};

use tenantd_api::wire::ProbeResults;
use tenantd_core::name::{AppName, TenantName};
use tenantd_core::plan::alive::{Alive, Probe};
use tenantd_core::stage::{Failure, Stage};
use tenantd_core::supervisor::event::LaunchId;
use tenantd_core::supervisor::view::{StateWord, View};
use tenantd_host::cgroup::Leaf;
use tenantd_host::netns::NetnsMounts;

use crate::executor::inventory::Entry;
use crate::way_in::WayIn;

/// How many connections are made at the same time.
const NETWORK_MAX: usize = 64;

/// How many commands run at the same time.
const COMMANDS_MAX: usize = 8;

/// The tenants that are probed.
pub(crate) struct Probes {
    app: AppName,
    namespaces: Arc<NetnsMounts>,
    watches: BTreeMap<TenantName, Watch>,
    telling: mpsc::UnboundedSender<Told>,
    told: mpsc::UnboundedReceiver<Told>,
    network: Rc<Semaphore>,
    commands: Rc<Semaphore>,
}

/// What a task tells the loop.
pub(crate) enum Told {
    /// Too many probes in a row have failed.
    NotAlive(LaunchId, Failure),
    /// Twice as many probes have failed in a row as when this was told last, or the first one after that has not.
    Changed(TenantName),
}

/// The task that probes one launch. It is aborted when this is dropped.
struct Watch {
    launch: LaunchId,
    alive: Alive,
    results: Rc<RefCell<ProbeResults>>,
    task: AbortHandle,
}

impl Drop for Watch {
    fn drop(&mut self) {
        self.task.abort();
    }
}

/// One launch, as its task knows it.
struct Target {
    app: AppName,
    tenant: TenantName,
    way: WayIn,
    address: IpAddr,
    leaf: Option<Leaf>,
    alive: Alive,
    permits: Rc<Semaphore>,
    results: Rc<RefCell<ProbeResults>>,
    telling: mpsc::UnboundedSender<Told>,
}

impl Probes {
    /// Probes of no tenant yet.
    pub(crate) fn new(app: AppName, namespaces: Arc<NetnsMounts>) -> Self {
        let (telling, told) = mpsc::unbounded_channel();
        Self {
            app,
            namespaces,
            watches: BTreeMap::new(),
            telling,
            told,
            network: Rc::new(Semaphore::new(NETWORK_MAX)),
            commands: Rc::new(Semaphore::new(COMMANDS_MAX)),
        }
    }

    /// What a task tells next. Cancelling this loses nothing.
    pub(crate) async fn next(&mut self) -> Option<Told> {
        self.told.recv().await
    }

    /// What the probes of the running program of a tenant have found; `None` if it is not probed.
    pub(crate) fn of_tenant(&self, tenant: &TenantName) -> Option<ProbeResults> {
        let watch = self.watches.get(tenant)?;
        Some(watch.results.borrow().clone())
    }

    /// A tenant, or its plan, has changed: probes it if it is ready and its newest plan says so.
    pub(crate) fn look_at(
        &mut self,
        tenant: &TenantName,
        view: Option<&View>,
        entry: Option<&Entry>,
    ) {
        let ready = view.filter(|v| v.state == StateWord::Up && v.ready == Some(true));
        let launch = ready.and_then(|view| view.launch);
        let alive = entry.and_then(|entry| entry.planned().policy.alive.as_ref());
        let (Some(launch), Some(entry), Some(alive)) = (launch, entry, alive) else {
            self.watches.remove(tenant);
            return;
        };
        let watched = self.watches.get(tenant);
        if watched.is_some_and(|watch| watch.launch == launch && watch.alive == *alive) {
            return;
        }
        let results = Rc::new(RefCell::new(ProbeResults::none(
            alive.probe.to_string(),
            alive.failures,
        )));
        let target = Target {
            app: self.app.clone(),
            tenant: tenant.clone(),
            way: WayIn::of(&entry.plan.link, &self.namespaces, tenant),
            address: entry.plan.link.addresses.first(),
            leaf: entry.provisioned.as_ref().and_then(|it| it.leaf.clone()),
            alive: alive.clone(),
            permits: Rc::clone(match alive.probe {
                Probe::Tcp(_) | Probe::Http { .. } => &self.network,
                Probe::Command(_) => &self.commands,
            }),
            results: Rc::clone(&results),
            telling: self.telling.clone(),
        };
        let task = spawn_local(async move {
            let why = target.watch().await;
            target.tell(Told::NotAlive(launch, why));
        });
        let watch = Watch {
            launch,
            alive: alive.clone(),
            results,
            task: task.abort_handle(),
        };
        self.watches.insert(tenant.clone(), watch);
    }
}

/// When the first probe of a tenant begins: at another moment for each, always the same.
fn offset(tenant: &TenantName, interval: Duration) -> Duration {
    let mut hasher = DefaultHasher::new();
    tenant.as_str().hash(&mut hasher);
    // A fraction of the interval, in steps of a thousandth.
    let share = u32::try_from(hasher.finish() % 1_000).unwrap_or(0) + 1;
    interval * share / 1_000
}

impl Target {
    /// Probes the program until too many probes in a row have failed, and returns why.
    async fn watch(&self) -> Failure {
        let mut pause = offset(&self.tenant, self.alive.interval);
        loop {
            tokio::time::sleep(pause).await;
            pause = self.alive.interval;
            let Err(why) = self.ask().await else {
                self.passed();
                continue;
            };
            if self.is_frozen() {
                tracing::debug!(tenant = %self.tenant, "a probe failed while it is frozen: {why}");
                continue;
            }
            let failures = self.failed(&why);
            let (tenant, most) = (&self.tenant, self.alive.failures);
            tracing::debug!(%tenant, "probe failed ({failures} of {most}): {why}");
            if failures >= most {
                return self.failure(&why);
            }
            // Not each: a thousand tenants may fail, many times a second.
            if failures.is_power_of_two() {
                self.tell(Told::Changed(tenant.clone()));
            }
        }
    }

    fn passed(&self) {
        let mut results = self.results.borrow_mut();
        results.passed += 1;
        if std::mem::take(&mut results.failing) > 0 {
            self.tell(Told::Changed(self.tenant.clone()));
        }
    }

    /// Counts a failed probe. Returns how many have failed in a row.
    fn failed(&self, why: &str) -> u32 {
        let mut results = self.results.borrow_mut();
        results.failed += 1;
        results.failing += 1;
        results.last = Some(why.to_owned());
        results.failing
    }

    fn tell(&self, told: Told) {
        // The loop closes the channel only when it ends.
        let _ended = self.telling.send(told);
    }

    async fn ask(&self) -> Result<(), String> {
        let _permit = self.permits.acquire().await;
        let asked = async {
            match &self.alive.probe {
                Probe::Tcp(port) => ask::tcp(&self.way, (self.address, *port).into()).await,
                Probe::Http { port, path } => {
                    ask::http(&self.way, (self.address, *port).into(), path).await
                }
                Probe::Command(argv) => command::run(&self.app, &self.tenant, argv).await,
            }
        };
        match tokio::time::timeout(self.alive.timeout, asked).await {
            Ok(asked) => asked,
            Err(_) => {
                let limit = self.alive.timeout.as_secs_f64();
                Err(format!("no answer within {limit} s"))
            }
        }
    }

    fn is_frozen(&self) -> bool {
        self.leaf.as_ref().is_some_and(Leaf::is_frozen)
    }

    fn failure(&self, why: &str) -> Failure {
        let times = match self.alive.failures {
            1 => String::new(),
            several => format!("{several} times in a row, the last time: "),
        };
        let asked = self.alive.probe.to_string();
        Failure::detail(Stage::Alive, asked, format!("{times}{why}"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_thousand_tenants_are_not_asked_at_once() {
        let interval = Duration::from_secs(10);
        let mut each_second = [0; 10];
        for number in 0..1_000 {
            let tenant = format!("tenant-{number}").parse().unwrap();
            let offset = offset(&tenant, interval);
            assert!(!offset.is_zero() && offset <= interval);
            each_second[(offset.as_millis() - 1) as usize / 1_000] += 1;
        }
        assert!(
            each_second.iter().all(|&count| count < 150),
            "{each_second:?}"
        );
    }
}
