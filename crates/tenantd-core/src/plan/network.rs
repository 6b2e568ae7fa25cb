//! Checks and derives the network: the subnet, the gateway and the tenants' addresses.

mod addresses;
mod auto;
mod claims;
mod ipv6;
pub(super) mod macs;
mod macvlan;
mod port;
mod uplink;

use std::collections::BTreeMap;
use std::net::{IpAddr, Ipv4Addr};

use ipnetwork::{IpNetwork, Ipv4Network};
use toml::Spanned;

use super::address::Addresses;
use super::facts::{HostAddress, HostFacts};
use super::model::{Mode, NetworkPlan};
use super::{derive, traffic};
use crate::manifest::free::Free;
use crate::manifest::problem::{Problems, Span};
use crate::manifest::raw::{Manifest, Network, Tenant};
use crate::manifest::value::{self, Sysctls};
use crate::name::AppName;
pub(super) use auto::{Given, give};
pub(super) use ipv6::lacking;
pub(super) use uplink::by_uplink;

/// The most ports of a bridge: `BR_MAX_PORTS` of net/bridge/br_private.h is 1,024, and port
/// number 0 is not used.
pub const BRIDGE_TENANTS_MAX: usize = 1023;

/// The shortest prefix. A larger subnet is not plausible for one application.
const PREFIX_MIN: u8 = 8;

/// The longest prefix: network and broadcast address, the gateway and one tenant.
const PREFIX_MAX: u8 = 30;

/// Derives the shared network and reports invalid addresses.
pub(super) fn network(
    manifest: &Manifest,
    host: &dyn HostFacts,
    problems: &mut Problems,
) -> Option<NetworkPlan> {
    let network = &manifest.network;
    check_count(manifest, problems);
    macs::check(manifest, problems);
    traffic::check(manifest, problems);
    let app = manifest.app.name.as_ref().map(Spanned::get_ref);
    let addresses = host.addresses();
    let foreign: Vec<&HostAddress> = match &addresses {
        Ok(addresses) => addresses.iter().filter(|a| is_foreign(a, app)).collect(),
        Err(_) => Vec::new(),
    };
    let mut free = manifest.free.clone();
    foreign
        .iter()
        .for_each(|address| free.take(address.network.ip()));
    duplicates(&manifest.tenants, &mut free, problems);
    let subnet = subnet(network, problems)?;
    let gateway = gateway(network, *subnet.get_ref(), problems);
    let parent = macvlan::check(manifest, host, problems);
    check_room(&subnet, manifest.tenants.len(), problems);
    let six = ipv6::read(network, problems);
    let uplink = uplink::read(network, &foreign, problems);
    let around = (&subnet, &gateway, six.as_ref(), uplink.as_ref());
    addresses::check(manifest, around, &mut free, problems);
    if let Err(errno) = addresses {
        let message = format!("cannot read the host's addresses: {}", errno.desc());
        problems.report(&subnet.span(), message);
    }
    let mut around = Around::of(&subnet, &gateway, six.as_ref(), uplink.as_ref());
    // The network of a parent is that of the host and others, too.
    if macvlan::is_beside(network) {
        around.subnets.clear();
    }
    if port::is_wanted(network) {
        around
            .gateways
            .retain(|(gateway, _)| !port::is_host(*gateway, &foreign, parent.as_ref()));
    }
    let own = claims::own(manifest);
    claims::check((host, &own), &around.subnets, (app, &foreign), problems);
    check_host(&foreign, &around, &manifest.tenants, &mut free, problems);
    let app = app?;
    let by = uplink.as_ref().map(|it| it.name.as_str());
    let by = by.or(parent.as_ref().map(|it| it.name.as_str()));
    let mtu = macvlan::mtu(mtu(network, by, host)?, parent.as_ref());
    Some(NetworkPlan {
        mode: mode(network)?,
        parent: parent.as_ref().map(|parent| parent.name.clone()),
        subnet: *subnet.get_ref(),
        gateway: *gateway.get_ref(),
        ipv6: six.map(|six| six.plan()),
        uplink: uplink.map(|uplink| uplink.plan(network)),
        hub: derive::hub(app),
        mark: derive::hub_mark(app),
        mtu,
        mtu_given: network.mtu.is_set,
        firewall: *network.firewall.as_ref()?.get_ref(),
    })
}

/// The MTU if neither the manifest nor an interface says one, and the least that IPv6 takes.
const MTU: u32 = 1500;
const MTU_MIN: u32 = 1280;
const MTU_MAX: u32 = 65535;

/// The MTU of the manifest, or else of the interface by which the host reaches others.
fn mtu(network: &Network, uplink: Option<&str>, host: &dyn HostFacts) -> Option<u32> {
    match (&network.mtu.value, network.mtu.is_set) {
        (Some(mtu), _) => Some(*mtu.get_ref()),
        // It is reported.
        (None, true) => None,
        (None, false) => {
            let found = host.mtu(uplink).unwrap_or(MTU);
            Some(found.clamp(MTU_MIN, MTU_MAX))
        }
    }
}

/// The subnets and the gateways of both families, with their positions.
struct Around {
    subnets: Vec<(IpNetwork, Span)>,
    gateways: Vec<(IpAddr, Span)>,
    uplink: Option<String>,
}

impl Around {
    fn of(
        subnet: &Spanned<Ipv4Network>,
        gateway: &Spanned<Ipv4Addr>,
        six: Option<&ipv6::Written>,
        uplink: Option<&uplink::Written>,
    ) -> Self {
        let mut around = Self {
            subnets: vec![((*subnet.get_ref()).into(), subnet.span())],
            gateways: vec![((*gateway.get_ref()).into(), gateway.span())],
            uplink: uplink.map(|it| it.name.clone()),
        };
        if let Some(ipv6::Written { subnet, gateway }) = six {
            let (network, address) = (*subnet.get_ref(), *gateway.get_ref());
            around.subnets.push((network.into(), subnet.span()));
            around.gateways.push((address.into(), gateway.span()));
        }
        around
    }
}

/// Whether two networks have addresses in common.
fn overlap(one: IpNetwork, other: IpNetwork) -> bool {
    one.contains(other.network()) || other.contains(one.network())
}

/// The settings of the kernel for a tenant. Its own take precedence over `[defaults]`, and those over
/// `[app]`.
pub(super) fn sysctls(manifest: &Manifest, tenant: &Tenant) -> Sysctls {
    let layers = [
        &manifest.app.sysctls,
        &manifest.defaults.sysctls,
        &tenant.overrides.sysctls,
    ];
    let layers = layers.into_iter().flatten().flat_map(Spanned::get_ref);
    layers.map(|(one, value)| (*one, value.clone())).collect()
}

/// The addresses of a tenant. None if none is valid.
pub(super) fn addresses(tenant: &Tenant) -> Option<Addresses> {
    Addresses::of(tenant.ips().map(|ip| *ip.get_ref()))
}

fn mode(network: &Network) -> Option<Mode> {
    Some(match network.mode.as_ref()?.get_ref() {
        value::Mode::Routed => Mode::Routed,
        value::Mode::Bridge if port::is_wanted(network) => Mode::Port,
        value::Mode::Bridge => Mode::Bridge,
        value::Mode::Macvlan => Mode::Macvlan,
    })
}

fn subnet(network: &Network, problems: &mut Problems) -> Option<Spanned<Ipv4Network>> {
    let subnet = network.subnet.clone()?;
    let (written, prefix) = (*subnet.get_ref(), subnet.get_ref().prefix());
    let base = written.network();
    let (message, help) = if prefix < PREFIX_MIN {
        let message = format!("the subnet {written} is too large");
        (message, format!("use a prefix of /{PREFIX_MIN} or longer"))
    } else if prefix > PREFIX_MAX {
        let message = format!("the subnet {written} has no room for a gateway and tenants");
        (message, format!("use a prefix of /{PREFIX_MAX} or shorter"))
    } else if written.ip() != base {
        let message = format!("the subnet {written} has host bits set");
        (message, format!("did you mean `{base}/{prefix}`?"))
    } else if let Some(use_) = reserved(written) {
        let message = format!("{written} is reserved for {use_}");
        (
            message,
            "use a private network such as `10.77.0.0/24`, see RFC 1918".to_owned(),
        )
    } else {
        return Some(subnet);
    };
    problems.report(&subnet.span(), message).help(help);
    None
}

/// The special purpose that excludes a network from use by tenants (RFC 6890).
fn reserved(network: Ipv4Network) -> Option<&'static str> {
    let address = network.network();
    match address.octets()[0] {
        0 => Some("\"this network\""),
        127 => Some("loopback"),
        224..=239 => Some("multicast"),
        240..=255 => Some("future use"),
        _ if address.is_link_local() => Some("link-local addresses"),
        _ => None,
    }
}

fn gateway(network: &Network, subnet: Ipv4Network, problems: &mut Problems) -> Spanned<Ipv4Addr> {
    let first = Ipv4Addr::from(u32::from(subnet.network()) + 1);
    let Some(gateway) = &network.gateway else {
        let at = network.subnet.as_ref().map_or(0..0, Spanned::span);
        return Spanned::new(at, first);
    };
    let address = *gateway.get_ref();
    if let Some(why) = no_host(address, subnet) {
        problems
            .report(&gateway.span(), format!("the gateway {address} {why}"))
            .help(format!("use an address such as {first}, the default"));
    }
    gateway.clone()
}

/// Why an address cannot be a host address of the subnet.
fn no_host(address: Ipv4Addr, subnet: Ipv4Network) -> Option<String> {
    if !subnet.contains(address) {
        Some(format!("is outside the subnet {subnet}"))
    } else if address == subnet.network() {
        Some(format!("is the network address of {subnet}"))
    } else if address == subnet.broadcast() {
        Some(format!("is the broadcast address of {subnet}"))
    } else {
        None
    }
}

fn check_count(manifest: &Manifest, problems: &mut Problems) {
    let Some(mode) = &manifest.network.mode else {
        return;
    };
    let count = manifest.tenants.len();
    if *mode.get_ref() == value::Mode::Bridge && count > BRIDGE_TENANTS_MAX {
        let message = format!("a bridge has room for {BRIDGE_TENANTS_MAX} tenants, not {count}");
        problems
            .report(&mode.span(), message)
            .help("`mode = \"routed\"` has no such limit");
    }
}

fn check_room(subnet: &Spanned<Ipv4Network>, count: usize, problems: &mut Problems) {
    // Network, broadcast and gateway address are not available to tenants.
    let room = subnet.get_ref().size() - 3;
    if count > usize::try_from(room).unwrap_or(usize::MAX) {
        let message = format!(
            "the subnet {} has room for {room} of the {count} tenants",
            subnet.get_ref()
        );
        problems
            .report(&subnet.span(), message)
            .help("use a larger subnet, with a shorter prefix");
    }
}

/// The help text for an address that cannot be used.
fn instead(address: IpAddr, free: &mut Free) -> String {
    match free.suggest_instead_of(address) {
        Some(address) => format!("use another address: {address} is free"),
        None => "use another address".to_owned(),
    }
}

/// Reports addresses that are given twice. After sorting, they are adjacent.
fn duplicates(tenants: &[Tenant], free: &mut Free, problems: &mut Problems) {
    let each = tenants.iter().enumerate();
    let mut sorted: Vec<(usize, &Spanned<IpAddr>)> = each
        .flat_map(|(tenant, it)| it.ips().map(move |ip| (tenant, ip)))
        .collect();
    sorted.sort_by_key(|(_, ip)| (*ip.get_ref(), ip.span().start));
    for same in sorted.chunk_by(|(_, a), (_, b)| a.get_ref() == b.get_ref()) {
        let (tenant, first) = same[0];
        for (other, ip) in &same[1..] {
            let address = ip.get_ref();
            if *other == tenant {
                problems
                    .report(&ip.span(), format!("the address {address} is given twice"))
                    .also(&first.span(), "the first one")
                    .help("remove one of them");
                continue;
            }
            problems
                .report(
                    &ip.span(),
                    format!("two tenants have the address {address}"),
                )
                .note("second tenant")
                .also(&first.span(), "first tenant")
                .help(instead(*address, free));
        }
    }
}

/// Whether an address of the host does not belong to this application.
fn is_foreign(address: &HostAddress, app: Option<&AppName>) -> bool {
    let interface = address.interface.as_str();
    // Host ends never conflict with another application's subnet; its hub may.
    let ours = app.is_some_and(|app| derive::hub(app).name.as_str() == interface);
    !ours && !derive::is_derived(derive::HOST_END, interface)
}

/// Reports conflicts with addresses of the host. Each is looked up once, so the cost is the sum of
/// the tenants and the host's addresses, not their product.
fn check_host(
    foreign: &[&HostAddress],
    around: &Around,
    tenants: &[Tenant],
    free: &mut Free,
    problems: &mut Problems,
) {
    let ips = tenants.iter().flat_map(Tenant::ips);
    let mut owners: BTreeMap<IpAddr, Span> = ips.map(|ip| (*ip.get_ref(), ip.span())).collect();
    owners.extend(around.gateways.iter().cloned());
    for taken in foreign {
        let (address, interface) = (taken.network.ip(), &taken.interface);
        let owner = owners.get(&address);
        if let Some(owner) = owner {
            let message = format!("the host already has the address {address}, on {interface}");
            let problem = problems.report(owner, message);
            problem.help(instead(address, free));
        }
        // An address with a prefix of its whole length claims no network, so it cannot overlap the subnet.
        let alone = owner.is_some() && is_whole(taken.network);
        let overlapping = around.subnets.iter();
        for (subnet, at) in overlapping.filter(|(subnet, _)| overlap(*subnet, taken.network)) {
            if alone {
                continue;
            }
            let other = taken.network;
            let message = format!(
                "the subnet {subnet} overlaps {} on the host's interface {interface}",
                IpNetwork::new(other.network(), other.prefix()).unwrap_or(other),
            );
            let help = match around.uplink.as_ref() == Some(interface) {
                true => {
                    "use a subnet that is free: with `uplink`, tenants can have addresses of its network all the same"
                }
                false => "use a subnet that is free",
            };
            problems.report(at, message).help(help);
        }
    }
}

/// Whether a network is one address.
fn is_whole(network: IpNetwork) -> bool {
    network.prefix() == if network.is_ipv4() { 32 } else { 128 }
}
