//! The rules of the table of frames: what a tenant may say about its own addresses, and what it may send from them.

use super::expressions::{
    ARP_ETHER, ARP_OPERATION, ARP_SOURCE, ARP_TARGET, ETHER_SOURCE, ETHER_TYPE, ETHERNET,
    ICMP_TYPE, IIF, IIFGROUP, IIFTYPE, L4PROTO, SOURCE4, SOURCE6, TARGET6,
};
use super::rules::{ICMPV6, Rule, SPOOFED};

/// Messages of neighbour discovery (RFC 4861).
pub(super) const SOLICITATION: u8 = 135;
pub(super) const ADVERTISEMENT: u8 = 136;

/// What is asked for an address of a tenant on the uplink. The kernel lets up to 0.8 s pass before it answers for another
/// machine, in case that one answers itself, but not if it alone was asked.
pub(super) fn asked() -> Vec<Rule> {
    let of_type = |kind: u16| Rule::new().is(ETHER_TYPE, &kind.to_be_bytes());
    vec![
        of_type(0x0806)
            .is(ARP_OPERATION, &[0, 1])
            .in_set("asked4", &[ARP_TARGET])
            .for_this_host(),
        of_type(0x86dd)
            .is(L4PROTO, &[ICMPV6])
            .is(ICMP_TYPE, &[SOLICITATION])
            .in_set("asked6", &[TARGET6])
            .for_this_host(),
    ]
}

/// The rules for host ends whose links have this group, and for links of others, which all pass.
pub(super) fn of_group(group: u32) -> Vec<Rule> {
    let others = Rule::new().differs(IIFGROUP, &group.to_ne_bytes()).accept();
    let mut rules = vec![others];
    rules.extend(guard());
    // The policy accepts.
    rules.push(Rule::new().drop());
    rules
}

/// The rules of the table of frames.
pub(super) fn guard() -> Vec<Rule> {
    let of_type = |kind: u16| {
        Rule::new()
            .is(IIFTYPE, &ETHERNET.to_ne_bytes())
            .is(ETHER_TYPE, &kind.to_be_bytes())
    };
    vec![
        // A tenant may say that it has its own addresses.
        of_type(0x86dd)
            .is(L4PROTO, &[ICMPV6])
            .is(ICMP_TYPE, &[ADVERTISEMENT])
            .in_set("ok6", &[IIF, ETHER_SOURCE, SOURCE6])
            .in_set("ok6", &[IIF, ETHER_SOURCE, TARGET6])
            .accept(),
        // It may ask for neighbours, if the address that it asks from is its own.
        of_type(0x86dd)
            .is(L4PROTO, &[ICMPV6])
            .is(ICMP_TYPE, &[SOLICITATION])
            .in_set("ok6", &[IIF, ETHER_SOURCE, SOURCE6])
            .accept(),
        // Routers are what the host says, never what a tenant says.
        of_type(0x86dd)
            .is(L4PROTO, &[ICMPV6])
            .within(ICMP_TYPE, &[133], &[137])
            .counted(SPOOFED)
            .drop(),
        of_type(0x0800)
            .in_set("ok4", &[IIF, ETHER_SOURCE, SOURCE4])
            .accept(),
        of_type(0x86dd)
            .in_set("ok6", &[IIF, ETHER_SOURCE, SOURCE6])
            .accept(),
        of_type(0x0806)
            .in_set("arps", &[IIF, ETHER_SOURCE, ARP_ETHER, ARP_SOURCE])
            .accept(),
        Rule::new().counted(SPOOFED),
    ]
}
