//! Rehearses the launches that a reload leads to: a reload after which a tenant could not be launched
//! changes nothing.

use std::collections::BTreeSet;

use rustix::process::Rlimit;
use tokio::task::{spawn_blocking, spawn_local};

use tenantd_core::name::TenantName;
use tenantd_core::plan::diff::{Change, Changes, TenantChange, Unlaunchable};
use tenantd_core::plan::model::{Plan, TenantPlan};
use tenantd_core::plan::places::Places;
use tenantd_core::plan::traffic::Publish;
use tenantd_core::supervisor::view::Want;
use tenantd_host::datastore::survey;
use tenantd_host::launch::rehearse_all;
use tenantd_host::network::published;

use super::{Present, Read, ReloadRequest, Reloads, Reread};

impl Reloads {
    /// Rehearses the launches of these tenants of a new plan on another thread.
    pub(super) fn rehearse(
        &self,
        requests: Vec<ReloadRequest>,
        read: Read,
        (changes, concerned): (Changes, Concerned),
        descriptors: Rlimit,
    ) {
        let reread = self.reread.clone();
        spawn_local(async move {
            let rehearsed = spawn_blocking(move || {
                let unlaunchable = rehearsed(&read, &concerned, descriptors);
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

/// The tenants that are looked at before a reload.
pub(super) struct Concerned {
    /// Those that are launched.
    launched: BTreeSet<TenantName>,
    /// Those that get another user, or see their data as another one's.
    changed_users: BTreeSet<TenantName>,
    /// Those that publish what no tenant publishes now.
    publishing: BTreeSet<TenantName>,
    /// What tenants publish now.
    published: BTreeSet<Publish>,
}

impl Concerned {
    pub(super) fn is_empty(&self) -> bool {
        self.launched.is_empty() && self.changed_users.is_empty() && self.publishing.is_empty()
    }
}

impl Present<'_> {
    /// The tenants of these changes that are looked at before.
    pub(super) fn concerned(&self, changes: &Changes, plan: &Plan) -> Concerned {
        let inventory = self.executor.inventory();
        let has_other = |it: &&TenantPlan| {
            let old = inventory.plan(&it.name);
            old.is_some_and(|old| {
                old.launch.identity.uid != it.launch.identity.uid
                    || old.datastore.map != it.datastore.map
            })
        };
        let changed = plan.tenants.iter().filter(has_other);
        let published = inventory.current_plans();
        let published = published.flat_map(|it| it.link.traffic.publish.iter().cloned());
        let published: BTreeSet<Publish> = published.collect();
        let mut publishing = self.used(changes, plan, |_| true);
        publishing.retain(|name| {
            let mut tenants = plan.tenants.iter().filter(|it| it.name == *name);
            let of = |it: &TenantPlan| {
                it.link
                    .traffic
                    .publish
                    .iter()
                    .any(|it| !published.contains(it))
            };
            tenants.any(of)
        });
        Concerned {
            launched: self.launched(changes, plan),
            changed_users: changed.map(|it| it.name.clone()).collect(),
            publishing,
            published,
        }
    }

    /// The tenants that these changes launch: they are wanted up.
    fn launched(&self, changes: &Changes, plan: &Plan) -> BTreeSet<TenantName> {
        self.used(changes, plan, |change| match change.change {
            Change::Add | Change::Reprovision | Change::Relaunch => true,
            Change::Remove | Change::Live => false,
        })
    }

    /// The tenants of some of these changes that are wanted up.
    fn used(
        &self,
        changes: &Changes,
        plan: &Plan,
        is_one: impl Fn(&TenantChange) -> bool,
    ) -> BTreeSet<TenantName> {
        let launches = changes.tenants.iter().filter(|change| is_one(change));
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

/// Rehearses launches, and returns those that would fail; those too that get another user, to which their data does
/// not belong. Blocks.
fn rehearsed(
    read: &Read,
    Concerned {
        launched,
        changed_users,
        publishing,
        published,
    }: &Concerned,
    descriptors: Rlimit,
) -> Vec<Unlaunchable> {
    let Read { plan, source, .. } = read;
    let concerned = plan.tenants.iter().filter(|it| launched.contains(&it.name));
    let mut failed = rehearse_all(&plan.app, concerned, descriptors);
    let given = plan
        .tenants
        .iter()
        .filter(|it| changed_users.contains(&it.name));
    let given = given.filter(|it| failed.iter().all(|(other, _)| other.name != it.name));
    failed.extend(
        given
            .filter_map(|it| Some((it, survey::owned_otherwise(it)?)))
            .collect::<Vec<_>>(),
    );
    let publishing = plan
        .tenants
        .iter()
        .filter(|it| publishing.contains(&it.name));
    let taken = published::taken(
        publishing,
        |it| published.contains(it),
        Some(std::process::id()),
    );
    failed.extend(taken);
    if failed.is_empty() {
        return Vec::new();
    }
    let places = Places::of(source);
    let failed = failed.iter();
    failed
        .map(|(tenant, why)| Unlaunchable::new(tenant, why, &places))
        .collect()
}
