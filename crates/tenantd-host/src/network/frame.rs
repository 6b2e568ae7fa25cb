//! Frames about addresses: requests and announcements of ARP (RFC 5227), and of neighbour discovery (RFC 4861, 4862).

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use tenantd_core::plan::model::MacAddr;

/// Types of a frame.
const ARP: [u8; 2] = [0x08, 0x06];
const IPV6: [u8; 2] = [0x86, 0xdd];

/// The next header of ICMPv6, and its messages.
const ICMPV6: u8 = 58;
const SOLICITATION: u8 = 135;
const ADVERTISEMENT: u8 = 136;

/// The flag of an advertisement that replaces what is known.
const OVERRIDE: u8 = 0x20;

/// Where the parts of a frame begin.
const ETHER_SOURCE: usize = 6;
const ETHER_TYPE: usize = 12;
const ARP_SENDER: usize = 28;
const ARP_TARGET: usize = 38;
const IPV6_NEXT: usize = 20;
const IPV6_SOURCE: usize = 22;
const ICMPV6_TYPE: usize = 54;
const ND_TARGET: usize = 62;

/// Asks all whether one of them has an address, without saying that the sender has it.
pub(super) fn question(mac: MacAddr, address: IpAddr) -> Vec<u8> {
    match address {
        IpAddr::V4(address) => arp(mac, Ipv4Addr::UNSPECIFIED, address),
        IpAddr::V6(address) => {
            let [.., a, b, c] = address.octets();
            let mut group: [u8; 16] = Ipv6Addr::new(0xff02, 0, 0, 0, 0, 1, 0xff00, 0).octets();
            group[13..].copy_from_slice(&[a, b, c]);
            let to = [0x33, 0x33, 0xff, a, b, c];
            let mut message = vec![SOLICITATION, 0, 0, 0, 0, 0, 0, 0];
            message.extend(address.octets());
            nd((mac, to), (Ipv6Addr::UNSPECIFIED, group.into()), message)
        }
    }
}

/// Tells all that the sender has an address. Who has another MAC address for it corrects it.
pub(super) fn announcement(mac: MacAddr, address: IpAddr) -> Vec<u8> {
    match address {
        IpAddr::V4(address) => arp(mac, address, address),
        IpAddr::V6(address) => {
            let to = [0x33, 0x33, 0, 0, 0, 1];
            let all = Ipv6Addr::new(0xff02, 0, 0, 0, 0, 0, 0, 1);
            let mut message = vec![ADVERTISEMENT, 0, 0, 0, OVERRIDE, 0, 0, 0];
            message.extend(address.octets());
            // The sender's MAC address, in units of eight bytes.
            message.extend([2, 1]);
            message.extend(mac.0);
            nd((mac, to), (address, all), message)
        }
    }
}

/// The MAC address of a sender, other than this one, who says that it has an address, or asks as if it were about to
/// take it.
pub(super) fn claimant(frame: &[u8], own: MacAddr, address: IpAddr) -> Option<MacAddr> {
    let part = |at: usize, length: usize| frame.get(at..at + length);
    let claims = match address {
        IpAddr::V4(address) => {
            let octets = address.octets();
            let sender = part(ARP_SENDER, 4)?;
            let is_question = sender == [0; 4] && part(ARP_TARGET, 4)? == octets;
            part(ETHER_TYPE, 2)? == ARP && (sender == octets || is_question)
        }
        IpAddr::V6(address) => {
            let is_nd = part(ETHER_TYPE, 2)? == IPV6 && part(IPV6_NEXT, 1)? == [ICMPV6];
            let is_question = part(IPV6_SOURCE, 16)? == [0; 16];
            let says = match part(ICMPV6_TYPE, 1)? {
                [ADVERTISEMENT] => true,
                [SOLICITATION] => is_question,
                _ => false,
            };
            is_nd && says && part(ND_TARGET, 16)? == address.octets()
        }
    };
    let sender: [u8; 6] = part(ETHER_SOURCE, 6)?.try_into().ok()?;
    (claims && sender != own.0).then_some(MacAddr(sender))
}

/// A request for an address.
fn arp(MacAddr(mac): MacAddr, sender: Ipv4Addr, target: Ipv4Addr) -> Vec<u8> {
    let mut frame = vec![0xff; 6];
    frame.extend(mac);
    frame.extend(ARP);
    // Ethernet, IPv4, with the lengths of their addresses; a request.
    frame.extend([0, 1, 0x08, 0, 6, 4, 0, 1]);
    frame.extend(mac);
    frame.extend(sender.octets());
    frame.extend([0; 6]);
    frame.extend(target.octets());
    frame
}

/// A message of neighbour discovery, whose checksum is 0 so far.
fn nd(
    (MacAddr(mac), to): (MacAddr, [u8; 6]),
    (source, destination): (Ipv6Addr, Ipv6Addr),
    mut message: Vec<u8>,
) -> Vec<u8> {
    let length = u16::try_from(message.len()).unwrap_or(u16::MAX);
    let addresses = [source.octets(), destination.octets()].concat();
    let pseudo = [
        &addresses[..],
        &[0, 0],
        &length.to_be_bytes(),
        &[0, 0, 0, ICMPV6],
    ]
    .concat();
    let sum = checksum(&[pseudo, message.clone()].concat());
    message[2..4].copy_from_slice(&sum.to_be_bytes());
    let mut frame = Vec::from(to);
    frame.extend(mac);
    frame.extend(IPV6);
    frame.extend([0x60, 0, 0, 0]);
    frame.extend(length.to_be_bytes());
    // A message with a lower hop limit came through a router.
    frame.extend([ICMPV6, 255]);
    frame.extend(addresses);
    frame.extend(message);
    frame
}

/// The checksum of the internet (RFC 1071), of an even number of bytes.
fn checksum(bytes: &[u8]) -> u16 {
    let words = bytes.chunks_exact(2);
    let sum: u32 = words
        .map(|two| u32::from(two[0]) << 8 | u32::from(two[1]))
        .sum();
    let folded = (sum >> 16) + (sum & 0xffff);
    let folded = (folded >> 16) + (folded & 0xffff);
    !u16::try_from(folded).unwrap_or(u16::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    const OWN: MacAddr = MacAddr([2, 0, 0, 0, 0, 1]);
    const OTHER: MacAddr = MacAddr([2, 0, 0, 0, 0, 9]);

    #[test]
    fn who_has_an_address_or_is_about_to_take_it_is_found() {
        for text in ["10.77.0.2", "fd00:77::2"] {
            let address: IpAddr = text.parse().unwrap();
            let another: IpAddr = text.replace('2', "3").parse().unwrap();
            for make in [question, announcement] {
                assert_eq!(claimant(&make(OTHER, address), OWN, address), Some(OTHER));
                assert_eq!(claimant(&make(OWN, address), OWN, address), None);
                assert_eq!(claimant(&make(OTHER, another), OWN, address), None);
                let frame = make(OTHER, address);
                for length in 0..frame.len() {
                    // A part of a frame is no reason to panic.
                    let _any = claimant(&frame[..length], OWN, address);
                }
            }
        }
    }

    #[test]
    fn a_message_with_its_checksum_sums_up_to_nothing() {
        let frame = announcement(OWN, "fd00:77::2".parse().unwrap());
        let pseudo = [&frame[22..54], &[0, 0, 0, 32, 0, 0, 0, 58]].concat();
        assert_eq!(checksum(&[&pseudo, &frame[54..]].concat()), 0);
    }
}
