//! Checks the addresses of tenants against the subnets, the gateways and the networks of the uplink.

use std::net::{IpAddr, Ipv4Addr};

use ipnetwork::Ipv4Network;
use toml::Spanned;

use super::{instead, ipv6, macvlan, no_host, uplink};
use crate::manifest::free::Free;
use crate::manifest::problem::Problems;
use crate::manifest::raw::{Manifest, Tenant};

/// Checks the address of each tenant.
pub(super) fn check(
    manifest: &Manifest,
    (subnet, gateway, six, uplink): (
        &Spanned<Ipv4Network>,
        &Spanned<Ipv4Addr>,
        Option<&ipv6::Written>,
        Option<&uplink::Written>,
    ),
    free: &mut Free,
    problems: &mut Problems,
) {
    let network = &manifest.network;
    for ip in manifest.tenants.iter().flat_map(Tenant::ips) {
        if network.uplink.is_set && !uplink::is_inside(network, *ip.get_ref()) {
            // One that is invalid is reported already.
            if let Some(uplink) = uplink {
                uplink.check_address(ip, (network, *subnet.get_ref()), problems);
            }
            continue;
        }
        let around = (*subnet.get_ref(), gateway, macvlan::owner(network));
        match *ip.get_ref() {
            IpAddr::V4(address) => check_address((ip, address), around, free, problems),
            IpAddr::V6(address) => {
                ipv6::check_address(manifest, (ip, address), six, free, problems);
            }
        }
    }
}

fn check_address(
    (ip, address): (&Spanned<IpAddr>, Ipv4Addr),
    (subnet, gateway, owner): (Ipv4Network, &Spanned<Ipv4Addr>, &str),
    free: &mut Free,
    problems: &mut Problems,
) {
    if let Some(why) = no_host(address, subnet) {
        let first = Ipv4Addr::from(u32::from(subnet.network()) + 1);
        let last = Ipv4Addr::from(u32::from(subnet.broadcast()) - 1);
        let range = format!("use an address from {first} to {last}");
        problems
            .report(&ip.span(), format!("the address {address} {why}"))
            .help(match free.suggest() {
                Some(address) => format!("{range}: {address} is free"),
                None => range,
            });
    } else if address == *gateway.get_ref() {
        let message = format!("{address} is the gateway, the {owner} address in the subnet");
        let problem = problems.report(&ip.span(), message);
        problem.help(instead(*ip.get_ref(), free));
        // Without a key for it, there is no place to show.
        if !gateway.span().is_empty() {
            problem.also(&gateway.span(), "the gateway's address comes from this");
        }
    }
}
