//! Reads what traffic a tenant may have.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::str::FromStr;

use ipnetwork::{IpNetwork, Ipv6Network};
use toml::Spanned;

use super::super::{At, Decode, one_of};
use super::{EgressRule, Firewall, Outbound, Peer, Protocol, Publish, Service};
use crate::manifest::problem::Problems;

impl FromStr for Protocol {
    type Err = ();

    fn from_str(text: &str) -> Result<Self, ()> {
        match text {
            "tcp" => Ok(Protocol::Tcp),
            "udp" => Ok(Protocol::Udp),
            _ => Err(()),
        }
    }
}

/// A port, which is not 0.
fn port(text: &str) -> Option<u16> {
    let digits = !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit());
    text.parse().ok().filter(|port| digits && *port != 0)
}

/// A port, with a protocol or without.
pub(super) fn port_of(text: &str) -> Option<(u16, Option<Protocol>)> {
    match text.split_once('/') {
        Some((before, protocol)) => Some((port(before)?, Some(protocol.parse().ok()?))),
        None => Some((port(text)?, None)),
    }
}

impl FromStr for Publish {
    type Err = ();

    fn from_str(text: &str) -> Result<Self, ()> {
        let parse = || {
            let (from, to) = text.split_once("->")?;
            let (from, to) = (from.trim(), to.trim());
            let (address, from) = match from.rsplit_once(':') {
                Some((address, from)) => (host_address(address)?, from),
                None => (Ipv4Addr::UNSPECIFIED.into(), from),
            };
            let (to, protocol) = port_of(to)?;
            Some(Publish {
                address,
                port: port(from)?,
                to,
                protocol: protocol.unwrap_or(Protocol::Tcp),
            })
        };
        parse().ok_or(())
    }
}

/// An address of the host; one of IPv6 is in brackets.
fn host_address(text: &str) -> Option<IpAddr> {
    match in_brackets(text) {
        Some(inner) => inner.parse::<Ipv6Addr>().ok().map(IpAddr::V6),
        None => text.parse::<Ipv4Addr>().ok().map(IpAddr::V4),
    }
}

fn in_brackets(text: &str) -> Option<&str> {
    text.strip_prefix('[')?.strip_suffix(']')
}

impl FromStr for EgressRule {
    type Err = ();

    fn from_str(text: &str) -> Result<Self, ()> {
        let parse = || {
            let (verb, target) = text.split_once(' ')?;
            let allow = match verb {
                "allow" => true,
                "deny" => false,
                _ => return None,
            };
            let target = target.trim();
            let (target, protocol) = match target.rsplit_once('/') {
                Some((before, last)) if last.parse::<Protocol>().is_ok() => {
                    (before, last.parse().ok())
                }
                Some(_) | None => (target, None),
            };
            // The colons in brackets are those of an address.
            let end = target.find(']').unwrap_or(0);
            let (addresses, ports) = match target[end..].find(':') {
                Some(at) => (&target[..end + at], Some(range(&target[end + at + 1..])?)),
                None => (target, None),
            };
            let network = match addresses {
                "any" => None,
                addresses => Some(network(addresses)?),
            };
            Some(EgressRule {
                allow,
                network,
                ports,
                protocol,
            })
        };
        parse().ok_or(())
    }
}

fn range(text: &str) -> Option<(u16, u16)> {
    let (first, last) = text.split_once('-').unwrap_or((text, text));
    let (first, last) = (port(first)?, port(last)?);
    (first <= last).then_some((first, last))
}

fn network(text: &str) -> Option<IpNetwork> {
    let network: IpNetwork = match in_brackets(text) {
        Some(inner) => inner.parse::<Ipv6Network>().ok()?.into(),
        None => text.parse::<ipnetwork::Ipv4Network>().ok()?.into(),
    };
    (network.ip() == network.network()).then_some(network)
}

impl Decode for Firewall {
    fn decode(at: At<'_, '_>, problems: &mut Problems) -> Option<Self> {
        Some(match one_of(at, problems)? {
            "on" => Firewall::On,
            "off" => Firewall::Off,
            word => unreachable!("{word} is a choice of {}", at.key.name),
        })
    }
}

impl Decode for Outbound {
    fn decode(at: At<'_, '_>, problems: &mut Problems) -> Option<Self> {
        Some(match one_of(at, problems)? {
            "none" => Outbound::None,
            "nat" => Outbound::Nat,
            "routed" => Outbound::Routed,
            word => unreachable!("{word} is a choice of {}", at.key.name),
        })
    }
}

/// The items of an array of strings, each as it is parsed. A string may stand for several.
fn items<T>(
    at: At<'_, '_>,
    problems: &mut Problems,
    parse: impl Fn(&str) -> Option<Vec<T>>,
    wrong: impl Fn(&str) -> (String, &'static str),
) -> Option<Vec<Spanned<T>>> {
    let Some(array) = at.value.get_ref().as_array() else {
        at.wrong_type(problems, "an array of strings");
        return None;
    };
    let mut all = Vec::new();
    for value in array {
        let Some(text) = (At { value, ..at }).text(problems, "a string") else {
            continue;
        };
        match parse(text) {
            Some(items) => {
                let spanned = items
                    .into_iter()
                    .map(|item| Spanned::new(value.span(), item));
                all.extend(spanned);
            }
            None => {
                let (message, help) = wrong(text);
                problems.report(&value.span(), message).help(help);
            }
        }
    }
    Some(all)
}

impl Decode for Vec<Spanned<Peer>> {
    fn decode(at: At<'_, '_>, problems: &mut Problems) -> Option<Self> {
        let parse = |text: &str| match text {
            "*" => Some(vec![Peer::All]),
            text => Some(vec![Peer::Named(text.parse().ok()?)]),
        };
        let wrong = |text: &str| {
            let message = format!("{text:?} is not a valid name");
            (
                message,
                "name a tenant of this manifest, or \"*\" for all of them",
            )
        };
        items(at, problems, parse, wrong)
    }
}

impl Decode for Vec<Spanned<Service>> {
    fn decode(at: At<'_, '_>, problems: &mut Problems) -> Option<Self> {
        let parse = |text: &str| {
            if text == "dns" {
                let both = [Protocol::Udp, Protocol::Tcp];
                return Some(both.map(|protocol| Service { port: 53, protocol }).into());
            }
            let (port, protocol) = port_of(text)?;
            let protocol = protocol?;
            Some(vec![Service { port, protocol }])
        };
        let wrong = |text: &str| {
            let message = format!("{text:?} is not a service of the host");
            (
                message,
                "write a port with its protocol, such as \"5432/tcp\", or \"dns\"",
            )
        };
        items(at, problems, parse, wrong)
    }
}

impl Decode for Vec<Spanned<Publish>> {
    fn decode(at: At<'_, '_>, problems: &mut Problems) -> Option<Self> {
        let wrong = |text: &str| {
            let message = format!("{text:?} is not a published port");
            let help = "write the host's port, with an address of the host or without, and the \
                        tenant's: \"203.0.113.7:8080 -> 80/tcp\", \"8443 -> 443\" or, for IPv6, \
                        \"[::]:8443 -> 443\"";
            (message, help)
        };
        items(at, problems, |text| Some(vec![text.parse().ok()?]), wrong)
    }
}

impl Decode for Vec<Spanned<EgressRule>> {
    fn decode(at: At<'_, '_>, problems: &mut Problems) -> Option<Self> {
        let wrong = |text: &str| {
            let message = format!("{text:?} is not a rule");
            let help = "write `allow` or `deny`, and then addresses, ports and protocol: \
                        \"allow 198.51.100.0/24:443/tcp\", \"deny any:25\" or \"allow any\"";
            (message, help)
        };
        items(at, problems, |text| Some(vec![text.parse().ok()?]), wrong)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn published_ports_are_read_and_shown() {
        for (text, shown) in [
            ("203.0.113.7:8080 -> 80/tcp", "203.0.113.7:8080 -> 80/tcp"),
            ("8443->443", "8443 -> 443/tcp"),
            ("0.0.0.0:53 -> 53/udp", "53 -> 53/udp"),
            ("[::]:8443 -> 443", "[::]:8443 -> 443/tcp"),
            ("[2001:db8::7]:53->53/udp", "[2001:db8::7]:53 -> 53/udp"),
        ] {
            let publish: Publish = text.parse().unwrap();
            assert_eq!(publish.to_string(), shown);
            assert_eq!(shown.parse(), Ok(publish));
        }
        for text in [
            "8080",
            "0 -> 80",
            "x:1 -> 2",
            "::1:8080 -> 2",
            "[192.0.2.1]:8080 -> 2",
            "1 -> 2/sctp",
            "+1 -> 2",
            "1 -> 65536",
        ] {
            assert!(text.parse::<Publish>().is_err(), "{text}");
        }
    }

    #[test]
    fn rules_are_read_and_shown() {
        for text in [
            "allow 198.51.100.0/24:443/tcp",
            "deny any:25-26",
            "allow any",
            "deny 198.51.100.9/32/udp",
            "allow [2001:db8::/32]:443/tcp",
            "deny [2001:db8::9/128]",
        ] {
            let rule: EgressRule = text.parse().unwrap();
            assert_eq!(rule.to_string(), text);
        }
        for text in [
            "any",
            "permit any",
            "allow 10.0.0.1/8",
            "allow [2001:db8::1/32]",
            "allow 2001:db8::/32",
            "allow any:9-8",
            "allow any:",
        ] {
            assert!(text.parse::<EgressRule>().is_err(), "{text}");
        }
    }
}
