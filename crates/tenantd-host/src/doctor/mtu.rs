//! Whether packets of tenants fit the link by which the host reaches others.

use super::{Finding, Grade};
use crate::default_route;
use tenantd_core::plan::model::{Plan, TenantPlan};
use tenantd_core::plan::traffic::Outbound;

/// Checks the MTU of the tenants' links. `None` if they fit, no tenant has traffic with other machines, or the host has no
/// default route.
#[must_use]
pub fn mtu(plan: &Plan) -> Option<Finding> {
    let leaves = |tenant: &TenantPlan| {
        let traffic = &tenant.link.traffic;
        traffic.outbound != Outbound::None || !traffic.publish.is_empty()
    };
    if !plan.tenants.iter().any(leaves) {
        return None;
    }
    let (uplink, found) = match &plan.network.uplink {
        Some(uplink) => (uplink.name.clone(), default_route::mtu_of(&uplink.name)?),
        None => default_route::narrowest()?,
    };
    let own = plan.network.mtu;
    (found < own).then(|| {
        let found = format!(
            "{uplink}, by which the host reaches others, has an MTU of {found}, and the links of tenants have {own}: larger \
             packets are refused or divided on the way; set `mtu = {found}` in [network]"
        );
        Finding::new(Grade::Weak, "mtu", found)
    })
}
