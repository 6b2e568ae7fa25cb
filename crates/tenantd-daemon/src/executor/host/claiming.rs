//! The claims of adopted launches, which are continued once requests are answered.
//!
//! Until then that of the earlier supervisor holds, as long as a process of the launch lives. The claim of a tenant that
//! is released is not continued any longer: the release gives it up, and notes that this host uses the datastore no
//! longer. After that, another host may start the tenant.

use std::cell::{Cell, RefCell};
use std::collections::{BTreeMap, BTreeSet};
use std::io;
use std::os::fd::AsFd;
use std::path::PathBuf;
use std::rc::Rc;
use std::time::Duration;

use tokio::time::sleep;

use tenantd_core::name::{AppName, TenantName};
use tenantd_core::stage::Failure;
use tenantd_host::cgroup::Leaf;
use tenantd_host::claim::Key;
use tenantd_host::{claim, datastore, lock, owner, want};

use super::{Host, blocking};
use crate::executor::busy::{Busy, UnderWay};
use crate::executor::claims::unopened;

/// When to try again what the host lacked something for.
const AGAIN: Duration = Duration::from_secs(1);

/// A launch that an earlier supervisor made.
#[derive(Debug, Clone)]
pub(crate) struct Claimed {
    /// The datastore.
    pub(crate) source: PathBuf,
    pub(crate) leaf: Option<Leaf>,
    /// The first process.
    pub(crate) process: Option<Key>,
}

/// The claims that are to be continued.
#[derive(Debug, Default)]
pub(crate) struct Claiming {
    waiting: RefCell<BTreeMap<TenantName, Claimed>>,
    /// Those for which the host lacked something.
    failed: RefCell<BTreeMap<TenantName, Claimed>>,
    /// The tenant whose claim is being continued. One at a time: a datastore may be on a filesystem that hangs, and
    /// launches need the other blocking threads.
    present: Rc<Busy>,
    /// Whether a task continues them.
    is_served: Cell<bool>,
}

impl Claiming {
    /// Continues the claim of a tenant no longer, and waits until it is not being continued.
    pub(crate) async fn forgo(&self, tenant: &TenantName) {
        loop {
            // Also when it was being continued, since it may have failed.
            self.waiting.borrow_mut().remove(tenant);
            self.failed.borrow_mut().remove(tenant);
            if !self.present.has(tenant) {
                return;
            }
            self.present.wait(tenant).await;
        }
    }

    /// Adds a claim. Returns whether a task is needed to continue it.
    fn add(&self, tenant: &TenantName, claimed: Claimed) -> bool {
        self.waiting.borrow_mut().insert(tenant.clone(), claimed);
        !self.is_served.replace(true)
    }

    /// The next one, which is being continued until the result is dropped.
    fn next(&self) -> Option<(Option<UnderWay>, TenantName, Claimed)> {
        let (tenant, claimed) = self.waiting.borrow_mut().pop_first()?;
        Some((self.present.begin(&tenant), tenant, claimed))
    }

    /// Has those that have failed continued again. Returns whether there are any; if not, the task has ended.
    fn again(&self) -> bool {
        let mut waiting = self.waiting.borrow_mut();
        waiting.append(&mut self.failed.borrow_mut());
        self.is_served.set(!waiting.is_empty());
        self.is_served.get()
    }
}

impl Host {
    /// Continues the claim of a launch that an earlier supervisor made, or makes one if an earlier
    /// version of tenantd made the launch. The launch runs on in any case.
    pub(crate) fn adopt_claim(self: &Rc<Self>, tenant: &TenantName, claimed: Claimed) {
        if !self.taking_up.claiming.add(tenant, claimed) {
            return;
        }
        let host = Rc::clone(self);
        self.spawn(async move {
            host.taking_up.is_over().await;
            let mut told = BTreeSet::new();
            host.adopt_claims(&mut told).await;
            while host.taking_up.claiming.again() {
                sleep(AGAIN).await;
                host.adopt_claims(&mut told).await;
            }
        });
    }

    /// Continues all claims that wait for it. Those whose failure was told are not told again.
    async fn adopt_claims(&self, told: &mut BTreeSet<TenantName>) {
        let claiming = &self.taking_up.claiming;
        while let Some((_present, tenant, claimed)) = claiming.next() {
            let (app, name, again) = (self.app.clone(), tenant.clone(), claimed.clone());
            let Err(failure) = blocking(move || adopt(&app, &name, claimed)).await else {
                continue;
            };
            let passes = want::error_passes(&io::Error::from_raw_os_error(failure.errno));
            if told.insert(tenant.clone()) {
                let rest = if passes {
                    ", trying again every second"
                } else {
                    ""
                };
                tracing::warn!(%tenant, "{tenant}: its program runs on, but {failure}{rest}");
            }
            if passes {
                claiming.failed.borrow_mut().insert(tenant, again);
            }
        }
    }
}

fn adopt(app: &AppName, tenant: &TenantName, claimed: Claimed) -> Result<(), Failure> {
    let Claimed {
        source,
        leaf,
        process,
    } = claimed;
    let label = lock::label(app, tenant);
    let datastore = datastore::open(&source).map_err(|errno| unopened(&source, errno))?;
    claim::adopt(datastore.as_fd(), &source, &label, (leaf.as_ref(), process))?;
    // Since an earlier version has none.
    owner::take(datastore.as_fd(), &source, &label, false).map(drop)
}

#[cfg(test)]
mod tests {
    use std::pin::{Pin, pin};
    use std::task::{Context, Waker};

    use super::*;

    fn is_ready(future: Pin<&mut impl Future>) -> bool {
        let mut context = Context::from_waker(Waker::noop());
        future.poll(&mut context).is_ready()
    }

    #[test]
    fn a_release_waits_for_its_own_claim_alone_and_has_it_continued_no_longer() {
        let claiming = Claiming::default();
        let names = ["one", "three", "two"].map(|name| name.parse::<TenantName>().unwrap());
        let [one, three, two] = &names;
        let claimed = || Claimed {
            source: "/srv/data".into(),
            leaf: None,
            process: None,
        };
        assert!(claiming.add(one, claimed()), "a task is needed");
        assert!(!claiming.add(two, claimed()) && !claiming.add(three, claimed()));
        let (present, tenant, _) = claiming.next().unwrap();
        assert_eq!(tenant, *one);
        assert!(is_ready(pin!(claiming.forgo(two))));
        let mut forgo = pin!(claiming.forgo(one));
        assert!(!is_ready(forgo.as_mut()), "it is being continued");
        drop(present);
        assert!(is_ready(forgo));
        let (present, tenant, _) = claiming.next().unwrap();
        assert_eq!(tenant, *three, "two is released");
        drop(present);
        assert!(claiming.next().is_none());
        for tenant in [one, two] {
            claiming
                .failed
                .borrow_mut()
                .insert(tenant.clone(), claimed());
        }
        assert!(is_ready(pin!(claiming.forgo(one))));
        assert!(claiming.again());
        assert!(!claiming.add(three, claimed()), "the task runs");
        let all = std::iter::from_fn(|| claiming.next().map(|(_, tenant, _)| tenant));
        assert_eq!(all.collect::<Vec<_>>(), [three.clone(), two.clone()]);
        assert!(!claiming.again());
        assert!(claiming.add(two, claimed()), "the task has ended");
    }
}
