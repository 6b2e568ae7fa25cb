//! Checks mode macvlan, and mode bridge with a bridge of the host: the interface of the host, and what tenants cannot have
//! in the network of another one.

use toml::Spanned;

use super::port;
use crate::capability::Capability;
use crate::manifest::problem::{Problems, Span};
use crate::manifest::raw::{Known, Manifest, Network, Overrides, Wall};
use crate::manifest::value::{self, Firewall, Outbound};
use crate::plan::facts::{HostFacts, Parent, ParentKind};
use crate::plan::model::Interface;

/// The parent of the tenants' links.
pub(super) struct Of {
    pub(super) name: Interface,
    /// What the host says of it. `None` if that is a problem.
    fact: Option<Parent>,
}

/// Whether tenants are to have macvlans.
pub(super) fn is_wanted(network: &Network) -> bool {
    let mode = network.mode.as_ref();
    mode.is_some_and(|mode| *mode.get_ref() == value::Mode::Macvlan)
}

/// Whether tenants are to be machines of the network that an interface of the host is in.
pub(super) fn is_beside(network: &Network) -> bool {
    is_wanted(network) || port::is_wanted(network)
}

/// Whose address the gateway's is.
pub(super) fn owner(network: &Network) -> &'static str {
    match is_beside(network) {
        true => "router's",
        false => "host's own",
    }
}

/// The MTU of the tenants' links: the kernel allows none that is larger than that of the parent.
pub(super) fn mtu(written: u32, parent: Option<&Of>) -> u32 {
    let most = parent.and_then(|parent| parent.fact.as_ref());
    most.map_or(written, |most| written.min(most.mtu))
}

/// Reports keys that are missing or cannot be, and an interface that cannot have macvlans.
pub(super) fn check(
    manifest: &Manifest,
    host: &dyn HostFacts,
    problems: &mut Problems,
) -> Option<Of> {
    let network = &manifest.network;
    port::check_keys(network, problems);
    if !is_wanted(network) {
        // A mode that is invalid is reported already.
        if let (Some(parent), Some(_)) = (&network.parent.value, &network.mode) {
            problems
                .report(&parent.span(), "`parent` has no effect in this mode")
                .help("add `mode = \"macvlan\"`, or remove it");
        }
        if !port::is_wanted(network) {
            return None;
        }
    }
    let mode = network.mode.as_ref()?.span();
    missing(network, &mode, problems);
    let all = manifest.tenants.iter().map(|tenant| &tenant.overrides);
    let how = How::of(network);
    for overrides in all.chain([&manifest.defaults]) {
        how.refuse(overrides, problems);
    }
    for tenant in &manifest.tenants {
        let help = "clients reach the tenant by its own address";
        how.refuse_list("publish", &tenant.publish, help, problems);
    }
    capabilities(&manifest.app.wall, network, problems);
    if let How::Port = how {
        let bridge = network.bridge.value.as_ref()?;
        return Some(Of {
            name: bridge.get_ref().clone(),
            fact: port::fact(bridge, manifest, host, problems),
        });
    }
    let parent = network.parent.value.as_ref()?;
    Some(Of {
        name: parent.get_ref().clone(),
        fact: fact(parent, network, host, problems),
    })
}

/// Keys that have no default where the network is another one's.
fn missing(network: &Network, mode: &Span, problems: &mut Problems) {
    let how = How::of(network);
    let needs = |key, help: &str, problems: &mut Problems| {
        let message = format!("{} needs `{key}`", how.words());
        problems.report(mode, message).help(help);
    };
    if is_wanted(network) && !network.parent.is_set {
        let help =
            "add `parent = \"eth0\"`, the interface of the host in the network of the tenants";
        needs("parent", help, problems);
    }
    if network.gateway.is_none() {
        let help = "add `gateway`, the address of the router in `subnet`";
        needs("gateway", help, problems);
    }
    if network.subnet6.is_set && network.gateway6.is_none() {
        let help =
            "add `gateway6`, the IPv6 address of the router; a link-local one (`fe80::…`) will do";
        needs("gateway6", help, problems);
    }
}

/// How tenants are in the network of an interface of the host.
#[derive(Clone, Copy)]
enum How {
    Macvlan,
    Port,
}

impl How {
    fn of(network: &Network) -> Self {
        match port::is_wanted(network) {
            true => Self::Port,
            false => Self::Macvlan,
        }
    }

    fn words(self) -> &'static str {
        match self {
            Self::Macvlan => "mode macvlan",
            Self::Port => "a bridge of the host",
        }
    }

    /// Reports what the host would have to do with packets that do not pass it.
    fn refuse(self, overrides: &Overrides, problems: &mut Problems) {
        let is_nat = |it: &&Spanned<Outbound>| *it.get_ref() == Outbound::Nat;
        if let Some(nat) = overrides.outbound.as_ref().filter(is_nat) {
            let words = self.words();
            problems
                .report(
                    &nat.span(),
                    format!("{words} has no NAT: packets of tenants do not pass the host"),
                )
                .help("use `outbound = \"routed\"`: tenants have addresses that others know");
        }
        let peers = "tenants are apart in this mode; `mode = \"routed\"` has peers";
        self.refuse_list("peers", &overrides.peers, peers, problems);
        let services = match self {
            Self::Macvlan => {
                "a macvlan and its own host cannot reach each other; `mode = \"routed\"` has services of the host"
            }
            Self::Port => {
                "the host is a machine of that network: `egress` lists what tenants reach; `mode = \"routed\"` has \
                 services of the host"
            }
        };
        self.refuse_list(
            "host_services",
            &overrides.host_services,
            services,
            problems,
        );
        if let (Self::Macvlan, Some(rate)) = (self, &overrides.rate)
            && let Some(Some(_)) = rate.get_ref().inward
        {
            problems
                .report(&rate.span(), "mode macvlan cannot limit what a tenant receives")
                .note("the host does not see these packets, and a tenant's own end limits only what it sends")
                .help("remove `in`");
        }
    }

    fn refuse_list<T>(self, key: &str, list: &Known<Vec<T>>, help: &str, problems: &mut Problems) {
        if let Some(list) = list.as_ref().filter(|list| !list.get_ref().is_empty()) {
            let message = match self {
                Self::Macvlan => format!("`{key}` is not possible in mode macvlan"),
                Self::Port => format!("`{key}` is not possible on a bridge of the host"),
            };
            problems.report(&list.span(), message).help(help);
        }
    }
}

/// Reports the capability with which a program could send past its firewall, which is in its own network namespace. That
/// with which it could remove it, no tenant can have.
fn capabilities(wall: &Wall, network: &Network, problems: &mut Problems) {
    let is_off = |it: &Spanned<Firewall>| *it.get_ref() == Firewall::Off;
    let Some(listed) = wall.capabilities.as_ref() else {
        return;
    };
    if network.firewall.as_ref().is_some_and(is_off) {
        return;
    }
    if Capability::named("net_raw").is_some_and(|one| listed.get_ref().has(one)) {
        let (message, instead) = match How::of(network) {
            How::Macvlan => (
                "with `net_raw`, a tenant sends past its firewall in mode macvlan",
                "`mode = \"bridge\"`",
            ),
            How::Port => (
                "with `net_raw`, a tenant sends past its firewall on a bridge of the host",
                "`mode = \"bridge\"` without `bridge`",
            ),
        };
        let help = format!(
            "remove it, or use {instead}, where the firewall is outside the tenant; `firewall = \"off\"` makes none"
        );
        problems.report(&listed.span(), message).help(help);
    }
}

/// Looks the interface up, and reports one that cannot have macvlans.
fn fact(
    parent: &Spanned<Interface>,
    network: &Network,
    host: &dyn HostFacts,
    problems: &mut Problems,
) -> Option<Parent> {
    let (name, at) = (parent.get_ref(), parent.span());
    let fact = match host.parent(name.as_str()) {
        Ok(Some(fact)) => fact,
        Ok(None) => {
            let message = format!("the host has no interface {name}");
            problems.report(&at, message).help("see `ip -brief link`");
            return None;
        }
        Err(errno) => {
            let message = format!("cannot look up the interface {name}: {}", errno.desc());
            problems.report(&at, message);
            return None;
        }
    };
    let (message, help) = match &fact.kind {
        ParentKind::Ethernet | ParentKind::Bridge(_) => {
            let written = network.mtu.value.as_ref();
            if let Some(mtu) = written.filter(|mtu| *mtu.get_ref() > fact.mtu) {
                let message = format!("{name} has an MTU of {} bytes only", fact.mtu);
                problems.report(&mtu.span(), message).help(
                    "remove `mtu`: tenants have that of their parent, or 1500 if that is less",
                );
            }
            return Some(fact);
        }
        ParentKind::Other => (
            format!("{name} does not carry frames of Ethernet"),
            "name an Ethernet interface, see `ip -brief link`".to_owned(),
        ),
        ParentKind::Wireless => (
            format!(
                "{name} is wireless: an access point takes frames from its own MAC address only"
            ),
            "use `mode = \"routed\"`".to_owned(),
        ),
        ParentKind::Port(of) => (
            format!("{name} is a port of {of}, so it can have no macvlan"),
            format!("use `parent = \"{of}\"`"),
        ),
        ParentKind::Upper => (
            format!("{name} is a macvlan or an ipvlan itself"),
            "name the interface that it belongs to, see `ip -detail link`".to_owned(),
        ),
    };
    problems.report(&at, message).help(help);
    None
}
