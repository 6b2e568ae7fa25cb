//! What differs between the messages of IPv4 and IPv6.

use std::net::{IpAddr, Ipv6Addr};

use ipnetwork::IpNetwork;
use rtnetlink::RouteMessageBuilder;
use rtnetlink::packet_route::AddressFamily;
use rtnetlink::packet_route::address::{AddressAttribute, AddressMessage};
use rtnetlink::packet_route::neighbour::{NeighbourAddress, NeighbourAttribute, NeighbourMessage};
use rtnetlink::packet_route::route::{RouteAddress, RouteAttribute, RouteMessage};

use tenantd_core::plan::model::MacAddr;

/// The family of an address.
pub(super) fn family(address: IpAddr) -> AddressFamily {
    match address {
        IpAddr::V4(_) => AddressFamily::Inet,
        IpAddr::V6(_) => AddressFamily::Inet6,
    }
}

/// The length of an address in bits: the prefix of a network that is this address alone.
pub(super) fn whole(address: IpAddr) -> u8 {
    match address {
        IpAddr::V4(_) => 32,
        IpAddr::V6(_) => 128,
    }
}

/// The network that is one address.
pub(super) fn alone(address: IpAddr) -> IpNetwork {
    address.into()
}

/// The link-local address that belongs to a MAC address (RFC 4291, appendix A).
pub(crate) fn link_local(MacAddr([a, b, c, d, e, f]): MacAddr) -> Ipv6Addr {
    let [a, b, c, d, e, f] = [a ^ 2, b, c, d, e, f].map(u16::from);
    let parts = [a << 8 | b, c << 8 | 0xff, 0xfe00 | d, e << 8 | f];
    let [one, two, three, four] = parts;
    Ipv6Addr::new(0xfe80, 0, 0, 0, one, two, three, four)
}

fn route_address(address: IpAddr) -> RouteAddress {
    match address {
        IpAddr::V4(address) => RouteAddress::Inet(address),
        IpAddr::V6(address) => RouteAddress::Inet6(address),
    }
}

/// A route to a network.
pub(super) fn route_to(network: IpNetwork) -> RouteMessageBuilder<IpAddr> {
    let mut route = RouteMessageBuilder::<IpAddr>::new();
    let message = route.get_mut();
    message.header.address_family = family(network.ip());
    message.header.destination_prefix_length = network.prefix();
    if network.prefix() > 0 {
        let destination = RouteAttribute::Destination(route_address(network.network()));
        message.attributes.push(destination);
    }
    route
}

/// The attribute for the gateway of a route.
pub(super) fn via(gateway: IpAddr) -> RouteAttribute {
    RouteAttribute::Gateway(route_address(gateway))
}

/// The attribute for the source address that a route prefers.
pub(super) fn preferring(source: IpAddr) -> RouteAttribute {
    RouteAttribute::PrefSource(route_address(source))
}

/// Where a route leads to. None if it is neither of IPv4 nor of IPv6.
pub(super) fn destination(route: &RouteMessage) -> Option<IpNetwork> {
    let to = route.attributes.iter().find_map(|part| match part {
        RouteAttribute::Destination(RouteAddress::Inet(to)) => Some(IpAddr::V4(*to)),
        RouteAttribute::Destination(RouteAddress::Inet6(to)) => Some(IpAddr::V6(*to)),
        _ => None,
    });
    let to = match (to, route.header.address_family) {
        (Some(to), _) => to,
        (None, AddressFamily::Inet) => IpAddr::V4([0; 4].into()),
        (None, AddressFamily::Inet6) => IpAddr::V6([0; 16].into()),
        (None, _) => return None,
    };
    IpNetwork::new(to, route.header.destination_prefix_length).ok()
}

/// The address that a message is about. One of IPv6 has no attribute for the local end.
pub(super) fn local(message: &AddressMessage) -> Option<IpAddr> {
    message.attributes.iter().find_map(|part| match part {
        AddressAttribute::Local(local) => Some(*local),
        AddressAttribute::Address(address @ IpAddr::V6(_)) => Some(*address),
        _ => None,
    })
}

/// Names a neighbour entry.
pub(super) fn neighbour(index: u32, address: IpAddr) -> NeighbourMessage {
    let mut message = NeighbourMessage::default();
    message.header.family = family(address);
    message.header.ifindex = index;
    let destination = match address {
        IpAddr::V4(address) => NeighbourAddress::Inet(address),
        IpAddr::V6(address) => NeighbourAddress::Inet6(address),
    };
    message.attributes = vec![NeighbourAttribute::Destination(destination)];
    message
}

/// The address of a neighbour entry.
pub(super) fn neighbour_address(message: &NeighbourMessage) -> Option<IpAddr> {
    message.attributes.iter().find_map(|part| match part {
        NeighbourAttribute::Destination(NeighbourAddress::Inet(address)) => {
            Some(IpAddr::V4(*address))
        }
        NeighbourAttribute::Destination(NeighbourAddress::Inet6(address)) => {
            Some(IpAddr::V6(*address))
        }
        _ => None,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_mac_address_has_a_link_local_address() {
        let mac = MacAddr([0x02, 0x9e, 0xe0, 0x42, 0x9a, 0x9f]);
        assert_eq!(link_local(mac).to_string(), "fe80::9e:e0ff:fe42:9a9f");
    }
}
