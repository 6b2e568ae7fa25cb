//! Makes the events for subscribers: one for each transition, and one for any other change of a
//! tenant.

use std::collections::BTreeSet;

use jiff::Timestamp;

use tenantd_api::wire::StateWord;
use tenantd_api::wire::watch::{EventKind, ProgramExit, TenantEvent};
use tenantd_core::name::TenantName;
use tenantd_core::supervisor::{Cause, Step, Transition};

use crate::requests::answer::Tenants;
use crate::subscriptions::Subscriptions;

impl Subscriptions {
    /// Publishes a step: its transitions in their order, and then the tenants that changed without
    /// a transition.
    pub(crate) fn publish_step(&mut self, step: &Step, tenants: Tenants<'_>) {
        // The usual case: a step costs nothing here.
        if self.is_empty() {
            return;
        }
        for transition in &step.transitions {
            self.publish_transition(transition, tenants);
        }
        let moved: BTreeSet<&TenantName> = step.transitions.iter().map(|t| &t.tenant).collect();
        for tenant in step.changed.iter().filter(|tenant| !moved.contains(tenant)) {
            self.publish_changed(tenant, tenants);
        }
    }

    fn publish_transition(&mut self, transition: &Transition, tenants: Tenants<'_>) {
        let Transition {
            tenant,
            from,
            to,
            launch: _,
            cause,
        } = transition;
        if !self.watches(tenant) {
            return;
        }
        let status = tenants.tenant_status(tenant);
        self.publish(TenantEvent {
            tenant: tenant.clone(),
            kind: kind(cause, from == to),
            from: Some((*from).into()),
            state: (*to).into(),
            reason: Some(tenants.reason(tenant, cause)),
            exit: ProgramExit::of(cause),
            time: now(),
            status,
        });
    }

    /// Publishes that a tenant was added.
    pub(crate) fn publish_added(&mut self, tenant: TenantName, tenants: Tenants<'_>) {
        if !self.watches(&tenant) {
            return;
        }
        let status = tenants.tenant_status(&tenant);
        self.publish(TenantEvent {
            tenant,
            kind: EventKind::Added,
            from: None,
            state: StateWord::Down,
            reason: None,
            exit: None,
            time: now(),
            status,
        });
    }

    /// Publishes a change of a tenant that is not a transition.
    pub(crate) fn publish_changed(&mut self, tenant: &TenantName, tenants: Tenants<'_>) {
        if !self.watches(tenant) {
            return;
        }
        let Some(status) = tenants.tenant_status(tenant) else {
            return;
        };
        self.publish(TenantEvent {
            tenant: tenant.clone(),
            kind: EventKind::Changed,
            from: Some(status.state),
            state: status.state,
            reason: None,
            exit: None,
            time: now(),
            status: Some(status),
        });
    }

    /// Publishes that a tenant was removed.
    pub(crate) fn publish_removed(&mut self, tenant: &TenantName) {
        if self.watches(tenant) {
            self.publish(TenantEvent {
                tenant: tenant.clone(),
                kind: EventKind::Removed,
                from: Some(StateWord::Down),
                state: StateWord::Down,
                reason: Some(Cause::Removed.to_string()),
                exit: None,
                time: now(),
                status: None,
            });
        }
        self.remove_pending(tenant);
    }
}

/// The kind of the event for a transition with this cause.
fn kind(cause: &Cause, is_same_state: bool) -> EventKind {
    match cause {
        Cause::Ready if is_same_state => EventKind::Ready,
        Cause::Applied | Cause::NotApplied(_) => EventKind::Changed,
        Cause::Ready
        | Cause::Planned
        | Cause::Offline(_)
        | Cause::Found(_)
        | Cause::Replanned
        | Cause::Reloaded
        | Cause::Removed
        | Cause::Unblocked
        | Cause::Requested(_)
        | Cause::Shutdown
        | Cause::Hurry
        | Cause::Provisioned
        | Cause::Launched
        | Cause::Executed(_)
        | Cause::Skipped
        | Cause::Finished(..)
        | Cause::Concluded
        | Cause::Exited(_)
        | Cause::LeftOthers(_)
        | Cause::NotRestarted(_)
        | Cause::Emptied
        | Cause::Released
        | Cause::Failed(_)
        | Cause::GivenUp(_)
        | Cause::Due
        | Cause::GraceOver
        | Cause::Killed(_)
        | Cause::SaysStopping
        | Cause::StillRuns(_)
        | Cause::Extended
        | Cause::NoMoreTime(..)
        | Cause::Retry => EventKind::Transition,
    }
}

/// The current time in whole milliseconds, as in all dates on the wire.
fn now() -> Timestamp {
    let now = Timestamp::now();
    now.round(jiff::Unit::Millisecond).unwrap_or(now)
}
