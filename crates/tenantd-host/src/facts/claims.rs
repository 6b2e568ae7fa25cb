//! Which networks the host's routes lead to, in all tables that a rule names, and which the manifests of other
//! applications have.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::path::Path;

use ipnetwork::IpNetwork;
use nix::errno::Errno;
use rtnetlink::packet_core::{NLM_F_DUMP, NLM_F_REQUEST, NetlinkMessage, NetlinkPayload};
use rtnetlink::packet_route::route::{
    RouteAddress, RouteAttribute, RouteMessage, RouteProtocol, RouteType,
};
use rtnetlink::packet_route::rule::{RuleAction, RuleAttribute, RuleMessage};
use rtnetlink::packet_route::{AddressFamily, RouteNetlinkMessage};
use rtnetlink::sys::{Socket, SocketAddr, protocols::NETLINK_ROUTE};

use super::links::{self, Links};
use crate::regular;
use tenantd_core::plan::facts::{Claim, Claimant};

/// The folder of the manifests that the unit reads.
const MANIFESTS: &str = "/etc/tenantd";

/// The largest manifest in bytes that is read.
const MANIFEST_MAX: u64 = 1 << 20;

/// The name of a link, and its alias.
type Link = (String, Option<String>);

/// The links that were asked for.
struct Known<'a> {
    links: Links,
    /// Whether a link with this name is the application's.
    is_own: &'a dyn Fn(&str) -> bool,
    found: BTreeMap<u32, Option<Link>>,
}

impl Known<'_> {
    /// A link of another party. `None` for one that is gone, with its routes, and for the application's own: each of
    /// thousands of tenants has one, and its alias is a file.
    fn link(&mut self, index: u32) -> Option<Link> {
        let found = self.found.entry(index).or_insert_with(|| {
            let name = self.links.name(index)?;
            if (self.is_own)(&name) {
                return None;
            }
            let alias = links::alias(&name);
            Some((name, alias))
        });
        found.clone()
    }
}

const LOCAL: u32 = 255;
const MAIN: u32 = 254;

/// All of them. The cost grows with the number of routes, but no question is asked about the application's `own` links.
pub(super) fn all(is_own: &dyn Fn(&str) -> bool) -> Result<Vec<Claim>, Errno> {
    let errno = |error: std::io::Error| Errno::try_from(error).unwrap_or(Errno::EIO);
    let mut found = routes(AddressFamily::Inet, is_own).map_err(errno)?;
    // A kernel without IPv6 answers for IPv4 instead.
    if Path::new("/proc/self/net/if_inet6").exists() {
        found.extend(routes(AddressFamily::Inet6, is_own).map_err(errno)?);
    }
    found.extend(manifests(Path::new(MANIFESTS)));
    Ok(found)
}

fn routes(family: AddressFamily, is_own: &dyn Fn(&str) -> bool) -> std::io::Result<Vec<Claim>> {
    let mut rule = RuleMessage::default();
    rule.header.family = family;
    let rules = dump(RouteNetlinkMessage::GetRule(rule))?;
    let rules = rules.into_iter().filter_map(|message| match message {
        RouteNetlinkMessage::NewRule(rule) => Some(rule),
        _ => None,
    });
    let rules: Vec<RuleMessage> = rules.collect();
    let of_rules: Vec<Claim> = rules.iter().filter_map(claim_of_rule).collect();
    let tables = tables(rules);
    let mut route = RouteMessage::default();
    route.header.address_family = family;
    let mut known = Known {
        links: Links::open()?,
        is_own,
        found: BTreeMap::new(),
    };
    let routes = dump(RouteNetlinkMessage::GetRoute(route))?.into_iter();
    let of_routes = routes.filter_map(|message| match message {
        RouteNetlinkMessage::NewRoute(route) => claim(&route, &tables, &mut known),
        _ => None,
    });
    Ok(of_routes.chain(of_rules).collect())
}

/// A rule for packets to some addresses, unless it leads to the main table.
fn claim_of_rule(rule: &RuleMessage) -> Option<Claim> {
    let to = rule.attributes.iter().find_map(|part| match part {
        RuleAttribute::Destination(to) => Some(*to),
        _ => None,
    })?;
    let table = table_of(rule);
    let network = IpNetwork::new(to, rule.header.dst_len).ok()?;
    (table != MAIN && table != LOCAL).then_some(Claim {
        network,
        by: Claimant::Route {
            interface: None,
            table,
            mark: None,
            is_first: false,
        },
    })
}

fn table_of(rule: &RuleMessage) -> u32 {
    let long = rule.attributes.iter().find_map(|part| match part {
        RuleAttribute::Table(table) => Some(*table),
        _ => None,
    });
    long.unwrap_or_else(|| u32::from(rule.header.table))
}

/// The tables that a rule names, and whether they come before the main one for all packets.
fn tables(mut rules: Vec<RuleMessage>) -> BTreeMap<u32, bool> {
    rules.sort_by_key(|rule| {
        let priority = rule.attributes.iter().find_map(|part| match part {
            RuleAttribute::Priority(priority) => Some(*priority),
            _ => None,
        });
        priority.unwrap_or(0)
    });
    let mut found = BTreeMap::new();
    let mut is_before_main = true;
    for rule in rules {
        if rule.header.action != RuleAction::ToTable {
            continue;
        }
        let table = table_of(&rule);
        let is_for_all = is_for_all(&rule);
        is_before_main &= !(table == MAIN && is_for_all);
        let is_first = is_before_main && is_for_all;
        *found.entry(table).or_insert(is_first) |= is_first;
    }
    found.remove(&LOCAL);
    found
}

/// Whether a rule is for every packet. One that excludes some is for nearly all.
fn is_for_all(rule: &RuleMessage) -> bool {
    const INVERT: u32 = 2;
    let has_no_selector = rule.header.dst_len == 0
        && rule.header.src_len == 0
        && rule.header.tos == 0
        && rule.attributes.iter().all(|part| {
            matches!(
                part,
                RuleAttribute::Priority(_)
                    | RuleAttribute::Table(_)
                    | RuleAttribute::Protocol(_)
                    | RuleAttribute::SuppressPrefixLen(_)
                    | RuleAttribute::SuppressIfGroup(_)
                    | RuleAttribute::Other(_)
                    | RuleAttribute::L3MDev(false)
            )
        });
    has_no_selector || rule.header.flags.bits() & INVERT != 0
}

fn claim(
    route: &RouteMessage,
    tables: &BTreeMap<u32, bool>,
    known: &mut Known<'_>,
) -> Option<Claim> {
    let kinds = [
        RouteType::Unicast,
        RouteType::Unreachable,
        RouteType::Prohibit,
        RouteType::BlackHole,
    ];
    // The last is the route of tenantd itself for unused addresses.
    if !kinds.contains(&route.header.kind) || route.header.protocol == RouteProtocol::Other(126) {
        return None;
    }
    let (mut to, mut index) = match route.header.address_family {
        AddressFamily::Inet6 => (IpAddr::V6(Ipv6Addr::UNSPECIFIED), None),
        _ => (IpAddr::V4(Ipv4Addr::UNSPECIFIED), None),
    };
    let mut table = u32::from(route.header.table);
    for part in &route.attributes {
        match part {
            RouteAttribute::Destination(RouteAddress::Inet(address)) => to = (*address).into(),
            RouteAttribute::Destination(RouteAddress::Inet6(address)) => to = (*address).into(),
            RouteAttribute::Oif(oif) => index = Some(*oif),
            RouteAttribute::Table(long) => table = *long,
            _ => {}
        }
    }
    let is_first = *tables.get(&table)?;
    let network = IpNetwork::new(to, route.header.destination_prefix_length).ok()?;
    let (interface, mark) = match index {
        None => (None, None),
        Some(index) => {
            let (name, mark) = known.link(index)?;
            (Some(name), mark)
        }
    };
    Some(Claim {
        network,
        by: Claimant::Route {
            interface,
            table,
            mark,
            is_first: is_first && table != MAIN,
        },
    })
}

/// The answers to a request for a list.
pub(super) fn dump(request: RouteNetlinkMessage) -> std::io::Result<Vec<RouteNetlinkMessage>> {
    let mut socket = Socket::new(NETLINK_ROUTE)?;
    socket.bind_auto()?;
    socket.connect(&SocketAddr::new(0, 0))?;
    let mut message = NetlinkMessage::from(request);
    message.header.flags = NLM_F_REQUEST | NLM_F_DUMP;
    message.finalize();
    let mut bytes = vec![0; message.buffer_len()];
    message.serialize(&mut bytes);
    socket.send(&bytes, 0)?;
    let mut found = Vec::new();
    loop {
        let (datagram, _) = socket.recv_from_full()?;
        let mut rest = datagram.as_slice();
        while !rest.is_empty() {
            let message = NetlinkMessage::<RouteNetlinkMessage>::deserialize(rest)
                .map_err(std::io::Error::other)?;
            match message.payload {
                NetlinkPayload::InnerMessage(message) => found.push(message),
                NetlinkPayload::Done(_) => return Ok(found),
                NetlinkPayload::Error(error) => return Err(error.to_io()),
                _ => {}
            }
            let length = (message.header.length as usize).next_multiple_of(4);
            rest = rest.get(length.max(4)..).unwrap_or_default();
        }
    }
}

/// The subnets of the manifests in a folder. Those that cannot be read, or that name no application, are left
/// out: no supervisor could run them.
fn manifests(folder: &Path) -> Vec<Claim> {
    let entries = fs::read_dir(folder).into_iter().flatten().flatten();
    let paths: BTreeSet<_> = entries.map(|entry| entry.path()).collect();
    let manifests = paths
        .into_iter()
        .filter(|path| path.extension().is_some_and(|it| it == "toml"));
    manifests
        .filter_map(|path| {
            let text = regular::read(&path, MANIFEST_MAX).ok()?;
            let table: toml::Table = String::from_utf8(text).ok()?.parse().ok()?;
            let app = table.get("app")?.get("name")?.as_str()?.to_owned();
            let written = |key: &str| table.get("network")?.get(key)?.as_str();
            let subnets = [
                written("subnet").or(Some("10.77.0.0/24")),
                written("subnet6"),
            ];
            let path = path.display().to_string();
            let networks = subnets.into_iter().flatten();
            let networks: Vec<IpNetwork> = networks.filter_map(|it| it.parse().ok()).collect();
            Some(networks.into_iter().map(move |network| {
                let (app, path) = (app.clone(), path.clone());
                let by = Claimant::Manifest { app, path };
                Claim { network, by }
            }))
        })
        .flatten()
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nothing_is_asked_about_own_links() {
        let link = |is_own: &dyn Fn(&str) -> bool| {
            let mut known = Known {
                links: Links::open().unwrap(),
                is_own,
                found: BTreeMap::new(),
            };
            let loopback = 1;
            known.link(loopback)
        };
        assert_eq!(link(&|_| false).unwrap().0, "lo");
        assert_eq!(link(&|name| name == "lo"), None);
    }

    #[test]
    fn manifests_claim_their_subnets() {
        let folder = tempfile::tempdir().unwrap();
        let write = |name: &str, text: &str| fs::write(folder.path().join(name), text).unwrap();
        write(
            "a.toml",
            "[app]\nname = \"shop\"\n[network]\nsubnet = \"10.80.0.0/16\"\nsubnet6 = \"fd00:80::/64\"\n",
        );
        write("b.toml", "[app]\nname = \"wiki\"\n");
        write("c.toml", "[network]\nsubnet = \"10.81.0.0/16\"\n");
        write("d.toml.bak", "[app]\nname = \"old\"\n");
        let found: Vec<(String, String)> = manifests(folder.path())
            .into_iter()
            .map(|claim| match claim.by {
                Claimant::Manifest { app, .. } => (app, claim.network.to_string()),
                Claimant::Route { .. } => unreachable!(),
            })
            .collect();
        let of = |app: &str, subnet: &str| (app.to_owned(), subnet.to_owned());
        assert_eq!(
            found,
            [
                of("shop", "10.80.0.0/16"),
                of("shop", "fd00:80::/64"),
                of("wiki", "10.77.0.0/24")
            ]
        );
        assert_eq!(manifests(&folder.path().join("none")), []);
    }
}
