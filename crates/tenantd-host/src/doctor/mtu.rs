//! Whether packets of tenants fit the link by which the host reaches others.

use std::fs;

use super::{Finding, Grade};
use crate::verify;
use tenantd_core::plan::model::{Plan, TenantPlan};
use tenantd_core::plan::traffic::Outbound;

/// The routes of the network namespace of this thread, see proc_net(5).
const ROUTES: &str = "/proc/thread-self/net/route";

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
    let routes = fs::read_to_string(ROUTES).ok()?;
    let uplink = default_link(&routes)?;
    let (found, own) = (verify::mtu_of(uplink).ok()??, plan.network.mtu);
    (found < own).then(|| {
        let found = format!(
            "{uplink}, by which the host reaches others, has an MTU of {found}, and the links of tenants have {own}: larger \
             packets are refused or divided on the way; set `mtu = {found}` in [network]"
        );
        Finding::new(Grade::Weak, "mtu", found)
    })
}

/// The link of the default route with the lowest metric.
fn default_link(routes: &str) -> Option<&str> {
    let defaults = routes.lines().skip(1).filter_map(|line| {
        let fields: Vec<&str> = line.split_whitespace().collect();
        let [link, to, _, _, _, _, metric, mask, ..] = fields[..] else {
            return None;
        };
        let is_default = to == "00000000" && mask == "00000000";
        Some((metric.parse::<u32>().ok()?, link)).filter(|_| is_default)
    });
    defaults.min().map(|(_, link)| link)
}

#[cfg(test)]
mod tests {
    use super::default_link;

    #[test]
    fn the_default_route_with_the_lowest_metric_counts() {
        let head =
            "Iface\tDestination\tGateway\tFlags\tRefCnt\tUse\tMetric\tMask\tMTU\tWindow\tIRTT\n";
        let other = "vpn\t0000000A\t00000000\t0001\t0\t0\t0\t000000FF\t0\t0\t0\n";
        let far = "eth1\t00000000\t0100000A\t0003\t0\t0\t100\t00000000\t0\t0\t0\n";
        let near = "eth0\t00000000\t0100000A\t0003\t0\t0\t50\t00000000\t0\t0\t0\n";
        assert_eq!(
            default_link(&format!("{head}{other}{far}{near}")),
            Some("eth0")
        );
        assert_eq!(default_link(&format!("{head}{other}")), None);
    }
}
