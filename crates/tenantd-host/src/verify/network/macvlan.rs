//! What differs where a tenant's link is a macvlan.

use std::io;
use std::net::IpAddr;

use rtnetlink::Handle;
use rtnetlink::packet_route::link::{LinkAttribute, LinkFlags};

use super::{Drift, find};
use crate::network::{differences_inside, link_local};
use tenantd_core::plan::model::{Firewall, Interface, LinkPlan, NetworkPlan};

/// The interface of the host that all links belong to. It is not ours, and only said.
pub(super) async fn of_parent(
    handle: &Handle,
    parent: &Interface,
) -> Result<Vec<Drift>, rtnetlink::Error> {
    let found = match find(handle, parent.as_str()).await? {
        None => "missing",
        Some(link) if !link.header.flags.contains(LinkFlags::Up) => "down",
        Some(link) if !link.header.flags.contains(LinkFlags::LowerUp) => "without a carrier",
        Some(_) => "up",
    };
    let (planned, found) = (format!("{parent} up"), format!("{parent} {found}"));
    let drift = Drift::between("parent", planned, found);
    Ok(drift.into_iter().collect())
}

/// The end on the host that bears the mark.
pub(super) async fn of_marker(
    handle: &Handle,
    link: &LinkPlan,
) -> Result<Vec<Drift>, rtnetlink::Error> {
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
