//! Adding and removing tenants, and provisions that wait for other tenants.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use crate::name::TenantName;
use crate::plan::effect::Effect;
use crate::plan::model::Policy;

use super::action::Action;
use super::agenda::{Entry, Index};
use super::checkpoint::{Found, Resources};
use super::event::LaunchId;
use super::step::{Cause, Step};
use super::tenant::Tenant;
use super::time::Moment;
use super::{Slot, Supervisor};

/// Tenants that wait until others release what they need.
#[derive(Debug, Default)]
pub(super) struct Awaits {
    /// Whom each tenant waits for.
    others: BTreeMap<TenantName, BTreeSet<TenantName>>,
    /// The same the other way round, so that a release looks only at those that wait for it.
    waiters: BTreeMap<TenantName, BTreeSet<TenantName>>,
}

impl Awaits {
    pub(super) fn is_blocked(&self, tenant: &TenantName) -> bool {
        self.others.contains_key(tenant)
    }

    /// The tenants that `tenant` waits for.
    pub(super) fn of(&self, tenant: &TenantName) -> impl Iterator<Item = &TenantName> {
        self.others.get(tenant).into_iter().flatten()
    }

    fn add(&mut self, tenant: TenantName, others: BTreeSet<TenantName>) {
        if others.is_empty() {
            return;
        }
        for other in &others {
            let waiters = self.waiters.entry(other.clone()).or_default();
            waiters.insert(tenant.clone());
        }
        let all = self.others.entry(tenant).or_default();
        all.extend(others);
    }

    /// Records that a tenant released everything it held. Returns the tenants that no longer wait.
    fn remove_holder(&mut self, tenant: &TenantName) -> Vec<TenantName> {
        let mut free = Vec::new();
        for waiter in self.waiters.remove(tenant).into_iter().flatten() {
            let Some(others) = self.others.get_mut(&waiter) else {
                continue;
            };
            others.remove(tenant);
            if others.is_empty() {
                self.others.remove(&waiter);
                free.push(waiter);
            }
        }
        free
    }

    /// A tenant waits no longer, because it is removed.
    fn remove_waiter(&mut self, tenant: &TenantName) {
        for other in self.others.remove(tenant).into_iter().flatten() {
            if let Some(waiters) = self.waiters.get_mut(&other) {
                waiters.remove(tenant);
                if waiters.is_empty() {
                    self.waiters.remove(&other);
                }
            }
        }
    }
}

impl Supervisor {
    pub(super) fn planned(
        &mut self,
        now: Moment,
        name: TenantName,
        policy: Arc<Policy>,
        found: Option<Box<Found>>,
        step: &mut Step,
    ) {
        let autostart = policy.autostart && !self.shutdown;
        if let Some(&index) = self.names.get(&name) {
            return self.planned_again(now, index, policy, autostart, step);
        }
        let index = self.next_index;
        self.next_index += 1;
        self.names.insert(name.clone(), index);
        let tenant = Box::new(Tenant::new(name, policy, now));
        let entry = Entry::None;
        self.tenants.insert(index, Slot { tenant, entry });
        let had_resources = found
            .as_ref()
            .is_some_and(|found| found.resources != Resources::None);
        if let Some(found) = found {
            let allowed = !self.shutdown;
            self.resume(LaunchId(0), [&found.checkpoint].into_iter());
            self.transition(now, index, Cause::Planned, step, |tenant, context| {
                tenant.found(*found, allowed, context);
            });
        } else if autostart {
            self.transition(now, index, Cause::Planned, step, Tenant::want_up);
        }
        // What it holds from now on follows the current plan, and no other tenant waits for that.
        let slot = self.tenants.get(&index);
        if !had_resources || slot.is_some_and(|slot| !slot.tenant.state().holds()) {
            self.unblock_waiters(now, index, step);
        }
    }

    fn planned_again(
        &mut self,
        now: Moment,
        index: Index,
        policy: Arc<Policy>,
        autostart: bool,
        step: &mut Step,
    ) {
        self.transition(now, index, Cause::Planned, step, |tenant, context| {
            if tenant.is_removed() {
                tenant.came_back(policy, autostart, context);
            } else {
                tenant.set_policy(policy);
            }
        });
    }

    pub(super) fn replanned(
        &mut self,
        now: Moment,
        name: &TenantName,
        policy: Arc<Policy>,
        (effect, apply): (Effect, bool),
        step: &mut Step,
    ) {
        self.on_tenant(now, name, Cause::Replanned, step, |tenant, context| {
            tenant.replanned(policy, effect, context);
            if apply {
                tenant.apply(context);
            }
        });
    }

    /// The tenants with a live change that the host refused, in the order in which they were planned.
    pub fn refused(&self) -> impl Iterator<Item = &TenantName> {
        let refused = self.tenants.values().filter(|it| it.tenant.is_refused());
        refused.map(|slot| slot.tenant.name())
    }

    /// Retries the live changes that the host refused.
    pub(super) fn reloaded(&mut self, now: Moment, step: &mut Step) {
        let refused = self.tenants.iter().filter(|(_, it)| it.tenant.is_refused());
        let refused: Vec<Index> = refused.map(|(index, _)| *index).collect();
        for index in refused {
            self.transition(now, index, Cause::Reloaded, step, Tenant::apply_again);
        }
    }

    /// The tenants that `tenant` waits for, because they hold what it needs.
    pub fn awaited(&self, tenant: &TenantName) -> impl Iterator<Item = &TenantName> {
        self.awaits.of(tenant)
    }

    pub(super) fn awaits(&mut self, tenant: TenantName, others: Vec<TenantName>) {
        // A tenant that is not planned yet is assumed to hold something until it has been found.
        let holds = |other: &TenantName| {
            let slot = self.names.get(other).and_then(|i| self.tenants.get(i));
            *other != tenant && slot.is_none_or(|slot| slot.tenant.state().holds())
        };
        let others = others.into_iter().filter(holds).collect();
        self.awaits.add(tenant, others);
    }

    /// Unblocks the tenants that waited for this one.
    pub(super) fn unblock_waiters(&mut self, now: Moment, index: Index, step: &mut Step) {
        let Some(slot) = self.tenants.get(&index) else {
            return;
        };
        for free in self.awaits.remove_holder(slot.tenant.name()) {
            self.on_tenant(now, &free, Cause::Unblocked, step, Tenant::unblocked);
        }
    }

    /// Removes a tenant that is no longer planned and has been released. Its name may be used again.
    pub(super) fn remove_tenant(&mut self, index: Index, step: &mut Step) {
        if let Some(slot) = self.tenants.remove(&index) {
            let tenant = slot.tenant.name().clone();
            self.names.remove(&tenant);
            self.awaits.remove_waiter(&tenant);
            step.actions.push(Action::Remove { tenant });
        }
    }
}
