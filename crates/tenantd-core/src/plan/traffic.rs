//! What traffic a tenant may have: with other tenants, with the host and with others. The firewall
//! refuses everything else.

mod build;
mod check;

use std::collections::BTreeMap;
use std::net::IpAddr;

use serde_json::{Map, Value, json};

use super::address::Addresses;
use super::fields::See;
use super::fields::field::Key::Later;
use super::fields::field::filters;
use crate::name::TenantName;

pub use crate::manifest::value::{
    EgressRule, Exposed, Firewall, Outbound, Protocol, Publish, Service,
};
pub(super) use build::of;
pub(super) use check::check;

/// What traffic a tenant may have. The default is none but with the host, begun by the host.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct TrafficPlan {
    /// How it reaches what is neither a tenant nor the host.
    pub outbound: Outbound,
    /// What of that it may reach; everything if it is empty. The first rule that matches decides,
    /// and what matches none is refused.
    pub egress: Vec<EgressRule>,
    /// The addresses of the host that others see it by, with [`Outbound::Nat`], at most one of each family. Without
    /// one: that of the link by which a packet leaves.
    pub sources: Vec<IpAddr>,
    /// The tenants of the application that it may connect to.
    pub peers: Peers,
    /// The services of the host that it may use.
    pub host_services: Vec<Service>,
    /// The ports of its loopback addresses that are reached by its own addresses too.
    pub exposed: Vec<Exposed>,
    /// Its services that are published on addresses of the host.
    pub publish: Vec<Publish>,
    /// Those of its addresses that others reach by the uplink, whatever `outbound` is.
    pub by_uplink: Vec<IpAddr>,
}

/// The tenants that a tenant may connect to.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Peers {
    /// Whether they are all tenants of the application.
    pub all: bool,
    /// The named ones, with their addresses.
    pub named: BTreeMap<TenantName, Addresses>,
}

/// Visits the fields.
pub(super) fn fields(traffic: &TrafficPlan, see: See<'_>) {
    let TrafficPlan {
        outbound,
        egress,
        sources,
        peers: Peers { all, named },
        host_services,
        exposed,
        publish,
        // Follows from the addresses and the network.
        by_uplink: _,
    } = traffic;
    let at_default = *outbound == Outbound::None;
    see(filters(Later("outbound"), "outbound", outbound).default_is(at_default));
    for (at, rule) in egress.iter().enumerate() {
        see(filters(Later("egress"), "egress", rule)
            .item(&(at + 1))
            .nested());
    }
    for source in sources {
        see(filters(Later("outbound from"), "outbound from", source).nested());
    }
    if *all {
        see(filters(Later("peers"), "peers", &"all tenants"));
    }
    for (tenant, addresses) in named {
        see(filters(Later("peer"), "peer", addresses).item(tenant));
    }
    for service in host_services {
        see(filters(Later("host service"), "host service", &"allowed").item(service));
    }
    for exposed in exposed {
        see(filters(Later("loopback port"), "loopback port", &"exposed").item(exposed));
    }
    for publish in publish {
        see(filters(Later("published"), "published", &publish.to()).item(&publish.from()));
    }
}

/// The members of a tenant's JSON, with the manifest's keys.
pub(super) fn data(traffic: &TrafficPlan, whole: &mut Map<String, Value>) {
    let TrafficPlan {
        outbound,
        egress,
        sources,
        peers: Peers { all, named },
        host_services,
        exposed,
        publish,
        // Follows from the addresses and the network.
        by_uplink: _,
    } = traffic;
    let texts = |items: Vec<String>| json!(items);
    let mut peers: Vec<String> = named.keys().map(ToString::to_string).collect();
    peers.extend(all.then(|| "*".to_owned()));
    for (key, value) in [
        ("outbound", json!(outbound.to_string())),
        (
            "egress",
            texts(egress.iter().map(ToString::to_string).collect()),
        ),
        (
            "outbound_from",
            match sources.as_slice() {
                [] => Value::Null,
                [one] => json!(one),
                all => json!(all),
            },
        ),
        ("peers", texts(peers)),
        (
            "host_services",
            texts(host_services.iter().map(ToString::to_string).collect()),
        ),
        (
            "expose_loopback",
            texts(exposed.iter().map(ToString::to_string).collect()),
        ),
        (
            "publish",
            texts(publish.iter().map(ToString::to_string).collect()),
        ),
    ] {
        whole.insert(key.to_owned(), value);
    }
}
