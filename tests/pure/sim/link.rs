//! Something on the host deletes the link of a tenant.

use tenantd_core::name::TenantName;

use super::checker::Checker;
use super::model::Network;

impl Checker {
    pub(super) fn has_no_link(&self, tenant: &TenantName) -> bool {
        self.tenants.get(tenant).map(|it| it.network) != Some(Network::Provisioned)
    }

    /// What is left must be released before the next launch, whose place in the budget is used up then.
    pub(super) fn link_lost(&mut self, tenant: &TenantName) -> bool {
        let fits = self.change_network(tenant, Network::Provisioned, Network::Partial);
        if let Some(model) = self.tenants.get_mut(tenant).filter(|_| fits) {
            model.awaits = true;
        }
        fits
    }
}
