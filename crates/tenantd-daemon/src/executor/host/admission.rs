//! The admission of the tenants that were adopted: that each has the addresses and the traffic of its plan.
//!
//! What the plan changed while no supervisor ran is admitted before requests are answered. Of the others the firewall
//! has what their plans say. They are compared afterwards: with thousands of tenants this takes longer than all the rest
//! of an adoption. Whatever changes a network waits for the end of that.

use std::cell::Cell;
use std::collections::BTreeSet;
use std::rc::Rc;
use std::sync::Arc;

use futures_util::{StreamExt, stream};
use tokio::sync::Notify;

use tenantd_core::plan::model::{LinkPlan, TenantPlan};
use tenantd_host::timeline;

use super::Host;

/// How many tenants the net thread may have at a time, each with a descriptor of its network namespace.
const ADMITTED_MAX: usize = 32;

/// An adopted tenant, and the plan of the link that it has.
pub(crate) type Adopted = (Arc<TenantPlan>, LinkPlan);

/// Whether adopted tenants are being admitted.
#[derive(Debug, Default)]
pub(crate) struct Admission {
    under_way: Cell<bool>,
    done: Notify,
}

/// Dropping it ends the admission.
struct Admitting(Rc<Admission>);

impl Admission {
    /// Waits until all adopted tenants are admitted.
    pub(crate) async fn wait(&self) {
        loop {
            let done = self.done.notified();
            if !self.under_way.get() {
                return;
            }
            done.await;
        }
    }

    fn begin(self: &Rc<Self>) -> Admitting {
        self.under_way.set(true);
        Admitting(Rc::clone(self))
    }
}

impl Drop for Admitting {
    fn drop(&mut self) {
        self.0.under_way.set(false);
        self.0.done.notify_waiters();
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
