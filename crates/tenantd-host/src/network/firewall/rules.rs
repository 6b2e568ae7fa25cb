//! The rules of an application. They depend on nothing but the network of the application: a tenant is
//! elements of the sets that they name.
//!
//! All host ends and hubs of tenantd have link groups whose upper half is the same, and those of one
//! application have one group. So a rule sees by one comparison whether a packet is from or for a tenant,
//! and the application of its receiver decides.

use std::net::{Ipv4Addr, Ipv6Addr};

use ipnetwork::Ipv4Network;
use netlink_packet_netfilter::nftables::{
    DevHookNumber, ExpressionAttribute, HookNumber, InetHookNumber, ListAttribute, RuleAttribute,
    RuleMessage,
};

use tenantd_core::plan::model::{NetworkPlan, Subnet6};

use super::expressions::{
    Compare, DESTINATION4, DESTINATION6, ICMP_TYPE, IIFGROUP, IIFTYPE, L4PROTO, LOOPBACK, Nat,
    OIFGROUP, PORT, SOURCE4, SOURCE6, UNICAST, UNREACHABLE,
};
pub(super) use super::expressions::{Field, Rule};
use super::guard::{ADVERTISEMENT, SOLICITATION};

/// Bits of `ct state`: invalid; established or related.
const INVALID: u32 = 1;
const KNOWN: u32 = 2 | 4;

const TCP: u8 = 6;
const ICMP: u8 = 1;
pub(super) const ICMPV6: u8 = 58;

/// A chain that the kernel calls.
#[derive(Debug, Clone, Copy)]
pub(super) struct Base {
    pub(super) name: &'static str,
    pub(super) kind: &'static str,
    pub(super) hook: HookNumber,
    pub(super) priority: i32,
    /// What happens to a packet that reaches its end.
    pub(super) accepts: bool,
}

/// The guard on the host ends that it names.
pub(super) const GUARD: Base = Base {
    name: "guard",
    kind: "filter",
    hook: HookNumber::Dev(DevHookNumber::Ingress),
    priority: -500,
    accepts: false,
};

/// The guard on all links whose names begin as those of host ends do. Its rules drop, see [`guarding`](super::guarding).
pub(super) const PREFIX_GUARD: Base = Base {
    name: "guard_all",
    accepts: true,
    ..GUARD
};

/// What others ask for on the uplink.
pub(super) const ASKED: Base = Base {
    name: "asked",
    kind: "filter",
    hook: HookNumber::Dev(DevHookNumber::Ingress),
    priority: -500,
    accepts: true,
};

pub(super) const fn base(
    name: &'static str,
    kind: &'static str,
    hook: InetHookNumber,
    priority: i32,
) -> Base {
    Base {
        name,
        kind,
        hook: HookNumber::Inet(hook),
        priority,
        accepts: true,
    }
}

/// The chains that the kernel calls for packets of IP. They run before those of firewalld and Docker, which have
/// the usual priorities, so that a refusal is final.
pub(super) const BASES: [Base; 7] = [
    base("early", "filter", InetHookNumber::PreRouting, -300),
    base("forwarded", "filter", InetHookNumber::Forward, -5),
    base("input", "filter", InetHookNumber::LocalIn, -5),
    base("unused", "filter", InetHookNumber::LocalOut, -5),
    base("dnat_in", "nat", InetHookNumber::PreRouting, -105),
    base("dnat_out", "nat", InetHookNumber::LocalOut, -105),
    base("source", "nat", InetHookNumber::PostRouting, 95),
];

/// The other chains.
pub(super) const CHAINS: [&str; 8] = [
    "outbound", "inbound", "between", "services", "refuse", "publish", "local_in", "no_way",
];

/// The names of the counters: of frames that the guard dropped, and of packets that were refused.
pub(super) const SPOOFED: &str = "spoofed";
pub(super) const DENIED: &str = "denied";

pub(super) fn rule() -> Rule {
    Rule::new()
}

/// What the rules need to know of an application.
#[derive(Debug, Clone, Copy)]
pub(super) struct Facts {
    /// The link group of its host ends and its hub.
    pub(super) group: u32,
    subnet: Ipv4Network,
    gateway: Ipv4Addr,
    ipv6: Option<Subnet6>,
}

impl Facts {
    pub(super) fn of(network: &NetworkPlan) -> Self {
        Self {
            group: network.group(),
            subnet: network.subnet,
            gateway: network.gateway,
            ipv6: network.ipv6,
        }
    }

    /// The rules of the table of packets, by chain.
    pub(super) fn rules(&self) -> Vec<(&'static str, Vec<Rule>)> {
        vec![
            ("early", self.early()),
            ("forwarded", self.forwarded()),
            ("outbound", outbound()),
            ("inbound", inbound()),
            ("between", between()),
            ("input", vec![self.by_ours(rule()).jump("services")]),
            ("services", services()),
            ("unused", self.unused()),
            ("no_way", no_way()),
            ("refuse", refuse()),
            ("dnat_in", vec![rule().goto("publish")]),
            ("dnat_out", vec![rule().goto("publish")]),
            ("publish", publish()),
            ("source", self.source()),
            ("local_in", self.local_in()),
        ]
    }

    fn by_ours(&self, rule: Rule) -> Rule {
        rule.is(IIFGROUP, &self.group.to_ne_bytes())
    }

    fn for_ours(&self, rule: Rule) -> Rule {
        rule.is(OIFGROUP, &self.group.to_ne_bytes())
    }

    fn early(&self) -> Vec<Rule> {
        let foreign = || any_tenant(rule(), IIFGROUP, Compare::NotEqual);
        let loopback = (&[255, 0, 0, 0], &[127, 0, 0, 0]);
        let mut rules = vec![
            rule().is(IIFTYPE, &LOOPBACK.to_ne_bytes()).accept(),
            self.by_ours(rule())
                .ipv4()
                .bits(DESTINATION4, loopback.0, Compare::Equal, loopback.1)
                .counted(DENIED)
                .drop(),
            foreign()
                .ipv4()
                .in_set("own4", &[SOURCE4])
                .counted(DENIED)
                .drop(),
            foreign()
                .ipv6()
                .in_set("own6", &[SOURCE6])
                .counted(DENIED)
                .drop(),
        ];
        rules.extend(self.unused());
        // For IPv4 the kernel tells by the type only whether it is the host's.
        let ours = || self.by_ours(rule());
        let stranded4 = ours().ipv4().destination_is(UNICAST).without_route();
        let stranded6 = ours().ipv6().destination_is(UNREACHABLE);
        rules.extend([stranded4, stranded6].map(|rule| rule.jump("no_way")));
        rules
    }

    /// An address that no tenant uses: others do not have it, and the client learns it at once.
    fn unused(&self) -> Vec<Rule> {
        let (mask, network) = (self.subnet.mask().octets(), self.subnet.network().octets());
        let ipv4 = rule()
            .ipv4()
            .bits(DESTINATION4, &mask, Compare::Equal, &network)
            .not_in_set("own4", DESTINATION4)
            .goto("refuse");
        let ipv6 = self.ipv6.map(|Subnet6 { network, .. }| {
            let (mask, network) = (network.mask().octets(), network.network().octets());
            rule()
                .ipv6()
                .bits(DESTINATION6, &mask, Compare::Equal, &network)
                .not_in_set("own6", DESTINATION6)
                .goto("refuse")
        });
        std::iter::once(ipv4).chain(ipv6).collect()
    }

    fn forwarded(&self) -> Vec<Rule> {
        vec![
            self.by_ours(rule()).jump("outbound"),
            self.for_ours(rule()).jump("inbound"),
        ]
    }

    fn source(&self) -> Vec<Rule> {
        let to = |rule: Rule, is_ipv4, map, field| {
            rule.nat_to_value_of((Nat::Source, is_ipv4), (map, &[field]))
        };
        vec![
            self.for_ours(rule()).goto("local_in"),
            any_tenant(rule(), OIFGROUP, Compare::Equal).returns(),
            to(rule().ipv4(), true, "snat4", SOURCE4),
            to(rule().ipv6(), false, "snat6", SOURCE6),
            rule().ipv4().in_set("masq4", &[SOURCE4]).masquerade(),
            rule().ipv6().in_set("masq6", &[SOURCE6]).masquerade(),
        ]
    }

    /// What a tenant gets from the host's loopback address, or from itself, is answered to the gateway.
    fn local_in(&self) -> Vec<Rule> {
        let gateway = &self.gateway.octets();
        let mut rules = vec![
            rule()
                .ipv4()
                .bits(SOURCE4, &[255, 0, 0, 0], Compare::Equal, &[127, 0, 0, 0])
                .source_to(gateway),
            rule()
                .ipv4()
                .in_set("self4", &[SOURCE4, DESTINATION4])
                .source_to(gateway),
        ];
        rules.extend(
            self.ipv6
                .map(|it| {
                    let itself = rule().ipv6().in_set("self6", &[SOURCE6, DESTINATION6]);
                    let loopback = rule().ipv6().is(SOURCE6, &Ipv6Addr::LOCALHOST.octets());
                    [loopback, itself].map(|rule| rule.source_to(&it.gateway.octets()))
                })
                .into_iter()
                .flatten(),
        );
        rules
    }
}

/// The packet is, or is not, from or for a tenant of any application.
fn any_tenant(rule: Rule, group: Field, how: Compare) -> Rule {
    let (mask, ours) = (!0xffff_u32, NetworkPlan::GROUPS);
    rule.bits(group, &mask.to_ne_bytes(), how, &ours.to_ne_bytes())
}

pub(super) fn known() -> [Rule; 2] {
    [rule().state(KNOWN).returns(), rule().state(INVALID).drop()]
}

/// Neighbour discovery: it is forwarded only where br_netfilter passes bridged frames here, and the guard lets nothing
/// pass of it but about a tenant's own addresses.
fn discovery() -> [Rule; 2] {
    [SOLICITATION, ADVERTISEMENT].map(|kind| {
        let rule = rule().ipv6().is(L4PROTO, &[ICMPV6]);
        rule.is(ICMP_TYPE, &[kind]).returns()
    })
}

fn outbound() -> Vec<Rule> {
    let mut rules = Vec::from(known());
    rules.extend(discovery());
    rules.extend([
        // The application of the receiver decides.
        any_tenant(rule(), OIFGROUP, Compare::Equal).returns(),
        rule().ipv4().verdict_of("egress4", SOURCE4),
        rule().ipv6().verdict_of("egress6", SOURCE6),
        rule().goto("refuse"),
    ]);
    rules
}

/// The host has no route to the receiver, so the packet does not come to the chain `outbound`: the kernel drops it, and
/// tells so at most once a second. What is not allowed is refused here.
fn no_way() -> Vec<Rule> {
    vec![
        rule().ipv4().verdict_of("egress4", SOURCE4),
        rule().ipv6().verdict_of("egress6", SOURCE6),
        rule().goto("refuse"),
    ]
}

fn inbound() -> Vec<Rule> {
    let mut rules = Vec::from(known());
    rules.extend(discovery());
    rules.extend([
        rule().translated().returns(),
        any_tenant(rule(), IIFGROUP, Compare::Equal).goto("between"),
        rule().ipv4().in_set("direct4", &[DESTINATION4]).returns(),
        rule().ipv6().in_set("direct6", &[DESTINATION6]).returns(),
        rule().goto("refuse"),
    ]);
    rules
}

fn between() -> Vec<Rule> {
    vec![
        rule().ipv4().in_set("all4", &[SOURCE4]).returns(),
        rule().ipv6().in_set("all6", &[SOURCE6]).returns(),
        rule()
            .ipv4()
            .in_set("peers4", &[SOURCE4, DESTINATION4])
            .returns(),
        rule()
            .ipv6()
            .in_set("peers6", &[SOURCE6, DESTINATION6])
            .returns(),
        rule().goto("refuse"),
    ]
}

fn services() -> Vec<Rule> {
    let mut rules = Vec::from(known());
    let ping = |rule: Rule, protocol, kind| {
        rule.is(L4PROTO, &[protocol])
            .is(ICMP_TYPE, &[kind])
            .returns()
    };
    rules.extend(discovery());
    rules.extend([
        ping(rule().ipv4(), ICMP, 8),
        ping(rule().ipv6(), ICMPV6, 128),
        rule()
            .ipv4()
            .in_set("host4", &[SOURCE4, L4PROTO, PORT])
            .returns(),
        rule()
            .ipv6()
            .in_set("host6", &[SOURCE6, L4PROTO, PORT])
            .returns(),
        rule().goto("refuse"),
    ]);
    rules
}

/// A reset is never limited in its rate, as errors of ICMP are.
pub(super) fn refuse() -> Vec<Rule> {
    vec![
        rule().counted(DENIED),
        rule().is(L4PROTO, &[TCP]).reset(),
        rule().prohibited(),
    ]
}

fn publish() -> Vec<Rule> {
    let to = |rule: Rule, is_ipv4, map, fields: &[Field]| {
        rule.nat_to_value_of((Nat::Destination, is_ipv4), (map, fields))
    };
    let local = [L4PROTO, PORT];
    vec![
        to(rule().ipv4(), true, "pub4", &[DESTINATION4, L4PROTO, PORT]),
        to(rule().ipv6(), false, "pub6", &[DESTINATION6, L4PROTO, PORT]),
        to(rule().ipv4().for_local(), true, "any4", &local),
        to(rule().ipv6().for_local(), false, "any6", &local),
    ]
}

/// The names of expressions, in their order.
fn names(expressions: &[ListAttribute<ExpressionAttribute>]) -> Vec<String> {
    let parts = expressions.iter().filter_map(|part| match part {
        ListAttribute::Element(parts) => Some(parts),
        _ => None,
    });
    let names = parts.flatten().filter_map(|part| match part {
        ExpressionAttribute::Name(name) => Some(name.clone()),
        _ => None,
    });
    names.collect()
}

/// The names of the expressions of a rule, each once.
pub(super) fn expressions_of(rule: &RuleMessage) -> Vec<String> {
    let lists = rule.attributes.iter().filter_map(|part| match part {
        RuleAttribute::Expressions(list) => Some(list),
        _ => None,
    });
    let mut names: Vec<String> = lists.flat_map(|list| names(list)).collect();
    names.sort();
    names.dedup();
    names
}
