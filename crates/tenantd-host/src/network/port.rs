//! Mode bridge with a bridge that the host has: each tenant is a machine of the network that it carries.
//!
//! ```text
//!            host                          tenant
//!   bridge, with ports of others
//!     (never changed)
//!   host end: a port, isolated, marked ═══ eth0: the tenant's MAC and IP addresses
//!                                            default via the router of the network
//! ```
//!
//! What a tenant sends does not pass the host's routing, so its firewall is in its own namespace, as that of a macvlan is. A
//! bridge takes over the smallest MTU and, unless it was given one, the lowest MAC address of its ports: host ends have the
//! bridge's MTU before they are ports, and a MAC address that is higher than that of any card.

use futures_util::TryStreamExt;
use rtnetlink::packet_route::link::{InfoKind, LinkAttribute, LinkFlags};
use rtnetlink::{LinkBridgePort, LinkUnspec};

use crate::crash;
use crate::netns::Netns;
use tenantd_core::plan::model::{Interface, LinkPlan};
use tenantd_core::stage::{Failure, Stage};

use super::arrival::arrival;
use super::link::{Found, Links};
use super::macvlan::{guard, usable};
use super::mend::{Outcome, differences};
use super::provision::Provisioner;
use super::rate;
use super::refusal::{errno, refused};
use super::tenant::TenantSocket;

/// Why an interface is not the bridge of the plan.
pub(super) fn no_bridge(found: &Found) -> Option<String> {
    match found.kind {
        Some(InfoKind::Bridge) => None,
        _ => Some("it is no bridge, so no tenant can be a port of it".to_owned()),
    }
}

impl Links {
    /// The MTU of a link.
    async fn mtu_of(&self, found: &Found) -> Result<Option<u32>, Failure> {
        let name = found.name.as_str();
        let asked = self.handle().link().get().match_index(found.index);
        let answer: Result<Vec<_>, _> = asked.execute().try_collect().await;
        let links = answer.map_err(|error| refused(Stage::Link, name, error))?;
        let parts = links.into_iter().flat_map(|link| link.attributes);
        let mut mtus = parts.filter_map(|part| match part {
            LinkAttribute::Mtu(mtu) => Some(mtu),
            _ => None,
        });
        Ok(mtus.next())
    }

    /// Makes a host end a port of a bridge. It is isolated before it is up, so no frame has passed to another tenant.
    async fn plug(&self, index: u32, link: &LinkPlan, bridge: &Found) -> Result<(), Failure> {
        let name = link.host.name.as_str();
        let mut end = LinkUnspec::new_with_index(index)
            .down()
            .controller(bridge.index);
        if let Some(mtu) = self.mtu_of(bridge).await? {
            // The kernel sets it before the controller.
            end = end.mtu(mtu);
        }
        let set = self.handle().link().change(end.build()).execute().await;
        self.done(set).map_err(|error| {
            let full = errno(&error) == Some(libc::EXFULL) || errno(&error) == Some(libc::EBUSY);
            let failure = refused(Stage::Link, name, error);
            match full {
                true => failure.with(format!(
                    "{} has no room for another port: a bridge has 1,023",
                    bridge.name
                )),
                false => failure,
            }
        })
    }
}

impl Provisioner {
    /// Makes the host end a port, and the tenant's side, once no other machine has its addresses.
    pub(super) async fn set_up_port(
        &self,
        (link, parent): (&LinkPlan, &Interface),
        made: &Found,
        netns: &Netns,
        socket: TenantSocket,
    ) -> Result<(), Failure> {
        let network = &self.network;
        let bridge = usable(&self.links, network, parent).await?;
        self.ipv6.settle_host_end(network, link)?;
        self.links.plug(made.index, link, &bridge).await?;
        self.raise_port(made.index, link).await?;
        crash::point("network: host end up", &link.mark);
        guard(network, link, netns)?;
        crash::point("network: admitted", &link.mark);
        socket.set_up(network, link).await?;
        crash::point("network: tenant end up", &link.mark);
        self.carries(made.index).await
    }

    /// Marks a port, isolates it and sets it up.
    async fn raise_port(&self, index: u32, link: &LinkPlan) -> Result<(), Failure> {
        let mut end = LinkBridgePort::new(index).isolated(true).build();
        end.header.flags |= LinkFlags::Up;
        end.header.change_mask |= LinkFlags::Up;
        let alias = LinkAttribute::IfAlias(link.mark.clone());
        end.attributes.push(alias);
        end.attributes.extend(arrival(&self.network, false));
        let set = self.links.handle().link().change(end).execute().await;
        let set = self.links.done(set);
        set.map_err(|error| refused(Stage::Link, link.host.name.as_str(), error))
    }

    /// Compares what the host has of a tenant with its plan. Without its bridge nothing is mended: that is said once, of
    /// what all tenants share.
    pub(super) async fn mend_port(
        &self,
        (found, link): (&Found, &LinkPlan),
        parent: &Interface,
    ) -> Result<Outcome, Failure> {
        let bridge = self.links.find(parent.as_str()).await?;
        let Some(bridge) = bridge.filter(|bridge| no_bridge(bridge).is_none()) else {
            return Ok(Outcome::Whole(Vec::new()));
        };
        let controller = Some(bridge.index);
        let different = differences(found, link, controller, self.network.group());
        if !different.is_empty() {
            if found.controller != controller {
                self.links.plug(found.index, link, &bridge).await?;
            }
            // It is isolated before anything else sets it up: until then it reaches other ports.
            self.raise_port(found.index, link).await?;
            let group = self.network.group();
            self.links.correct(found, link, controller, group).await?;
            self.carries_soon(found.index, controller).await?;
        }
        let host = &link.host.name;
        let mended = different.iter().map(|what| format!("the {what} of {host}"));
        let mut mended: Vec<String> = mended.collect();
        for address in link.addresses.iter() {
            self.links.refuse_own_address(address, None).await?;
        }
        if link.rate.inward.is_some() && rate::limit_inward(link)? {
            mended.push(format!("the rate of {host}"));
        }
        Ok(Outcome::Whole(mended))
    }
}
