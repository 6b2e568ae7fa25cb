//! The MAC addresses of tenants: each is that of one link.

use std::collections::BTreeMap;

use toml::Spanned;

use crate::manifest::problem::{Problems, Span};
use crate::manifest::raw::{Manifest, Tenant};
use crate::name::AppName;
use crate::plan::derive;
use crate::plan::model::{EndPlan, MacAddr};

/// The tenant end of a tenant with this hash.
pub(in crate::plan) fn tenant_end(tenant: &Tenant, hash: u64) -> EndPlan {
    let derived = derive::tenant_end(hash);
    match &tenant.mac {
        Some(mac) => EndPlan {
            mac: MacAddr(mac.get_ref().0),
            ..derived
        },
        None => derived,
    }
}

/// Reports tenants whose links would have the same derived name or MAC address.
pub(super) fn check(manifest: &Manifest, problems: &mut Problems) {
    let Some(app) = &manifest.app.name else {
        return;
    };
    derived_clashes(manifest, app.get_ref(), problems);
    // Most manifests have none.
    if manifest.tenants.iter().all(|tenant| tenant.mac.is_none()) {
        return;
    }
    let hub = derive::hub(app.get_ref()).mac.0;
    let mut owners: BTreeMap<[u8; 6], (String, Option<Span>)> =
        BTreeMap::from([(hub, ("the gateway".to_owned(), None))]);
    let named = manifest
        .tenants
        .iter()
        .filter_map(|it| Some((it, it.name.as_ref()?)));
    for (tenant, name) in named.clone() {
        let hash = derive::tenant_hash(app.get_ref(), name);
        let host_end = format!("the host's end of the link of {name}");
        owners.insert(derive::host_end(hash).mac.0, (host_end, None));
        if tenant.mac.is_none() {
            let owner = (name.to_string(), Some(tenant.at.clone()));
            owners.insert(derive::tenant_end(hash).mac.0, owner);
        }
    }
    for (mac, name) in named.filter_map(|(tenant, name)| Some((tenant.mac.as_ref()?, name))) {
        let shown = MacAddr(mac.get_ref().0);
        let owner = (name.to_string(), Some(Spanned::span(mac)));
        let Some((other, at)) = owners.insert(shown.0, owner) else {
            continue;
        };
        let problem = problems.report(&mac.span(), format!("{other} has the MAC address {shown}"));
        if let Some(at) = at {
            problem.also(&at, "the other tenant");
        }
        problem.help("use another one: two links with the same address do not work");
    }
}

fn derived_clashes(manifest: &Manifest, app: &AppName, problems: &mut Problems) {
    let mut sorted: Vec<(u64, &Span, &str)> = Vec::new();
    for tenant in &manifest.tenants {
        if let Some(name) = &tenant.name {
            let hash = derive::tenant_hash(app, name);
            sorted.push((derive::mac_part(hash), &tenant.at, name.as_str()));
        }
    }
    sorted.sort_by_key(|(part, at, _)| (*part, at.start));
    for same in sorted.chunk_by(|a, b| a.0 == b.0) {
        let (_, first, first_name) = same[0];
        for (_, at, name) in &same[1..] {
            let message =
                format!("the links of {name} and {first_name} would get the same MAC address");
            problems
                .report(at, message)
                .also(first, "the other tenant")
                .help("rename one of them: MAC addresses are derived from tenant names");
        }
    }
}
