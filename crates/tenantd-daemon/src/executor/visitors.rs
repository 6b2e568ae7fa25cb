//! Ends the visitors of a tenant, the commands that `exec` runs in it, once its program has ended.
//!
//! They are told to go at once. A launch, a provision and a release wait for them, so that a launch
//! never runs beside a visitor of the former one, and a release proves that none is left. Nothing
//! else waits, and none of these for longer than the limits here.

use std::rc::Rc;
use std::time::Duration;

use tokio::time::{Instant, sleep};

use tenantd_core::name::TenantName;
use tenantd_core::stage::{Failure, Stage};
use tenantd_host::cgroup::Leaf;
use tenantd_host::process;

use crate::executor::Executor;
use crate::executor::busy::Busy;
use crate::executor::cgroups::Cgroups;
use crate::executor::host::Host;

/// The time from SIGHUP to SIGKILL.
const PATIENCE: Duration = Duration::from_secs(1);

/// How long visitors may take to end after SIGKILL.
const KILL_LIMIT: Duration = Duration::from_secs(5);

/// How often to look at the cgroup meanwhile.
const LOOK_AGAIN: Duration = Duration::from_millis(10);

/// The tenants whose visitors are being ended because their program has ended.
///
/// A task that ends visitors looks several times, and removes their part of the leaf. Of two at a time, the one that is
/// done later would end the visitors of the next launch.
#[derive(Debug, Default)]
pub(crate) struct Ending(Rc<Busy>);

impl Ending {
    /// Whether a leaf has visitors that a launch waits for.
    ///
    /// # Errors
    /// A [`Failure`] of stage cgroup.
    pub(crate) fn has_any(&self, leaf: &Leaf) -> Result<bool, Failure> {
        Ok(self.0.has(leaf.tenant()) || leaf.has_visitors()?)
    }

    /// Ends the visitors, unless processes of the program are alive.
    ///
    /// # Errors
    /// See [`end`]; or a [`Failure`] of stage cgroup.
    pub(crate) async fn end_after(&self, leaf: &Leaf) -> Result<(), Failure> {
        self.0.wait(leaf.tenant()).await;
        end_after(leaf).await
    }

    /// Makes the leaf of a tenant, after ending the visitors of a launch of an earlier supervisor.
    ///
    /// # Errors
    /// See [`end`] and [`Tree::leaf`](tenantd_host::cgroup::Tree::leaf).
    pub(crate) async fn leaf(
        &self,
        cgroups: &Cgroups,
        tenant: &TenantName,
    ) -> Result<Leaf, Failure> {
        if let Some(found) = cgroups.tree.found(tenant) {
            self.end_after(&found).await?;
        }
        cgroups.leaf(tenant)
    }

    /// Proves that no process is left in a leaf, after ending the visitors.
    ///
    /// # Errors
    /// A [`Failure`] of stage end with the processes that are left.
    pub(crate) async fn prove_empty(&self, leaf: &Leaf) -> Result<(), Failure> {
        self.end_after(leaf).await?;
        if !leaf.is_occupied()? {
            return Ok(());
        }
        let pids = process::name_some(&leaf.all_pids()?);
        let object = format!("in {}", leaf.path().display());
        let why = format!("still alive: {pids}");
        Err(Failure::detail(Stage::End, object, why))
    }
}

/// Ends all visitors, and removes their part of the leaf, so that none can enter. Costs one look at
/// the tree in the usual case that there is none.
///
/// # Errors
/// A [`Failure`] of stage end that names those that survived SIGKILL.
pub(crate) async fn end(leaf: &Leaf) -> Result<(), Failure> {
    if leaf.remove_visitors()? {
        return Ok(());
    }
    leaf.signal_visitors(libc::SIGHUP)?;
    // One that is stopped gets its signal only once it continues.
    leaf.signal_visitors(libc::SIGCONT)?;
    let begun = Instant::now();
    while !leaf.remove_visitors()? {
        let passed = begun.elapsed();
        if passed >= PATIENCE + KILL_LIMIT {
            let object = format!("in {}", leaf.path().display());
            let left = process::name_some(&leaf.visitors()?);
            let why = format!("{left} of `tenantd exec` survived SIGKILL");
            return Err(Failure::detail(Stage::End, object, why));
        }
        if passed >= PATIENCE {
            leaf.kill_visitors()?;
        }
        sleep(LOOK_AGAIN).await;
    }
    Ok(())
}

/// The same, unless processes of the program are alive.
async fn end_after(leaf: &Leaf) -> Result<(), Failure> {
    match leaf.is_populated()? {
        true => Ok(()),
        false => end(leaf).await,
    }
}

impl Executor {
    /// The program of a tenant has ended.
    pub(super) fn tell_visitors(&self, tenant: &TenantName) {
        let entry = self.inventory.get(tenant);
        let provisioned = entry.and_then(|entry| entry.provisioned.as_ref());
        let Some(leaf) = provisioned.and_then(|it| it.leaf.clone()) else {
            return;
        };
        self.host.tell_visitors(leaf);
    }
}

impl Host {
    /// Begins to end the visitors of a tenant whose program has ended, if there are any.
    pub(crate) fn tell_visitors(self: &Rc<Self>, leaf: Leaf) {
        let tenant = leaf.tenant();
        match leaf.has_visitors() {
            Ok(false) => return,
            Ok(true) => {}
            // What waits for them reports it too.
            Err(failure) => return tracing::warn!(%tenant, "{failure}"),
        }
        let Some(ending) = self.visitors.0.begin(tenant) else {
            return;
        };
        let task = self.under_way.begin();
        self.spawn(async move {
            let tenant = leaf.tenant();
            tracing::info!(
                %tenant,
                "{tenant}: its program has ended: ending the commands of `tenantd exec` in it"
            );
            if let Err(failure) = end_after(&leaf).await {
                tracing::warn!(%tenant, "{tenant}: {failure}");
            }
            drop((ending, task));
        });
    }
}
