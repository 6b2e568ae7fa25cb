//! Watchdogs: a program that is ready sends `WATCHDOG=1` within each period, see sd_watchdog_enabled(3),
//! or else counts as failed. A tenant whose program has no watchdog has no timer here, and one that has it
//! one timer, which is not set again with each message.
//!
//! The period begins when the tenant becomes ready, and again after a time in which no message can come: when the
//! program is paused (see [`Leaf::is_paused`]), when the supervisor itself was, and under the next
//! supervisor.

use std::cell::Cell;
use std::collections::BTreeMap;
use std::rc::Rc;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use tokio::sync::mpsc;
use tokio::task::{AbortHandle, spawn_local};
use tokio::time::{Instant, sleep_until};

use tenantd_core::name::TenantName;
use tenantd_core::stage::{Failure, Stage};
use tenantd_core::supervisor::event::LaunchId;
use tenantd_core::supervisor::view::{StateWord, View};
use tenantd_host::cgroup::Leaf;

use crate::executor::host::blocking;
use crate::executor::inventory::Entry;
use crate::ready::notice::Watchdog;

/// If a timer fires so much too late, the supervisor was paused, and messages may wait.
const LATE: Duration = Duration::from_millis(500);

/// A longer period is none.
const LONGEST: Duration = Duration::from_secs(366 * 24 * 60 * 60);

/// The programs that are watched.
pub(crate) struct Watchdogs {
    watches: BTreeMap<TenantName, Watch>,
    /// The periods that programs asked for.
    asked: BTreeMap<TenantName, (LaunchId, Duration)>,
    failing: mpsc::UnboundedSender<(LaunchId, Failure)>,
    failed: mpsc::UnboundedReceiver<(LaunchId, Failure)>,
}

/// What is known of one launch, and the task that watches it, which is aborted when this is dropped.
struct Watch {
    launch: LaunchId,
    period: Duration,
    leaf: Option<Leaf>,
    /// When the present period began.
    heard: Rc<Cell<Instant>>,
    /// Whether another thread looks at its processes, also for an earlier period. None if its program has no watchdog.
    looking: Option<Arc<AtomicBool>>,
    /// None if its program has no watchdog: of most tenants, and a handle keeps the memory of its task.
    task: Option<AbortHandle>,
}

impl Drop for Watch {
    fn drop(&mut self) {
        if let Some(task) = &self.task {
            task.abort();
        }
    }
}

impl Watchdogs {
    /// Watches no program yet.
    pub(crate) fn new() -> Self {
        let (failing, failed) = mpsc::unbounded_channel();
        Self {
            watches: BTreeMap::new(),
            asked: BTreeMap::new(),
            failing,
            failed,
        }
    }

    /// The next launch whose program has failed, and why. Cancelling this loses nothing.
    pub(crate) async fn next(&mut self) -> Option<(LaunchId, Failure)> {
        self.failed.recv().await
    }

    /// A tenant has changed: its program is watched while it is ready.
    pub(crate) fn look_at(
        &mut self,
        tenant: &TenantName,
        view: Option<&View>,
        entry: Option<&Entry>,
    ) {
        let launch = view.and_then(|view| view.launch);
        if self
            .asked
            .get(tenant)
            .is_some_and(|(of, _)| Some(*of) != launch)
        {
            self.asked.remove(tenant);
        }
        let ready = view.filter(|v| v.state == StateWord::Up && v.ready == Some(true));
        let launch = ready.and_then(|view| view.launch);
        let (Some(launch), Some(entry)) = (launch, entry) else {
            self.watches.remove(tenant);
            return;
        };
        let asked = self.asked.get(tenant).map(|(_, period)| *period);
        // An earlier supervisor has heard it.
        let earlier = || entry.running.as_ref()?.statement.period;
        let asked = asked.or_else(earlier);
        let leaf = entry.provisioned.as_ref().and_then(|it| it.leaf.clone());
        let period = asked.or(entry.plan.policy.watchdog).unwrap_or_default();
        let watched = self.watches.get(tenant);
        if watched.is_some_and(|watch| watch.launch == launch && watch.period == period) {
            return;
        }
        self.watch(tenant, launch, (period, leaf));
    }

    /// The program says this to its watchdog.
    pub(crate) fn said(&mut self, tenant: &TenantName, launch: LaunchId, said: Watchdog) {
        let Some(watch) = self.watches.get(tenant) else {
            return;
        };
        match said {
            Watchdog::Works if watch.launch == launch => watch.heard.set(Instant::now()),
            Watchdog::Failed if watch.launch == launch => {
                let _ended = self.failing.send((launch, failure("WATCHDOG=trigger")));
            }
            // It is late.
            Watchdog::Works | Watchdog::Failed => {}
        }
    }

    /// The program asks for another period, which begins now.
    pub(crate) fn asks(&mut self, tenant: &TenantName, launch: LaunchId, period: Duration) {
        self.asked.insert(tenant.clone(), (launch, period));
        let watch = self
            .watches
            .get(tenant)
            .filter(|watch| watch.launch == launch);
        if let Some(leaf) = watch.map(|watch| watch.leaf.clone()) {
            self.watch(tenant, launch, (period, leaf));
        }
    }

    fn watch(
        &mut self,
        tenant: &TenantName,
        launch: LaunchId,
        (period, leaf): (Duration, Option<Leaf>),
    ) {
        let heard = Rc::new(Cell::new(Instant::now()));
        let (failing, of, since) = (self.failing.clone(), leaf.clone(), Rc::clone(&heard));
        let is_watched = !period.is_zero() && period < LONGEST;
        let earlier = self.watches.get(tenant);
        let earlier = earlier.and_then(|watch| watch.looking.clone());
        let looking = is_watched.then(|| earlier.unwrap_or_default());
        let task = looking.clone().map(|looking| {
            let task = spawn_local(async move {
                let why = silent(&since, period, (of.as_ref(), &looking)).await;
                // The loop closes the channel only when it ends.
                let _ended = failing.send((launch, why));
            });
            task.abort_handle()
        });
        let watch = Watch {
            launch,
            period,
            leaf,
            heard,
            looking,
            task,
        };
        self.watches.insert(tenant.clone(), watch);
    }
}

/// Waits until the program has been silent for the period. It is looked at after half of the period too:
/// a pause that has ended shortly before the period does is noticed then.
async fn silent(
    heard: &Cell<Instant>,
    period: Duration,
    (leaf, looking): (Option<&Leaf>, &Arc<AtomicBool>),
) -> Failure {
    let mut half = true;
    loop {
        let begun = heard.get();
        let due = begun + if half { period / 2 } else { period };
        sleep_until(due).await;
        if heard.get() != begun {
            half = true;
            continue;
        }
        let is_paused = due.elapsed() > LATE || is_paused(leaf, looking).await;
        if heard.get() != begun {
            half = true;
        } else if is_paused {
            heard.set(Instant::now());
            half = true;
        } else if half {
            half = false;
        } else {
            let period =
                jiff::fmt::friendly::SpanPrinter::new().unsigned_duration_to_string(&period);
            return failure(&format!("no WATCHDOG=1 for {period}"));
        }
    }
}

/// Whether the program is paused, or perhaps so. It may have many processes, so another thread looks at them: one at a time, since
/// the program may ask for another period as often as it likes, and launches need the other threads.
async fn is_paused(leaf: Option<&Leaf>, looking: &Arc<AtomicBool>) -> bool {
    let Some(leaf) = leaf.cloned() else {
        return false;
    };
    if looking.swap(true, Ordering::Relaxed) {
        return true;
    }
    let looking = Arc::clone(looking);
    let looked = blocking(move || {
        let is_paused = leaf.is_paused();
        looking.store(false, Ordering::Relaxed);
        Ok(is_paused)
    });
    let looked = looked.await;
    // It cannot fail, unless it panics.
    looked.unwrap_or(false)
}

fn failure(why: &str) -> Failure {
    Failure::detail(Stage::Alive, "its notify socket", why)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn another_period_begins_no_other_look_beside_one() {
        let all = async {
            let mut watchdogs = Watchdogs::new();
            let tenant: TenantName = "acme".parse().unwrap();
            let looking = |watchdogs: &Watchdogs| watchdogs.watches[&tenant].looking.clone();
            let watch = |watchdogs: &mut Watchdogs, seconds| {
                let period = Duration::from_secs(seconds);
                watchdogs.watch(&tenant, LaunchId(1), (period, None));
            };
            watch(&mut watchdogs, 10);
            let first = looking(&watchdogs).unwrap();
            watch(&mut watchdogs, 20);
            assert!(Arc::ptr_eq(&first, &looking(&watchdogs).unwrap()));
            watch(&mut watchdogs, 0);
            assert!(looking(&watchdogs).is_none());
        };
        tokio::task::LocalSet::new().run_until(all).await;
    }

    #[tokio::test]
    async fn a_program_without_a_watchdog_has_no_task() {
        let all = async {
            let mut watchdogs = Watchdogs::new();
            let tenant: TenantName = "acme".parse().unwrap();
            for (period, has_task) in [
                (Duration::ZERO, false),
                (Duration::from_secs(10), true),
                (LONGEST, false),
            ] {
                watchdogs.watch(&tenant, LaunchId(1), (period, None));
                assert_eq!(watchdogs.watches[&tenant].task.is_some(), has_task);
            }
        };
        tokio::task::LocalSet::new().run_until(all).await;
    }
}
