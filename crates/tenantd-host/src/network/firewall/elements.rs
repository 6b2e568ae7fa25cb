//! The elements that stand for one tenant.

use std::collections::BTreeSet;
use std::fmt;
use std::net::IpAddr;

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
    pub(super) fn own_address(&self) -> Option<IpAddr> {
        let key = self.key.as_slice();
        match self.set {
            "own4" => Some(IpAddr::from(<[u8; 4]>::try_from(key).ok()?)),
            "own6" => Some(IpAddr::from(<[u8; 16]>::try_from(key).ok()?)),
            _ => None,
        }
    }

    /// The index of the link by which the frames come that it lets pass.
    pub(super) fn arrives_by(&self) -> Option<u32> {
        let first = self
            .key
            .first_chunk()
            .filter(|_| matches!(self.set, "ok4" | "ok6"));
        first.map(|first| u32::from_ne_bytes(*first))
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

    fn and(self, address: IpAddr) -> Self {
        match address {
            IpAddr::V4(address) => self.with(&address.octets()),
            IpAddr::V6(address) => self.with(&address.octets()),
        }
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
    let set = of_family(gateway, ["own4", "own6"]);
    key(set, Joined::default().and(gateway))
}

/// The elements of a tenant whose host end has this index.
pub(super) fn of(link: &LinkPlan, index: u32) -> BTreeSet<Element> {
    let mut all = BTreeSet::new();
    for address in link.addresses.iter() {
        guard(link, index, address, &mut all);
        traffic(&link.traffic, address, &mut all);
    }
    for publish in &link.traffic.publish {
        let mut of_family = link.addresses.iter();
        let to = of_family.find(|it| it.is_ipv4() == publish.address.is_ipv4());
        all.extend(to.map(|to| published(publish, to)));
    }
    all
}

/// The set for the family of an address.
fn of_family(address: IpAddr, [of4, of6]: [&'static str; 2]) -> &'static str {
    match address {
        IpAddr::V4(_) => of4,
        IpAddr::V6(_) => of6,
    }
}

fn guard(link: &LinkPlan, index: u32, address: IpAddr, all: &mut BTreeSet<Element>) {
    let mac = link.tenant.mac.0;
    let sender = || Joined::default().with(&index.to_ne_bytes()).with(&mac);
    all.insert(key(
        of_family(address, ["ok4", "ok6"]),
        sender().and(address),
    ));
    if address.is_ipv4() {
        all.insert(key("arps", sender().with(&mac).and(address)));
    }
    let own = Joined::default().and(address);
    all.insert(key(of_family(address, ["own4", "own6"]), own));
}

fn traffic(traffic: &TrafficPlan, address: IpAddr, all: &mut BTreeSet<Element>) {
    let TrafficPlan {
        outbound,
        egress,
        sources,
        peers,
        host_services,
        // In the tenant's namespace.
        exposed: _,
        publish,
        by_uplink,
    } = traffic;
    let own = || Joined::default().and(address);
    let set = |sets| of_family(address, sets);
    let is_same = |other: &IpAddr| other.is_ipv4() == address.is_ipv4();
    if *outbound != Outbound::None {
        let verdict = match list_of(egress) {
            None => Data::Return,
            Some(list) => Data::Goto(list),
        };
        all.insert(element(set(["egress4", "egress6"]), own(), verdict));
    }
    match (outbound, sources.iter().copied().find(is_same)) {
        (Outbound::None, _) => {}
        (Outbound::Routed, _) => drop(all.insert(key(set(["direct4", "direct6"]), own()))),
        (Outbound::Nat, Some(source)) => {
            let value = Data::Value(Joined::default().and(source).0);
            all.insert(element(set(["snat4", "snat6"]), own(), value));
        }
        (Outbound::Nat, None) => drop(all.insert(key(set(["masq4", "masq6"]), own()))),
    }
    if by_uplink.contains(&address) {
        all.insert(key(set(["asked4", "asked6"]), own()));
        all.insert(key(set(["direct4", "direct6"]), own()));
    }
    if peers.all {
        all.insert(key(set(["all4", "all6"]), own()));
    }
    for peer in peers
        .named
        .values()
        .flat_map(Addresses::iter)
        .filter(is_same)
    {
        all.insert(key(set(["peers4", "peers6"]), own().and(peer)));
    }
    for service in host_services {
        let service = own().protocol(service.protocol).port(service.port);
        all.insert(key(set(["host4", "host6"]), service));
    }
    if publish.iter().any(|it| is_same(&it.address)) {
        all.insert(key(set(["self4", "self6"]), own().and(address)));
    }
}

fn published(publish: &Publish, to: IpAddr) -> Element {
    let value = Data::Value(Joined::default().and(to).port(publish.to).0);
    let service = |key: Joined| key.protocol(publish.protocol).port(publish.port);
    match publish.address.is_unspecified() {
        false => {
            let key = service(Joined::default().and(publish.address));
            element(of_family(to, ["pub4", "pub6"]), key, value)
        }
        true => {
            let set = of_family(to, ["any4", "any6"]);
            element(set, service(Joined::default()), value)
        }
    }
}

/// The name of the chain with these rules, which all tenants with the same rules share. `None` if there
/// are no rules.
pub(super) fn list_of(rules: &[EgressRule]) -> Option<String> {
    let text: Vec<String> = rules.iter().map(ToString::to_string).collect();
    (!rules.is_empty()).then(|| format!("list_{:012x}", derive::hash(&text.join("\n"))))
}
