//! Checks the IPv6 part of the network: the subnet, the gateway and the tenants' addresses.

use std::net::{IpAddr, Ipv6Addr};

use ipnetwork::Ipv6Network;
use toml::Spanned;

use super::instead;
use crate::manifest::free::Free;
use crate::manifest::problem::{Problems, Span};
use crate::manifest::raw::{Manifest, Network};
use crate::manifest::template::Slot;
use crate::plan::model::Subnet6;

/// The shortest prefix. A larger subnet is not plausible for one application.
const PREFIX_MIN: u8 = 16;

/// The longest prefix: the anycast address of routers, the gateway and two tenants.
const PREFIX_MAX: u8 = 126;

/// The prefix of most links.
const PREFIX_USUAL: u8 = 64;

/// The subnet and the gateway, where they are written.
pub(super) struct Written {
    pub(super) subnet: Spanned<Ipv6Network>,
    pub(super) gateway: Spanned<Ipv6Addr>,
}

impl Written {
    pub(super) fn plan(&self) -> Subnet6 {
        Subnet6 {
            network: *self.subnet.get_ref(),
            gateway: *self.gateway.get_ref(),
        }
    }
}

/// The subnet and the gateway. `None` if there are none, or they are invalid.
pub(super) fn read(network: &Network, problems: &mut Problems) -> Option<Written> {
    if let (false, Some(gateway)) = (network.subnet6.is_set, &network.gateway6) {
        problems
            .report(
                &gateway.span(),
                "`gateway6` has no effect without `subnet6`",
            )
            .help("add `subnet6`, the IPv6 network of the tenants, or remove it");
    }
    let subnet = subnet(network.subnet6.value.clone()?, problems)?;
    let gateway = gateway(network, &subnet, problems);
    Some(Written { subnet, gateway })
}

fn subnet(subnet: Spanned<Ipv6Network>, problems: &mut Problems) -> Option<Spanned<Ipv6Network>> {
    let (written, prefix) = (*subnet.get_ref(), subnet.get_ref().prefix());
    let base = written.network();
    let (message, help) = if let Some(use_) = reserved(base) {
        let message = format!("{written} is reserved for {use_}");
        let help = "use a private network such as `fd00:77::/64`, see RFC 4193".to_owned();
        (message, help)
    } else if prefix < PREFIX_MIN {
        let message = format!("the subnet {written} is too large");
        (message, format!("use a prefix of /{PREFIX_MIN} or longer"))
    } else if prefix > PREFIX_MAX {
        let message = format!("the subnet {written} has no room for a gateway and tenants");
        (message, format!("use a prefix of /{PREFIX_MAX} or shorter"))
    } else if written.ip() != base {
        let message = format!("the subnet {written} has host bits set");
        (message, format!("did you mean `{base}/{prefix}`?"))
    } else {
        return Some(subnet);
    };
    problems.report(&subnet.span(), message).help(help);
    None
}

/// The special purpose that excludes an address from use by tenants (RFC 6890): all but global unicast and unique
/// local ones.
fn reserved(address: Ipv6Addr) -> Option<&'static str> {
    match address.segments()[0] {
        0x2000..=0x3fff | 0xfc00..=0xfdff => None,
        0xff00..=0xffff => Some("multicast"),
        0xfe80..=0xfebf => Some("link-local addresses"),
        0 if address.is_loopback() => Some("loopback"),
        0 if address.to_ipv4_mapped().is_some() => Some("IPv4 addresses in the form of IPv6"),
        _ => Some("special purposes"),
    }
}

fn gateway(
    network: &Network,
    subnet: &Spanned<Ipv6Network>,
    problems: &mut Problems,
) -> Spanned<Ipv6Addr> {
    let base = subnet.get_ref().network();
    let first = Ipv6Addr::from(u128::from(base) + 1);
    let Some(gateway) = &network.gateway6 else {
        return Spanned::new(subnet.span(), first);
    };
    let address = *gateway.get_ref();
    // A router of a network that is not ours may have one of these.
    if address.is_unicast_link_local() && super::macvlan::is_beside(network) {
        return gateway.clone();
    }
    if let Some(why) = no_host(address, *subnet.get_ref()) {
        problems
            .report(&gateway.span(), format!("the gateway {address} {why}"))
            .help(format!("use an address such as {first}, the default"));
    }
    gateway.clone()
}

/// Why an address cannot be a host address of the subnet.
fn no_host(address: Ipv6Addr, subnet: Ipv6Network) -> Option<String> {
    if !subnet.contains(address) {
        Some(format!("is outside the subnet {subnet}"))
    } else if address == subnet.network() {
        Some(format!("is the anycast address of the routers of {subnet}"))
    } else {
        None
    }
}

/// Checks one address of a tenant.
pub(super) fn check_address(
    manifest: &Manifest,
    (at, address): (&Spanned<IpAddr>, Ipv6Addr),
    six: Option<&Written>,
    free: &mut Free,
    problems: &mut Problems,
) {
    if let Some(plain) = address.to_ipv4_mapped() {
        let message = format!("{address} is an IPv4 address in the form of IPv6");
        let help = format!("write \"{plain}\"");
        problems.report(&at.span(), message).help(help);
        return;
    }
    if let Some(use_) = reserved(address) {
        let message = format!("{address} is reserved for {use_}");
        let help = instead(*at.get_ref(), free);
        problems.report(&at.span(), message).help(help);
        return;
    }
    let Some(Written { subnet, gateway }) = six else {
        // One that is invalid is reported already.
        if !manifest.network.subnet6.is_set {
            let usual = Ipv6Network::new(address, PREFIX_USUAL).map(|it| it.network());
            let usual = usual.unwrap_or(address);
            problems
                .report(&at.span(), format!("no subnet has the address {address}"))
                .help(format!(
                    "add `subnet6 = \"{usual}/{PREFIX_USUAL}\"` to [network]"
                ));
        }
        return;
    };
    if let Some(why) = no_host(address, *subnet.get_ref()) {
        let message = format!("the address {address} {why}");
        let help = instead(*at.get_ref(), free);
        problems.report(&at.span(), message).help(help);
    } else if address == *gateway.get_ref() {
        let message = format!("{address} is the gateway, the host's own address in the subnet");
        let problem = problems.report(&at.span(), message);
        problem.help(instead(*at.get_ref(), free));
        problem.also(&gateway.span(), "the gateway's address comes from this");
    }
}

/// Reports tenants without an IPv6 address that have a placeholder for it in a value.
pub(in crate::plan) fn lacking(
    manifest: &Manifest,
    lacking: &[(Span, Slot)],
    problems: &mut Problems,
) {
    let mut said: Vec<&Span> = Vec::new();
    for (at, slot) in lacking {
        if said.contains(&at) {
            continue;
        }
        said.push(at);
        let mut tenants = manifest.tenants.iter();
        let tenant = tenants.find(|tenant| tenant.at == *at);
        let place = tenant.and_then(|tenant| tenant.ip.as_ref());
        let place = place.map_or_else(|| at.clone(), Spanned::span);
        let name = tenant.and_then(|tenant| tenant.name.as_ref());
        let name = name.map_or_else(String::new, |name| format!(" {name}"));
        let word = slot.word();
        let message = format!("a value has `{{{word}}}`, and tenant{name} has no IPv6 address");
        problems
            .report(&place, message)
            .help("add one, as in `ip = [\"10.77.0.11\", \"fd00:77::11\"]`");
    }
}
