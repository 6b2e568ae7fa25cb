//! Orphans: tenants that an earlier supervisor ran and that are not in the manifest any more. They
//! are ended before any tenant starts, so that a new tenant can use their address and datastore.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use futures_util::future::join_all;
use tokio::sync::OnceCell;
use tokio::time::{Instant, sleep};

use tenantd_core::name::{AppName, TenantName};
use tenantd_core::plan::model::Plan;
use tenantd_core::stage::{Failure, Stage};
use tenantd_core::supervisor::forced;
use tenantd_host::cgroup::{Leaf, Tree};
use tenantd_host::crash;
use tenantd_host::network::residue::Marked;
use tenantd_host::{fifo, process};

use crate::executor::host::{self, blocking, take_name};
use crate::executor::{last_counters, visitors};
use crate::recovery::Recovery;
use crate::state_file::slots::Previous;

/// The time from SIGTERM to SIGKILL. The stop signal and grace of a tenant that is not in the
/// manifest are unknown; 10 s is the manifest's default.
const GRACE: Duration = Duration::from_secs(10);

/// How long the processes may take to end after SIGKILL.
const KILL_LIMIT: Duration = Duration::from_secs(5);

/// How often to look at the cgroup meanwhile.
const LOOK_AGAIN: Duration = Duration::from_millis(20);

impl Recovery {
    /// Ends every orphan and removes its resources except the datastore. A failure is logged, and
    /// reported again when this supervisor ends.
    pub(crate) async fn end_orphans(&self, previous: &Previous, plan: &Plan) {
        let planned: BTreeSet<_> = plan.tenants.iter().map(|tenant| &tenant.name).collect();
        let found = match fifo::tenants(&self.host.app) {
            Ok(found) => found,
            Err(failure) => return tracing::warn!("cannot look for orphans: {failure}"),
        };
        let orphans = found.iter().filter(|tenant| !planned.contains(tenant));
        let links = &Links::default();
        join_all(orphans.map(|tenant| async move {
            match self
                .end_orphan(links, tenant, previous.netns_of(tenant))
                .await
            {
                Ok(()) => {
                    tracing::info!(%tenant, "{tenant}: not in the manifest any more, was ended");
                }
                Err(failure) => tracing::warn!(%tenant, "{tenant}: {failure}"),
            }
        }))
        .await;
    }

    async fn end_orphan(
        &self,
        links: &Links,
        tenant: &TenantName,
        netns: Option<u64>,
    ) -> Result<(), Failure> {
        let app = &self.host.app;
        let tree = self.host.cgroups.as_ref().map(|cgroups| &cgroups.tree);
        end_processes(app, (tree, links), tenant, netns).await?;
        // It would hold the pipes, the socket and the log files as long as it lives.
        if let Err(failure) = self.host.collector.remove(tenant).await {
            tracing::warn!(%tenant, "{tenant}: {failure}");
        }
        remove(app, tenant)
    }
}

/// Ends a tenant that no supervisor runs, and removes its resources except the datastore. Its link
/// disappears with its last process. `netns` is the inode of its network namespace, if recorded.
pub(crate) async fn end(
    app: &AppName,
    tree: Option<&Tree>,
    tenant: &TenantName,
    netns: Option<u64>,
) -> Result<(), Failure> {
    end_processes(app, (tree, &Links::default()), tenant, netns).await?;
    remove(app, tenant)
}

/// The links of an application, which are looked for once for all orphans, and only if one has no cgroup.
#[derive(Debug, Default)]
struct Links(OnceCell<BTreeMap<TenantName, Marked>>);

impl Links {
    async fn of(&self, app: &AppName, tenant: &TenantName) -> Result<Option<&Marked>, Failure> {
        let look = || async {
            let app = app.clone();
            let found = blocking(move || crate::gc::look(&app))
                .await?
                .ours
                .into_iter();
            let found = found.filter_map(|link| Some((link.tenant.clone()?, link)));
            Ok(found.collect())
        };
        Ok(self.0.get_or_try_init(look).await?.get(tenant))
    }
}

async fn end_processes(
    app: &AppName,
    (tree, links): (Option<&Tree>, &Links),
    tenant: &TenantName,
    netns: Option<u64>,
) -> Result<(), Failure> {
    match (tree.and_then(|tree| tree.found(tenant)), netns) {
        (Some(leaf), _) => end_leaf(app, &leaf).await?,
        (None, None) if tree.is_some() => {}
        // Its supervisor used no cgroup for it, or one that this one cannot find.
        (None, netns) => end_without_leaf(links.of(app, tenant).await?, netns).await?,
    }
    crash::point("orphan: ended", tenant.as_str());
    Ok(())
}

fn remove(app: &AppName, tenant: &TenantName) -> Result<(), Failure> {
    take_name(app, tenant)?;
    fifo::remove(app, tenant)
}

/// Ends an orphan that has no cgroup, or proves that no process of it is left: it has no link. A link exists as long as its
/// network namespace; afterwards, another one may have the number of that.
async fn end_without_leaf(link: Option<&Marked>, netns: Option<u64>) -> Result<(), Failure> {
    match (link, netns) {
        (None, _) => Ok(()),
        (Some(link), Some(netns)) => end_netns(link, netns).await,
        (Some(link), None) => {
            let why = "it has no record, and without cgroups its processes cannot be identified: left \
                       alone. End them, for example with kill(1), and start the supervisor again";
            Err(Failure::detail(Stage::End, link.name.as_str(), why))
        }
    }
}

async fn end_leaf(app: &AppName, leaf: &Leaf) -> Result<(), Failure> {
    leaf.signal(libc::SIGTERM)?;
    leaf.resume()?;
    if !empties(leaf, GRACE).await? {
        let (tenant, processes) = (leaf.tenant(), host::named(&leaf.pids()?));
        leaf.kill_all()?;
        let killed = forced::text(Some(GRACE), Some(&processes));
        tracing::warn!(%tenant, "{tenant}: {killed}");
        if !empties(leaf, KILL_LIMIT).await? {
            let left = process::name_some(&leaf.all_pids()?);
            let object = leaf.path().display().to_string();
            return Err(Failure::detail(
                Stage::End,
                object,
                format!("still alive: {left}"),
            ));
        }
    }
    visitors::end(leaf).await?;
    last_counters::keep(app, leaf.tenant(), Some(leaf)).await;
    leaf.remove()
}

/// Ends all processes of a network namespace. Used only without a cgroup. Before each signal, looks whether its link is
/// still there: thousands may be ended at the same time, and each takes a while.
async fn end_netns(link: &Marked, inode: u64) -> Result<(), Failure> {
    let (first, last) = (link.clone(), link.clone());
    blocking(move || match first.is_there()? {
        true => {
            process::signal_netns(inode, libc::SIGTERM)?;
            process::signal_netns(inode, libc::SIGCONT).map(drop)
        }
        false => Ok(()),
    })
    .await?;
    let limit = Instant::now() + GRACE;
    let is_left = move || process::is_in_netns(inode);
    while blocking(is_left).await? && Instant::now() < limit {
        sleep(LOOK_AGAIN).await;
    }
    blocking(move || match last.is_there()? {
        true => process::kill_netns(inode, KILL_LIMIT),
        false => Ok(()),
    })
    .await
}

async fn empties(leaf: &Leaf, within: Duration) -> Result<bool, Failure> {
    let limit = Instant::now() + within;
    while leaf.is_populated()? {
        if Instant::now() >= limit {
            return Ok(false);
        }
        sleep(LOOK_AGAIN).await;
    }
    Ok(true)
}
