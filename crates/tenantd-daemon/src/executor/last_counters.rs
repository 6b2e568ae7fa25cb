//! Keeps the last counters of a tenant for the meter, before its cgroup and its link are removed.

use std::path::Path;

use tenantd_core::name::{AppName, TenantName};
use tenantd_core::plan::derive::{host_end, tenant_hash};
use tenantd_core::plan::model::TenantPlan;
use tenantd_core::stage::Failure;
use tenantd_host::cgroup::Leaf;
use tenantd_host::counters::last;
use tenantd_host::crash;

use crate::executor::cgroups::Cgroups;
use crate::executor::host::{Host, blocking};

impl Host {
    /// Makes the leaf of a tenant. If an earlier supervisor left one, whose program has ended, its last counters are
    /// kept before it is replaced.
    pub(crate) async fn new_leaf(
        &self,
        cgroups: &Cgroups,
        tenant: &TenantName,
    ) -> Result<Leaf, Failure> {
        if let Some(left) = cgroups.tree.found(tenant) {
            keep(&self.app, tenant, Some(&left)).await;
        }
        self.visitors.leaf(cgroups, tenant).await
    }

    /// Keeps what a tenant with these resources has used. A failure is logged: the release continues.
    pub(crate) async fn keep_counters(&self, plan: &TenantPlan, leaf: Option<&Leaf>) {
        keep(&self.app, &plan.name, leaf).await;
        crash::point("release: counters kept", plan.name.as_str());
    }
}

/// The same on a thread for work that blocks.
pub(crate) async fn keep(app: &AppName, tenant: &TenantName, leaf: Option<&Leaf>) {
    let path = leaf.map(|leaf| leaf.path().to_owned());
    let (app, tenant): (AppName, TenantName) = (app.clone(), tenant.clone());
    let kept = blocking(move || {
        keep_now(&app, &tenant, path.as_deref());
        Ok(())
    });
    // It has no other failure than the one that is logged.
    let _kept = kept.await;
}

/// The same on this thread.
pub(crate) fn keep_now(app: &AppName, tenant: &TenantName, cgroup: Option<&Path>) {
    let link = host_end(tenant_hash(app, tenant)).name.to_string();
    if let Err(error) = last::keep(app, tenant, (cgroup, Some(&link))) {
        let error = anyhow::Error::from(error);
        tracing::warn!(%tenant, "{tenant}: {error:#}");
    }
}
