//! Derives a tenant's traffic from the manifest.

use toml::Spanned;

use super::{Outbound, Peers, TrafficPlan};
use crate::manifest::raw::{Known, Manifest, Overrides, Tenant};
use crate::manifest::value::Peer;
use crate::plan::network;

/// The value of the tenant, or else that of `[defaults]`.
fn said<'a, T>(
    manifest: &'a Manifest,
    tenant: &'a Tenant,
    of: fn(&Overrides) -> &Known<T>,
) -> Option<&'a T> {
    let own = of(&tenant.overrides).as_ref();
    own.or(of(&manifest.defaults).as_ref())
        .map(Spanned::get_ref)
}

fn list<T: Clone>(
    manifest: &Manifest,
    tenant: &Tenant,
    of: fn(&Overrides) -> &Known<Vec<Spanned<T>>>,
) -> Vec<T> {
    let said = said(manifest, tenant, of).into_iter().flatten();
    said.map(|item| item.get_ref().clone()).collect()
}

/// The traffic of one tenant. Its own keys take precedence over those of `[defaults]`.
pub(in crate::plan) fn of(manifest: &Manifest, tenant: &Tenant) -> TrafficPlan {
    let mut services = list(manifest, tenant, |it| &it.host_services);
    services.sort();
    services.dedup();
    let mut exposed = list(manifest, tenant, |it| &it.expose_loopback);
    exposed.sort();
    exposed.dedup();
    let publish = tenant.publish.iter().flat_map(Spanned::get_ref);
    TrafficPlan {
        outbound: said(manifest, tenant, |it| &it.outbound).map_or(Outbound::None, |it| *it),
        egress: list(manifest, tenant, |it| &it.egress),
        sources: list(manifest, tenant, |it| &it.outbound_from),
        peers: peers(manifest, tenant),
        host_services: services,
        exposed,
        publish: publish.map(|it| it.get_ref().clone()).collect(),
        by_uplink: network::by_uplink(manifest, tenant),
    }
}

fn peers(manifest: &Manifest, tenant: &Tenant) -> Peers {
    let mut peers = Peers::default();
    for peer in list(manifest, tenant, |it| &it.peers) {
        match peer {
            Peer::All => peers.all = true,
            Peer::Named(name) if tenant.name.as_ref() != Some(&name) => {
                let mut others = manifest.tenants.iter();
                let other = others.find(|other| other.name.as_ref() == Some(&name));
                if let Some(addresses) = other.and_then(network::addresses) {
                    peers.named.insert(name, addresses);
                }
            }
            // In `[defaults]`, a list may name the tenant itself.
            Peer::Named(_) => {}
        }
    }
    peers
}
