//! Carries out a step of the supervisor: records, transitions, actions.

use tenantd_core::name::TenantName;
use tenantd_core::supervisor::Step;
use tenantd_core::supervisor::action::Action;
use tenantd_host::timeline;

use crate::Daemon;
use crate::history;
use crate::requests::answer::{Seen, Tenants};
use crate::subscriptions::Subscriptions;

impl Daemon {
    /// Carries out a step of the supervisor: records, transitions, actions.
    pub(crate) fn carry_out(&mut self, mut step: Step) {
        self.executor.use_next_plan(&step.actions);
        // An end and the launch that follows are one step: the record has both.
        step.changed.dedup();
        for tenant in &step.changed {
            let _span = timeline::span("loop: record", tenant.as_str());
            self.record(tenant);
        }
        for transition in &step.transitions {
            let _span = timeline::span("loop: transition", transition.tenant.as_str());
            let inventory = self.executor.inventory();
            self.reached.on_transition(transition, inventory);
            let view = self.supervisor.tenant(&transition.tenant);
            let reached = self.reached.reason(&transition.tenant);
            self.transitions.publish(transition, view.as_ref(), reached);
            self.executor.on_transition(transition);
            let inventory = self.executor.inventory();
            self.targets.on_transition(transition, inventory);
            self.lookups.on_transition(transition, inventory);
            self.refusals.on_transition(transition);
            self.drifts.on_transition(transition);
            self.readiness.on_transition(transition, view, inventory);
            self.tell_client(transition);
        }
        let (subscriptions, tenants) = self.watched();
        history::note_step(&step, |tenant, cause| tenants.reason(tenant, cause));
        subscriptions.publish_step(&step, tenants);
        for action in step.actions {
            if let Action::Remove { tenant } = &action {
                self.remove_tenant(tenant);
            }
            let _span = timeline::span("loop: perform", "");
            self.executor.perform(action);
        }
    }

    /// The subscriptions, with the view of the tenants that events are made from.
    pub(crate) fn watched(&mut self) -> (&mut Subscriptions, Tenants<'_>) {
        let tenants = Tenants {
            supervisor: &self.supervisor,
            executor: &self.executor,
            reloads: &self.reloads,
            wants: &self.wants,
            seen: Seen {
                targets: &self.targets,
                refusals: &self.refusals,
                reached: &self.reached,
                drifts: &self.drifts,
                transitions: &self.transitions,
                readiness: &self.readiness,
            },
        };
        (&mut self.subscriptions, tenants)
    }

    pub(crate) fn record(&mut self, tenant: &TenantName) {
        if let Some(checkpoint) = self.supervisor.checkpoint(tenant)
            && let Some(entry) = self.executor.inventory().get(tenant)
        {
            self.state_file.write(tenant, checkpoint, entry);
        }
    }

    /// Drops all data of a tenant that was removed from the manifest and is released.
    fn remove_tenant(&mut self, tenant: &TenantName) {
        self.wants.on_removed(tenant);
        self.state_file.on_removed(tenant);
        self.transitions.on_removed(tenant);
        self.drifts.on_removed(tenant);
        self.reached.on_removed(tenant);
        self.subscriptions.publish_removed(tenant);
    }
}
