//! The firewall of a tenant whose link is a macvlan: two tables in its own network namespace, because its packets do not
//! pass the host. Without `CAP_NET_ADMIN` there, which a tenant lacks, no process of it can change them. They are made
//! in one transaction, and go with the namespace.
//!
//! The table of frames is at the hook `egress` of the tenant's end (Linux 5.16), which packet sockets pass too.

use std::net::{IpAddr, Ipv6Addr};

use netlink_packet_netfilter::nftables::{DevHookNumber, HookNumber, InetHookNumber, TableFlags};

use tenantd_core::plan::derive;
use tenantd_core::plan::model::{LinkPlan, NetworkPlan};
use tenantd_core::plan::traffic::Outbound;
use tenantd_core::stage::{Failure, Stage};

use super::expressions::{
    ARP_ETHER, ARP_SOURCE, ETHER_SOURCE, ETHER_TYPE, Field, ICMP_TYPE, L4PROTO, LOOPBACK, SOURCE4,
    SOURCE6, TARGET6,
};
use super::guard::{ADVERTISEMENT, SOLICITATION};
use super::missing::{lacking, unavailable};
use super::rules::{Base, DENIED, ICMPV6, Rule, SPOOFED, known, refuse, rule};
use super::sets::Family;
use super::socket::{NftSocket, Transaction};
use super::survey::{Difference, Tables};
use super::{GUARD_CHAIN, content, lists, wire};
use crate::network::family::link_local;

/// What leaves the tenant's end.
const GUARD: Base = Base {
    name: GUARD_CHAIN,
    kind: "filter",
    hook: HookNumber::Dev(DevHookNumber::Egress),
    priority: -500,
    accepts: false,
};

/// What the tenant begins.
const OUTPUT: Base = Base {
    name: "output",
    kind: "filter",
    hook: HookNumber::Inet(InetHookNumber::LocalOut),
    priority: -5,
    accepts: true,
};

/// The chain for advertisements of neighbours.
const SAYS: &str = "says";

/// The chain with the list of what it may reach.
const LIST: &str = "list";
const REFUSE: &str = "refuse";

/// `NFT_META_OIFTYPE`.
const OIFTYPE: Field = Field::Meta(9, 2);

/// Types of frames.
const IPV4: u16 = 0x0800;
const IPV6: u16 = 0x86dd;
const ARP: u16 = 0x0806;

/// Messages of ICMPv6, and a protocol of IPv4, by which a machine tells switches which groups it listens to.
const LISTENER: [u8; 3] = [131, 132, 143];
const IGMP: u8 = 2;

/// A chain and its rules.
type Chain = (Family, &'static str, Vec<Rule>);

fn chains(link: &LinkPlan) -> Vec<Chain> {
    let mut all = vec![
        (Family::Netdev, SAYS, says(link)),
        (Family::Netdev, GUARD.name, guard(link)),
        (Family::Inet, REFUSE, refuse()),
    ];
    if !link.traffic.egress.is_empty() {
        all.push((Family::Inet, LIST, lists::list(&link.traffic.egress)));
    }
    all.push((Family::Inet, OUTPUT.name, output(link)));
    all
}

/// Frames of a tenant have its own MAC address, and its own addresses as their source.
fn guard(link: &LinkPlan) -> Vec<Rule> {
    let mac = &link.tenant.mac.0;
    let of_type = |kind: u16| {
        rule()
            .is(ETHER_SOURCE, mac)
            .is(ETHER_TYPE, &kind.to_be_bytes())
    };
    let icmpv6 = |kind: u8| of_type(IPV6).is(L4PROTO, &[ICMPV6]).is(ICMP_TYPE, &[kind]);
    let own6 = own6(link);
    let own4 = link.addresses.iter().filter_map(|it| match it {
        IpAddr::V4(address) => Some(address.octets()),
        IpAddr::V6(_) => None,
    });
    let own4: Vec<[u8; 4]> = own4.collect();
    // It may say that it has its own addresses, see `says`, and nothing about routers.
    let routers = |first: u8, last: u8| {
        let all = of_type(IPV6).is(L4PROTO, &[ICMPV6]);
        all.within(ICMP_TYPE, &[first], &[last])
    };
    let refused = [routers(133, 134), routers(137, 137)];
    let mut rules = vec![icmpv6(ADVERTISEMENT).jump(SAYS)];
    rules.extend(refused.into_iter().map(|rule| rule.counted(SPOOFED).drop()));
    // Before it has an address, it asks whether another machine has it.
    let nobody6 = Ipv6Addr::UNSPECIFIED.octets();
    for kind in [SOLICITATION].into_iter().chain(LISTENER) {
        rules.push(icmpv6(kind).is(SOURCE6, &nobody6).accept());
    }
    let own = own6
        .iter()
        .map(|own| of_type(IPV6).is(SOURCE6, &own.octets()));
    rules.extend(own.map(Rule::accept));
    for own in &own4 {
        rules.push(of_type(IPV4).is(SOURCE4, own).accept());
    }
    for own in own4.iter().chain([&[0; 4]]) {
        let says = of_type(ARP).is(ARP_ETHER, mac).is(ARP_SOURCE, own);
        rules.push(says.accept());
    }
    rules.push(rule().counted(SPOOFED));
    rules
}

/// What it says about addresses. A rule for each: the kernel limits what one rule may compare.
fn says(link: &LinkPlan) -> Vec<Rule> {
    let own = own6(link);
    let own = own.iter().map(|own| rule().is(TARGET6, &own.octets()));
    own.map(Rule::returns)
        .chain([rule().counted(SPOOFED).drop()])
        .collect()
}

fn own6(link: &LinkPlan) -> Vec<Ipv6Addr> {
    let own = link.addresses.iter().filter_map(|it| match it {
        IpAddr::V6(address) => Some(address),
        IpAddr::V4(_) => None,
    });
    [link_local(link.tenant.mac)]
        .into_iter()
        .chain(own)
        .collect()
}

fn output(link: &LinkPlan) -> Vec<Rule> {
    let mut rules = vec![rule().is(OIFTYPE, &LOOPBACK.to_ne_bytes()).accept()];
    rules.extend(known());
    for kind in [SOLICITATION, ADVERTISEMENT].into_iter().chain(LISTENER) {
        let rule = rule().ipv6().is(L4PROTO, &[ICMPV6]).is(ICMP_TYPE, &[kind]);
        rules.push(rule.returns());
    }
    rules.push(rule().ipv4().is(L4PROTO, &[IGMP]).returns());
    match link.traffic.outbound {
        Outbound::None => rules.push(rule().goto(REFUSE)),
        Outbound::Nat | Outbound::Routed if link.traffic.egress.is_empty() => {}
        Outbound::Nat | Outbound::Routed => rules.push(rule().goto(LIST)),
    }
    rules
}

fn whole(table: &str, link: &LinkPlan) -> Transaction {
    let mut all: Transaction = Vec::new();
    for family in [Family::Netdev, Family::Inet] {
        let made = || {
            (
                family,
                wire::new_table(table, TableFlags::empty(), &link.mark),
            )
        };
        all.extend([made(), (family, wire::delete_table(table)), made()]);
    }
    all.push((Family::Netdev, wire::new_counter(table, SPOOFED)));
    all.push((Family::Inet, wire::new_counter(table, DENIED)));
    for (family, name, rules) in chains(link) {
        let device = [link.tenant.name.as_str()];
        let chain = match name {
            name if name == GUARD.name => wire::new_base_chain(table, name, &GUARD, &device),
            name if name == OUTPUT.name => wire::new_base_chain(table, name, &OUTPUT, &[]),
            name => wire::new_chain(table, name),
        };
        all.push((family, chain));
        all.extend(
            rules
                .into_iter()
                .map(|rule| (family, wire::new_rule(table, name, rule))),
        );
    }
    all
}

/// Makes the tables in the network namespace of the calling thread, or gives them the rules of this plan.
///
/// # Errors
/// [`Stage::Firewall`], with what the kernel lacks. Nothing was changed then.
pub(in crate::network) fn make(network: &NetworkPlan, link: &LinkPlan) -> Result<(), Failure> {
    let table = derive::nft_table(network.app());
    let fail = |error: std::io::Error| unavailable(&table, error.raw_os_error().unwrap_or(0));
    let socket = NftSocket::open().map_err(fail)?;
    let whole = whole(&table, link);
    socket.commit(&whole).map_err(|refused| {
        let at = refused.at.and_then(|at| whole.get(at));
        let object = format!("table {table} (in the tenant)");
        let failure = Failure::errno(Stage::Firewall, object, refused.errno);
        match at {
            Some((Family::Netdev, change)) if is_chain(change) => failure.with(
                "mode macvlan needs the hook `egress` of nf_tables (Linux 5.16): use another mode, or set \
                 `firewall = \"off\"` in [network], which lets tenants forge addresses",
            ),
            Some((_, change)) => failure.with(lacking(&change.message)),
            None => failure,
        }
    })
}

fn is_chain(change: &wire::Change) -> bool {
    use netlink_packet_netfilter::nftables::NfTablesMessage;
    matches!(change.message, NfTablesMessage::NewChain(_))
}

/// How the tables in the network namespace of the calling thread differ from the plan.
///
/// # Errors
/// The errno of the socket or the kernel.
pub(crate) fn differences(network: &NetworkPlan, link: &LinkPlan) -> Result<Vec<Difference>, i32> {
    let found = Tables::read(network.app())?;
    let differs = |(family, name, rules): Chain| {
        found.chain(&(family, name.to_owned()), &content::of_rules(&rules))
    };
    Ok(chains(link).into_iter().filter_map(differs).collect())
}
