//! The addresses of a tenant's end.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use rtnetlink::AddressMessageBuilder;
use rtnetlink::packet_core::{NLM_F_CREATE, NLM_F_EXCL};
use rtnetlink::packet_route::RouteNetlinkMessage;
use rtnetlink::packet_route::address::{AddressAttribute, AddressFlags};

use tenantd_core::plan::model::{LinkPlan, NetworkPlan};
use tenantd_core::stage::Stage;

use super::Step;
use crate::network::family::link_local;

/// The link-local address of a macvlan with an IPv6 address: switches hear only from such a one which groups a machine
/// listens to (RFC 3590). Other links have none.
pub(super) fn add_local((network, link): (&NetworkPlan, &LinkPlan), eth0: u32) -> Option<Step> {
    link.parent.as_ref()?;
    link.addresses.iter().find(IpAddr::is_ipv6)?;
    let local = link_local(link.tenant.mac);
    Some(add_address((network, link), local.into(), eth0))
}

/// Adds an address.
pub(super) fn add_address(
    (network, link): (&NetworkPlan, &LinkPlan),
    address: IpAddr,
    eth0: u32,
) -> Step {
    let (prefix, message) = match address {
        IpAddr::V4(address) => {
            let message = AddressMessageBuilder::<Ipv4Addr>::new().index(eth0);
            (link.prefix, message.address(address, link.prefix).build())
        }
        IpAddr::V6(address) => {
            let message = AddressMessageBuilder::<Ipv6Addr>::new().index(eth0);
            let (prefix, flags) = match (&link.parent, network.ipv6) {
                (Some(_), _) if address.is_unicast_link_local() => (64, AddressFlags::Nodad),
                // Others of the network are neighbours.
                (Some(_), Some(ipv6)) => (ipv6.network.prefix(), AddressFlags::Nodad),
                // No other can have the address: what is sent to it comes here.
                _ => (128, AddressFlags::Nodad | AddressFlags::Noprefixroute),
            };
            let mut message = message.address(address, prefix).build();
            message.attributes.push(AddressAttribute::Flags(flags));
            (prefix, message)
        }
    };
    Step {
        stage: Stage::Address,
        object: format!("{address}/{prefix}"),
        flags: NLM_F_CREATE | NLM_F_EXCL,
        message: RouteNetlinkMessage::NewAddress(message),
    }
}
