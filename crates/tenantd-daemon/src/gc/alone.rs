//! Collects residue while no supervisor runs, holding the lock of the application.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;

use anyhow::Context;

use crate::collect::shares;
use crate::executor::host::blocking;
use crate::gc::{Alive, Collector, finish, look, named, populated};
use crate::recovery::orphans;
use crate::state_file::slots::{Previous, SlotFile};
use tenantd_api::wire::{Residue, ResidueFate, ResidueKind};
use tenantd_core::name::{AppName, TenantName};
use tenantd_host::cgroup::Tree;
use tenantd_host::crash;
use tenantd_host::inherited::Inherited;
use tenantd_host::netns::name;
use tenantd_host::runtime::{self, Runtime};
use tenantd_host::{fifo, process};

/// How thorough a collection is.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Extent {
    /// Only report what would be removed.
    pub dry_run: bool,
    /// The tenants whose processes to end, by SIGTERM, then by SIGKILL. Those that are in a plan
    /// are left alone.
    pub kill: BTreeSet<TenantName>,
}

/// Collects residue while no supervisor runs. Holds the lock of the application meanwhile.
///
/// # Errors
/// If a supervisor runs, or the host cannot be looked at.
pub async fn alone(
    app: &AppName,
    planned: &BTreeSet<TenantName>,
    extent: &Extent,
) -> anyhow::Result<Vec<Residue>> {
    let &Extent { dry_run, ref kill } = extent;
    let was_there = runtime::folder(app).exists();
    let runtime = Runtime::take(app, &mut Inherited::default())?;
    let (state_file, previous) = SlotFile::open(app).context("cannot look for residue")?;
    let tree = Tree::left(app);
    let look_around = || {
        let app = app.clone();
        blocking(move || look(&app))
    };
    let mut survey = look_around().await?;
    let linked = survey.ours.iter().filter_map(|link| link.tenant.clone());
    let linked: BTreeSet<TenantName> = linked.collect();
    let collector = Collector {
        app,
        tree: tree.as_ref(),
        planned: &|tenant| planned.contains(tenant),
        hub: !planned.is_empty(),
        find_alive: &|tenant| find_alive(tree.as_ref(), &previous, &linked, tenant),
        dry_run,
    };
    crash::point("gc: alone", "");
    let (mut found, mut failed) = (Vec::new(), BTreeMap::new());
    if !kill.is_empty() && !dry_run {
        (found, failed) = end_unplanned(&collector, &previous, kill).await?;
        survey = look_around().await?;
    }
    let sorted = collector.sort(survey);
    found.extend(blocking(move || Ok(finish(sorted))).await?);
    for item in &mut found {
        if item.kind == ResidueKind::Tenant
            && let Some(why) = failed.remove(&item.object)
        {
            item.why = Some(why);
        }
    }
    drop(state_file);
    let kept = found.iter().any(|l| l.fate == ResidueFate::Kept);
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
    shares::end_left(app).await;
    runtime.remove()?;
    if let Some(tree) = tree {
        tree.remove()?;
    }
    crash::point("gc: cgroups gone", "");
    name::remove_folder()?;
    Ok(found)
}

/// Ends each of these tenants that is in no plan and has running processes. Returns also why others could not
/// be ended; the collection that follows finds those again.
async fn end_unplanned(
    collector: &Collector<'_>,
    previous: &Previous,
    kill: &BTreeSet<TenantName>,
) -> anyhow::Result<(Vec<Residue>, BTreeMap<String, String>)> {
    let (mut ended, mut failed) = (Vec::new(), BTreeMap::new());
    for tenant in fifo::tenants(collector.app)? {
        if (collector.planned)(&tenant) || !kill.contains(&tenant) {
            continue;
        }
        let Some(lived) = (collector.find_alive)(&tenant) else {
            continue;
        };
        let netns = previous.netns_of(&tenant);
        match orphans::end(collector.app, collector.tree, &tenant, netns).await {
            Ok(()) => ended.push(Residue {
                kind: ResidueKind::Tenant,
                object: tenant.to_string(),
                fate: ResidueFate::Ended,
                why: match lived {
                    Alive::Named(processes) => Some(processes),
                    Alive::Unknown(_) => None,
                },
            }),
            Err(failure) => {
                failed.insert(tenant.to_string(), failure.to_string());
            }
        }
    }
    Ok((ended, failed))
}

/// As [`populated`], but also for a tenant whose cgroup cannot be found.
fn find_alive(
    tree: Option<&Tree>,
    previous: &Previous,
    linked: &BTreeSet<TenantName>,
    tenant: &TenantName,
) -> Option<Alive> {
    if let Some(alive) = tree.and_then(|tree| populated(tree, tenant)) {
        return Some(alive);
    }
    // A link disappears with the network namespace of its tenant, whose number another one may have then.
    let is_linked = linked.contains(tenant);
    let Some(netns) = previous.netns_of(tenant).filter(|_| is_linked) else {
        // If the tenant had a leaf, all of its processes would be in it.
        return (tree.is_none() && is_linked).then(|| {
            let why =
                "no record names its processes, and its link still exists: some may be running";
            Alive::Unknown(why.to_owned())
        });
    };
    match process::in_netns(netns) {
        Ok(pids) => named(&pids),
        Err(error) => {
            let why = format!("cannot look for its processes: {error}");
            Some(Alive::Unknown(why))
        }
    }
}
