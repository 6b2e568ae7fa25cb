//! The way from the host's `::1` to tenants, for ports that are published there.
//!
//! The firewall translates what a process of the host sends to `::1`. Its answer arrives by the tenant's link, for `::1`
//! again, and the kernel takes a packet for `::1` by a link only if the link has a local route for it. What arrives
//! with `::1` in its header is dropped before, so a tenant reaches nothing by it. For IPv4 there is a setting of the
//! link instead, see `arrival`.

use std::net::{IpAddr, Ipv6Addr};

use rtnetlink::packet_route::route::{RouteMessage, RouteScope, RouteType};
use tenantd_core::plan::model::{Firewall, LinkPlan, Mode, NetworkPlan};
use tenantd_core::stage::{Failure, Stage};

use super::family::{alone, destination, route_to};
use super::link::{Links, outgoing};
use super::provision::Provisioner;
use super::refusal::{errno, refused};
use super::subnet::PROTOCOL;

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

impl Links {
    /// Makes the route by a link. Returns whether it was missing.
    async fn ensure_loopback(&self, index: u32, name: &str) -> Result<bool, Failure> {
        let route = route_to(alone(ADDRESS))
            .output_interface(index)
            .scope(RouteScope::Host)
            .kind(RouteType::Local)
            .table_id(LOCAL)
            .priority(METRIC)
            .protocol(PROTOCOL);
        let added = self.handle().route().add(route.build()).execute().await;
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
