//! Settings of the host's network that change what tenants reach.

use super::{Load, Settings, set};
use crate::doctor::{Finding, Grade};

/// Findings about forwarding, router advertisements, and packets of a bridge.
pub(super) fn network(load: &Load, settings: Settings<'_>) -> impl Iterator<Item = Finding> {
    let forwarding = FAMILIES
        .iter()
        .filter_map(move |family| forwarding(family, load, settings));
    let others = [
        advertisements(settings),
        bridge(load, settings, "iptables"),
        bridge(load, settings, "ip6tables"),
    ];
    forwarding.chain(others.into_iter().flatten())
}

/// Forwarding is set for each family.
struct Family {
    name: &'static str,
    path: &'static str,
    /// How many tenants have traffic that is forwarded.
    needs: fn(&Load) -> u64,
}

const FAMILIES: [Family; 2] = [
    Family {
        name: "IPv4",
        path: "net/ipv4/ip_forward",
        needs: |load| load.forwarded,
    },
    Family {
        name: "IPv6",
        path: "net/ipv6/conf/all/forwarding",
        needs: |load| load.forwarded6,
    },
];

/// Whether other hosts reach tenants, and tenants other hosts.
fn forwarding(family: &Family, load: &Load, settings: Settings<'_>) -> Option<Finding> {
    let subject = "forwarding";
    let Family { name, path, needs } = family;
    let (is_on, needs) = (settings.number(path)? != 0, needs(load));
    Some(match (is_on, needs) {
        (false, 0) => {
            let found = format!(
                "off for {name}: tenants and other hosts do not reach each other; if they shall: {}",
                set(path, 1)
            );
            Finding::new(Grade::Good, subject, found)
        }
        (false, needs) => {
            let found = format!(
                "off for {name}, so other hosts do not reach what `outbound` and `publish` allow to {needs} tenant{}",
                if needs == 1 { "" } else { "s" }
            );
            Finding::new(Grade::Weak, subject, found).fix(set(path, 1))
        }
        (true, _) => {
            let found = format!(
                "on for {name}: other hosts reach tenants if they route the subnet to this host"
            );
            Finding::new(Grade::Good, subject, found)
        }
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

/// `br_netfilter` passes the packets between the ports of a bridge to iptables, and to all translation of addresses.
fn bridge(load: &Load, settings: Settings<'_>, program: &str) -> Option<Finding> {
    let path = format!("net/bridge/bridge-nf-call-{program}");
    let is_on = settings.number(&path)? != 0;
    (is_on && load.published > 0).then(|| {
        let loopback = match program {
            "ip6tables" => ", and the host not by `[::1]`",
            _ => "",
        };
        let found = format!(
            "packets on the bridges of tenants pass through the rules of {program} before the bridge has read where \
             they go: a tenant does not reach what another tenant on its bridge publishes{loopback}. Docker needs this \
             setting: beside it, use `mode = \"routed\"`"
        );
        Finding::new(Grade::Weak, "bridges", found).fix(set(&path, 0))
    })
}

#[cfg(test)]
mod tests {
    use super::super::tests::with;
    use super::*;

    fn found(published: u64, values: &[(&str, &str)]) -> Vec<Finding> {
        let folder = with(values);
        let load = Load {
            tenants: 3,
            forwarded: published,
            published,
            ..Load::default()
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
    fn forwarding_that_tenants_need_is_said_for_each_family() {
        let values = [
            ("net/ipv4/ip_forward", "0"),
            ("net/ipv6/conf/all/forwarding", "0"),
        ];
        let found = found(2, &values);
        let fix = Some("sysctl -w net.ipv4.ip_forward=1");
        assert_eq!(
            (found[0].grade, found[0].fix.as_deref()),
            (Grade::Weak, fix)
        );
        assert!(found[1].found.starts_with("off for IPv6: tenants"));
    }

    #[test]
    fn a_router_that_ignores_advertisements_is_said() {
        let found = |forwards, accepts| {
            let values = [
                ("net/ipv6/conf/all/forwarding", forwards),
                ("net/ipv6/conf/default/accept_ra", accepts),
            ];
            found(0, &values).len() - 1
        };
        assert_eq!(found("1", "1"), 1);
        assert_eq!(
            (found("1", "2"), found("0", "1"), found("1", "0")),
            (0, 0, 0)
        );
    }

    #[test]
    fn packets_of_bridges_that_iptables_sees_are_said_if_ports_are_published() {
        let values = [("net/bridge/bridge-nf-call-iptables", "1")];
        assert_eq!(found(0, &values).len(), 0);
        let said = found(3, &values);
        assert_eq!(
            said[0].fix.as_deref(),
            Some("sysctl -w net.bridge.bridge-nf-call-iptables=0")
        );
    }
}
