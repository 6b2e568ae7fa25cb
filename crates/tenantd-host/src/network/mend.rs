//! Compares what the host has with what tenantd made, and corrects what is different.
//!
//! The cost of a comparison is that of a few queries about one link, one address and one neighbour. Nothing
//! is listed.

use std::net::IpAddr;
use std::time::Duration;

use futures_util::StreamExt;
use rtnetlink::packet_core::{NLM_F_REQUEST, NetlinkMessage, NetlinkPayload};
use rtnetlink::packet_route::RouteNetlinkMessage;
use rtnetlink::packet_route::link::LinkAttribute;
use rtnetlink::packet_route::neighbour::{NeighbourAttribute, NeighbourMessage, NeighbourState};
use rtnetlink::packet_route::route::{RouteAttribute, RouteMessage, RouteType};
use rtnetlink::{LinkBridgePort, LinkUnspec};

use tokio::time::{Instant, sleep};

use tenantd_core::plan::model::{LinkPlan, MacAddr, Mode, NetworkPlan};
use tenantd_core::stage::{Failure, Stage};

use super::family::{alone, neighbour, whole};
use super::link::{Found, Links, host_route, outgoing};
use super::provision::Provisioner;
use super::rate;
use super::refusal::{answered, errno, refused};

/// How long a link that was corrected is waited for to have a carrier, and how often it is looked at.
const CARRIES_WITHIN: Duration = Duration::from_millis(100);
const LOOK_AGAIN: Duration = Duration::from_millis(2);

/// What a comparison found.
#[derive(Debug)]
pub(super) enum Outcome {
    /// Everything is as planned now. What was different.
    Whole(Vec<String>),
    /// The link is gone.
    Lost(Failure),
}

/// How a host end differs from its plan.
pub(super) fn differences(
    found: &Found,
    link: &LinkPlan,
    controller: Option<u32>,
    group: u32,
) -> Vec<&'static str> {
    let host = &link.host;
    let all = [
        (found.name != host.name.as_str(), "name"),
        (!found.up && !link.is_macvlan(), "state up"),
        (found.up && link.is_macvlan(), "state down"),
        (found.alias.as_ref() != Some(&link.mark), "alias"),
        (found.mac != host.mac.0, "MAC address"),
        (found.controller != controller, "bridge"),
        (controller.is_some() && !found.isolated, "isolation"),
        (found.group != group && !link.is_macvlan(), "group"),
    ];
    let different = all.into_iter().filter(|(is_different, _)| *is_different);
    different.map(|(_, what)| what).collect()
}

/// Whether a neighbour is the permanent one with this MAC address.
pub(super) fn is_permanent(message: &NeighbourMessage, mac: MacAddr) -> bool {
    let has = |attribute: &NeighbourAttribute| matches!(attribute, NeighbourAttribute::LinkLayerAddress(found) if *found == mac.0);
    message.header.state == NeighbourState::Permanent && message.attributes.iter().any(has)
}

impl Provisioner {
    /// The bridge that a host end is a port of.
    pub(super) fn controller(&self) -> Option<u32> {
        (self.network.mode == Mode::Bridge).then_some(self.hub.get())
    }

    /// Compares the host's side of a tenant's link with its plan, and corrects what is different.
    pub(super) async fn mend(&self, index: u32, link: &LinkPlan) -> Result<Outcome, Failure> {
        let name = link.host.name.as_str();
        let Some(found) = self.links.find_index(index).await? else {
            let lost = Failure::detail(Stage::Linked, name, "it was deleted on the host");
            return Ok(Outcome::Lost(lost));
        };
        match &link.parent {
            Some(parent) if link.is_port() => {
                return self.mend_port((&found, link), parent).await;
            }
            Some(_) => return self.mend_macvlan(&found, link).await,
            None => {}
        }
        let controller = self.controller();
        let group = self.network.group();
        let different = differences(&found, link, controller, group);
        let mut mended: Vec<String> = different
            .iter()
            .map(|what| format!("the {what} of {name}"))
            .collect();
        if !different.is_empty() {
            self.links.correct(&found, link, controller, group).await?;
            self.carries_soon(index, controller).await?;
        }
        let (through, mac) = (self.way(index), link.tenant.mac);
        for address in link.addresses.iter() {
            if self.mend_route(through, address).await? {
                mended.push(format!("the route {}", alone(address)));
            }
            if self.links.mend_neighbour(through, address, mac).await? {
                mended.push(format!("the neighbour entry of {address}"));
            }
        }
        mended.extend(self.ensure_way_from_loopback(link, index).await?);
        mended.extend(self.mend_proxies(link).await?);
        if link.rate.inward.is_some() && rate::limit_inward(link)? {
            mended.push(format!("the rate of {name}"));
        }
        Ok(Outcome::Whole(mended))
    }

    /// Asks for the carrier of a host end and of its bridge until both have one, for a moment: the kernel notices it up
    /// to a second later, unless it is asked, and the bridge has none before its port has one.
    pub(super) async fn carries_soon(
        &self,
        index: u32,
        controller: Option<u32>,
    ) -> Result<(), Failure> {
        let begun = Instant::now();
        loop {
            let mut carries = true;
            for asked in [Some(index), controller].into_iter().flatten() {
                let found = self.links.find_index(asked).await?;
                carries &= found.is_some_and(|found| found.carrier && found.operational);
            }
            // A tenant may have set its own end down.
            if carries || begun.elapsed() > CARRIES_WITHIN {
                return Ok(());
            }
            sleep(LOOK_AGAIN).await;
        }
    }

    /// The link that the host reaches a tenant by.
    pub(super) fn way(&self, host_end: u32) -> u32 {
        self.controller().unwrap_or(host_end)
    }

    /// Removes what the uplink has for a tenant, and the hub, in mode bridge. Else that goes with the host end.
    pub(super) async fn unroute(&self, link: &LinkPlan) -> Result<(), Failure> {
        self.answer_no_longer(link, self.all_held(link)).await?;
        let Some(hub) = self.controller() else {
            return Ok(());
        };
        for address in self.all_held(link) {
            let found = self.links.neighbour(hub, address).await?;
            // Another tenant may have the address now.
            if found.is_some_and(|found| !is_permanent(&found, link.tenant.mac)) {
                continue;
            }
            self.links.unroute(hub, &self.network, address).await?;
        }
        Ok(())
    }

    /// Returns whether the route had to be set.
    async fn mend_route(&self, index: u32, address: IpAddr) -> Result<bool, Failure> {
        let links = &self.links;
        if is_ours(links.way_to(address).await?.as_ref(), address, index) {
            return Ok(false);
        }
        let object = alone(address).to_string();
        let route = host_route(index, &self.network, address);
        let set = links.handle().route().add(route).replace();
        let set = set.execute().await;
        links
            .done(set)
            .map_err(|error| refused(Stage::Route, object.as_str(), error))?;
        let now = links.way_to(address).await?;
        if is_ours(now.as_ref(), address, index) {
            return Ok(true);
        }
        let who = match &now {
            Some(route) if route.header.kind == RouteType::Local => {
                format!("the host has this address on {}", links.owner(route).await?)
            }
            Some(route) => format!(
                "the host routes it to {} by table {}",
                links.owner(route).await?,
                table(route)
            ),
            None => "a rule or a route of the host refuses it".to_owned(),
        };
        let rule = if address.is_ipv4() {
            "ip rule"
        } else {
            "ip -6 rule"
        };
        let why = format!("{who}: remove that, see `{rule}` and `ip route get {address}`");
        Err(Failure::detail(Stage::Route, object, why))
    }
}

fn is_ours(route: Option<&RouteMessage>, address: IpAddr, index: u32) -> bool {
    route.is_some_and(|route| {
        route.header.kind == RouteType::Unicast
            && route.header.destination_prefix_length == whole(address)
            && outgoing(route) == Some(index)
    })
}

/// The number of a route's table.
pub(super) fn table(route: &RouteMessage) -> u32 {
    let long = route.attributes.iter().find_map(|part| match part {
        RouteAttribute::Table(table) => Some(*table),
        _ => None,
    });
    long.unwrap_or_else(|| u32::from(route.header.table))
}

impl Links {
    /// Sets what differs at a host end.
    pub(super) async fn correct(
        &self,
        found: &Found,
        link: &LinkPlan,
        controller: Option<u32>,
        group: u32,
    ) -> Result<(), Failure> {
        let name = link.host.name.as_str();
        let fail = |error| refused(Stage::Link, name, error);
        let mut end = LinkUnspec::new_with_index(found.index).up();
        if found.name != name {
            end = end.name(name);
        }
        if found.mac != link.host.mac.0 {
            end = end.address(link.host.mac.0.to_vec());
        }
        if found.alias.as_ref() != Some(&link.mark) {
            end = end.alias(link.mark.as_str());
        }
        if found.group != group {
            end = end.append_extra_attribute(LinkAttribute::Group(group));
        }
        end = match controller {
            _ if found.controller == controller => end,
            Some(index) => end.controller(index),
            None => end.nocontroller(),
        };
        let changed = self.handle().link().change(end.build()).execute().await;
        self.done(changed).map_err(fail)?;
        if controller.is_some() && !(found.isolated && found.controller == controller) {
            // Only once it is a port.
            let port = LinkBridgePort::new(found.index).isolated(true).build();
            let changed = self.handle().link().change(port).execute().await;
            self.done(changed).map_err(fail)?;
        }
        Ok(())
    }

    /// Returns whether the permanent neighbour entry had to be set.
    pub(super) async fn mend_neighbour(
        &self,
        index: u32,
        address: IpAddr,
        mac: MacAddr,
    ) -> Result<bool, Failure> {
        let found = self.neighbour(index, address).await?;
        if found.is_some_and(|found| is_permanent(&found, mac)) {
            return Ok(false);
        }
        self.set_neighbour(index, address, mac).await?;
        Ok(true)
    }

    /// Looks up a neighbour entry.
    async fn neighbour(
        &self,
        index: u32,
        address: IpAddr,
    ) -> Result<Option<NeighbourMessage>, Failure> {
        let object = format!("{address} (its neighbour entry)");
        let message = neighbour(index, address);
        let mut request = NetlinkMessage::from(RouteNetlinkMessage::GetNeighbour(message));
        request.header.flags = NLM_F_REQUEST;
        let answers = self.handle().request(request);
        let mut answers = answers.map_err(|error| refused(Stage::Route, object.as_str(), error))?;
        let mut found = None;
        while let Some(answer) = answers.next().await {
            match answer.payload {
                NetlinkPayload::InnerMessage(RouteNetlinkMessage::NewNeighbour(message)) => {
                    found = Some(message);
                }
                NetlinkPayload::Error(answer) if answer.raw_code() == -libc::ENOENT => {}
                NetlinkPayload::Error(answer) if answer.code.is_some() => {
                    return Err(answered(Stage::Route, object, &answer));
                }
                _ => {}
            }
        }
        Ok(found)
    }

    /// Removes the route and the neighbour entry of an address.
    pub(super) async fn unroute(
        &self,
        index: u32,
        network: &NetworkPlan,
        address: IpAddr,
    ) -> Result<(), Failure> {
        let object = alone(address).to_string();
        let gone = |error: rtnetlink::Error| match errno(&error) {
            Some(libc::ESRCH | libc::ENOENT | libc::ENODEV) => Ok(()),
            Some(_) | None => Err(refused(Stage::Release, object.as_str(), error)),
        };
        let route = host_route(index, network, address);
        let removed = self.handle().route().del(route).execute().await;
        self.done(removed).or_else(gone)?;
        let message = neighbour(index, address);
        let removed = self.handle().neighbours().del(message).execute().await;
        self.done(removed).or_else(gone)
    }

    /// Sets a permanent neighbour entry.
    pub(super) async fn set_neighbour(
        &self,
        index: u32,
        address: IpAddr,
        mac: MacAddr,
    ) -> Result<(), Failure> {
        let neighbour = self.handle().neighbours().add(index, address);
        let neighbour = neighbour.link_layer_address(&mac.0).replace();
        let set = neighbour.execute().await;
        self.done(set).map_err(|error| {
            let object = format!("{address} (its neighbour entry)");
            refused(Stage::Route, object, error)
        })
    }
}
