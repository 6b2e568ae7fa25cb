//! Which parts a route or a rule that came or went casts doubt on.

use ipnetwork::IpNetwork;
use rtnetlink::packet_route::AddressFamily;
use rtnetlink::packet_route::route::RouteMessage;
use rtnetlink::packet_route::rule::{RuleAttribute, RuleMessage};

use tenantd_core::plan::model::Mode;

use super::{Model, Part};
use crate::network::family::{destination, whole};
use crate::network::link::outgoing;
use crate::network::loopback::is_way;
use crate::network::mend::table;

/// The table that all routes of tenantd are in.
const MAIN: u32 = 254;

/// The table of the host's own addresses.
const LOCAL: u32 = 255;

impl Model {
    pub(super) fn on_route(&self, route: &RouteMessage, suspects: &mut Vec<Part>) {
        let Some(network) = destination(route) else {
            return;
        };
        let to = outgoing(route);
        let is_of_tenant = || self.is_alone_of_tenant(network);
        if self.network.subnets().any(|it| is_inside(network, it)) || is_of_tenant() {
            let within = network.network()..=network.broadcast();
            for (address, index) in self.addresses.range(within) {
                let own = match self.network.mode {
                    Mode::Routed => *index,
                    Mode::Bridge | Mode::Macvlan | Mode::Port => self.hub,
                };
                let is_own = to == Some(own) && network.prefix() == whole(network.ip());
                if !is_own && network.contains(*address) {
                    suspects.push(Part::Tenant(*index));
                }
            }
        } else if ![MAIN, LOCAL].contains(&table(route))
            && let Some(subnet) = self.network.subnets().find(|it| is_inside(*it, network))
        {
            // A rule may lead there.
            suspects.extend(self.one_of(subnet));
        }
    }

    pub(super) fn on_route_gone(&mut self, route: &RouteMessage, suspects: &mut Vec<Part>) {
        let to = outgoing(route);
        let network = destination(route);
        let address = network.filter(|it| it.prefix() == whole(it.ip()));
        let owner = address.and_then(|address| self.addresses.get(&address.ip()));
        let is_subnet = |network| self.network.subnets().any(|it| it == network);
        let from_loopback = to
            .and_then(|to| self.part_of(to))
            .filter(|_| to.is_some_and(|to| is_way(route, to)));
        if let Some(part) = from_loopback {
            suspects.push(part);
        } else if let Some(owner) = owner {
            suspects.push(Part::Tenant(*owner));
        } else if network.is_some_and(is_subnet) || to == Some(self.hub) {
            suspects.push(Part::Hub);
        } else if let Some(to) = to
            && network.is_some_and(|it| self.network.subnets().any(|subnet| is_inside(it, subnet)))
        {
            self.early.insert(to);
        }
        suspects.push(Part::Drifted);
    }

    /// A rule that came or went.
    pub(super) fn on_rule(&self, rule: &RuleMessage, suspects: &mut Vec<Part>) {
        let to = rule.attributes.iter().find_map(|part| match part {
            RuleAttribute::Destination(to) => IpNetwork::new(*to, rule.header.dst_len).ok(),
            _ => None,
        });
        match to {
            Some(to) => {
                let within = self.addresses.range(to.network()..=to.broadcast());
                suspects.extend(within.map(|(_, index)| Part::Tenant(*index)));
            }
            None => {
                let is_ipv4 = rule.header.family == AddressFamily::Inet;
                let subnets = self.network.subnets();
                let of_family = subnets.filter(|subnet| subnet.is_ipv4() == is_ipv4);
                suspects.extend(of_family.filter_map(|subnet| self.one_of(subnet)));
            }
        }
        suspects.push(Part::Drifted);
    }
}

fn is_inside(inner: IpNetwork, outer: IpNetwork) -> bool {
    inner.prefix() >= outer.prefix() && outer.contains(inner.network())
}
