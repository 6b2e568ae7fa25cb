//! Leftovers where no supervisor runs: whoever collects them takes its place for that long.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;

use anyhow::Context;

use super::{Ground, Living, finish, look, named, populated};
use crate::ledger::file::{LedgerFile, Legacy};
use crate::site::blocking;
use crate::strays;
use tenantd_api::wire::{Leftover, LeftoverFate, LeftoverKind};
use tenantd_core::name::{AppName, TenantName};
use tenantd_host::cgroup::Tree;
use tenantd_host::crash;
use tenantd_host::heritage::Heritage;
use tenantd_host::netns::name;
use tenantd_host::runtime::{self, Runtime};
use tenantd_host::{fifo, process};

/// How thorough a collection is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Extent {
    /// Only say what there is.
    pub dry_run: bool,
    /// End what lives of a tenant in no plan: by SIGTERM, and by SIGKILL if that is not enough.
    pub kill: bool,
}

/// Collects leftovers where no supervisor runs: takes its place for that long.
///
/// # Errors
/// When a supervisor runs, or the host cannot be looked at.
pub async fn alone(
    app: &AppName,
    planned: &BTreeSet<TenantName>,
    extent: Extent,
) -> anyhow::Result<Vec<Leftover>> {
    let Extent { dry_run, kill } = extent;
    let was_there = runtime::folder(app).exists();
    let runtime = Runtime::take(app, &mut Heritage::default())?;
    let (ledger, legacy) = LedgerFile::open(app).context("cannot tell what is left")?;
    let tree = Tree::left(app);
    let look_around = || {
        let app = app.clone();
        blocking(move || look(&app))
    };
    let mut survey = look_around().await?;
    // A link goes with the network namespace of its tenant.
    let linked = survey.ours.iter().filter_map(|link| link.tenant.clone());
    let linked: BTreeSet<TenantName> = linked.collect();
    let ground = Ground {
        app,
        tree: tree.as_ref(),
        planned: &|tenant| planned.contains(tenant),
        hub: !planned.is_empty(),
        lives: &|tenant| lives(tree.as_ref(), &legacy, &linked, tenant),
        dry_run,
    };
    crash::point("gc: alone", "");
    let (mut found, mut failed) = (Vec::new(), BTreeMap::new());
    if kill && !dry_run {
        (found, failed) = end_unplanned(&ground, &legacy).await?;
        survey = look_around().await?;
    }
    let sorted = ground.sort(survey);
    found.extend(blocking(move || Ok(finish(sorted))).await?);
    for leftover in &mut found {
        if leftover.kind == LeftoverKind::Tenant
            && let Some(why) = failed.remove(&leftover.object)
        {
            leftover.why = Some(why);
        }
    }
    drop(ledger);
    let kept = found.iter().any(|l| l.fate == LeftoverFate::Kept);
    if (dry_run || kept || !planned.is_empty()) && was_there {
        return Ok(found);
    }
    for socket in ["control", "notify"] {
        let path = runtime::folder(app).join(socket);
        match fs::remove_file(&path) {
            Err(error) if error.kind() != std::io::ErrorKind::NotFound => {
                return Err(error).context(format!("cannot remove {}", path.display()));
            }
            Ok(()) | Err(_) => {}
        }
        crash::point("gc: socket gone", socket);
    }
    runtime.remove()?;
    if let Some(tree) = tree {
        tree.remove()?;
    }
    crash::point("gc: cgroups gone", "");
    name::leave()?;
    Ok(found)
}

/// Ends each tenant in no plan of which something lives. Says also why others cannot be ended, which
/// whoever looks next finds again.
async fn end_unplanned(
    ground: &Ground<'_>,
    legacy: &Legacy,
) -> anyhow::Result<(Vec<Leftover>, BTreeMap<String, String>)> {
    let (mut ended, mut failed) = (Vec::new(), BTreeMap::new());
    for tenant in fifo::tenants(ground.app)? {
        if (ground.planned)(&tenant) {
            continue;
        }
        let Some(lived) = (ground.lives)(&tenant) else {
            continue;
        };
        let netns = legacy.netns_of(&tenant);
        match strays::end(ground.app, ground.tree, &tenant, netns).await {
            Ok(()) => ended.push(Leftover {
                kind: LeftoverKind::Tenant,
                object: tenant.to_string(),
                fate: LeftoverFate::Ended,
                why: match lived {
                    Living::Named(processes) => Some(processes),
                    Living::Untold(_) => None,
                },
            }),
            Err(failure) => {
                failed.insert(tenant.to_string(), failure.to_string());
            }
        }
    }
    Ok((ended, failed))
}

/// As [`populated`], where the tenant may have been in a cgroup that only its supervisor knew.
fn lives(
    tree: Option<&Tree>,
    legacy: &Legacy,
    linked: &BTreeSet<TenantName>,
    tenant: &TenantName,
) -> Option<Living> {
    if let Some(living) = tree.and_then(|tree| populated(tree, tenant)) {
        return Some(living);
    }
    let Some(netns) = legacy.netns_of(tenant) else {
        // Of one that had a leaf, what lives would be in that.
        return (tree.is_none() && linked.contains(tenant)).then(|| {
            let why = "nothing tells what lives of it, and its link stands: something may";
            Living::Untold(why.to_owned())
        });
    };
    match process::in_netns(netns) {
        Ok(pids) => named(&pids),
        Err(error) => {
            let why = format!("cannot look for its processes: {error}");
            Some(Living::Untold(why))
        }
    }
}
