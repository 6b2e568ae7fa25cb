//! The expressions of rules, see nft(8) for their meaning.

use netlink_packet_netfilter::nftables::{ExpressionAttribute, ListAttribute, Verdict};
use rtnetlink::packet_core::DefaultNla;

use super::wire::{data, expression, nested, number, text, verdict};

/// `NF_DROP` and `NF_ACCEPT`.
const DROP: u32 = 0;
const ACCEPT: u32 = 1;

/// `NFPROTO_IPV4` and `NFPROTO_IPV6`.
const IPV4: u8 = 2;
const IPV6: u8 = 10;

/// `RTN_UNICAST`, `RTN_LOCAL` and `RTN_UNREACHABLE`.
pub(super) const UNICAST: u32 = 1;
const LOCAL: u32 = 2;
pub(super) const UNREACHABLE: u32 = 7;

/// `ARPHRD_LOOPBACK` and `ARPHRD_ETHER`.
pub(super) const LOOPBACK: u16 = 772;
pub(super) const ETHERNET: u16 = 1;

/// What is loaded from a packet: `NFT_META_*` or a place in a header, and its length in bytes.
#[derive(Debug, Clone, Copy)]
pub(super) enum Field {
    Meta(u32, u32),
    /// The base (`NFT_PAYLOAD_*_HEADER`), the offset and the length.
    Payload(u32, u32, u32),
}

pub(super) const IIF: Field = Field::Meta(4, 4);
pub(super) const IIFTYPE: Field = Field::Meta(8, 2);
pub(super) const OIFTYPE: Field = Field::Meta(9, 2);
pub(super) const NFPROTO: Field = Field::Meta(15, 1);
pub(super) const L4PROTO: Field = Field::Meta(16, 1);
pub(super) const IIFGROUP: Field = Field::Meta(21, 4);
pub(super) const OIFGROUP: Field = Field::Meta(22, 4);
pub(super) const ETHER_SOURCE: Field = Field::Payload(0, 6, 6);
pub(super) const ETHER_TYPE: Field = Field::Payload(0, 12, 2);
pub(super) const SOURCE4: Field = Field::Payload(1, 12, 4);
pub(super) const DESTINATION4: Field = Field::Payload(1, 16, 4);
pub(super) const SOURCE6: Field = Field::Payload(1, 8, 16);
pub(super) const DESTINATION6: Field = Field::Payload(1, 24, 16);
pub(super) const ARP_ETHER: Field = Field::Payload(1, 8, 6);
pub(super) const ARP_SOURCE: Field = Field::Payload(1, 14, 4);
pub(super) const ARP_OPERATION: Field = Field::Payload(1, 6, 2);
pub(super) const ARP_TARGET: Field = Field::Payload(1, 24, 4);
pub(super) const ICMP_TYPE: Field = Field::Payload(2, 0, 1);
/// The target of a message of neighbour discovery.
pub(super) const TARGET6: Field = Field::Payload(2, 8, 16);
pub(super) const PORT: Field = Field::Payload(2, 2, 2);

/// The kernel's number of the register that begins at a slot of four bytes, as nft(8) chooses it.
fn register(slot: u32) -> u32 {
    match slot % 4 {
        0 => 1 + slot / 4,
        _ => 8 + slot,
    }
}

impl Field {
    fn length(self) -> u32 {
        match self {
            Field::Meta(_, length) | Field::Payload(_, _, length) => length,
        }
    }

    fn load(self, slot: u32) -> ListAttribute<ExpressionAttribute> {
        let to = number(1, register(slot));
        match self {
            Field::Meta(key, _) => expression("meta", &[number(2, key), to]),
            Field::Payload(base, offset, length) => expression(
                "payload",
                &[to, number(2, base), number(3, offset), number(4, length)],
            ),
        }
    }
}

/// `NFT_CMP_*`.
#[derive(Debug, Clone, Copy)]
pub(super) enum Compare {
    Equal = 0,
    NotEqual = 1,
    AtMost = 3,
    AtLeast = 5,
}

/// A rule: expressions, of which each must match for the next one to be looked at.
#[derive(Debug, Clone, Default)]
pub(super) struct Rule {
    pub(super) expressions: Vec<ListAttribute<ExpressionAttribute>>,
}

/// The address family of a NAT.
#[derive(Debug, Clone, Copy)]
pub(super) enum Nat {
    Source = 0,
    Destination = 1,
}

impl Rule {
    pub(super) fn new() -> Self {
        Self::default()
    }

    fn with(mut self, name: &str, attributes: &[DefaultNla]) -> Self {
        self.expressions.push(expression(name, attributes));
        self
    }

    fn compare(self, how: Compare, value: &[u8]) -> Self {
        let parts = [
            number(1, register(0)),
            number(2, how as u32),
            data(3, value),
        ];
        self.with("cmp", &parts)
    }

    fn load(mut self, fields: &[Field]) -> Self {
        let mut slot = 0;
        for field in fields {
            self.expressions.push(field.load(slot));
            slot += field.length().div_ceil(4);
        }
        self
    }

    fn masked(self, mask: &[u8]) -> Self {
        let length = u32::try_from(mask.len()).unwrap_or(u32::MAX);
        let parts = [
            number(1, register(0)),
            number(2, register(0)),
            number(3, length),
            data(4, mask),
            data(5, &vec![0; mask.len()]),
        ];
        self.with("bitwise", &parts)
    }

    /// A field has this value, in the byte order of the field.
    pub(super) fn is(self, field: Field, value: &[u8]) -> Self {
        self.load(&[field]).compare(Compare::Equal, value)
    }

    /// A field has another value than this.
    pub(super) fn differs(self, field: Field, value: &[u8]) -> Self {
        self.load(&[field]).compare(Compare::NotEqual, value)
    }

    /// A field is at least the first value and at most the second.
    pub(super) fn within(self, field: Field, first: &[u8], last: &[u8]) -> Self {
        self.load(&[field])
            .compare(Compare::AtLeast, first)
            .compare(Compare::AtMost, last)
    }

    /// The bits of a field that the mask names have this value.
    pub(super) fn bits(self, field: Field, mask: &[u8], how: Compare, value: &[u8]) -> Self {
        self.load(&[field]).masked(mask).compare(how, value)
    }

    /// The packet is IPv4.
    pub(super) fn ipv4(self) -> Self {
        self.is(NFPROTO, &[IPV4])
    }

    /// The packet is IPv6.
    pub(super) fn ipv6(self) -> Self {
        self.is(NFPROTO, &[IPV6])
    }

    /// The connection is in one of these states (`NF_CT_STATE_BIT`).
    pub(super) fn state(self, bits: u32) -> Self {
        self.conntrack(0, bits)
    }

    /// The destination of the connection was translated (`IPS_DST_NAT`).
    pub(super) fn translated(self) -> Self {
        self.conntrack(2, 0x20)
    }

    fn conntrack(self, key: u32, bits: u32) -> Self {
        self.with("ct", &[number(2, key), number(1, register(0))])
            .masked(&bits.to_ne_bytes())
            .compare(Compare::NotEqual, &[0; 4])
    }

    /// The destination is of this type, `RTN_*` in rtnetlink(7).
    pub(super) fn destination_is(self, kind: u32) -> Self {
        let (by_type, destination) = (3, 2);
        let parts = [
            number(1, register(0)),
            number(2, by_type),
            number(3, destination),
        ];
        self.with("fib", &parts)
            .compare(Compare::Equal, &kind.to_ne_bytes())
    }

    /// The destination is an address of the host.
    pub(super) fn for_local(self) -> Self {
        self.destination_is(LOCAL)
    }
    /// The host has no route to the destination: no link by which it goes (`NFT_FIB_RESULT_OIF`, with
    /// `NFTA_FIB_F_DADDR` and `NFTA_FIB_F_PRESENT`).
    pub(super) fn without_route(self) -> Self {
        let (by_link, destination, present) = (1, 2, 32);
        let parts = [
            number(1, register(0)),
            number(2, by_link),
            number(3, destination | present),
        ];
        self.with("fib", &parts).compare(Compare::Equal, &[0; 4])
    }

    /// The fields are in a set.
    pub(super) fn in_set(self, set: &str, fields: &[Field]) -> Self {
        let parts = [text(1, set), number(2, register(0))];
        self.load(fields).with("lookup", &parts)
    }

    /// The field is not in a set.
    pub(super) fn not_in_set(self, set: &str, field: Field) -> Self {
        let parts = [text(1, set), number(2, register(0)), number(5, 1)];
        self.load(&[field]).with("lookup", &parts)
    }

    /// The verdict that a map has for the field.
    pub(super) fn verdict_of(self, map: &str, field: Field) -> Self {
        let parts = [text(1, map), number(2, register(0)), number(3, 0)];
        self.load(&[field]).with("lookup", &parts)
    }

    /// Translates the source or destination to what a map has for the fields.
    pub(super) fn nat_to_value_of(
        self,
        (nat, is_ipv4): (Nat, bool),
        (map, fields): (&str, &[Field]),
    ) -> Self {
        let parts = [text(1, map), number(2, register(0)), number(3, register(0))];
        let rule = self.load(fields).with("lookup", &parts);
        let (family, slots) = if is_ipv4 { (IPV4, 1) } else { (IPV6, 4) };
        let mut parts = vec![
            number(1, nat as u32),
            number(2, family.into()),
            number(3, register(0)),
        ];
        if matches!(nat, Nat::Destination) {
            parts.push(number(5, register(slots)));
        }
        rule.with("nat", &parts)
    }

    /// Translates the source to this address, of the length of its family.
    pub(super) fn source_to(self, address: &[u8]) -> Self {
        self.nat_to(Nat::Source, address)
    }

    /// Translates the destination to this address, of the length of its family.
    pub(super) fn destination_to(self, address: &[u8]) -> Self {
        self.nat_to(Nat::Destination, address)
    }

    fn nat_to(self, nat: Nat, address: &[u8]) -> Self {
        let family = if address.len() == 4 { IPV4 } else { IPV6 };
        let parts = [number(1, register(0)), data(2, address)];
        let nat = [
            number(1, nat as u32),
            number(2, family.into()),
            number(3, register(0)),
        ];
        self.with("immediate", &parts).with("nat", &nat)
    }

    /// Translates the source to the address of the link by which the packet leaves.
    pub(super) fn masquerade(self) -> Self {
        self.with("masq", &[])
    }

    /// Marks the packet as sent to this host alone: `NFT_META_PKTTYPE` becomes `PACKET_HOST`.
    pub(super) fn for_this_host(self) -> Self {
        let host = [number(1, register(0)), data(2, &[0])];
        let set = [number(2, 19), number(3, register(0))];
        self.with("immediate", &host).with("meta", &set)
    }

    /// Counts the packet.
    pub(super) fn counted(self, counter: &str) -> Self {
        self.with("objref", &[number(1, 1), text(2, counter)])
    }

    /// Answers with a TCP reset (`NFT_REJECT_TCP_RST`).
    pub(super) fn reset(self) -> Self {
        self.with("reject", &[number(1, 1), DefaultNla::new(2, vec![0])])
    }

    /// Answers that it is prohibited (`NFT_REJECT_ICMPX_ADMIN_PROHIBITED`).
    pub(super) fn prohibited(self) -> Self {
        self.with("reject", &[number(1, 2), DefaultNla::new(2, vec![3])])
    }

    pub(super) fn accept(self) -> Self {
        self.end(Verdict::Other(ACCEPT), None)
    }

    pub(super) fn drop(self) -> Self {
        self.end(Verdict::Other(DROP), None)
    }

    pub(super) fn returns(self) -> Self {
        self.end(Verdict::Return, None)
    }

    pub(super) fn goto(self, chain: &str) -> Self {
        self.end(Verdict::Goto, Some(chain))
    }

    pub(super) fn jump(self, chain: &str) -> Self {
        self.end(Verdict::Jump, Some(chain))
    }

    fn end(self, code: Verdict, chain: Option<&str>) -> Self {
        let parts = [number(1, 0), nested(2, &[verdict(code, chain)])];
        self.with("immediate", &parts)
    }
}
