//! The rules of a list of what a tenant may reach outside: a chain, which all tenants with the same list share.

use ipnetwork::IpNetwork;
use tenantd_core::plan::traffic::{EgressRule, Protocol};

use super::elements::number;
use super::expressions::{Compare, DESTINATION4, DESTINATION6, L4PROTO, PORT};
use super::rules::{Rule, rule};

/// The rules of a list of what a tenant may reach outside.
pub(super) fn list(rules: &[EgressRule]) -> Vec<Rule> {
    let mut all = Vec::new();
    for egress in rules {
        let protocols: &[Option<Protocol>] = match (egress.protocol, egress.ports) {
            (Some(Protocol::Tcp), _) => &[Some(Protocol::Tcp)],
            (Some(Protocol::Udp), _) => &[Some(Protocol::Udp)],
            (None, None) => &[None],
            (None, Some(_)) => &[Some(Protocol::Tcp), Some(Protocol::Udp)],
        };
        all.extend(protocols.iter().map(|protocol| listed(egress, *protocol)));
    }
    all.push(rule().goto("refuse"));
    all
}

fn listed(egress: &EgressRule, protocol: Option<Protocol>) -> Rule {
    let mut rule = rule();
    match egress.network {
        None => {}
        Some(IpNetwork::V4(network)) => {
            let (mask, base) = (network.mask().octets(), network.network().octets());
            rule = rule.ipv4().bits(DESTINATION4, &mask, Compare::Equal, &base);
        }
        Some(IpNetwork::V6(network)) => {
            let (mask, base) = (network.mask().octets(), network.network().octets());
            rule = rule.ipv6().bits(DESTINATION6, &mask, Compare::Equal, &base);
        }
    }
    if let Some(protocol) = protocol {
        rule = rule.is(L4PROTO, &[number(protocol)]);
    }
    match egress.ports {
        Some((first, last)) if first == last => rule = rule.is(PORT, &first.to_be_bytes()),
        Some((first, last)) => {
            rule = rule.within(PORT, &first.to_be_bytes(), &last.to_be_bytes());
        }
        None => {}
    }
    match egress.allow {
        true => rule.returns(),
        false => rule.goto("refuse"),
    }
}
