//! The host's side of links. Links are looked up by name or index, never listed, and changed only
//! if they bear the right mark.

use std::cell::RefCell;
use std::net::IpAddr;
use std::os::fd::{AsFd, AsRawFd};
use std::rc::Rc;

use futures_util::TryStreamExt;
use rtnetlink::packet_route::AddressFamily;
use rtnetlink::packet_route::link::{
    InfoBridgePort, InfoData, InfoKind, InfoPortData, InfoVeth, LinkAttribute, LinkExtentMask,
    LinkFlags, LinkInfo, LinkMessage, State,
};
use rtnetlink::packet_route::route::{
    RouteAttribute, RouteFlags, RouteMessage, RouteScope, RouteType,
};
use rtnetlink::{LinkBridgePort, LinkUnspec, LinkVeth};

use crate::netns::Netns;
use tenantd_core::name::{AppName, TenantName};
use tenantd_core::plan::derive;
use tenantd_core::plan::model::{EndPlan, LinkPlan, MacAddr, NetworkPlan};
use tenantd_core::stage::{Failure, Stage};

use super::arrival::{Arrival, arrival};
use super::connection::Connected;
use super::family::{alone, preferring, route_to};
pub(super) use super::index::index_of;
use super::refusal::{errno, lost, refused};

/// A link of the host, as the kernel reported it.
#[derive(Debug, Default)]
pub(super) struct Found {
    pub(super) index: u32,
    pub(super) name: String,
    pub(super) kind: Option<InfoKind>,
    /// Whether the link has a carrier: it and its peer are up.
    pub(super) carrier: bool,
    /// Whether the link is operational. Until then the kernel drops packets.
    pub(super) operational: bool,
    /// The kernel's number of the network namespace of its peer.
    pub(super) peer: Option<i32>,
    pub(super) mac: Vec<u8>,
    pub(super) alias: Option<String>,
    pub(super) up: bool,
    /// The index of the bridge that it is a port of.
    pub(super) controller: Option<u32>,
    /// Whether it is a port that reaches no other isolated one.
    pub(super) isolated: bool,
    /// The settings of what arrives on it.
    pub(super) arrival: Arrival,
    /// Its link group, by which the firewall knows it.
    pub(super) group: u32,
}

impl Found {
    /// A link of which only index and name are known.
    pub(super) fn at(index: u32, name: &str) -> Self {
        Self {
            index,
            name: name.to_owned(),
            ..Self::default()
        }
    }

    pub(super) fn new(message: LinkMessage) -> Self {
        let mut found = Self {
            index: message.header.index,
            carrier: message.header.flags.contains(LinkFlags::LowerUp),
            up: message.header.flags.contains(LinkFlags::Up),
            ..Self::default()
        };
        for attribute in message.attributes {
            match attribute {
                LinkAttribute::IfName(name) => found.name = name,
                LinkAttribute::IfAlias(alias) => found.alias = Some(alias),
                LinkAttribute::Address(mac) => found.mac = mac,
                LinkAttribute::LinkNetNsId(number) => found.peer = Some(number),
                LinkAttribute::OperState(state) => found.operational = state == State::Up,
                LinkAttribute::Controller(index) => found.controller = Some(index),
                LinkAttribute::Group(group) => found.group = group,
                LinkAttribute::LinkInfo(parts) => found.note_parts(parts),
                LinkAttribute::AfSpecUnspec(families) => found.arrival.note(families),
                _ => {}
            }
        }
        found
    }

    fn note_parts(&mut self, parts: Vec<LinkInfo>) {
        for part in parts {
            match part {
                LinkInfo::Kind(kind) => self.kind = Some(kind),
                LinkInfo::PortData(InfoPortData::BridgePort(settings)) => {
                    self.isolated = settings.contains(&InfoBridgePort::Isolated(true));
                }
                _ => {}
            }
        }
    }

    /// Whether the link belongs to the owner of this mark. The alias cannot be set at creation, so
    /// a link has none yet if a supervisor was killed at that moment. It is recognised by its MAC
    /// address then, which is derived from the same application and tenant.
    pub(super) fn is_ours(&self, mark: &str, mac: MacAddr) -> bool {
        match &self.alias {
            Some(alias) => alias == mark,
            None => self.mac == mac.0,
        }
    }

    /// Whether the link bears this mark.
    pub(super) fn is_marked_as(&self, mark: &str) -> bool {
        self.alias.as_deref() == Some(mark)
    }

    /// The tenant of `app` whose mark the link bears.
    pub(super) fn tenant_of(&self, app: &AppName) -> Option<TenantName> {
        let tenant = self.alias.as_deref()?.strip_prefix("tenantd:")?;
        let tenant = tenant.strip_prefix(app.as_str())?.strip_prefix('/')?;
        tenant.parse().ok()
    }

    /// Whether the link bears the mark of any application.
    pub(super) fn is_marked(&self) -> bool {
        let alias = self.alias.as_deref();
        alias.is_some_and(|alias| alias.starts_with("tenantd:"))
    }

    /// Whether the link has an alias that is not this mark.
    pub(super) fn is_marked_otherwise(&self, mark: &str) -> bool {
        self.alias.as_deref().is_some_and(|alias| alias != mark)
    }

    /// The failure to make a link because this one has the same name or alternative name.
    pub(super) fn in_the_way(&self, name: &str, mark: &str) -> Failure {
        let kind = match &self.kind {
            Some(kind) => format!("a {kind} link"),
            None => "a link".to_owned(),
        };
        let alias = match &self.alias {
            Some(alias) => format!("with the alias {alias}"),
            None => "without an alias".to_owned(),
        };
        Failure::errno(Stage::Link, name, libc::EEXIST)
            .with(format!("name in use by {kind} {alias}, not {mark}"))
    }
}

/// Access to the host's links through the net thread's connection, see [`Links::handle`].
#[derive(Clone)]
pub(super) struct Links(pub(super) Rc<RefCell<Connected>>);

impl Links {
    pub(super) async fn find(&self, name: &str) -> Result<Option<Found>, Failure> {
        self.look_up(self.handle().link().get().match_name(name), name)
            .await
    }

    pub(super) async fn find_index(&self, index: u32) -> Result<Option<Found>, Failure> {
        let object = format!("number {index}");
        self.look_up(self.handle().link().get().match_index(index), &object)
            .await
    }

    async fn look_up(
        &self,
        request: rtnetlink::LinkGetRequest,
        object: &str,
    ) -> Result<Option<Found>, Failure> {
        let brief = vec![LinkExtentMask::SkipStats];
        let request = request.set_filter_mask(AddressFamily::Unspec, brief);
        let answer: Result<Vec<_>, _> = request.execute().try_collect().await;
        match answer {
            // The kernel answers with a link or an error: the question was lost.
            Ok(links) if links.is_empty() => Err(lost(Stage::Link, object)),
            Ok(links) => Ok(links.into_iter().next().map(Found::new)),
            Err(error) if errno(&error) == Some(libc::ENODEV) => Ok(None),
            Err(error) => Err(refused(Stage::Link, object, error)),
        }
    }

    /// Makes the pair, with the tenant end inside the namespace from the start. Both ends are down.
    /// Each has a single queue: with more, the kernel waits for RCU twice.
    pub(super) async fn create_pair(
        &self,
        network: &NetworkPlan,
        link: &LinkPlan,
        controller: Option<u32>,
        netns: &Netns,
    ) -> Result<(), rtnetlink::Error> {
        let queues = [LinkAttribute::NumTxQueues(1), LinkAttribute::NumRxQueues(1)];
        let [tx, rx] = queues.clone();
        let peer = match link.parent {
            Some(_) if link.is_macvlan() => LinkUnspec::new_with_name(derive::MARKER),
            _ => LinkUnspec::new_with_name(link.tenant.name.as_str())
                .address(link.tenant.mac.0.to_vec()),
        };
        let peer = peer
            .mtu(network.mtu)
            .append_extra_attribute(tx)
            .append_extra_attribute(rx)
            .setns_by_fd(netns.as_fd().as_raw_fd())
            .build();
        let [tx, rx] = queues;
        let mut pair = LinkVeth::new(link.host.name.as_str(), "")
            .address(link.host.mac.0.to_vec())
            .mtu(network.mtu)
            .append_extra_attribute(tx)
            .append_extra_attribute(rx)
            .set_info_data(InfoData::Veth(InfoVeth::Peer(peer)));
        if let Some(controller) = controller {
            pair = pair.controller(controller);
        }
        if !link.is_macvlan() {
            // The guard knows it by that from its first moment.
            pair = pair.append_extra_attribute(LinkAttribute::Group(network.group()));
        }
        self.done(self.handle().link().add(pair.build()).execute().await)
    }

    /// Marks the host end, isolates it if it is a port of the bridge, and sets it up. The tenant
    /// end is still down, so no packet has passed before.
    pub(super) async fn raise_host_end(
        &self,
        index: u32,
        network: &NetworkPlan,
        link: &LinkPlan,
        port: bool,
    ) -> Result<(), Failure> {
        let mut end = if port {
            // The kernel silently ignores port attributes in the message that makes the link.
            LinkBridgePort::new(index).isolated(true).build()
        } else {
            LinkUnspec::new_with_index(index).build()
        };
        end.header.flags |= LinkFlags::Up;
        end.header.change_mask |= LinkFlags::Up;
        end.attributes
            .push(LinkAttribute::IfAlias(link.mark.clone()));
        let is_published = !link.traffic.publish.is_empty();
        end.attributes.extend(arrival(network, is_published));
        let change = self.handle().link().change(end).execute().await;
        let change = self.done(change);
        change.map_err(|error| refused(Stage::Link, link.host.name.as_str(), error))
    }

    pub(super) async fn delete(&self, found: &Found) -> Result<(), Failure> {
        match self.done(self.handle().link().del(found.index).execute().await) {
            Err(error) if errno(&error) != Some(libc::ENODEV) => {
                Err(refused(Stage::Release, found.name.as_str(), error))
            }
            Ok(()) | Err(_) => Ok(()),
        }
    }

    /// Routes the tenant's address to its link, with a permanent neighbour entry. No ARP is used,
    /// so the host's `arp_ignore` and `rp_filter` have no effect.
    pub(super) async fn route_to(
        &self,
        index: u32,
        network: &NetworkPlan,
        address: IpAddr,
        tenant: &EndPlan,
    ) -> Result<(), Failure> {
        let object = alone(address).to_string();
        let route = host_route(index, network, address);
        let added = self.handle().route().add(route).execute().await;
        if let Err(error) = self.done(added) {
            let failure = refused(Stage::Route, object, error);
            let route = match failure.errno {
                libc::EEXIST => self.way_to(address).await?,
                _ => None,
            };
            match route {
                // Through the hub: a supervisor that died has left it.
                Some(route) if outgoing(&route) == Some(index) => {}
                Some(route) => {
                    let owner = self.owner(&route).await?;
                    return Err(failure.with(format!("already routed to {owner}")));
                }
                None => return Err(failure),
            }
        }
        let neighbour = self.handle().neighbours().add(index, address);
        let neighbour = neighbour.link_layer_address(&tenant.mac.0).replace();
        let set = neighbour.execute().await;
        self.done(set).map_err(|error| {
            refused(
                Stage::Route,
                format!("{address} (its neighbour entry)"),
                error,
            )
        })
    }

    /// Fails if the address belongs to the host, unless it is on the link with index `allowed`.
    pub(super) async fn refuse_own_address(
        &self,
        address: IpAddr,
        allowed: Option<u32>,
    ) -> Result<(), Failure> {
        match self.way_to(address).await? {
            Some(route) if route.header.kind == RouteType::Local => {
                if allowed.is_some() && allowed == outgoing(&route) {
                    return Ok(());
                }
                let owner = self.owner(&route).await?;
                Err(
                    Failure::errno(Stage::Address, address.to_string(), libc::EADDRINUSE)
                        .with(format!("the host has this address on {owner}")),
                )
            }
            _ => Ok(()),
        }
    }

    /// The host's route to an address, by one lookup.
    pub(super) async fn way_to(&self, address: IpAddr) -> Result<Option<RouteMessage>, Failure> {
        let asked = route_to(alone(address)).build();
        let mut request = RouteMessage::default();
        request.header.address_family = asked.header.address_family;
        request.header.destination_prefix_length = asked.header.destination_prefix_length;
        request.attributes = asked.attributes;
        // Ask for the table entry; the resolved route of a local address always names `lo`.
        request.header.flags = match address {
            IpAddr::V4(_) => RouteFlags::FibMatch | RouteFlags::LookupTable,
            // The table is always in the answer.
            IpAddr::V6(_) => RouteFlags::FibMatch,
        };
        let answer: Result<Vec<_>, _> = self
            .handle()
            .route()
            .get(request)
            .execute()
            .try_collect()
            .await;
        match answer {
            Ok(routes) => Ok(routes.into_iter().next()),
            // No route, or one of the kinds unreachable, prohibit and blackhole.
            Err(error)
                if matches!(
                    errno(&error),
                    Some(libc::ENETUNREACH | libc::EHOSTUNREACH | libc::EACCES | libc::EINVAL)
                ) =>
            {
                Ok(None)
            }
            Err(error) => Err(refused(Stage::Route, address.to_string(), error)),
        }
    }

    /// The name of a route's link.
    pub(super) async fn owner(&self, route: &RouteMessage) -> Result<String, Failure> {
        let link = match outgoing(route) {
            Some(index) => self.find_index(index).await?,
            None => None,
        };
        Ok(link.map_or_else(|| "no link".into(), |link| link.name))
    }
}

/// The host's route to a tenant's address.
pub(super) fn host_route(index: u32, network: &NetworkPlan, address: IpAddr) -> RouteMessage {
    let route = route_to(alone(address)).output_interface(index);
    let mut route = route.scope(RouteScope::Link).build();
    // For IPv6, the kernel prefers the address that is most like the destination: the gateway's (RFC 6724).
    if address.is_ipv4() {
        route.attributes.push(preferring(network.gateway.into()));
    }
    route
}

pub(super) fn outgoing(route: &RouteMessage) -> Option<u32> {
    route.attributes.iter().find_map(|part| match part {
        RouteAttribute::Oif(index) => Some(*index),
        _ => None,
    })
}
