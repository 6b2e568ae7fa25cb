//! Reports traffic that cannot be allowed.

use std::collections::{BTreeMap, BTreeSet};

use toml::Spanned;

use super::{Firewall, Outbound, Protocol, Publish};
use crate::manifest::problem::{Problems, Span};
use crate::manifest::raw::{Known, Manifest, Overrides, Tenant};
use crate::manifest::suggest::closest;
use crate::manifest::value::Peer;
use crate::name::TenantName;
use crate::plan::folders;

/// Reports unknown peers, ports that are published twice, and keys without effect.
pub(in crate::plan) fn check(manifest: &Manifest, problems: &mut Problems) {
    published(manifest, problems);
    // A part that could not be parsed may have what seems to be missing.
    if folders::is_damaged(problems) {
        return;
    }
    let names = manifest.tenants.iter().filter_map(|it| it.name.as_ref());
    let names: BTreeSet<&TenantName> = names.collect();
    peers(&manifest.defaults, &names, problems);
    for tenant in &manifest.tenants {
        peers(&tenant.overrides, &names, problems);
    }
    without_effect(manifest, problems);
}

fn peers(overrides: &Overrides, names: &BTreeSet<&TenantName>, problems: &mut Problems) {
    sources(overrides, problems);
    for peer in overrides.peers.iter().flat_map(Spanned::get_ref) {
        let Peer::Named(name) = peer.get_ref() else {
            continue;
        };
        if names.contains(name) {
            continue;
        }
        let message = format!("there is no tenant {name}");
        let problem = problems.report(&peer.span(), message);
        match closest(name.as_str(), names.iter().map(|name| name.as_str())) {
            Some(near) => problem.help(format!("did you mean `{near}`?")),
            None => problem.help("name a tenant of this manifest, or \"*\" for all of them"),
        };
    }
}

/// Reports ports that are published twice, or where no tenant can have them. An address and all addresses overlap.
fn published(manifest: &Manifest, problems: &mut Problems) {
    let spans: Vec<(&Publish, Span)> = manifest
        .tenants
        .iter()
        .flat_map(|tenant| tenant.publish.iter().flat_map(Spanned::get_ref))
        .map(|publish| (publish.get_ref(), publish.span()))
        .collect();
    let mut seen: BTreeMap<(Protocol, u16), Vec<(&Publish, &Span)>> = BTreeMap::new();
    for (publish, span) in &spans {
        let (port, protocol) = (publish.port, publish.protocol);
        let places = seen.entry((protocol, port)).or_default();
        match places.iter().find(|(other, _)| publish.overlaps(other)) {
            Some((_, first)) => {
                let message = format!("{port}/{protocol} of the host is published twice");
                problems
                    .report(span, message)
                    .also(first, "the first one")
                    .help("use another port, or another address, of the host");
            }
            None => places.push((publish, span)),
        }
    }
    for tenant in &manifest.tenants {
        families(tenant, problems);
    }
}

/// Reports a second address of a family that others are to see.
fn sources(overrides: &Overrides, problems: &mut Problems) {
    let mut sources = overrides.outbound_from.iter().flat_map(Spanned::get_ref);
    let Some(first) = sources.next() else {
        return;
    };
    for other in sources.filter(|it| it.get_ref().is_ipv4() == first.get_ref().is_ipv4()) {
        problems
            .report(
                &other.span(),
                "`outbound_from` has two addresses of one family",
            )
            .also(&first.span(), "the first one")
            .help("remove one of them");
    }
}

/// Reports what a tenant publishes in a family of which it has no address.
fn families(tenant: &Tenant, problems: &mut Problems) {
    let has = |is_ipv4| tenant.ips().any(|ip| ip.get_ref().is_ipv4() == is_ipv4);
    for publish in tenant.publish.iter().flat_map(Spanned::get_ref) {
        let (span, address) = (publish.span(), publish.get_ref().address);
        if tenant.ip.is_some() && !has(address.is_ipv4()) {
            let (family, other) = match address.is_ipv4() {
                true => ("IPv4", "[::]:"),
                false => ("IPv6", ""),
            };
            problems
                .report(&span, format!("the tenant has no {family} address"))
                .help(format!(
                    "give it one, or publish it as \"{other}{} -> …\"",
                    publish.get_ref().port
                ));
        }
    }
}

/// Reports keys that have no effect, or cannot have any.
fn without_effect(manifest: &Manifest, problems: &mut Problems) {
    let is_off = |it: &Spanned<Firewall>| *it.get_ref() == Firewall::Off;
    let off = manifest.network.firewall.as_ref().filter(|it| is_off(it));
    let all = manifest.tenants.iter().map(|tenant| &tenant.overrides);
    for (overrides, is_tenant) in all
        .map(|it| (it, true))
        .chain([(&manifest.defaults, false)])
    {
        let Overrides {
            outbound,
            egress,
            outbound_from,
            peers,
            host_services,
            ..
        } = overrides;
        if off.is_some() {
            let spans = [
                at(outbound),
                at(egress),
                at(outbound_from),
                at(peers),
                at(host_services),
            ];
            spans
                .iter()
                .flatten()
                .for_each(|at| needs_firewall(at, problems));
        }
        // Those of [defaults] may be for tenants with another `outbound`.
        if !is_tenant {
            continue;
        }
        let said = outbound.as_ref().or(manifest.defaults.outbound.as_ref());
        let said = said.map_or(Outbound::None, |it| *it.get_ref());
        if said == Outbound::None
            && let Some(at) = at(egress)
        {
            problems
                .report(&at, "`egress` has no effect with `outbound = \"none\"`")
                .help("add `outbound = \"nat\"` or `outbound = \"routed\"`");
        }
        if said != Outbound::Nat
            && let Some(at) = at(outbound_from)
        {
            problems
                .report(
                    &at,
                    "`outbound_from` has no effect without `outbound = \"nat\"`",
                )
                .help("add `outbound = \"nat\"`, or remove it");
        }
    }
    if off.is_some() {
        for tenant in &manifest.tenants {
            if let Some(at) = at(&tenant.publish) {
                needs_firewall(&at, problems);
            }
        }
    }
}

fn at<T>(value: &Known<T>) -> Option<Span> {
    value.as_ref().map(Spanned::span)
}

fn needs_firewall(at: &Span, problems: &mut Problems) {
    problems
        .report(at, "this has no effect with `firewall = \"off\"`")
        .help("remove it, or `firewall = \"off\"` in [network]");
}
