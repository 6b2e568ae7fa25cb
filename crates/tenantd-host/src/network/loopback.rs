//! The way from the host's `::1` to tenants, for ports that are published there; and to a tenant's loopback addresses,
//! for ports that it exposes.
//!
//! The firewall translates what a process of the host sends to `::1`. Its answer arrives by the tenant's link, for `::1`
//! again, and the kernel takes a packet for `::1` by a link only if the link has a local route for it. What arrives
//! with `::1` in its header is dropped before, so a tenant reaches nothing by it. For IPv4 there is a setting of the
//! link instead, see `arrival`.

use std::net::{IpAddr, Ipv6Addr};

use crate::netns::{self, Netns};
use rtnetlink::LinkUnspec;
use rtnetlink::packet_core::{NLM_F_CREATE, NLM_F_REPLACE};
use rtnetlink::packet_route::RouteNetlinkMessage;
use rtnetlink::packet_route::route::{RouteMessage, RouteScope, RouteType};
use tenantd_core::plan::model::{Firewall, LinkPlan, Mode, NetworkPlan};
use tenantd_core::stage::{Failure, Stage};

use super::arrival::takes_loopback;
use super::family::{alone, destination, route_to};
use super::firewall::exposed;
use super::link::{Links, outgoing};
use super::provision::Provisioner;
use super::refusal::{broken, errno, refused};
use super::subnet::PROTOCOL;
use super::tenant::{Step, TenantSocket};

/// The kernel's table of local addresses, and the metric that it gives to a route without one.
const LOCAL: u32 = 255;
const METRIC: u32 = 1024;

const ADDRESS: IpAddr = IpAddr::V6(Ipv6Addr::LOCALHOST);

/// Whether processes of the host reach the tenant by `::1`.
pub(crate) fn is_reached_from_loopback(link: &LinkPlan) -> bool {
    let all = [Ipv6Addr::LOCALHOST, Ipv6Addr::UNSPECIFIED].map(IpAddr::from);
    let mut published = link.traffic.publish.iter();
    published.any(|publish| all.contains(&publish.address))
        && link.addresses.iter().any(|address| address.is_ipv6())
}

/// Whether the hub has the route, for all tenants.
fn is_of_hub(network: &NetworkPlan) -> bool {
    network.mode == Mode::Bridge && network.ipv6.is_some() && network.firewall == Firewall::On
}

/// Whether a route is the way from `::1` by this link.
pub(super) fn is_way(route: &RouteMessage, index: u32) -> bool {
    destination(route) == Some(alone(ADDRESS)) && outgoing(route) == Some(index)
}

fn route_by(index: u32) -> RouteMessage {
    let route = route_to(alone(ADDRESS))
        .output_interface(index)
        .scope(RouteScope::Host)
        .kind(RouteType::Local)
        .table_id(LOCAL)
        .priority(METRIC)
        .protocol(PROTOCOL);
    route.build()
}

/// What a tenant that exposes ports has at its end, for both families.
pub(super) fn exposing(link: &LinkPlan, eth0: u32) -> Vec<Step> {
    if link.traffic.exposed.is_empty() {
        return Vec::new();
    }
    let name = link.tenant.name.as_str();
    let mut end = LinkUnspec::new_with_index(eth0).build();
    end.attributes.push(takes_loopback());
    let mut steps = vec![Step {
        stage: Stage::Link,
        object: format!("{name} (route_localnet, in the tenant)"),
        flags: 0,
        message: RouteNetlinkMessage::NewLink(end),
    }];
    if link.addresses.iter().any(|address| address.is_ipv6()) {
        steps.push(Step {
            stage: Stage::Route,
            object: format!("local {ADDRESS} dev {name} (in the tenant)"),
            flags: NLM_F_CREATE | NLM_F_REPLACE,
            message: RouteNetlinkMessage::NewRoute(route_by(eth0)),
        });
    }
    steps
}

impl Links {
    /// Makes the route by a link. Returns whether it was missing.
    async fn ensure_loopback(&self, index: u32, name: &str) -> Result<bool, Failure> {
        let added = self.handle().route().add(route_by(index)).execute().await;
        match self.done(added) {
            Ok(()) => Ok(true),
            Err(error) if errno(&error) == Some(libc::EEXIST) => Ok(false),
            Err(error) => {
                let object = format!("local {ADDRESS} dev {name}");
                Err(refused(Stage::Route, object, error))
            }
        }
    }

    /// Makes the route by the hub, in mode bridge. Returns what was missing.
    pub(super) async fn ensure_hub_from_loopback(
        &self,
        network: &NetworkPlan,
        index: u32,
    ) -> Result<Option<String>, Failure> {
        if !is_of_hub(network) {
            return Ok(None);
        }
        let name = network.hub.name.as_str();
        let made = self.ensure_loopback(index, name).await?;
        Ok(made.then(|| words(name)))
    }
}

impl Provisioner {
    /// Has the exposed ports of a tenant that has its link translated as planned.
    pub(super) async fn expose(&self, link: &LinkPlan, netns: &Netns) -> Result<(), Failure> {
        let is_none = link.traffic.exposed.is_empty();
        let inside = || {
            let translated = exposed::translate_all(link);
            let opened = translated.and_then(|()| match is_none {
                true => Ok(None),
                false => TenantSocket::open(link).map(Some),
            });
            Ok(opened)
        };
        let opened = netns::visit(netns, inside);
        match opened.map_err(|error| broken(Stage::Firewall, "(in the tenant)", &error))?? {
            Some(socket) => socket.expose(link).await,
            None => Ok(()),
        }
    }

    /// Makes the route by a host end, in mode routed, if the tenant is reached by it. Returns what was missing.
    pub(super) async fn ensure_way_from_loopback(
        &self,
        link: &LinkPlan,
        index: u32,
    ) -> Result<Option<String>, Failure> {
        if self.network.mode != Mode::Routed || !is_reached_from_loopback(link) {
            return Ok(None);
        }
        let name = link.host.name.as_str();
        let made = self.links.ensure_loopback(index, name).await?;
        Ok(made.then(|| words(name)))
    }
}

fn words(name: &str) -> String {
    format!("the route for {ADDRESS} by {name}")
}
