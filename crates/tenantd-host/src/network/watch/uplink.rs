//! What happens to the uplink. The kernel has no message about the entries by which the host answers for tenants, and
//! removes them with the interface, when it is set down, and those of IPv4 with its last address.

use std::net::IpAddr;

use ipnetwork::IpNetwork;
use rtnetlink::packet_route::RouteNetlinkMessage;

use super::model::{Model, Part, UP};
use super::wire::{self, Raw};
use crate::network::family::{local, whole};
use crate::network::link::Found;

impl Model {
    /// All tenants that others reach by the uplink.
    fn by_uplink(&self) -> impl Iterator<Item = Part> {
        let has_one = |address: &IpAddr| self.network.is_by_uplink(*address);
        let all = self.addresses.iter();
        all.filter(move |(address, _)| has_one(address))
            .map(|(_, index)| Part::Tenant(*index))
    }

    /// Whether a network is one address of a tenant.
    pub(super) fn is_alone_of_tenant(&self, network: IpNetwork) -> bool {
        network.prefix() == whole(network.ip()) && self.addresses.contains_key(&network.ip())
    }

    /// A message about a link, which may be the uplink: something is lost only when it is set down or replaced.
    pub(super) fn on_uplink(&mut self, message: Raw<'_>, suspects: &mut Vec<Part>) {
        let Some(plan) = &self.network.uplink else {
            return;
        };
        let (Some(index), Some(flags)) = (message.index(), message.flags()) else {
            return;
        };
        // Another link cannot have the name as long as it has it.
        let known = self.uplink;
        if known.is_some_and(|(known, _)| known != index) {
            return;
        }
        let is_gone = message.kind == wire::DEL_LINK;
        let is_it = match message.parse() {
            Some(RouteNetlinkMessage::NewLink(link)) => Found::new(link).name == plan.name,
            _ => false,
        };
        if known.is_none() && (is_gone || !is_it) {
            return;
        }
        self.uplink = (is_it && !is_gone).then_some((index, flags & UP));
        if self.uplink.is_none() || known != self.uplink {
            suspects.extend(self.by_uplink());
        }
    }

    /// An IPv4 address of the uplink came or went.
    pub(super) fn on_uplink_address(&self, message: Raw<'_>, suspects: &mut Vec<Part>) {
        if self.uplink.map(|(index, _)| index) != message.index() || self.uplink.is_none() {
            return;
        }
        if let Some(
            RouteNetlinkMessage::NewAddress(address) | RouteNetlinkMessage::DelAddress(address),
        ) = message.parse()
            && local(&address).is_some_and(|it| it.is_ipv4())
        {
            suspects.extend(self.by_uplink());
        }
    }
}
