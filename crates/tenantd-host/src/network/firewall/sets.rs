//! The sets and maps of an application's tables. A tenant is elements of them.

use std::net::{Ipv4Addr, Ipv6Addr};

/// The table that a set is in.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Family {
    /// What arrives from tenants, as frames.
    Netdev,
    /// Packets of IPv4 and IPv6.
    Inet,
}

/// The type of a part of a key, as nft(8) numbers it, and its length in bytes.
type Type = (u32, u32);

const IPV4: Type = (7, 4);
const IPV6: Type = (8, 16);
const ETHER: Type = (9, 6);
const PROTOCOL: Type = (12, 1);
const SERVICE: Type = (13, 2);
const INTERFACE: Type = (20, 4);

/// What a set holds for each key.
#[derive(Debug, Clone, Copy)]
pub(super) enum Holds {
    /// Nothing.
    Keys,
    /// A verdict.
    Verdicts,
    /// A value of these types.
    Values(&'static [Type]),
}

/// One set or map.
#[derive(Debug, Clone, Copy)]
pub(super) struct Set {
    pub(super) name: &'static str,
    pub(super) family: Family,
    types: &'static [Type],
    pub(super) holds: Holds,
}

impl Set {
    /// The type and the length of its keys.
    pub(super) fn key(&self) -> (u32, u32) {
        Self::concatenated(self.types)
    }

    /// The type and the length of a concatenation: each part begins at a multiple of four bytes.
    pub(super) fn concatenated(types: &[Type]) -> (u32, u32) {
        let add = |(kind, length): (u32, u32), part: &Type| {
            (kind << 6 | part.0, length + part.1.next_multiple_of(4))
        };
        match types {
            [(kind, length)] => (*kind, *length),
            types => types.iter().fold((0, 0), add),
        }
    }

    /// A key in words, such as `10.77.0.2 . tcp . 80`.
    pub(super) fn words(&self, key: &[u8]) -> String {
        words(self.types, key)
    }

    /// A value in words.
    pub(super) fn value(&self, value: &[u8]) -> String {
        match self.holds {
            Holds::Values(types) => words(types, value),
            Holds::Keys | Holds::Verdicts => String::new(),
        }
    }

    /// The set with this name.
    pub(super) fn named(name: &str) -> Option<&'static Set> {
        SETS.iter().find(|set| set.name == name)
    }
}

fn words(types: &[Type], mut bytes: &[u8]) -> String {
    let parts = types.iter().map(|kind| {
        let length = kind.1 as usize;
        let part = bytes.get(..length).unwrap_or_default();
        bytes = bytes.get(length.next_multiple_of(4)..).unwrap_or_default();
        word(*kind, part)
    });
    parts.collect::<Vec<_>>().join(" . ")
}

/// One part of a key.
fn word(kind: Type, part: &[u8]) -> String {
    let mac = || {
        let bytes = part.iter().map(|byte| format!("{byte:02x}"));
        bytes.collect::<Vec<_>>().join(":")
    };
    let known = match kind {
        IPV4 => <[u8; 4]>::try_from(part).map(|it| Ipv4Addr::from(it).to_string()),
        IPV6 => <[u8; 16]>::try_from(part).map(|it| Ipv6Addr::from(it).to_string()),
        SERVICE => <[u8; 2]>::try_from(part).map(|it| u16::from_be_bytes(it).to_string()),
        INTERFACE => <[u8; 4]>::try_from(part).map(|it| format!("link {}", u32::from_ne_bytes(it))),
        PROTOCOL if part == [6] => Ok("tcp".to_owned()),
        PROTOCOL if part == [17] => Ok("udp".to_owned()),
        _ => Ok(mac()),
    };
    known.unwrap_or_default()
}

const fn set(name: &'static str, family: Family, types: &'static [Type], holds: Holds) -> Set {
    Set {
        name,
        family,
        types,
        holds,
    }
}

use Family::{Inet, Netdev};
use Holds::{Keys, Values, Verdicts};

/// All sets and maps. Those of both families of addresses have names that end in 4 and 6.
pub(super) const SETS: &[Set] = &[
    // Link, MAC address and IP address of each tenant: no other packet is taken from a link.
    set("ok4", Netdev, &[INTERFACE, ETHER, IPV4], Keys),
    set("ok6", Netdev, &[INTERFACE, ETHER, IPV6], Keys),
    set("arps", Netdev, &[INTERFACE, ETHER, ETHER, IPV4], Keys),
    // Addresses of tenants that others ask for on the uplink.
    set("asked4", Netdev, &[IPV4], Keys),
    set("asked6", Netdev, &[IPV6], Keys),
    // Addresses that are in use, and the gateway's.
    set("own4", Inet, &[IPV4], Keys),
    set("own6", Inet, &[IPV6], Keys),
    // What each tenant may reach outside: everything, or what a chain says.
    set("egress4", Inet, &[IPV4], Verdicts),
    set("egress6", Inet, &[IPV6], Verdicts),
    // From which tenant to which.
    set("peers4", Inet, &[IPV4, IPV4], Keys),
    set("peers6", Inet, &[IPV6, IPV6], Keys),
    // Tenants that may connect to all others of the application.
    set("all4", Inet, &[IPV4], Keys),
    set("all6", Inet, &[IPV6], Keys),
    // Tenants that may be reached from outside by their own address.
    set("direct4", Inet, &[IPV4], Keys),
    set("direct6", Inet, &[IPV6], Keys),
    // Which tenant may use which services of the host.
    set("host4", Inet, &[IPV4, PROTOCOL, SERVICE], Keys),
    set("host6", Inet, &[IPV6, PROTOCOL, SERVICE], Keys),
    // What is published on an address of the host, and on all of them.
    set(
        "pub4",
        Inet,
        &[IPV4, PROTOCOL, SERVICE],
        Values(&[IPV4, SERVICE]),
    ),
    set(
        "pub6",
        Inet,
        &[IPV6, PROTOCOL, SERVICE],
        Values(&[IPV6, SERVICE]),
    ),
    set("any4", Inet, &[PROTOCOL, SERVICE], Values(&[IPV4, SERVICE])),
    set("any6", Inet, &[PROTOCOL, SERVICE], Values(&[IPV6, SERVICE])),
    // Tenants that reach themselves by what they publish.
    set("self4", Inet, &[IPV4, IPV4], Keys),
    set("self6", Inet, &[IPV6, IPV6], Keys),
    // The address that others see, if it is a certain one, or that of the link.
    set("snat4", Inet, &[IPV4], Values(&[IPV4])),
    set("snat6", Inet, &[IPV6], Values(&[IPV6])),
    set("masq4", Inet, &[IPV4], Keys),
    set("masq6", Inet, &[IPV6], Keys),
];
