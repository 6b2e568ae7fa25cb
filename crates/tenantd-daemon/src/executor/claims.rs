//! The claims of datastores: proved before a provision and before a release. A launch makes its own, see
//! [`tenantd_host::claim`], and that of an adopted launch is continued, see [`claiming`](crate::executor::host::claiming).

use std::os::fd::{AsFd, BorrowedFd};
use std::path::Path;
use std::sync::Arc;

use rustix::io::Errno;

use tenantd_core::manifest::storage::Storage;
use tenantd_core::name::AppName;
use tenantd_core::plan::model::TenantPlan;
use tenantd_core::stage::{Failure, Stage};
use tenantd_host::cgroup::Leaf;
use tenantd_host::crash;
use tenantd_host::network::Question;
use tenantd_host::{claim, datastore, lock, owner, relocation};

use crate::executor::blocking::blocking;
use crate::executor::host::Host;
use crate::executor::visitors;

impl Host {
    /// Undoes a provision that failed after the datastore was taken.
    pub(super) async fn undo(&self, plan: &Arc<TenantPlan>, leaf: Option<&Leaf>) -> Vec<Failure> {
        let failures = self.remove_resources(plan, leaf).await;
        let (app, plan) = (self.app.clone(), Arc::clone(plan));
        // A launch that still runs keeps it: the release looks again.
        let left = blocking(move || unclaimed(&app, &plan)).await;
        failures.into_iter().chain(left.err()).collect()
    }
}

/// Makes the datastore if it is missing, and proves that no launch uses it, and no other host. Other
/// resources with the tenant's marks are then unused too. With `takeover`, the datastore of another host is
/// taken. Returns whether other machines must be asked for the tenant's addresses.
pub(crate) async fn ready_datastore(
    app: &AppName,
    plan: &Arc<TenantPlan>,
    takeover: bool,
) -> Result<Question, Failure> {
    let (app, plan) = (app.clone(), Arc::clone(plan));
    blocking(move || {
        let label = lock::label(&app, &plan.name);
        let is_local = plan.policy.storage == Storage::Local;
        if takeover
            && is_local
            && let Some(from) = relocation::take_over(&plan.datastore, &label)?
        {
            let tenant = &plan.name;
            tracing::warn!(%tenant, "{tenant}: took the copy of a move that host {from} has not finished");
            if let Err(error) = relocation::Snapshots::received(&plan.datastore.source).sweep() {
                let error = anyhow::Error::new(error);
                tracing::warn!(%tenant, "{tenant}: what the move has received stays: {error:#}");
            }
        }
        let datastore = datastore::claim(&app, &plan.name, &plan.datastore)?;
        crash::point("provision: datastore made", plan.name.as_str());
        let path = &plan.datastore.source;
        claim::release(datastore.as_fd(), path, &label)?;
        crash::point("provision: claim proved", plan.name.as_str());
        if takeover && is_local {
            relocation::refuse_stub(path)?;
        }
        let before = owner::take(datastore.as_fd(), path, &label, takeover)?;
        if let Some(other) = before.other {
            let (tenant, path) = (&plan.name, path.display());
            tracing::warn!(%tenant, "{tenant}: took over the datastore {path}: {other} had it");
        }
        crash::point("provision: owner noted", plan.name.as_str());
        Ok(match before.is_moved {
            true => Question::Spare,
            false => Question::Ask,
        })
    })
    .await
}

/// Proves that no process of a tenant is left: its cgroup is empty, and no process uses its datastore.
/// Then gives up its claim. (The release proves later that no process is in the network namespace: the
/// link disappears together with the namespace.)
pub(crate) async fn prove_ended(
    app: &AppName,
    plan: &Arc<TenantPlan>,
    (leaf, visitors): (Option<&Leaf>, &visitors::Ending),
) -> Result<(), Failure> {
    if let Some(leaf) = leaf {
        visitors.prove_empty(leaf).await?;
    }
    let (app, plan) = (app.clone(), Arc::clone(plan));
    blocking(move || unclaimed(&app, &plan)).await
}

/// Proves that no process uses the datastore of a tenant, and gives up its claim.
pub(crate) fn unclaimed(app: &AppName, plan: &TenantPlan) -> Result<(), Failure> {
    let path = &plan.datastore.source;
    match datastore::open(path) {
        Ok(datastore) => {
            claim::release(datastore.as_fd(), path, &lock::label(app, &plan.name))?;
            leave(plan, datastore.as_fd());
            Ok(())
        }
        // A datastore that does not exist cannot be in use under this name.
        Err(Errno::NOENT) => Ok(()),
        Err(errno) => Err(unopened(path, errno)),
    }
}

/// Notes that this host uses a datastore no longer. A failure is logged: the next start on another host is
/// refused then.
fn leave(plan: &TenantPlan, datastore: BorrowedFd<'_>) {
    let (tenant, path) = (&plan.name, &plan.datastore.source);
    match owner::leave(datastore, path) {
        Ok(None) => {}
        Ok(Some(other)) => {
            tracing::error!(%tenant, "{tenant}: {other} took its datastore while it ran here: check its data");
        }
        Err(failure) => tracing::warn!(%tenant, "{tenant}: {failure}"),
    }
}

pub(crate) fn unopened(path: &Path, errno: Errno) -> Failure {
    let object = path.display().to_string();
    Failure::errno(Stage::Lock, object, errno.raw_os_error())
}
