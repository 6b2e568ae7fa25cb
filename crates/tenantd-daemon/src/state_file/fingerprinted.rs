//! The fingerprints of the plans that records are made from. A plan is not changed while it is used, and hashing all of
//! it takes longer than writing the record.

use std::collections::HashMap;
use std::sync::{Arc, Weak};

use tenantd_core::name::TenantName;
use tenantd_core::plan::effect::{self, Fingerprints};
use tenantd_core::plan::model::TenantPlan;

/// Those of the plan of each tenant's last record.
#[derive(Debug, Default)]
pub(super) struct Fingerprinted(HashMap<TenantName, (Weak<TenantPlan>, Fingerprints)>);

impl Fingerprinted {
    /// The fingerprints of this plan.
    pub(super) fn of(&mut self, plan: &Arc<TenantPlan>) -> Fingerprints {
        // While there is a `Weak`, no other plan has the address.
        let is_it = |of: &Weak<TenantPlan>| std::ptr::eq(of.as_ptr(), Arc::as_ptr(plan));
        if let Some((_, known)) = self.0.get(&plan.name).filter(|(of, _)| is_it(of)) {
            return *known;
        }
        let found = effect::fingerprints(plan);
        let known = (Arc::downgrade(plan), found);
        self.0.insert(plan.name.clone(), known);
        found
    }

    /// The tenant has no record any more.
    pub(super) fn forget(&mut self, tenant: &TenantName) {
        self.0.remove(tenant);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::state_file::tests::plan;

    #[test]
    fn a_plan_that_is_changed_has_others() {
        let mut known = Fingerprinted::default();
        let of = plan("tenants.toml").tenants.swap_remove(0);
        let mut plan = Arc::new(of);
        let first = known.of(&plan);
        assert_eq!(known.of(&plan), first);
        // In place, since nothing else has the plan.
        let launch = &mut Arc::make_mut(&mut plan).launch;
        Arc::make_mut(launch).program = "/bin/false".into();
        let second = known.of(&plan);
        assert_ne!(second, first);
        assert_eq!(second, effect::fingerprints(&plan));
        known.forget(&plan.name);
        assert_eq!(known.of(&plan), second);
    }
}
