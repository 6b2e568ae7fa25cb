//! Rehearses the launches that a reload leads to: a reload after which a tenant could not be launched
//! changes nothing.

use std::collections::BTreeSet;

use rustix::process::Rlimit;
use tokio::task::{spawn_blocking, spawn_local};

use tenantd_core::name::TenantName;
use tenantd_core::plan::diff::{Change, Changes, TenantChange, Unlaunchable};
use tenantd_core::plan::model::{Plan, TenantPlan};
use tenantd_core::plan::places::Places;
use tenantd_core::supervisor::view::Want;
use tenantd_host::launch::rehearse_all;

use super::{Present, Read, ReloadRequest, Reloads, Reread};

impl Reloads {
    /// Rehearses the launches of these tenants of a new plan on another thread.
    pub(super) fn rehearse(
        &self,
        requests: Vec<ReloadRequest>,
        read: Read,
        (changes, tenants): (Changes, BTreeSet<TenantName>),
        descriptors: Rlimit,
    ) {
        let reread = self.reread.clone();
        spawn_local(async move {
            let rehearsed = spawn_blocking(move || {
                let unlaunchable = rehearsed(&read, &tenants, descriptors);
                (read, unlaunchable)
            });
            let (read, unlaunchable) = match rehearsed.await {
                Ok(rehearsed) => rehearsed,
                Err(error) => std::panic::resume_unwind(error.into_panic()),
            };
            let _ended = reread.send(Reread {
                requests,
                read: Ok(read),
                rehearsed: Some(Changes {
                    unlaunchable,
                    ..changes
                }),
            });
        });
    }
}

impl Present<'_> {
    /// The tenants that these changes launch: they are wanted up.
    pub(super) fn launched(&self, changes: &Changes, plan: &Plan) -> BTreeSet<TenantName> {
        let is_launch = |change: &&TenantChange| match change.change {
            Change::Add | Change::Reprovision | Change::Relaunch => true,
            Change::Remove | Change::Live => false,
        };
        let launches = changes.tenants.iter().filter(is_launch);
        let launches: BTreeSet<&TenantName> = launches.map(|change| &change.tenant).collect();
        let is_wanted = |it: &&TenantPlan| match self.supervisor.tenant(&it.name) {
            Some(view) => view.want == Want::Up,
            None => it.policy.autostart,
        };
        let planned = plan.tenants.iter();
        planned
            .filter(|it| launches.contains(&it.name))
            .filter(is_wanted)
            .map(|it| it.name.clone())
            .collect()
    }
}

/// Rehearses launches, and returns those that would fail. Blocks.
fn rehearsed(
    read: &Read,
    tenants: &BTreeSet<TenantName>,
    descriptors: Rlimit,
) -> Vec<Unlaunchable> {
    let Read { plan, source, .. } = read;
    let concerned = plan.tenants.iter().filter(|it| tenants.contains(&it.name));
    let failed = rehearse_all(&plan.app, concerned, descriptors);
    if failed.is_empty() {
        return Vec::new();
    }
    let places = Places::of(source);
    let failed = failed.iter();
    failed
        .map(|(tenant, why)| Unlaunchable::new(tenant, why, &places))
        .collect()
}
