//! What the host lacks for the traffic that a plan allows.

use std::fs;
use std::net::Ipv4Addr;
use std::path::Path;

use tenantd_core::plan::model::{Firewall, Plan, TenantPlan};
use tenantd_core::plan::traffic::Outbound;

use super::{Finding, Grade};

/// Whether the host forwards for tenants that reach others, or publish ports to them. None if it does, or no tenant
/// needs it.
#[must_use]
pub fn traffic(plan: &Plan) -> Option<Finding> {
    of(plan, Path::new("/proc"))
}

fn of(plan: &Plan, proc: &Path) -> Option<Finding> {
    if plan.network.firewall == Firewall::Off {
        return None;
    }
    let needing: Vec<&TenantPlan> = plan.tenants.iter().filter(|it| needs(it)).collect();
    let first = needing.first()?;
    let is_off = |path: &str| {
        let value = fs::read_to_string(proc.join("sys/net/ipv4").join(path));
        value.is_ok_and(|it| it.trim() == "0")
    };
    let routes = fs::read_to_string(proc.join("thread-self/net/route")).unwrap_or_default();
    let of_uplink = uplink(&routes).map(|link| format!("conf/{link}/forwarding"));
    if !is_off("ip_forward") || of_uplink.is_some_and(|path| !is_off(&path)) {
        return None;
    }
    let who = match needing.len() {
        1 => format!("tenant {}", first.name),
        others => format!("tenant {} and {} more", first.name, others - 1),
    };
    let fix = "sysctl -w net.ipv4.ip_forward=1";
    let found = format!(
        "off, so `outbound` and `publish` of {who} have no effect towards other machines: {fix}"
    );
    Some(Finding::new(Grade::Weak, "forwarding", found).fix(fix))
}

/// Whether a tenant reaches other machines, or they reach it.
fn needs(tenant: &TenantPlan) -> bool {
    let traffic = &tenant.link.traffic;
    let is_inside = |address: Option<Ipv4Addr>| address.is_some_and(|it| it.is_loopback());
    traffic.outbound != Outbound::None || traffic.publish.iter().any(|it| !is_inside(it.address))
}

/// The link of the default route, from `/proc/net/route`.
fn uplink(routes: &str) -> Option<&str> {
    let mut words = routes.lines().map(str::split_whitespace);
    words.find_map(|mut words| {
        let link = words.next()?;
        (words.next() == Some("00000000")).then_some(link)
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_uplink_is_that_of_the_default_route() {
        let head = "Iface\tDestination\tGateway\n";
        let routes = format!("{head}eth1\t0002000A\t00000000\neth0\t00000000\t0102000A\n");
        assert_eq!(uplink(&routes), Some("eth0"));
        assert_eq!(uplink(head), None);
    }
}
