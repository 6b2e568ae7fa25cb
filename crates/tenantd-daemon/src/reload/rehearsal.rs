//! Rehearses the launches that a reload leads to: a reload after which a tenant could not be launched
//! changes nothing.

use std::collections::BTreeSet;
use std::sync::Arc;

use rustix::process::Rlimit;
use tokio::task::{spawn_blocking, spawn_local};

use tenantd_core::name::TenantName;
use tenantd_core::plan::diff::{Change, TenantChange, Unlaunchable};
use tenantd_core::plan::model::TenantPlan;
use tenantd_core::plan::places::Places;
use tenantd_core::plan::traffic::Publish;
use tenantd_core::supervisor::view::Want;
use tenantd_host::datastore::survey;
use tenantd_host::launch::{MountTemplates, rehearse_all};
use tenantd_host::network::published;

use crate::executor::host::Host;

use super::compare::Compared;
use super::{Present, ReloadRequest, Reloads, Reread, Stage};

impl Reloads {
    /// Rehearses the launches of these tenants of a new plan on another thread.
    pub(super) fn rehearse(
        &self,
        requests: Vec<ReloadRequest>,
        (mut compared, concerned): (Compared, Concerned),
        host: &Host,
    ) {
        let (templates, descriptors) = (host.templates.for_rehearsals(), host.descriptors);
        let reread = self.reread.clone();
        spawn_local(async move {
            let rehearsed = spawn_blocking(move || {
                let unlaunchable = rehearsed(&compared, &concerned, (&templates, descriptors));
                compared.changes.unlaunchable = unlaunchable;
                (compared, templates)
            });
            let (compared, templates) = match rehearsed.await {
                Ok(rehearsed) => rehearsed,
                Err(error) => std::panic::resume_unwind(error.into_panic()),
            };
            let stage = Stage::Rehearsed(compared);
            let _ended = reread.send(Reread { requests, stage });
            drop(spawn_blocking(move || drop(templates)));
        });
    }
}

/// The tenants that are looked at before a reload.
pub(super) struct Concerned {
    /// Those that are launched.
    launched: Plans,
    /// Those that get another user, or see their data as another one's.
    changed_users: Plans,
    /// Those that publish what no tenant publishes now.
    publishing: Plans,
    /// What tenants publish now.
    published: BTreeSet<Publish>,
}

type Plans = Vec<Arc<TenantPlan>>;

impl Concerned {
    pub(super) fn is_empty(&self) -> bool {
        self.launched.is_empty() && self.changed_users.is_empty() && self.publishing.is_empty()
    }
}

impl Present<'_> {
    /// The tenants of these changes that are looked at before.
    pub(super) fn concerned(&self, compared: &Compared) -> Concerned {
        let mut publishing = self.used(compared, |_| true);
        publishing.retain(|plan| !plan.link.traffic.publish.is_empty());
        let published = match publishing.is_empty() {
            true => BTreeSet::new(),
            false => self.published(),
        };
        let is_new = |plan: &TenantPlan| {
            let mut all = plan.link.traffic.publish.iter();
            all.any(|it| !published.contains(it))
        };
        publishing.retain(|plan| is_new(plan));
        Concerned {
            launched: self.launched(compared),
            changed_users: self.changed_users(compared),
            publishing,
            published,
        }
    }

    /// What tenants publish now.
    fn published(&self) -> BTreeSet<Publish> {
        let all = self.executor.inventory().current_plans();
        all.flat_map(|it| it.link.traffic.publish.iter().cloned())
            .collect()
    }

    /// The tenants that get another user, also by a change that waits for their next launch.
    fn changed_users(&self, compared: &Compared) -> Plans {
        let inventory = self.executor.inventory();
        let has_other = |it: &TenantPlan| {
            let old = inventory.plan(&it.name);
            old.is_some_and(|old| {
                old.launch.identity.uid != it.launch.identity.uid
                    || old.datastore.map != it.datastore.map
            })
        };
        let changes = compared.changes.tenants.iter();
        let changed: BTreeSet<&TenantName> = changes.map(|it| &it.tenant).collect();
        let others = inventory.waiting().filter(|it| !changed.contains(&it.name));
        let all = compared.plans.iter().chain(others);
        all.filter(|it| has_other(it)).cloned().collect()
    }

    /// The tenants that these changes launch: they are wanted up.
    fn launched(&self, compared: &Compared) -> Plans {
        self.used(compared, |change| match change.change {
            Change::Add | Change::Reprovision | Change::Relaunch => true,
            Change::Remove | Change::Live => false,
        })
    }

    /// The tenants of some of these changes that are wanted up.
    fn used(&self, compared: &Compared, is_one: impl Fn(&TenantChange) -> bool) -> Plans {
        let changes = compared.changes.tenants.iter();
        let launches = changes.filter(|change| is_one(change));
        let launches: BTreeSet<&TenantName> = launches.map(|change| &change.tenant).collect();
        let is_wanted = |it: &TenantPlan| match self.supervisor.tenant(&it.name) {
            Some(view) => view.want == Want::Up,
            None => it.policy.autostart,
        };
        let plans = compared.plans.iter();
        let plans = plans.filter(|it| launches.contains(&it.name) && is_wanted(it));
        plans.cloned().collect()
    }
}

/// Rehearses launches, and returns those that would fail; those too that get another user, to which their data does
/// not belong. Blocks.
fn rehearsed(
    compared: &Compared,
    Concerned {
        launched,
        changed_users,
        publishing,
        published,
    }: &Concerned,
    (templates, descriptors): (&MountTemplates, Rlimit),
) -> Vec<Unlaunchable> {
    let Compared { app, source, .. } = compared;
    let launched = launched.iter().map(Arc::as_ref);
    let mut failed = rehearse_all(templates, app, launched, descriptors);
    let given = changed_users.iter().map(Arc::as_ref);
    let given = given.filter(|it| failed.iter().all(|(other, _)| other.name != it.name));
    failed.extend(
        given
            .filter_map(|it| Some((it, survey::owned_otherwise(it)?)))
            .collect::<Vec<_>>(),
    );
    let taken = published::taken(
        publishing.iter().map(Arc::as_ref),
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
