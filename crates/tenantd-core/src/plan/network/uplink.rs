//! Checks addresses of the networks of an interface of the host, its uplink.

use std::net::IpAddr;

use ipnetwork::IpNetwork;
use toml::Spanned;

use super::{derive, is_whole};
use crate::manifest::problem::{Problems, Span};
use crate::manifest::raw::{Manifest, Network, Tenant};
use crate::manifest::value;
use crate::plan::facts::HostAddress;
use crate::plan::model::UplinkPlan;

/// The uplink, and the networks in which it has an address.
pub(super) struct Written {
    pub(super) name: String,
    networks: Vec<IpNetwork>,
    at: Span,
}

/// The addresses of a tenant that others reach by the uplink.
pub(in crate::plan) fn by_uplink(manifest: &Manifest, tenant: &Tenant) -> Vec<IpAddr> {
    let network = &manifest.network;
    if network.uplink.value.is_none() {
        return Vec::new();
    }
    let all = tenant.ips().map(|ip| *ip.get_ref());
    all.filter(|ip| !is_inside(network, *ip)).collect()
}

/// Whether an address is in the subnet of its family.
pub(super) fn is_inside(network: &Network, address: IpAddr) -> bool {
    match address {
        IpAddr::V4(address) => {
            let subnet = network.subnet.as_ref();
            subnet.is_some_and(|it| it.get_ref().contains(address))
        }
        IpAddr::V6(address) => {
            let subnet = network.subnet6.value.as_ref();
            subnet.is_some_and(|it| it.get_ref().contains(address))
        }
    }
}

/// The uplink. `None` if there is none, or it is invalid.
pub(super) fn read(
    network: &Network,
    foreign: &[&HostAddress],
    problems: &mut Problems,
) -> Option<Written> {
    let set = network.set_uplink.as_ref().filter(|it| *it.get_ref());
    if let (false, Some(set)) = (network.uplink.is_set, set) {
        problems
            .report(&set.span(), "`set_uplink` has no effect without `uplink`")
            .help("add `uplink`, the interface of the host, or remove it");
    }
    let uplink = network.uplink.value.as_ref()?;
    let (at, name) = (uplink.span(), uplink.get_ref().as_str());
    let mode = network.mode.as_ref().map(Spanned::get_ref);
    if mode.is_some_and(|mode| *mode != value::Mode::Routed) {
        problems
            .report(&at, "`uplink` needs `mode = \"routed\"`")
            .help("remove it, or change the mode");
        return None;
    }
    let is_ours = is_of_tenantd(name);
    if is_ours || name == "lo" {
        let what = if is_ours {
            "a link of tenantd"
        } else {
            "the host's loopback interface"
        };
        problems
            .report(&at, format!("{name} is {what}"))
            .help("name the interface by which the host is in the network of others");
        return None;
    }
    let own = foreign.iter().filter(|it| it.interface == name);
    let own = own.map(|it| it.network).filter(|it| !is_whole(*it));
    let networks: Vec<IpNetwork> = own
        .filter_map(|it| IpNetwork::new(it.network(), it.prefix()).ok())
        .collect();
    if networks.is_empty() {
        let mut others: Vec<&str> = foreign.iter().map(|it| it.interface.as_str()).collect();
        others.retain(|other| *other != "lo" && !is_of_tenantd(other));
        others.sort_unstable();
        others.dedup();
        let problem = problems.report(
            &at,
            format!("the host has no interface {name} with an address"),
        );
        problem.help(match others.is_empty() {
            true => "no interface has one".to_owned(),
            false => format!("interfaces with addresses are {}", others.join(", ")),
        });
        return None;
    }
    Some(Written {
        name: name.to_owned(),
        networks,
        at,
    })
}

impl Written {
    pub(super) fn plan(&self, network: &Network) -> UplinkPlan {
        UplinkPlan {
            name: self.name.clone(),
            set: network.set_uplink.as_ref().is_some_and(|it| *it.get_ref()),
        }
    }

    /// Checks one address that is in no subnet of the application.
    pub(super) fn check_address(
        &self,
        ip: &Spanned<IpAddr>,
        (network, subnet): (&Network, ipnetwork::Ipv4Network),
        problems: &mut Problems,
    ) {
        let address = *ip.get_ref();
        if address.is_ipv6() && network.subnet6.value.is_none() {
            if !network.subnet6.is_set {
                let message =
                    format!("the address {address} needs an IPv6 subnet, for the gateway");
                problems
                    .report(&ip.span(), message)
                    .help("add `subnet6 = \"fd00:77::/64\"` to [network]");
            }
            return;
        }
        let same = |it: &&IpNetwork| it.is_ipv4() == address.is_ipv4() && !is_link_local(**it);
        let around = self.networks.iter().find(|it| it.contains(address));
        let Some(around) = around.filter(same) else {
            let all: Vec<String> = self
                .networks
                .iter()
                .filter(same)
                .map(ToString::to_string)
                .collect();
            let name = &self.name;
            let message =
                format!("the address {address} is in no network of the host's interface {name}");
            let help = match all.is_empty() {
                true => format!("{name} has no network of this family"),
                false => format!("use an address from {}, or from {subnet}", all.join(", ")),
            };
            let problem = problems.report(&ip.span(), message);
            problem.also(&self.at, "the interface").help(help);
            return;
        };
        let why = match around {
            _ if address == around.network() => "the first address of",
            IpNetwork::V4(_) if address == around.broadcast() => "the broadcast address of",
            _ => return,
        };
        problems
            .report(&ip.span(), format!("{address} is {why} {around}"))
            .help("use another address of it");
    }
}

fn is_of_tenantd(name: &str) -> bool {
    let firsts = [derive::HOST_END, derive::HUB];
    firsts.iter().any(|first| derive::is_derived(first, name))
}

fn is_link_local(network: IpNetwork) -> bool {
    match network.network() {
        IpAddr::V4(address) => address.is_link_local(),
        IpAddr::V6(address) => address.is_unicast_link_local(),
    }
}
