//! Settings of the host's network that change what tenants reach.

use super::{Load, Settings, set};
use crate::doctor::{Finding, Grade};

/// Findings about forwarding, router advertisements, and packets of a bridge.
pub(super) fn network(load: &Load, settings: Settings<'_>) -> impl Iterator<Item = Finding> {
    [
        forwarding(settings),
        advertisements(settings),
        bridge(load, settings),
    ]
    .into_iter()
    .flatten()
}

/// Whether other hosts reach tenants, and tenants other hosts.
fn forwarding(settings: Settings<'_>) -> Option<Finding> {
    let subject = "forwarding";
    let path = "net/ipv4/ip_forward";
    Some(match settings.number(path)? {
        0 => Finding::new(
            Grade::Good,
            subject,
            format!(
                "off for IPv4: tenants and other hosts do not reach each other; if they shall: {}",
                set(path, 1)
            ),
        ),
        _ => Finding::new(
            Grade::Good,
            subject,
            "on for IPv4: other hosts reach tenants if they route the subnet to this host",
        ),
    })
}

/// A host that forwards IPv6 ignores router advertisements, unless it is told not to.
fn advertisements(settings: Settings<'_>) -> Option<Finding> {
    let forwards = settings.number("net/ipv6/conf/all/forwarding")? != 0;
    let path = "net/ipv6/conf/default/accept_ra";
    let accepts = settings.number(path)?;
    (forwards && accepts == 1).then(|| {
        let found = "the host forwards IPv6, and so ignores router advertisements (accept_ra = 1): an \
                     address or a default route that a router gave it is lost when it expires";
        Finding::new(Grade::Weak, "router advertisements", found).fix(set(path, 2))
    })
}

/// `br_netfilter` passes the packets between the ports of a bridge to iptables.
fn bridge(load: &Load, settings: Settings<'_>) -> Option<Finding> {
    let path = "net/bridge/bridge-nf-call-iptables";
    let is_on = settings.number(path)? != 0;
    (is_on && load.bridged > 0).then(|| {
        let found = "packets on the bridges of tenants pass through the rules of iptables, for example of Docker, \
                     which may drop them";
        Finding::new(Grade::Weak, "bridges", found).fix(set(path, 0))
    })
}

#[cfg(test)]
mod tests {
    use super::super::tests::with;
    use super::*;

    fn found(bridged: u64, values: &[(&str, &str)]) -> Vec<Finding> {
        let folder = with(values);
        let load = Load {
            tenants: 1,
            bridged,
        };
        network(&load, Settings(folder.path())).collect()
    }

    #[test]
    fn forwarding_that_is_off_is_no_fault() {
        let off = found(0, &[("net/ipv4/ip_forward", "0")]);
        assert_eq!(off[0].grade, Grade::Good);
        assert!(off[0].found.ends_with("sysctl -w net.ipv4.ip_forward=1"));
        let on = found(0, &[("net/ipv4/ip_forward", "1")]);
        assert!(on[0].found.starts_with("on for IPv4"));
    }

    #[test]
    fn a_router_that_ignores_advertisements_is_said() {
        let found = |forwards, accepts| {
            let values = [
                ("net/ipv6/conf/all/forwarding", forwards),
                ("net/ipv6/conf/default/accept_ra", accepts),
            ];
            found(0, &values).len()
        };
        assert_eq!(found("1", "1"), 1);
        assert_eq!(
            (found("1", "2"), found("0", "1"), found("1", "0")),
            (0, 0, 0)
        );
    }

    #[test]
    fn packets_of_bridges_that_iptables_sees_are_said_in_mode_bridge() {
        let values = [("net/bridge/bridge-nf-call-iptables", "1")];
        assert_eq!(found(0, &values).len(), 0);
        let said = found(3, &values);
        assert_eq!(
            said[0].fix.as_deref(),
            Some("sysctl -w net.bridge.bridge-nf-call-iptables=0")
        );
    }
}
