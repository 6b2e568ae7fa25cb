//! The route for all addresses of the subnet that no tenant has now: the host refuses them.
//!
//! Without it, what is sent to a tenant that is down would follow the host's default route, to the machine that has the
//! address out there. Its metric is the highest, so that each tenant's route comes first.

use std::net::IpAddr;

use futures_util::TryStreamExt;
use ipnetwork::IpNetwork;
use rtnetlink::RouteMessageBuilder;
use rtnetlink::packet_route::AddressFamily;
use rtnetlink::packet_route::route::{RouteMessage, RouteProtocol, RouteScope, RouteType};

use tenantd_core::plan::model::{Firewall, Mode, NetworkPlan};
use tenantd_core::stage::{Failure, Stage};

use super::family::{destination, local, route_to};
use super::link::Links;
use super::refusal::{errno, refused};

/// The mark of a route without a link: the number of the protocol, see `rtm_protocol` in rtnetlink(7), that no
/// other program has registered.
pub(super) const PROTOCOL: RouteProtocol = RouteProtocol::Other(126);

/// Whether the firewall refuses these addresses instead of the kernel. In mode bridge tenants look for their neighbours
/// by ARP, and the hub answers for what is routed, not for what is unreachable. In IPv6 they do not look for them.
fn is_refused_by_firewall(network: &NetworkPlan, subnet: IpNetwork) -> bool {
    network.mode == Mode::Bridge && network.firewall == Firewall::On && subnet.is_ipv4()
}

fn refusing(subnet: IpNetwork) -> RouteMessageBuilder<IpAddr> {
    route_to(subnet).priority(u32::MAX).protocol(PROTOCOL)
}

fn route((network, subnet): (&NetworkPlan, IpNetwork), hub: u32) -> RouteMessage {
    let route = refusing(subnet);
    match is_refused_by_firewall(network, subnet) {
        true => route.output_interface(hub).scope(RouteScope::Link).build(),
        false => route.kind(RouteType::Unreachable).build(),
    }
}

/// What the route is called in messages.
pub(super) fn name(subnet: IpNetwork) -> String {
    format!("the route that refuses unused addresses of {subnet}")
}

/// Makes the route. Returns whether it was missing.
pub(super) async fn ensure(
    links: &Links,
    (network, subnet): (&NetworkPlan, IpNetwork),
    hub: u32,
) -> Result<bool, Failure> {
    let added = links.handle().route().add(route((network, subnet), hub));
    match links.done(added.execute().await) {
        Ok(()) => Ok(true),
        Err(error) if errno(&error) == Some(libc::EEXIST) => Ok(false),
        Err(error) => Err(refused(
            Stage::Route,
            format!("unreachable {subnet}"),
            error,
        )),
    }
}

/// Removes the route that refuses. One by a hub goes with it.
pub(super) async fn remove(links: &Links, subnet: IpNetwork) -> Result<(), Failure> {
    let route = refusing(subnet).kind(RouteType::Unreachable).build();
    match links.done(links.handle().route().del(route).execute().await) {
        Err(error) if errno(&error) != Some(libc::ESRCH) => {
            let object = format!("unreachable {subnet}");
            Err(refused(Stage::Release, object, error))
        }
        Ok(()) | Err(_) => Ok(()),
    }
}

/// Removes those of a hub that is residue, by the addresses that it has. Lists the routes of this kind only.
pub(super) async fn remove_of_hub(
    links: &Links,
    hub: u32,
    except: &[IpNetwork],
) -> Result<(), Failure> {
    let fail = |error| refused(Stage::Release, "(routes of the hub)", error);
    for family in [AddressFamily::Inet, AddressFamily::Inet6] {
        let mut request = links.handle().address().get();
        request.message_mut().header.index = hub;
        request.message_mut().header.family = family;
        let addresses: Vec<_> = request.execute().try_collect().await.map_err(fail)?;
        let gateways: Vec<IpAddr> = addresses.iter().filter_map(local).collect();
        let mut wanted = RouteMessageBuilder::<IpAddr>::new()
            .protocol(PROTOCOL)
            .kind(RouteType::Unreachable)
            .build();
        wanted.header.address_family = family;
        let routes = links.handle().route().get(wanted).execute();
        let routes: Vec<RouteMessage> = routes.try_collect().await.map_err(fail)?;
        for route in routes {
            let subnet = destination(&route);
            let is_ours = route.header.kind == RouteType::Unreachable
                && route.header.protocol == PROTOCOL
                && subnet.is_some_and(|subnet| gateways.iter().any(|it| subnet.contains(*it)));
            if let Some(subnet) = subnet.filter(|it| is_ours && !except.contains(it)) {
                remove(links, subnet).await?;
            }
        }
    }
    Ok(())
}
