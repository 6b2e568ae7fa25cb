//! The admission of the tenants that were adopted: that each has the addresses and the traffic of its plan.
//!
//! What the plan changed while no supervisor ran is admitted before requests are answered. Of the others the firewall
//! has what their plans say. They are compared afterwards: with thousands of tenants this takes longer than all the rest
//! of an adoption. Whatever changes a network waits for the end of that, except a release: a tenant that is released is not
//! compared any longer, and none is once all of them end.

use std::cell::{Cell, RefCell};
use std::collections::{BTreeMap, BTreeSet};
use std::rc::Rc;
use std::sync::Arc;

use futures_util::{StreamExt, stream};

use tenantd_core::name::TenantName;
use tenantd_core::plan::model::{LinkPlan, TenantPlan};
use tenantd_host::timeline;

use super::Host;
use super::gate::{ClosedGate, Gate};
use crate::executor::busy::Busy;

/// How many tenants the net thread may have at a time, each with a descriptor of its network namespace.
const ADMITTED_MAX: usize = 32;

/// An adopted tenant, and the plan of the link that it has.
pub(crate) type Adopted = (Arc<TenantPlan>, LinkPlan);

/// Whether adopted tenants are being admitted.
#[derive(Debug, Default)]
pub(crate) struct Admission {
    /// They are being admitted.
    gate: Rc<Gate>,
    /// The tenants that are compared right now.
    present: Rc<Busy>,
    /// The tenants that need not be compared any longer, each with its number.
    forgone: RefCell<BTreeMap<TenantName, u64>>,
    /// How many times one was added to them.
    count: Cell<u64>,
    /// Whether none needs to be compared any longer.
    abandoned: Cell<bool>,
}

impl Admission {
    /// Waits until all adopted tenants are admitted.
    pub(crate) async fn wait(&self) {
        self.gate.wait().await;
    }

    /// Compares a tenant no longer, and waits until it is not being compared.
    pub(crate) async fn forgo(&self, tenant: &TenantName) {
        self.count.update(|count| count + 1);
        let number = self.count.get();
        self.forgone.borrow_mut().insert(tenant.clone(), number);
        self.present.wait(tenant).await;
    }

    /// How many times a tenant was forgone.
    pub(crate) fn forgone(&self) -> u64 {
        self.count.get()
    }

    /// Whether a tenant was forgone after so many others.
    pub(crate) fn has_forgone(&self, tenant: &TenantName, begun: u64) -> bool {
        let forgone = self.forgone.borrow();
        forgone.get(tenant).is_some_and(|number| *number > begun)
    }

    /// Compares none any longer: all tenants are about to be released.
    pub(crate) fn abandon(&self) {
        self.abandoned.set(true);
    }

    fn begin(&self) -> ClosedGate {
        self.gate.begin()
    }
}

impl Host {
    /// Lets each adopted tenant have the traffic of its plan, and removes what the firewall has of others. Returns once
    /// those are admitted whose plans differ from what they have.
    pub(crate) async fn admit_adopted(self: &Rc<Self>, all: Vec<(Adopted, bool)>) {
        let marks = all.iter().map(|((_, link), _)| link.mark.clone());
        let marks: BTreeSet<String> = marks.collect();
        let links = all.iter().map(|((_, link), _)| link.clone()).collect();
        let planned = self.network.adopt(links).await.unwrap_or_default();
        let planned = planned.into_iter().chain(std::iter::repeat(false));
        let both = all.into_iter().zip(planned);
        let (same, changed): (Vec<_>, Vec<_>) =
            both.partition(|((_, has_addresses), is_planned)| *has_addresses && *is_planned);
        let [same, changed] = [same, changed].map(|some| some.into_iter().map(|((it, _), _)| it));
        self.admit_all(changed).await;
        if same.len() == 0 {
            return self.retain(marks).await;
        }
        let (host, task, admitting) = (
            Rc::clone(self),
            self.under_way.begin(),
            self.admission.begin(),
        );
        self.spawn(async move {
            let wait = timeline::wait("recovery: compare", "");
            host.taking_up.calm.wait().await;
            host.admit_all(same).await;
            host.retain(marks).await;
            drop((wait, task, admitting));
        });
    }

    async fn admit_all(&self, some: impl Iterator<Item = Adopted>) {
        // Several at a time: the net thread then has the next one when the kernel has answered.
        let admitted = some.map(|(plan, link)| self.admit_one(plan, link));
        let admitted = stream::iter(admitted).buffer_unordered(ADMITTED_MAX);
        admitted.collect::<()>().await;
    }

    async fn admit_one(&self, plan: Arc<TenantPlan>, link: LinkPlan) {
        let admission = &self.admission;
        if admission.abandoned.get() || admission.has_forgone(&plan.name, 0) {
            return;
        }
        let _present = admission.present.begin(&plan.name);
        let limits = link.rate.outward.is_some() && link == plan.link;
        let mut admitted = self.admit_now(&plan.name, link).await;
        if admitted.is_ok() && limits {
            admitted = self.limit_outward(&plan).await;
        }
        if let Err(failure) = admitted {
            let name = &plan.name;
            tracing::error!(tenant = %name, "{name}: cannot change its addresses or traffic: {failure}");
        }
    }

    async fn retain(&self, marks: BTreeSet<String>) {
        if let Err(failure) = self.network.retain(marks).await {
            tracing::error!("cannot remove the traffic of former tenants: {failure}");
        }
    }
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
    fn a_release_waits_for_its_own_comparison_alone() {
        let admission = Rc::new(Admission::default());
        let [one, two]: [TenantName; 2] = ["one", "two"].map(|name| name.parse().unwrap());
        let admitting = admission.begin();
        let mut all = pin!(admission.wait());
        assert!(!is_ready(all.as_mut()), "a provision waits for all");
        let begun = admission.forgone();
        assert!(is_ready(pin!(admission.forgo(&one))));
        assert!(admission.has_forgone(&one, begun) && !admission.has_forgone(&two, begun));
        let compared = admission.present.begin(&two);
        let mut forgo = pin!(admission.forgo(&two));
        assert!(!is_ready(forgo.as_mut()));
        drop(compared);
        assert!(is_ready(forgo));
        assert!(!is_ready(all.as_mut()));
        drop(admitting);
        assert!(is_ready(all));
        let later = admission.forgone();
        assert!(!admission.has_forgone(&one, later), "it was before that");
    }
}
