//! How a tenant looks names up: its resolv.conf(5) and hosts(5).
//!
//! What is in them depends on the files of the host at that moment, which are no part of a plan: [`text`] derives it
//! from both.

pub mod text;

use std::net::{IpAddr, Ipv4Addr};

use ipnetwork::Ipv4Network;
use serde_json::{Map, Value, json};
use toml::Spanned;

use super::fields::See;
use super::fields::field::Key::Later;
use super::fields::field::{looks_up, relaunches};
use super::model::{Firewall, NetworkPlan};
use crate::manifest::raw::{Known, Manifest, Resolv, Tenant};
pub use crate::manifest::value::NameFile;

/// The file with the name servers, see resolv.conf(5).
pub const RESOLV_CONF: &str = "/etc/resolv.conf";

/// The file with names, see hosts(5).
pub const HOSTS: &str = "/etc/hosts";

/// How a tenant looks names up.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NamesPlan {
    /// Whose resolv.conf(5) it has.
    pub resolv: NameFile,
    /// The name servers; `None` for those of the host.
    pub nameservers: Option<Vec<IpAddr>>,
    /// The domains in which short names are looked up; `None` for those of the host.
    pub search: Option<Vec<String>>,
    /// The options of resolv.conf(5); `None` for those of the host.
    pub options: Option<Vec<String>>,
    /// Whose hosts(5) it has.
    pub hosts: NameFile,
    /// The host's address, which all tenants can reach.
    pub gateway: Ipv4Addr,
    /// The network of all tenants' addresses.
    pub subnet: Ipv4Network,
    /// Whether the firewall refuses what is not allowed.
    pub is_filtered: bool,
    /// Whether it is in a network of machines that are no tenants, and cannot reach the host.
    pub is_macvlan: bool,
}

impl NamesPlan {
    /// What tenants have without a key in the manifest.
    #[must_use]
    pub fn usual(gateway: Ipv4Addr, subnet: Ipv4Network, is_filtered: bool) -> Self {
        Self {
            resolv: NameFile::Own,
            nameservers: None,
            search: None,
            options: None,
            hosts: NameFile::Own,
            gateway,
            subnet,
            is_filtered,
            is_macvlan: false,
        }
    }
}

/// How a tenant looks names up. Its own keys take precedence over those of `[defaults]`.
pub(super) fn of(manifest: &Manifest, tenant: &Tenant, network: &NetworkPlan) -> NamesPlan {
    let layers = [&tenant.overrides, &manifest.defaults];
    let file = |of: fn(&Resolv) -> &Known<NameFile>| {
        let said = layers.iter().find_map(|it| of(&it.resolv).as_ref());
        said.map_or(NameFile::Own, |it| *it.get_ref())
    };
    let hosts = layers.iter().find_map(|it| it.hosts.as_ref());
    NamesPlan {
        resolv: file(|it| &it.file),
        nameservers: list(layers.map(|it| &it.resolv.nameservers))
            .map(|servers| servers.into_iter().map(|server| server.0).collect()),
        search: list(layers.map(|it| &it.resolv.search)),
        options: list(layers.map(|it| &it.resolv.options)),
        hosts: hosts.map_or(NameFile::Own, |it| *it.get_ref()),
        is_macvlan: network.parent.is_some(),
        ..NamesPlan::usual(
            network.gateway,
            network.subnet,
            network.firewall == Firewall::On,
        )
    }
}

/// The first list that is set.
fn list<T: Clone>(layers: [&Known<Vec<Spanned<T>>>; 2]) -> Option<Vec<T>> {
    let said = layers.into_iter().find_map(Option::as_ref)?;
    let items = said.get_ref().iter();
    Some(items.map(|item| item.get_ref().clone()).collect())
}

fn joined<T: ToString>(items: &[T]) -> String {
    match items {
        [] => "none".to_owned(),
        items => {
            let texts: Vec<String> = items.iter().map(ToString::to_string).collect();
            texts.join(" ")
        }
    }
}

/// Visits the fields.
pub(super) fn fields(names: &NamesPlan, see: See<'_>) {
    let NamesPlan {
        resolv,
        nameservers,
        search,
        options,
        hosts,
        // Fields of the network.
        gateway: _,
        subnet: _,
        is_filtered: _,
        is_macvlan: _,
    } = names;
    let own = |file: &NameFile| *file == NameFile::Own;
    let word = resolv.word();
    see(relaunches(Later("resolv"), "resolv.conf", &word).default_is(own(resolv)));
    if let Some(servers) = nameservers {
        let value = joined(servers);
        see(looks_up(Later("name servers"), "name servers", &value).nested());
    }
    for (key, words) in [("search", search), ("options", options)] {
        if let Some(words) = words {
            see(looks_up(Later(key), key, &joined(words)).nested());
        }
    }
    see(relaunches(Later("hosts"), "hosts", &hosts.word()).default_is(own(hosts)));
}

/// The members of a tenant's JSON, with the manifest's keys.
pub(super) fn data(names: &NamesPlan, whole: &mut Map<String, Value>) {
    let NamesPlan {
        resolv,
        nameservers,
        search,
        options,
        hosts,
        gateway: _,
        subnet: _,
        is_filtered: _,
        is_macvlan: _,
    } = names;
    let resolv = json!({
        "file": resolv.word(),
        "nameservers": nameservers,
        "search": search,
        "options": options,
    });
    whole.insert("resolv".to_owned(), resolv);
    whole.insert("hosts".to_owned(), json!(hosts.word()));
}
