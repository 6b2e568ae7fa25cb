//! Reports what else has addresses of the subnet: routes of the host, and other applications.

use ipnetwork::IpNetwork;
use toml::Spanned;

use super::{PREFIX_MIN, overlap};
use crate::manifest::problem::{Problems, Span};
use crate::manifest::raw::Manifest;
use crate::name::AppName;
use crate::plan::derive;
use crate::plan::facts::{Claim, Claimant, HostAddress, HostFacts};

/// The hashes of the tenants of a manifest, sorted: the names of their host ends follow from them.
pub(super) fn own(manifest: &Manifest) -> Vec<u64> {
    let Some(app) = manifest.app.name.as_ref().map(Spanned::get_ref) else {
        return Vec::new();
    };
    let names = manifest.tenants.iter().filter_map(|it| it.name.as_ref());
    let mut all: Vec<u64> = names.map(|name| derive::tenant_hash(app, name)).collect();
    all.sort_unstable();
    all
}

/// Reports the first of each other party. The interfaces of `foreign` addresses are reported already, and the host ends
/// of tenants with the hashes of `own` belong to no other party.
pub(super) fn check(
    (host, own): (&dyn HostFacts, &[u64]),
    subnets: &[(IpNetwork, Span)],
    (app, foreign): (Option<&AppName>, &[&HostAddress]),
    problems: &mut Problems,
) {
    let is_own = |interface: &str| {
        let hash = derive::hash_in(derive::HOST_END, interface);
        hash.is_some_and(|hash| own.binary_search(&hash).is_ok())
    };
    let claims = match host.claims(&is_own) {
        Ok(claims) => claims,
        Err(errno) => {
            let message = format!("cannot read the host's routes: {}", errno.desc());
            if let Some((_, at)) = subnets.first() {
                problems.report(at, message);
            }
            return;
        }
    };
    for (own, at) in subnets {
        check_one(&claims, (*own, at), (app, foreign), problems);
    }
}

fn check_one(
    claims: &[Claim],
    (own, at): (IpNetwork, &Span),
    (app, foreign): (Option<&AppName>, &[&HostAddress]),
    problems: &mut Problems,
) {
    let mut said: Vec<String> = Vec::new();
    for claim in claims {
        let Some(party) = party(claim, own, app) else {
            continue;
        };
        let is_reported = foreign.iter().any(|address| {
            claim.by.interface() == Some(&address.interface) && overlap(address.network, own)
        });
        if is_reported || said.contains(&party) {
            continue;
        }
        let message = format!("the subnet {own} overlaps {}, {party}", claim.network);
        let see = match own {
            IpNetwork::V4(_) => "`ip rule` and `ip route show table all`",
            IpNetwork::V6(_) => "`ip -6 rule` and `ip -6 route show table all`",
        };
        let help = format!("use a subnet that is free, or remove that: see {see}");
        problems.report(at, message).help(help);
        said.push(party);
    }
}

/// Who has addresses of the subnet by this claim, unless it is this application or claims nothing of it.
fn party(claim: &Claim, subnet: IpNetwork, app: Option<&AppName>) -> Option<String> {
    let Claim { network, by } = claim;
    if !overlap(*network, subnet) {
        return None;
    }
    match by {
        Claimant::Route {
            interface,
            table,
            mark,
            is_first,
        } => {
            // A default route, perhaps as two halves, claims nothing unless it comes before those of tenants.
            if network.prefix() < PREFIX_MIN && !is_first {
                return None;
            }
            let owner = mark
                .as_deref()
                .and_then(|mark| mark.strip_prefix("tenantd:"));
            let owner = owner.map(|owner| owner.split('/').next().unwrap_or(owner));
            let is_own = |app: &AppName| {
                owner == Some(app.as_str())
                    || interface.as_deref() == Some(derive::hub(app).name.as_str())
            };
            // A host end that has lost its alias is still found by its name.
            let is_host_end = |name: &String| derive::is_derived(derive::HOST_END, name);
            let is_unmarked = owner.is_none() && interface.as_ref().is_some_and(is_host_end);
            if app.is_some_and(is_own) || is_unmarked {
                return None;
            }
            Some(match (owner, interface) {
                (Some(owner), _) => format!("which the application {owner} has"),
                (None, Some(interface)) => {
                    format!("which the host routes to {interface} (table {table})")
                }
                (None, None) => format!("which the host routes elsewhere (table {table})"),
            })
        }
        Claimant::Manifest { app: other, path } => {
            let is_own = app.is_some_and(|app| app.as_str() == other);
            (!is_own).then(|| format!("which the application {other} has ({path})"))
        }
    }
}
