//! The rules of the table of frames: what a tenant may say about its own addresses, and what it may send from them.

use super::expressions::{
    ARP_ETHER, ARP_SOURCE, ETHER_SOURCE, ETHER_TYPE, ETHERNET, ICMP_TYPE, IIF, IIFTYPE, L4PROTO,
    SOURCE4, SOURCE6, TARGET6,
};
use super::rules::{ICMPV6, Rule, SPOOFED};

/// Messages of neighbour discovery (RFC 4861).
pub(super) const SOLICITATION: u8 = 135;
pub(super) const ADVERTISEMENT: u8 = 136;

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
