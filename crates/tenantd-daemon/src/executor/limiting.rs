//! The limits of cgroups, as the host's tasks set them.

use tenantd_core::cgroup::GroupLimits;
use tenantd_core::cgroup::by_hand::ByHand;
use tenantd_core::name::TenantName;
use tenantd_core::plan::model::TenantPlan;
use tenantd_core::stage::Failure;
use tenantd_host::cgroup::{Leaf, Limiter};
use tenantd_host::limits;

use crate::executor::blocking::blocking_change;
use crate::executor::host::Host;
use crate::executor::{Executor, Pending};
use crate::input::Input;

impl Executor {
    /// The limits of a tenant were set: what was set by hand and is not what the manifest had then is gone.
    pub(super) fn limits_were_set(&mut self, tenant: &TenantName) {
        let entry = self.inventory.get(tenant);
        let entry = entry.filter(|entry| !entry.by_hand.is_empty());
        let leaf = entry.and_then(|entry| entry.provisioned.as_ref()?.leaf.as_ref());
        if let Some(Ok(hand)) = leaf.map(Leaf::by_hand) {
            self.set_by_hand(tenant, hand);
        }
    }

    /// These limits of a tenant are set by hand now.
    pub(super) fn set_by_hand(&mut self, tenant: &TenantName, hand: ByHand) {
        let Some(entry) = self.inventory.entry(tenant) else {
            return;
        };
        if entry.by_hand != hand {
            entry.by_hand = hand;
            let changed = Input::Changed(tenant.clone());
            self.pending.push_back(Pending::Input(changed));
        }
    }
}

impl Host {
    /// What sets the limits of a tenant.
    pub(crate) fn limiter(&self) -> Limiter {
        Limiter {
            tree: self.cgroups.as_ref().map(|cgroups| cgroups.tree.clone()),
            total: self.total.borrow().clone(),
        }
    }

    /// Whether the kernel confirms all limits of a running tenant.
    pub(crate) fn is_limited(
        &self,
        plan: &TenantPlan,
        leaf: Option<&Leaf>,
    ) -> Result<bool, Failure> {
        let of_processes = limits::is_applied(leaf, &plan.launch.limits)?;
        Ok(of_processes && self.limiter().is_limited(leaf, plan)?)
    }

    /// Has other limits of all tenants together, and sets them.
    pub(crate) fn change_total(&self, total: &GroupLimits) {
        self.total.replace(total.clone());
        self.limit_all();
    }

    /// Sets the limits of all tenants together, and has their use counted. A failure is logged; no program is
    /// started until the limits can be set.
    pub(crate) fn limit_all(&self) {
        let (limiter, task) = (self.limiter(), self.under_way.begin());
        self.spawn(async move {
            let counter = limiter.clone();
            if let Err(why) = blocking_change(move || limiter.limit_all()).await {
                tracing::error!(
                    "{why}: no tenant is started until the limits of [app.total] are set"
                );
            }
            if let Err(why) = blocking_change(move || counter.count()).await {
                tracing::warn!("{why}: the meter counts no memory, input or output of tenants");
            }
            drop(task);
        });
    }
}
