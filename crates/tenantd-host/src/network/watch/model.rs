//! What the application must have on the host, and which of it a message of the kernel casts doubt on.

mod routes;

use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;

use ipnetwork::IpNetwork;
use rtnetlink::packet_route::RouteNetlinkMessage;

use tenantd_core::plan::model::{LinkPlan, Mode, NetworkPlan};

use super::wire::{self, Raw};
use crate::network::family::{local, neighbour_address};
use crate::network::link::{Found, index_of};
use crate::network::mend::{differences, is_permanent};
use crate::network::rate;

/// The flag of a link that is up.
pub(super) const UP: u32 = 1;

/// The address family of messages about ports of a bridge.
const BRIDGE: u8 = 7;

/// A part of the application's network. The hub comes first: the others need it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(in crate::network) enum Part {
    /// The hub.
    Hub,
    /// The host's side of a tenant, by the index of its host end.
    Tenant(u32),
    /// All that could not be mended.
    Drifted,
}

/// What must be there.
#[derive(Debug)]
pub(super) struct Model {
    pub(super) network: NetworkPlan,
    hub: u32,
    tenants: BTreeMap<u32, LinkPlan>,
    indices: BTreeMap<String, u32>,
    pub(super) addresses: BTreeMap<IpAddr, u32>,
    /// The index of the uplink and its flags, as they were told last.
    pub(super) uplink: Option<(u32, u32)>,
    /// Links of nobody that are down, or that have lost something: a provision may be making one of them.
    early: BTreeSet<u32>,
}

impl Model {
    pub(super) fn new(network: NetworkPlan, hub: u32) -> Self {
        let uplink = network.uplink.as_ref();
        let uplink = uplink.and_then(|uplink| index_of(&uplink.name).ok());
        let uplink = uplink.map(|index| (index, UP));
        Self {
            network,
            hub,
            tenants: BTreeMap::new(),
            indices: BTreeMap::new(),
            addresses: BTreeMap::new(),
            uplink,
            early: BTreeSet::new(),
        }
    }

    /// Adds a tenant. Returns whether it has lost something already.
    pub(super) fn add(&mut self, link: LinkPlan, index: u32) -> bool {
        self.remove(&link.mark);
        self.indices.insert(link.mark.clone(), index);
        for address in link.addresses.iter() {
            self.addresses.insert(address, index);
        }
        self.tenants.insert(index, link);
        self.early.remove(&index)
    }

    /// Removes the tenant with this mark. Returns the index of its host end.
    pub(super) fn remove(&mut self, mark: &str) -> Option<u32> {
        let index = self.indices.remove(mark)?;
        self.remove_index(index);
        Some(index)
    }

    /// Removes the tenant with this host end.
    pub(super) fn remove_index(&mut self, index: u32) {
        if let Some(link) = self.tenants.remove(&index) {
            self.indices.remove(&link.mark);
            for address in link.addresses.iter() {
                if self.addresses.get(&address) == Some(&index) {
                    self.addresses.remove(&address);
                }
            }
        }
    }

    /// Enters another plan of a tenant that has the same link and addresses.
    pub(super) fn replan(&mut self, link: &LinkPlan) {
        if let Some(index) = self.indices.get(&link.mark) {
            self.tenants.insert(*index, link.clone());
        }
    }

    /// The plans of all tenants, each with the index of its host end.
    pub(super) fn links(&self) -> Vec<(LinkPlan, u32)> {
        let all = self.tenants.iter();
        all.map(|(index, link)| (link.clone(), *index)).collect()
    }

    /// The plan of the tenant with this host end.
    pub(super) fn link(&self, index: u32) -> Option<&LinkPlan> {
        self.tenants.get(&index)
    }

    pub(super) fn set_hub(&mut self, index: u32) {
        self.hub = index;
    }

    /// The part of the tenant with this mark.
    pub(super) fn part(&self, mark: &str) -> Option<Part> {
        self.indices.get(mark).copied().map(Part::Tenant)
    }

    /// The mark of a part.
    pub(super) fn mark(&self, part: Part) -> Option<String> {
        match part {
            Part::Hub => Some(self.network.mark.clone()),
            Part::Tenant(index) => self.tenants.get(&index).map(|link| link.mark.clone()),
            Part::Drifted => None,
        }
    }

    /// All parts.
    pub(super) fn parts(&self) -> Vec<Part> {
        let tenants = self.tenants.keys().map(|index| Part::Tenant(*index));
        std::iter::once(Part::Hub).chain(tenants).collect()
    }

    /// Adds the parts that a message casts doubt on.
    pub(super) fn hear(&mut self, message: Raw<'_>, suspects: &mut Vec<Part>) {
        // Packets of macvlans do not follow what the host routes.
        if self.network.parent.is_some() && message.is_about_ways() {
            return;
        }
        match message.kind {
            wire::NEW_LINK => {
                self.on_uplink(message, suspects);
                self.on_link(message, suspects);
            }
            wire::DEL_LINK => {
                self.on_uplink(message, suspects);
                self.on_link_gone(message, suspects);
            }
            wire::NEW_ADDRESS | wire::DEL_ADDRESS => {
                self.on_uplink_address(message, suspects);
                self.on_address(message, suspects);
            }
            wire::NEW_ROUTE | wire::DEL_ROUTE => {
                if let Some(
                    RouteNetlinkMessage::NewRoute(route) | RouteNetlinkMessage::DelRoute(route),
                ) = message.parse()
                {
                    match message.kind {
                        wire::NEW_ROUTE => self.on_route(&route, suspects),
                        _ => self.on_route_gone(&route, suspects),
                    }
                }
            }
            wire::NEW_NEIGHBOUR | wire::DEL_NEIGHBOUR => self.on_neighbour(message, suspects),
            wire::NEW_QDISC | wire::DEL_QDISC => self.on_rate(message, suspects),
            wire::NEW_RULE | wire::DEL_RULE => {
                if let Some(
                    RouteNetlinkMessage::NewRule(rule) | RouteNetlinkMessage::DelRule(rule),
                ) = message.parse()
                {
                    self.on_rule(&rule, suspects);
                }
            }
            _ => {}
        }
    }

    /// One tenant with an address of this subnet, which stands for all.
    fn one_of(&self, subnet: IpNetwork) -> Option<Part> {
        let within = subnet.network()..=subnet.broadcast();
        let mut within = self.addresses.range(within);
        within.next().map(|(_, index)| Part::Tenant(*index))
    }

    /// Whether host ends are ports of a bridge.
    fn has_ports(&self) -> bool {
        matches!(self.network.mode, Mode::Bridge | Mode::Port)
    }

    fn part_of(&self, index: u32) -> Option<Part> {
        match index {
            index if index == self.hub => Some(Part::Hub),
            index if self.tenants.contains_key(&index) => Some(Part::Tenant(index)),
            _ => None,
        }
    }

    fn on_link(&mut self, message: Raw<'_>, suspects: &mut Vec<Part>) {
        let Some(index) = message.index() else {
            return;
        };
        if self.is_parent(message, index) {
            // Another bridge with the name takes no ports over.
            if index != self.hub && self.network.mode == Mode::Port {
                suspects.extend(self.parts());
            }
            return suspects.push(Part::Hub);
        }
        let Some(part) = self.part_of(index) else {
            match message.flags() {
                Some(flags) if flags & UP != 0 => self.early.remove(&index),
                Some(_) | None => self.early.insert(index),
            };
            return;
        };
        // One about a port says less.
        if message.family() == Some(BRIDGE) {
            return;
        }
        let Some(RouteNetlinkMessage::NewLink(link)) = message.parse() else {
            return suspects.push(part);
        };
        let found = Found::new(link);
        let is_whole = match self.tenants.get(&index) {
            Some(link) => {
                let controller = self.has_ports().then_some(self.hub);
                differences(&found, link, controller, self.network.group()).is_empty()
            }
            None => {
                found.up
                    && found.name == self.network.hub.name.as_str()
                    && found.mac == self.network.hub.mac.0
                    && found.is_marked_as(&self.network.mark)
            }
        };
        if !is_whole {
            suspects.push(part);
        }
    }

    /// Whether a message is about the parent of all tenants' links. One that comes later has another index.
    fn is_parent(&self, message: Raw<'_>, index: u32) -> bool {
        let Some(parent) = &self.network.parent else {
            return false;
        };
        if index == self.hub {
            return true;
        }
        match message.parse() {
            Some(RouteNetlinkMessage::NewLink(link)) => Found::new(link).name == parent.as_str(),
            _ => false,
        }
    }

    fn on_link_gone(&mut self, message: Raw<'_>, suspects: &mut Vec<Part>) {
        let Some(index) = message.index() else {
            return;
        };
        match self.part_of(index) {
            // All macvlans go with their parent, in silence.
            Some(Part::Hub) if self.network.parent.is_some() => suspects.extend(self.parts()),
            Some(part) => suspects.push(part),
            None if message.family() == Some(BRIDGE) => {}
            None => {
                self.early.remove(&index);
            }
        }
    }

    fn on_address(&self, message: Raw<'_>, suspects: &mut Vec<Part>) {
        let Some(
            RouteNetlinkMessage::NewAddress(address) | RouteNetlinkMessage::DelAddress(address),
        ) = message.parse()
        else {
            return;
        };
        let Some(local) = local(&address) else {
            return;
        };
        let is_of_hub = address.header.index == self.hub;
        if self.network.gateways().any(|it| it == local) {
            // The hub's own is told when it is set, too.
            if message.kind == wire::DEL_ADDRESS || !is_of_hub {
                suspects.push(Part::Hub);
            }
        } else if let Some(index) = self.addresses.get(&local) {
            suspects.push(Part::Tenant(*index));
        }
    }

    /// What limits a link came or went. A question of this thread is told too.
    fn on_rate(&self, message: Raw<'_>, suspects: &mut Vec<Part>) {
        let Some(index) = message.index() else {
            return;
        };
        let link = self.tenants.get(&index);
        let Some(rate) = link.and_then(|link| link.rate.inward) else {
            return;
        };
        match message.parse() {
            Some(RouteNetlinkMessage::NewQueueDiscipline(found)) if rate::is_at(&found, rate) => {}
            _ => suspects.push(Part::Tenant(index)),
        }
    }

    /// A tenant has the rates of this plan.
    pub(super) fn set_rate(&mut self, link: &LinkPlan) {
        let index = self.indices.get(&link.mark);
        if let Some(known) = index.and_then(|index| self.tenants.get_mut(index)) {
            known.rate = link.rate;
        }
    }

    fn on_neighbour(&mut self, message: Raw<'_>, suspects: &mut Vec<Part>) {
        let Some(index) = message.index() else {
            return;
        };
        if self.part_of(index).is_none() {
            return;
        }
        let Some(
            RouteNetlinkMessage::NewNeighbour(neighbour)
            | RouteNetlinkMessage::DelNeighbour(neighbour),
        ) = message.parse()
        else {
            return;
        };
        let Some(owner) = neighbour_address(&neighbour).and_then(|it| self.addresses.get(&it))
        else {
            return;
        };
        let mac = self.tenants.get(owner).map(|link| link.tenant.mac);
        let is_whole = message.kind == wire::NEW_NEIGHBOUR
            && mac.is_some_and(|mac| is_permanent(&neighbour, mac));
        if !is_whole {
            suspects.push(Part::Tenant(*owner));
        }
    }
}
