//! The elements that stand for one tenant.

use std::collections::BTreeSet;
use std::fmt;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use tenantd_core::plan::address::Addresses;
use tenantd_core::plan::derive;
use tenantd_core::plan::model::LinkPlan;
use tenantd_core::plan::traffic::{EgressRule, Outbound, Protocol, Publish, TrafficPlan};

use super::sets::Set;

/// One element of a set or map.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Element {
    pub(super) set: &'static str,
    pub(super) key: Vec<u8>,
    pub(super) data: Data,
}

impl Element {
    /// The tenant's address, if this is the element that says that it is in use.
    pub(super) fn own_address(&self) -> Option<Ipv4Addr> {
        let octets: [u8; 4] = self.key.as_slice().try_into().ok()?;
        (self.set == "own4").then(|| octets.into())
    }

    /// The chain of rules that it leads to.
    pub(super) fn list(&self) -> Option<&str> {
        match &self.data {
            Data::Goto(chain) => Some(chain),
            Data::None | Data::Value(_) | Data::Return => None,
        }
    }
}

impl fmt::Display for Element {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { set, key, data } = self;
        let known = Set::named(set);
        let key = known.map(|known| known.words(key)).unwrap_or_default();
        write!(f, "{set} {{ {key}")?;
        match data {
            Data::None => {}
            Data::Value(value) => {
                let value = known.map(|known| known.value(value)).unwrap_or_default();
                write!(f, " : {value}")?;
            }
            Data::Return => f.write_str(" : return")?,
            Data::Goto(chain) => write!(f, " : goto {chain}")?,
        }
        f.write_str(" }")
    }
}

/// What an element holds for its key.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Data {
    /// Nothing.
    None,
    /// A value.
    Value(Vec<u8>),
    /// The verdict `return`.
    Return,
    /// The verdict `goto` a chain.
    Goto(String),
}

/// Parts of a key or value, each padded to a multiple of four bytes.
#[derive(Default)]
struct Joined(Vec<u8>);

impl Joined {
    fn with(mut self, part: &[u8]) -> Self {
        self.0.extend(part);
        let length = self.0.len().next_multiple_of(4);
        self.0.resize(length, 0);
        self
    }

    fn and(self, address: Ipv4Addr) -> Self {
        self.with(&address.octets())
    }

    fn port(self, port: u16) -> Self {
        self.with(&port.to_be_bytes())
    }

    fn protocol(self, protocol: Protocol) -> Self {
        self.with(&[number(protocol)])
    }
}

/// The number of a protocol in an IP header.
pub(super) fn number(protocol: Protocol) -> u8 {
    match protocol {
        Protocol::Tcp => 6,
        Protocol::Udp => 17,
    }
}

fn key(set: &'static str, key: Joined) -> Element {
    element(set, key, Data::None)
}

fn element(set: &'static str, key: Joined, data: Data) -> Element {
    Element {
        set,
        key: key.0,
        data,
    }
}

/// The elements of the application itself: a gateway's address is in use.
pub(super) fn of_gateway(gateway: IpAddr) -> Element {
    match gateway {
        IpAddr::V4(gateway) => key("own4", Joined::default().and(gateway)),
        IpAddr::V6(gateway) => key("own6", Joined::default().with(&gateway.octets())),
    }
}

/// The elements of a tenant whose host end has this index.
pub(super) fn of(link: &LinkPlan, index: u32) -> BTreeSet<Element> {
    let mut all = BTreeSet::new();
    for address in ipv4(link) {
        guard(link, index, address, &mut all);
        traffic(&link.traffic, address, &mut all);
    }
    for address in link.addresses.iter() {
        if let IpAddr::V6(address) = address {
            guard6(link, index, address, &mut all);
        }
    }
    if let Some(first) = ipv4(link).next() {
        all.extend(link.traffic.publish.iter().map(|it| published(it, first)));
    }
    all
}

fn ipv4(link: &LinkPlan) -> impl Iterator<Item = Ipv4Addr> {
    link.addresses.iter().filter_map(|address| match address {
        IpAddr::V4(address) => Some(address),
        IpAddr::V6(_) => None,
    })
}

fn guard(link: &LinkPlan, index: u32, address: Ipv4Addr, all: &mut BTreeSet<Element>) {
    let mac = link.tenant.mac.0;
    let sender = || Joined::default().with(&index.to_ne_bytes()).with(&mac);
    all.insert(key("ok4", sender().and(address)));
    all.insert(key("arps", sender().with(&mac).and(address)));
    all.insert(key("own4", Joined::default().and(address)));
}

/// The host and the tenant reach each other; what else the manifest allows is of IPv4.
fn guard6(link: &LinkPlan, index: u32, address: Ipv6Addr, all: &mut BTreeSet<Element>) {
    let sender = Joined::default().with(&index.to_ne_bytes());
    let sender = sender.with(&link.tenant.mac.0);
    all.insert(key("ok6", sender.with(&address.octets())));
    all.insert(key("own6", Joined::default().with(&address.octets())));
}

fn traffic(traffic: &TrafficPlan, address: Ipv4Addr, all: &mut BTreeSet<Element>) {
    let TrafficPlan {
        outbound,
        egress,
        source,
        peers,
        host_services,
        publish,
    } = traffic;
    let own = || Joined::default().and(address);
    if *outbound != Outbound::None {
        let verdict = match list_of(egress) {
            None => Data::Return,
            Some(list) => Data::Goto(list),
        };
        all.insert(element("egress4", own(), verdict));
    }
    match (outbound, source) {
        (Outbound::None, _) => {}
        (Outbound::Routed, _) => drop(all.insert(key("direct4", own()))),
        (Outbound::Nat, Some(source)) => {
            let value = Joined::default().and(*source);
            all.insert(element("snat4", own(), Data::Value(value.0)));
        }
        (Outbound::Nat, None) => drop(all.insert(key("masq4", own()))),
    }
    if peers.all {
        all.insert(key("all4", own()));
    }
    for peer in peers.named.values().flat_map(Addresses::iter) {
        if let IpAddr::V4(peer) = peer {
            all.insert(key("peers4", own().and(peer)));
        }
    }
    for service in host_services {
        let service = own().protocol(service.protocol).port(service.port);
        all.insert(key("host4", service));
    }
    if !publish.is_empty() {
        all.insert(key("self4", own().and(address)));
    }
}

fn published(publish: &Publish, to: Ipv4Addr) -> Element {
    let value = Data::Value(Joined::default().and(to).port(publish.to).0);
    let service = |key: Joined| key.protocol(publish.protocol).port(publish.port);
    match publish.address {
        Some(address) => element("pub4", service(Joined::default().and(address)), value),
        None => element("any4", service(Joined::default()), value),
    }
}

/// The name of the chain with these rules, which all tenants with the same rules share. `None` if there
/// are no rules.
pub(super) fn list_of(rules: &[EgressRule]) -> Option<String> {
    let text: Vec<String> = rules.iter().map(ToString::to_string).collect();
    (!rules.is_empty()).then(|| format!("list_{:012x}", derive::hash(&text.join("\n"))))
}
