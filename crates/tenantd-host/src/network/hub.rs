//! The hub: the link that holds the gateway's address on the host.
//!
//! It is a bridge in both modes, because every kernel that can run tenants has bridges, but not
//! every kernel has dummy links. In mode bridge its ports are the tenants' host ends; in mode
//! routed it has no ports.

use std::net::IpAddr;
use std::time::Duration;

use futures_util::{StreamExt, TryStreamExt};
use rtnetlink::packet_core::{NLM_F_ACK, NLM_F_REQUEST, NetlinkMessage, NetlinkPayload};
use rtnetlink::packet_route::address::{
    AddressAttribute, AddressFlags, AddressHeaderFlags, AddressMessage,
};
use rtnetlink::packet_route::link::{BridgeStpState, InfoKind};
use rtnetlink::packet_route::neighbour_table::{
    NeighbourTableAttribute, NeighbourTableMessage, NeighbourTableParameter,
};
use rtnetlink::packet_route::{AddressFamily, RouteNetlinkMessage};
use rtnetlink::{LinkBridge, LinkMessageBuilder};
use tokio::time::{Instant, sleep};

use crate::crash;
use tenantd_core::plan::model::{Firewall, Mode, NetworkPlan};
use tenantd_core::stage::{Failure, Stage};

use super::arrival::arrival;
use super::family::{family, local};
use super::ipv6;
use super::link::{Found, Links};
use super::macvlan;
use super::refusal::{answered, refused};
use super::subnet;

/// How long an IPv6 address is waited for, and how often it is looked at.
const SETTLES_WITHIN: Duration = Duration::from_secs(2);
const LOOK_AGAIN: Duration = Duration::from_millis(1);

/// What was done with the hub.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Opened {
    /// It was made.
    Made,
    /// It was there.
    Found,
    /// One with another address than that of the plan was there. It was removed, and this one made.
    Changed,
}

/// Makes the hub, or takes over one with our mark and corrects its settings. Returns its index.
pub(super) async fn ensure(links: &Links, network: &NetworkPlan) -> Result<(u32, Opened), Failure> {
    if let Some(parent) = &network.parent {
        return macvlan::open(links, network, parent).await;
    }
    let name = network.hub.name.as_str();
    let found = links.find(name).await?;
    if let Some(found) = &found
        && !is_hub(found, network)
    {
        return Err(found.in_the_way(name, &network.mark));
    }
    let known = found.as_ref().map(|found| found.index);
    for gateway in network.gateways() {
        links.refuse_own_address(gateway, known).await?;
    }
    let opened = match found {
        None => Opened::Made,
        Some(found) if is_another(links, network, found.index).await? => {
            // The routes of its subnet that name it go with it.
            subnet::remove_of_hub(links, found.index, &[]).await?;
            links.delete(&found).await?;
            Opened::Changed
        }
        Some(found) => {
            // That of another subnet with the same gateway.
            let present: Vec<_> = network.subnets().collect();
            subnet::remove_of_hub(links, found.index, &present).await?;
            set_up(links, network, found.index).await?;
            return Ok((found.index, Opened::Found));
        }
    };
    let found = make(links, network).await?;
    if let Err(why) = set_up(links, network, found.index).await {
        return Err(match links.delete(&found).await {
            Ok(()) => why,
            Err(left) => {
                let both = format!("{} (and {left})", why.detail);
                why.with(both)
            }
        });
    }
    Ok((found.index, opened))
}

/// Whether a hub is that of another plan: it has another address in the place of a gateway's. An address that is only
/// missing was taken by another program.
async fn is_another(links: &Links, network: &NetworkPlan, index: u32) -> Result<bool, Failure> {
    for gateway in network.gateways() {
        let fail = |error| refused(Stage::Address, gateway.to_string(), error);
        let present = present(links, index, gateway).await.map_err(fail)?;
        let prefix = prefix(network, gateway);
        let is_it =
            |it: &AddressMessage| it.header.prefix_len == prefix && local(it) == Some(gateway);
        if !present.is_empty() && !present.iter().any(is_it) {
            return Ok(true);
        }
    }
    Ok(false)
}

/// Makes the hub. A request that is lost, for want of memory, ends like one that is done, so it is looked for, and made
/// once more; a question that is lost is asked again, so that nothing is left behind.
async fn make(links: &Links, network: &NetworkPlan) -> Result<Found, Failure> {
    let name = network.hub.name.as_str();
    for _ in 0..2 {
        let bridge =
            LinkMessageBuilder::<LinkBridge>::new(name).address(network.hub.mac.0.to_vec());
        let made = links.handle().link().add(bridge.build()).execute().await;
        // Whether it was lost is found out.
        made.map_err(|error| refused(Stage::Link, name, error))?;
        crash::point("hub: made", name);
        let found = match links.find(name).await {
            Ok(found) => found,
            Err(_) => links.find(name).await?,
        };
        if let Some(found) = found {
            return Ok(found);
        }
    }
    Err(Failure::errno(Stage::Link, name, libc::ENODEV).with("the link was removed at once"))
}

/// Removes the hub, if it bears our mark and no port is up.
pub(super) async fn remove(links: &Links, network: &NetworkPlan) -> Result<(), Failure> {
    if network.parent.is_some() {
        return Ok(());
    }
    match links.find(network.hub.name.as_str()).await? {
        // A bridge has a carrier if one of its ports has, and a tenant's port always has. Listing
        // the ports would list all links.
        Some(found) if is_hub(&found, network) && !found.carrier => {
            links.delete(&found).await?;
        }
        None => {}
        Some(_) => return Ok(()),
    }
    for subnet in network.subnets() {
        subnet::remove(links, subnet).await?;
    }
    Ok(())
}

fn is_hub(found: &Found, network: &NetworkPlan) -> bool {
    found.is_ours(&network.mark, network.hub.mac) && found.kind == Some(InfoKind::Bridge)
}

async fn set_up(links: &Links, network: &NetworkPlan, index: u32) -> Result<(), Failure> {
    change(links, network, index).await?;
    crash::point("hub: marked", network.hub.name.as_str());
    ipv6::Settings::open()?.settle(network, network.hub.name.as_str())?;
    for gateway in network.gateways() {
        ensure_address(links, (network, gateway), index, true).await?;
    }
    for subnet in network.subnets() {
        subnet::ensure(links, (network, subnet), index).await?;
    }
    links.ensure_hub_from_loopback(network, index).await?;
    Ok(())
}

async fn change(links: &Links, network: &NetworkPlan, index: u32) -> Result<(), Failure> {
    let name = network.hub.name.as_str();
    let mut hub = LinkMessageBuilder::<LinkBridge>::new(name)
        .index(index)
        // Set explicitly; otherwise it follows the ports' addresses and their smallest MTU.
        .address(network.hub.mac.0.to_vec())
        .mtu(network.mtu)
        .alias(network.mark.as_str())
        .stp_state(BridgeStpState::Disabled)
        // Its queries would need timers.
        .mcast_snooping(false)
        .up();
    // In mode bridge, what tenants publish arrives here.
    for attribute in arrival(network, network.mode == Mode::Bridge) {
        hub = hub.append_extra_attribute(attribute);
    }
    let changed = links.handle().link().change(hub.build()).execute().await;
    links
        .done(changed)
        .map_err(|error| refused(Stage::Link, name, error))?;
    match network.mode == Mode::Bridge && network.firewall == Firewall::On {
        true => answer_at_once(links, network, index).await,
        false => Ok(()),
    }
}

/// Lets the hub answer ARP requests for others at once. By default the kernel waits up to 0.8 s, in case the
/// others answer themselves, but no port of the hub hears another one.
async fn answer_at_once(links: &Links, network: &NetworkPlan, index: u32) -> Result<(), Failure> {
    let name = network.hub.name.as_str();
    let mut table = NeighbourTableMessage::default();
    table.header.family = AddressFamily::Inet;
    table.attributes = vec![
        NeighbourTableAttribute::Name("arp_cache".to_owned()),
        NeighbourTableAttribute::Parms(vec![
            NeighbourTableParameter::Ifindex(index),
            NeighbourTableParameter::ProxyDelay(0),
        ]),
    ];
    let mut request = NetlinkMessage::from(RouteNetlinkMessage::SetNeighbourTable(table));
    request.header.flags = NLM_F_REQUEST | NLM_F_ACK;
    let refused = |error| refused(Stage::Link, format!("{name} (its proxy_delay)"), error);
    let mut answers = links.handle().request(request).map_err(refused)?;
    while let Some(answer) = answers.next().await {
        if let NetlinkPayload::Error(answer) = answer.payload
            && answer.code.is_some()
        {
            return Err(answered(
                Stage::Link,
                format!("{name} (its proxy_delay)"),
                &answer,
            ));
        }
    }
    Ok(())
}

/// Compares the hub with the plan, and corrects what is different. Returns its index, which is another one if
/// the hub was deleted, and what was corrected.
pub(super) async fn mend(
    links: &Links,
    network: &NetworkPlan,
    index: u32,
) -> Result<(u32, Vec<String>), Failure> {
    if let Some(parent) = &network.parent {
        return macvlan::look(links, network, parent).await;
    }
    let name = network.hub.name.as_str();
    let found = links.find_index(index).await?;
    let found = found.filter(|found| found.kind == Some(InfoKind::Bridge));
    let Some(found) = found else {
        let (index, _) = ensure(links, network).await?;
        return Ok((index, vec![format!("the link {name}")]));
    };
    let mut mended = Vec::new();
    let differences = [
        (found.name != name, "name"),
        (!found.up, "state up"),
        (!found.is_marked_as(&network.mark), "alias"),
        (found.mac != network.hub.mac.0, "MAC address"),
    ];
    for (is_different, what) in differences {
        if is_different {
            mended.push(format!("the {what} of {name}"));
        }
    }
    if !mended.is_empty() {
        change(links, network, index).await?;
    }
    for gateway in network.gateways() {
        if ensure_address(links, (network, gateway), index, false).await? {
            let prefix = prefix(network, gateway);
            mended.push(format!("the address {gateway}/{prefix}"));
        }
    }
    for subnet in network.subnets() {
        if subnet::ensure(links, (network, subnet), index).await? {
            mended.push(subnet::name(subnet));
        }
    }
    mended.extend(links.ensure_hub_from_loopback(network, index).await?);
    Ok((index, mended))
}

/// The prefix of an address of the hub. Tenants ask each other for MAC addresses only in IPv4.
fn prefix(network: &NetworkPlan, gateway: IpAddr) -> u8 {
    match (network.mode, gateway) {
        (Mode::Bridge | Mode::Macvlan | Mode::Port, IpAddr::V4(_)) => network.subnet.prefix(),
        (Mode::Routed, IpAddr::V4(_)) => 32,
        (_, IpAddr::V6(_)) => 128,
    }
}

/// Sets the hub's address of a family. Removes others if it is to be the `only` one. Returns whether it was missing.
async fn ensure_address(
    links: &Links,
    (network, gateway): (&NetworkPlan, IpAddr),
    index: u32,
    only: bool,
) -> Result<bool, Failure> {
    let prefix = prefix(network, gateway);
    let object = format!("{gateway}/{prefix}");
    let fail = |error| refused(Stage::Address, object.as_str(), error);
    let present = present(links, index, gateway).await.map_err(fail)?;
    links.done(Ok(())).map_err(fail)?;
    let mut missing = true;
    for address in present {
        if address.header.prefix_len == prefix && local(&address) == Some(gateway) {
            missing = false;
        } else if only {
            let removed = links.handle().address().del(address).execute().await;
            links.done(removed).map_err(fail)?;
        }
    }
    if missing {
        let mut added = links.handle().address().add(index, gateway, prefix);
        // Each tenant has a route of its own: the others are refused.
        let flags = match (network.mode, gateway) {
            (Mode::Routed, IpAddr::V4(_)) => None,
            (Mode::Bridge | Mode::Macvlan | Mode::Port, IpAddr::V4(_)) => {
                Some(AddressFlags::Noprefixroute)
            }
            (_, IpAddr::V6(_)) => Some(AddressFlags::Noprefixroute | AddressFlags::Nodad),
        };
        let flags = flags.map(AddressAttribute::Flags);
        added.message_mut().attributes.extend(flags);
        links.done(added.execute().await).map_err(fail)?;
        settled(links, index, gateway).await?;
    }
    Ok(missing)
}

/// The addresses of the same family on the hub. With strict checking, the kernel lists those of this link only.
async fn present(
    links: &Links,
    index: u32,
    like: IpAddr,
) -> Result<Vec<AddressMessage>, rtnetlink::Error> {
    let mut request = links.handle().address().get();
    request.message_mut().header.index = index;
    request.message_mut().header.family = family(like);
    request.execute().try_collect().await
}

/// Waits until the host can send from an IPv6 address: the kernel completes it by a work queue.
async fn settled(links: &Links, index: u32, gateway: IpAddr) -> Result<(), Failure> {
    let begun = Instant::now();
    while gateway.is_ipv6() {
        let present = present(links, index, gateway).await;
        let present =
            present.map_err(|error| refused(Stage::Address, gateway.to_string(), error))?;
        let is_tentative = |it: &AddressMessage| {
            local(it) == Some(gateway) && it.header.flags.contains(AddressHeaderFlags::Tentative)
        };
        // It may be gone again, and then that is noticed.
        if !present.iter().any(is_tentative) {
            break;
        }
        if begun.elapsed() > SETTLES_WITHIN {
            let why = "the kernel has not made it usable";
            return Err(
                Failure::errno(Stage::Address, gateway.to_string(), libc::ETIMEDOUT).with(why),
            );
        }
        sleep(LOOK_AGAIN).await;
    }
    Ok(())
}
