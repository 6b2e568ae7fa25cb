//! What differs where a tenant's link is a macvlan, or a port of a bridge of the host.

use std::io;
use std::net::IpAddr;

use futures_util::TryStreamExt;
use rtnetlink::Handle;
use rtnetlink::packet_route::link::{
    InfoBridgePort, InfoKind, InfoPortData, LinkAttribute, LinkFlags, LinkInfo, LinkMessage,
};

use super::{Drift, asked, end, find};
use crate::network::{differences_inside, link_local};
use tenantd_core::plan::model::{Firewall, Interface, LinkPlan, Mode, NetworkPlan};

/// The interface of the host that all links belong to. It is not ours, and only said.
pub(super) async fn of_parent(
    handle: &Handle,
    network: &NetworkPlan,
    parent: &Interface,
) -> Result<Vec<Drift>, rtnetlink::Error> {
    let is_port = network.mode == Mode::Port;
    let found = match find(handle, parent.as_str()).await? {
        None => "missing",
        Some(link) if is_port && !is_bridge(&link) => "no bridge",
        Some(link) if !link.header.flags.contains(LinkFlags::Up) => "down",
        Some(link) if !is_port && !link.header.flags.contains(LinkFlags::LowerUp) => {
            "without a carrier"
        }
        Some(_) => "up",
    };
    let (planned, found) = (format!("{parent} up"), format!("{parent} {found}"));
    let drift = Drift::between("parent", planned, found);
    Ok(drift.into_iter().collect())
}

/// The ports of a bridge.
pub(in crate::verify) fn ports_of(bridge: u32) -> io::Result<Vec<LinkMessage>> {
    let controller = LinkAttribute::Controller(bridge);
    let links: Vec<LinkMessage> = asked(async |handle| {
        let mut request = handle.link().get();
        request.message_mut().attributes.push(controller.clone());
        request.execute().try_collect().await
    })?;
    // Without strict checking of requests, the kernel may list all.
    let is_port = |link: &LinkMessage| link.attributes.contains(&controller);
    Ok(links.into_iter().filter(is_port).collect())
}

fn is_bridge(link: &LinkMessage) -> bool {
    let is_one = |info: &LinkInfo| matches!(info, LinkInfo::Kind(InfoKind::Bridge));
    link.attributes.iter().any(|part| match part {
        LinkAttribute::LinkInfo(parts) => parts.iter().any(is_one),
        _ => false,
    })
}

/// What the host has of a tenant.
pub(super) async fn of_host(
    handle: &Handle,
    network: &NetworkPlan,
    link: &LinkPlan,
) -> Result<Vec<Drift>, rtnetlink::Error> {
    match &link.parent {
        Some(parent) if link.is_port() => of_port(handle, network, (link, parent)).await,
        Some(_) | None => of_marker(handle, link).await,
    }
}

/// The port of the bridge.
async fn of_port(
    handle: &Handle,
    network: &NetworkPlan,
    (link, parent): (&LinkPlan, &Interface),
) -> Result<Vec<Drift>, rtnetlink::Error> {
    let found = find(handle, link.host.name.as_str()).await?;
    let mut drifts = end("host end", &link.host, network.mtu, found.as_ref());
    let Some(found) = found else {
        return Ok(drifts);
    };
    let bridge = find(handle, parent.as_str()).await?;
    let (mut mark, mut controller, mut isolated) = ("none", None, false);
    for part in &found.attributes {
        match part {
            LinkAttribute::IfAlias(alias) => mark = alias,
            LinkAttribute::Controller(index) => controller = Some(*index),
            LinkAttribute::LinkInfo(parts) => isolated = parts.iter().any(is_isolated),
            _ => {}
        }
    }
    drifts.extend(Drift::between("mark", link.mark.as_str(), mark));
    let is_port = controller.is_some() && controller == bridge.map(|it| it.header.index);
    let found = match (is_port, isolated) {
        (false, _) => "no port of it".to_owned(),
        (true, false) => format!("port of {parent}, not isolated"),
        (true, true) => format!("port of {parent}"),
    };
    drifts.extend(Drift::between(
        "host end",
        format!("port of {parent}"),
        found,
    ));
    Ok(drifts)
}

fn is_isolated(info: &LinkInfo) -> bool {
    match info {
        LinkInfo::PortData(InfoPortData::BridgePort(settings)) => {
            settings.contains(&InfoBridgePort::Isolated(true))
        }
        _ => false,
    }
}

/// The end on the host that bears the mark.
async fn of_marker(handle: &Handle, link: &LinkPlan) -> Result<Vec<Drift>, rtnetlink::Error> {
    let name = link.host.name.as_str();
    let Some(found) = find(handle, name).await? else {
        return Ok(Drift::between("host end", name, "missing")
            .into_iter()
            .collect());
    };
    let state = match found.header.flags.contains(LinkFlags::Up) {
        true => "up",
        false => "down",
    };
    let mark = found.attributes.iter().find_map(|part| match part {
        LinkAttribute::IfAlias(alias) => Some(alias.as_str()),
        _ => None,
    });
    let drifts = [
        Drift::between("host end", "down", state),
        Drift::between("mark", link.mark.as_str(), mark.unwrap_or("none")),
    ];
    Ok(drifts.into_iter().flatten().collect())
}

/// The firewall in the network namespace of the calling thread.
pub(super) fn firewall(network: &NetworkPlan, link: &LinkPlan) -> io::Result<Vec<Drift>> {
    if link.parent.is_none() || network.firewall == Firewall::Off {
        return Ok(Vec::new());
    }
    let differences = differences_inside(network, link).map_err(io::Error::from_raw_os_error)?;
    let drift = |(planned, found)| Drift {
        what: "firewall",
        planned,
        found,
    };
    Ok(differences.into_iter().map(drift).collect())
}

/// Whether this is the link-local address of a macvlan.
pub(super) fn is_own(link: &LinkPlan, address: IpAddr) -> bool {
    link.parent.is_some() && address == IpAddr::from(link_local(link.tenant.mac))
}
