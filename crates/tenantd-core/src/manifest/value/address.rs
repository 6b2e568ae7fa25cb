//! Addresses and networks of IPv6, and lists of addresses of both families.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use ipnetwork::{Ipv4Network, Ipv6Network};
use toml::Spanned;
use toml::de::DeValue;

use super::{At, Decode};
use crate::manifest::problem::{Problems, Span};

impl Decode for Ipv6Addr {
    fn decode(at: At<'_, '_>, problems: &mut Problems) -> Option<Self> {
        let text = at.text(problems, "an IPv6 address")?;
        let address = text.parse().ok();
        if address.is_none() {
            let message = if text.parse::<Ipv4Addr>().is_ok() {
                format!("{text:?} is an IPv4 address, not an IPv6 address")
            } else {
                format!("{text:?} is not an IPv6 address")
            };
            at.wrong(problems, message);
        }
        address
    }
}

impl Decode for Ipv6Network {
    fn decode(at: At<'_, '_>, problems: &mut Problems) -> Option<Self> {
        let text = at.text(problems, "an IPv6 network")?;
        // ipnetwork accepts a bare address as a network of one address.
        let network = text.parse::<Ipv6Network>().ok();
        let network = network.filter(|_| text.contains('/'));
        if network.is_none() {
            let message = if text.parse::<Ipv4Network>().is_ok() {
                format!("{text:?} is not an IPv6 network: that of IPv4 is `subnet`")
            } else {
                format!("{text:?} is not an IPv6 network")
            };
            at.wrong(problems, message);
        }
        network
    }
}

/// The addresses of a tenant.
#[derive(Debug)]
pub struct Ips {
    /// Those that are known, with their positions.
    pub known: Vec<Spanned<IpAddr>>,
    /// Where `"auto"` is written, and how many addresses come before it.
    pub auto: Option<(usize, Span)>,
}

/// The word that stands for addresses that tenantd finds.
const AUTO: &str = "auto";

/// One address, or an array of at least one.
impl Decode for Ips {
    fn decode(at: At<'_, '_>, problems: &mut Problems) -> Option<Self> {
        let items = items(at, problems)?;
        let mut ips = Ips {
            known: Vec::new(),
            auto: None,
        };
        for value in items {
            let item = At { value, ..at };
            match value.get_ref().as_str() {
                Some(AUTO) if ips.auto.is_none() => ips.auto = Some((ips.known.len(), item.span())),
                Some(AUTO) => {
                    let message = "`\"auto\"` is given twice";
                    let problem = problems.report(&item.span(), message);
                    problem.help("remove one of them: it stands for an address of each family");
                }
                // The others are checked all the same.
                Some(_) | None => ips.known.extend(address(item, problems)),
            }
        }
        (!ips.known.is_empty() || ips.auto.is_some()).then_some(ips)
    }
}

/// One address, or an array of at least one.
impl Decode for Vec<Spanned<IpAddr>> {
    fn decode(at: At<'_, '_>, problems: &mut Problems) -> Option<Self> {
        let items = items(at, problems)?.iter().map(|value| At { value, ..at });
        let decoded: Vec<_> = items.filter_map(|item| address(item, problems)).collect();
        // The others are checked all the same.
        (!decoded.is_empty()).then_some(decoded)
    }
}

/// The value alone, or the items of an array of at least one.
fn items<'a, 'de>(at: At<'a, 'de>, problems: &mut Problems) -> Option<&'a [Spanned<DeValue<'de>>]> {
    match at.value.get_ref() {
        DeValue::String(_) => Some(std::slice::from_ref(at.value)),
        DeValue::Array(items) if !items.is_empty() => Some(items.as_ref()),
        DeValue::Array(_) => {
            let message = format!("`{}` has no address", at.key.name);
            at.wrong(problems, message);
            None
        }
        _ => {
            at.wrong_type(problems, "an IP address, or an array of them");
            None
        }
    }
}

fn address(at: At<'_, '_>, problems: &mut Problems) -> Option<Spanned<IpAddr>> {
    let text = at.text(problems, "an IP address")?;
    let address: Option<IpAddr> = text.parse().ok();
    if address.is_none() {
        at.wrong(problems, format!("{text:?} is not an IP address"));
    }
    address.map(|address| Spanned::new(at.span(), address))
}
