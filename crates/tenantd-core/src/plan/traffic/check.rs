//! Reports traffic that cannot be allowed.

use std::collections::{BTreeMap, BTreeSet};
use std::net::Ipv4Addr;

use toml::Spanned;

use super::{Firewall, Outbound, Protocol, Publish};
use crate::manifest::problem::{Problems, Span};
use crate::manifest::raw::{Known, Manifest, Overrides};
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

type Place<'a> = (Option<Ipv4Addr>, &'a Span);

/// Reports ports that are published twice. An address and all addresses overlap.
fn published(manifest: &Manifest, problems: &mut Problems) {
    let spans: Vec<(&Publish, Span)> = manifest
        .tenants
        .iter()
        .flat_map(|tenant| tenant.publish.iter().flat_map(Spanned::get_ref))
        .map(|publish| (publish.get_ref(), publish.span()))
        .collect();
    let mut seen: BTreeMap<(Protocol, u16), Vec<Place<'_>>> = BTreeMap::new();
    for (publish, span) in &spans {
        let Publish {
            address,
            port,
            protocol,
            ..
        } = *publish;
        let places = seen.entry((*protocol, *port)).or_default();
        let overlaps =
            |other: &&Place<'_>| other.0.is_none() || address.is_none() || other.0 == *address;
        match places.iter().find(overlaps) {
            Some((_, first)) => {
                let message = format!("{port}/{protocol} of the host is published twice");
                problems
                    .report(span, message)
                    .also(first, "the first one")
                    .help("use another port, or another address, of the host");
            }
            None => places.push((*address, span)),
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
