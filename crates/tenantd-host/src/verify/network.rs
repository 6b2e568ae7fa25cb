//! The network of a tenant: both ends of its link, its addresses, and the routes on both sides.

pub(super) mod macvlan;

use std::fs::File;
use std::io;
use std::net::{IpAddr, Ipv6Addr};
use std::thread;

use futures_util::{StreamExt, TryStreamExt};
use nix::sched::{CloneFlags, setns};
use rtnetlink::packet_core::{NLM_F_REQUEST, NetlinkMessage, NetlinkPayload};
use rtnetlink::packet_route::address::AddressAttribute;
use rtnetlink::packet_route::link::{
    AfSpecInet, AfSpecUnspec, LinkAttribute, LinkFlags, LinkMessage,
};
use rtnetlink::packet_route::neighbour::{
    NeighbourAddress, NeighbourAttribute, NeighbourMessage, NeighbourState,
};
use rtnetlink::packet_route::route::{RouteAddress, RouteAttribute, RouteMessage, RouteType};
use rtnetlink::packet_route::{AddressFamily, RouteNetlinkMessage};
use rtnetlink::{Handle, RouteMessageBuilder};

use super::{Drift, uplink};
use crate::network::{exposed_difference, is_reached_from_loopback, rate};
use tenantd_core::plan::model::{EndPlan, LinkPlan, Mode, NetworkPlan};
use tenantd_core::plan::rate::Rate;

pub(super) fn verify(network: &NetworkPlan, link: &LinkPlan, pid: u32) -> io::Result<Vec<Drift>> {
    let netns = File::open(format!("/proc/{pid}/ns/net"))?;
    let inside = thread::scope(|scope| {
        let visit = thread::Builder::new().name("verify".to_owned());
        let visit = visit.spawn_scoped(scope, || {
            setns(&netns, CloneFlags::CLONE_NEWNET)?;
            let mut inside = asked(async |handle| of_tenant(handle, network, link).await)?;
            inside.extend(macvlan::firewall(network, link)?);
            let name = link.tenant.name.as_str();
            inside.extend(rate_of("rate out", name, link.rate.outward)?);
            let exposed = exposed_difference(link)?;
            inside.extend(
                exposed.and_then(|(planned, found)| Drift::between("firewall", planned, found)),
            );
            Ok::<_, io::Error>(inside)
        })?;
        visit
            .join()
            .unwrap_or_else(|panic| std::panic::resume_unwind(panic))
    })?;
    let mut drifts = asked(async |handle| of_host(handle, network, link).await)?;
    if !link.is_macvlan() {
        let host = link.host.name.as_str();
        drifts.extend(rate_of("rate in", host, link.rate.inward)?);
    }
    drifts.extend(uplink::verify(network, link)?);
    drifts.extend(inside);
    Ok(drifts)
}

/// The hub with its address, and the route that refuses unused addresses.
pub(super) fn shared(network: &NetworkPlan) -> io::Result<Vec<Drift>> {
    if let Some(parent) = &network.parent {
        return asked(async |handle| macvlan::of_parent(handle, network, parent).await);
    }
    asked(async |handle| {
        let hub = find(handle, network.hub.name.as_str()).await?;
        let mut drifts = end("hub", &network.hub, network.mtu, hub.as_ref());
        let Some(hub) = hub else {
            return Ok(drifts);
        };
        let addresses = addresses_of(handle, hub.header.index).await?;
        if !addresses.contains(&IpAddr::V4(network.gateway)) {
            drifts.extend(Drift::between(
                "hub",
                network.gateway.to_string(),
                "no such address",
            ));
        }
        Ok(drifts)
    })
}

/// The addresses of a link.
async fn addresses_of(handle: &Handle, index: u32) -> Result<Vec<IpAddr>, rtnetlink::Error> {
    let mut found: Vec<IpAddr> = Vec::new();
    let mut addresses = handle
        .address()
        .get()
        .set_link_index_filter(index)
        .execute();
    while let Some(message) = addresses.try_next().await? {
        found.extend(message.attributes.iter().find_map(|part| match part {
            AddressAttribute::Local(address) => Some(*address),
            AddressAttribute::Address(address @ IpAddr::V6(_)) => Some(*address),
            _ => None,
        }));
    }
    Ok(found)
}

/// The rate at which packets leave by an end, in the network namespace of the calling thread.
fn rate_of(what: &'static str, name: &str, planned: Option<Rate>) -> io::Result<Option<Drift>> {
    let shown = |rate: Option<Rate>| rate.map_or("unlimited".to_owned(), |rate| rate.to_string());
    // The kernel counts bytes.
    let planned = planned.map(|rate| Rate::of_bytes(rate.bits() / 8));
    let found = rate::found(name)?.map(Rate::of_bytes);
    Ok(Drift::between(what, shown(planned), shown(found)))
}

/// Asks the kernel in the network namespace of the calling thread.
pub(super) fn asked<T>(
    questions: impl AsyncFnOnce(&Handle) -> Result<T, rtnetlink::Error>,
) -> io::Result<T> {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()?;
    runtime.block_on(async {
        let (connection, handle, _) = rtnetlink::new_connection()?;
        tokio::spawn(connection);
        questions(&handle).await.map_err(io::Error::other)
    })
}

/// A link of the calling thread's namespace. `None` if there is none.
pub(super) fn find_link(name: &str) -> io::Result<Option<LinkMessage>> {
    asked(async |handle| find(handle, name).await)
}

/// The MTU in bytes of a link of the calling thread's namespace. `None` if there is no such link.
pub(super) fn mtu_of(name: &str) -> io::Result<Option<u32>> {
    let found = find_link(name)?;
    let parts = found.into_iter().flat_map(|link| link.attributes);
    Ok(parts.into_iter().find_map(|part| match part {
        LinkAttribute::Mtu(mtu) => Some(mtu),
        _ => None,
    }))
}

/// The host end, the hub, and the routes to the addresses.
async fn of_host(
    handle: &Handle,
    network: &NetworkPlan,
    link: &LinkPlan,
) -> Result<Vec<Drift>, rtnetlink::Error> {
    if link.parent.is_some() {
        return macvlan::of_host(handle, network, link).await;
    }
    let mut drifts = Vec::new();
    let hub = find(handle, network.hub.name.as_str()).await?;
    let index = hub.as_ref().map(|hub| hub.header.index);
    let host = find(handle, link.host.name.as_str()).await?;
    drifts.extend(end("host end", &link.host, network.mtu, host.as_ref()));
    let Some(host) = host else {
        return Ok(drifts);
    };
    let (mut mark, mut controller, mut group) = ("none", None, 0);
    for part in &host.attributes {
        match part {
            LinkAttribute::IfAlias(alias) => mark = alias.as_str(),
            LinkAttribute::Controller(index) => controller = Some(*index),
            LinkAttribute::Group(number) => group = *number,
            _ => {}
        }
    }
    drifts.extend(Drift::between("mark", link.mark.as_str(), mark));
    let words = |group: u32| format!("group {group:#x}");
    let group = Drift::between("host end", words(network.group()), words(group));
    drifts.extend(group);
    if network.mode == Mode::Bridge && controller != index {
        let hub = network.hub.name.as_str();
        drifts.extend(Drift::between(
            "host end",
            format!("port of {hub}"),
            "no port of it",
        ));
    }
    let way = match network.mode {
        Mode::Routed => host.header.index,
        Mode::Bridge | Mode::Macvlan | Mode::Port => index.unwrap_or_default(),
    };
    for address in link.addresses.iter() {
        let found = way_to(handle, address).await?;
        if found != Some(way) {
            let name = match network.mode {
                Mode::Routed => link.host.name.as_str(),
                Mode::Bridge | Mode::Macvlan | Mode::Port => network.hub.name.as_str(),
            };
            let planned = format!("{address} by {name}");
            let found = found.map_or("none", |_| "by another link");
            drifts.extend(Drift::between("route on the host", planned, found));
        }
        let planned = format!("{address} at {}, permanent", link.tenant.mac);
        let found = neighbour(handle, way, address).await?;
        drifts.extend(Drift::between("neighbour", planned, found));
    }
    if is_reached_from_loopback(link) && !has_loopback(handle, way).await? {
        let planned = "::1 by the link, for published ports";
        drifts.extend(Drift::between("route on the host", planned, "none"));
    }
    Ok(drifts)
}

/// Whether what is for loopback addresses after its translation is taken at the tenant end.
async fn loopback_ways(
    handle: &Handle,
    link: &LinkPlan,
    tenant: &LinkMessage,
) -> Result<Option<Drift>, rtnetlink::Error> {
    let inet = tenant.attributes.iter().find_map(|part| match part {
        LinkAttribute::AfSpecUnspec(all) => all.iter().find_map(|of| match of {
            AfSpecUnspec::Inet(inet) => Some(inet),
            _ => None,
        }),
        _ => None,
    });
    let is_on = inet.into_iter().flatten().any(|part| match part {
        AfSpecInet::DevConf(settings) => settings.route_localnet != 0,
        _ => false,
    });
    let has_ipv6 = link.addresses.iter().any(|address| address.is_ipv6());
    let found = match is_on {
        false => "route_localnet is off",
        true if has_ipv6 && !has_loopback(handle, tenant.header.index).await? => {
            "no route for ::1 by the link"
        }
        true => return Ok(None),
    };
    Ok(Drift::between("tenant end", "takes exposed ports", found))
}

/// Whether what arrives by a link for `::1`, after its translation, is taken.
async fn has_loopback(handle: &Handle, index: u32) -> Result<bool, rtnetlink::Error> {
    let mut request: RouteMessage = RouteMessageBuilder::<IpAddr>::new().build();
    request.header.address_family = AddressFamily::Inet6;
    request.header.destination_prefix_length = 128;
    request.attributes = vec![
        RouteAttribute::Destination(RouteAddress::Inet6(Ipv6Addr::LOCALHOST)),
        RouteAttribute::Iif(index),
    ];
    match handle.route().get(request).execute().try_next().await {
        Err(error) if is(&error, libc::ENETUNREACH) || is(&error, libc::EHOSTUNREACH) => Ok(false),
        // The default route may lead by the link.
        found => Ok(found?.is_some_and(|found| found.header.kind == RouteType::Local)),
    }
}

/// What the host has of a neighbour, in words.
async fn neighbour(
    handle: &Handle,
    index: u32,
    address: IpAddr,
) -> Result<String, rtnetlink::Error> {
    let mut message = NeighbourMessage::default();
    message.header.family = match address {
        IpAddr::V4(_) => AddressFamily::Inet,
        IpAddr::V6(_) => AddressFamily::Inet6,
    };
    message.header.ifindex = index;
    message.attributes = vec![NeighbourAttribute::Destination(match address {
        IpAddr::V4(address) => NeighbourAddress::Inet(address),
        IpAddr::V6(address) => NeighbourAddress::Inet6(address),
    })];
    let mut request = NetlinkMessage::from(RouteNetlinkMessage::GetNeighbour(message));
    request.header.flags = NLM_F_REQUEST;
    let mut answers = handle.clone().request(request)?;
    while let Some(answer) = answers.next().await {
        if let NetlinkPayload::InnerMessage(RouteNetlinkMessage::NewNeighbour(found)) =
            answer.payload
        {
            let mac = found.attributes.iter().find_map(|part| match part {
                NeighbourAttribute::LinkLayerAddress(mac) => Some(mac),
                _ => None,
            });
            let mac = mac.into_iter().flatten().map(|byte| format!("{byte:02x}"));
            let mac = mac.collect::<Vec<_>>().join(":");
            let kept = match found.header.state {
                NeighbourState::Permanent => "permanent",
                _ => "not permanent",
            };
            return Ok(format!("{address} at {mac}, {kept}"));
        }
    }
    Ok("none".to_owned())
}

/// The tenant end, its addresses, and the default route.
async fn of_tenant(
    handle: &Handle,
    network: &NetworkPlan,
    link: &LinkPlan,
) -> Result<Vec<Drift>, rtnetlink::Error> {
    let mut drifts = Vec::new();
    let tenant = find(handle, link.tenant.name.as_str()).await?;
    drifts.extend(end(
        "tenant end",
        &link.tenant,
        network.mtu,
        tenant.as_ref(),
    ));
    let Some(tenant) = tenant else {
        return Ok(drifts);
    };
    let found = addresses_of(handle, tenant.header.index).await?;
    for address in link.addresses.iter().filter(|one| !found.contains(one)) {
        drifts.extend(Drift::between("address", address.to_string(), "not there"));
    }
    for address in found
        .iter()
        .filter(|one| link.addresses.iter().all(|it| it != **one))
        .filter(|one| !macvlan::is_own(link, **one))
    {
        drifts.extend(Drift::between("address", "none", address.to_string()));
    }
    if !link.traffic.exposed.is_empty() {
        drifts.extend(loopback_ways(handle, link, &tenant).await?);
    }
    for gateway in network.gateways() {
        // TEST-NET-1 and the documentation prefix: no host has them.
        let outside = match gateway {
            IpAddr::V4(_) => IpAddr::V4([192, 0, 2, 1].into()),
            IpAddr::V6(_) => IpAddr::V6([0x2001, 0xdb8, 0, 0, 0, 0, 0, 1].into()),
        };
        let mut addresses = link.addresses.iter();
        if addresses.all(|address| address.is_ipv4() != gateway.is_ipv4()) {
            continue;
        }
        if way_to(handle, outside).await? != Some(tenant.header.index) {
            let planned = format!("by {gateway}");
            drifts.extend(Drift::between("default route", planned, "none, or another"));
        }
    }
    Ok(drifts)
}

/// One end of a link, which must be up.
fn end(what: &'static str, planned: &EndPlan, mtu: u32, found: Option<&LinkMessage>) -> Vec<Drift> {
    let Some(found) = found else {
        return Drift::between(what, planned.name.as_str(), "missing")
            .into_iter()
            .collect();
    };
    let is_up = found.header.flags.contains(LinkFlags::Up);
    let words = |is_up| if is_up { "up" } else { "down" };
    let mut drifts: Vec<Drift> = Drift::between(what, words(true), words(is_up))
        .into_iter()
        .collect();
    for part in &found.attributes {
        drifts.extend(match part {
            LinkAttribute::Address(mac) if *mac != planned.mac.0 => {
                let found: Vec<String> = mac.iter().map(|byte| format!("{byte:02x}")).collect();
                Drift::between(
                    what,
                    format!("MAC {}", planned.mac),
                    format!("MAC {}", found.join(":")),
                )
            }
            LinkAttribute::Mtu(found) => {
                Drift::between(what, format!("MTU {mtu}"), format!("MTU {found}"))
            }
            _ => None,
        });
    }
    drifts
}

pub(super) async fn find(
    handle: &Handle,
    name: &str,
) -> Result<Option<LinkMessage>, rtnetlink::Error> {
    let request = handle.link().get().match_name(name.to_owned());
    match request.execute().try_next().await {
        Err(error) if is(&error, libc::ENODEV) => Ok(None),
        found => found,
    }
}

/// The index of the link by which packets go to an address.
async fn way_to(handle: &Handle, address: IpAddr) -> Result<Option<u32>, rtnetlink::Error> {
    let mut request: RouteMessage = RouteMessageBuilder::<IpAddr>::new().build();
    let (family, length, destination) = match address {
        IpAddr::V4(address) => (AddressFamily::Inet, 32, RouteAddress::Inet(address)),
        IpAddr::V6(address) => (AddressFamily::Inet6, 128, RouteAddress::Inet6(address)),
    };
    request.header.address_family = family;
    request.header.destination_prefix_length = length;
    let destination = RouteAttribute::Destination(destination);
    request.attributes.push(destination);
    let found = match handle.route().get(request).execute().try_next().await {
        Err(error) if is(&error, libc::ENETUNREACH) || is(&error, libc::EHOSTUNREACH) => None,
        found => found?,
    };
    let parts = found.into_iter().flat_map(|route| route.attributes);
    Ok(parts.into_iter().find_map(|part| match part {
        RouteAttribute::Oif(index) => Some(index),
        _ => None,
    }))
}

fn is(error: &rtnetlink::Error, errno: i32) -> bool {
    matches!(error, rtnetlink::Error::NetlinkError(answer) if answer.raw_code() == -errno)
}
