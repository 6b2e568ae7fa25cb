//! Carries out a step of the supervisor: records, launches, transitions, other actions.
//!
//! A launch begins as soon as it is recorded, since the tenant is away until its program runs: log, history and
//! subscribers are told while another thread prepares it. Everything else that the supervisor decides is told
//! before it is done.

use tenantd_core::name::TenantName;
use tenantd_core::supervisor::Step;
use tenantd_core::supervisor::action::Action;
use tenantd_core::supervisor::event::Event;
use tenantd_core::supervisor::view::View;
use tenantd_host::timeline;

use crate::Daemon;
use crate::clock;
use crate::history;
use crate::requests::answer::{Seen, Tenants};
use crate::subscriptions::Subscriptions;

/// A step of which records are written and launches have begun, and nothing else.
pub(crate) struct Untold {
    step: Step,
    /// The tenant of each transition, after the step.
    views: Vec<Option<View>>,
}

impl Daemon {
    /// Has the supervisor handle an event, and carries out what it decides.
    pub(crate) fn handle(&mut self, event: Event) {
        // If none of its processes is left, the end of the launch is the next event, and perhaps the next launch.
        let is_followed = matches!(event, Event::Exited { others: false, .. });
        if !matches!(event, Event::Emptied { .. }) {
            self.tell_rest();
        }
        if matches!(event, Event::Shutdown) {
            self.executor.end_all();
        }
        let added = self.transitions.on_event(&event, &self.supervisor);
        let step = self.supervisor.handle(clock::now(), event);
        if let Some(tenant) = added {
            let (subscriptions, tenants) = self.watched();
            subscriptions.publish_added(tenant, tenants);
        }
        // A subscriber gets the status of the moment with each transition.
        if is_followed && step.actions.is_empty() && self.subscriptions.is_empty() {
            let untold = self.begin(step);
            self.transitions.untold.push(untold);
        } else {
            self.carry_out(step);
        }
    }

    /// Carries out a step of the supervisor.
    pub(crate) fn carry_out(&mut self, step: Step) {
        let untold = self.begin(step);
        self.tell_rest();
        self.tell(untold);
    }

    /// Tells what is left of the steps before.
    pub(crate) fn tell_rest(&mut self) {
        for untold in std::mem::take(&mut self.transitions.untold) {
            self.tell(untold);
        }
    }

    /// Writes the records of a step, and begins its launches.
    fn begin(&mut self, mut step: Step) -> Untold {
        self.executor.use_next_plan(&step.actions);
        // An end and the launch that follows are one step: the record has both.
        step.changed.dedup();
        for tenant in &step.changed {
            let _span = timeline::span("loop: record", tenant.as_str());
            self.record(tenant);
        }
        for transition in &step.transitions {
            self.executor.on_transition(transition);
        }
        let is_launch = |action: &Action| matches!(action, Action::Launch { .. });
        // Otherwise in their order.
        if step.actions.iter().all(is_launch) {
            for action in std::mem::take(&mut step.actions) {
                let _span = timeline::span("loop: launch", "");
                self.executor.perform(action);
            }
        }
        let transitions = step.transitions.iter();
        let views = transitions.map(|transition| self.supervisor.tenant(&transition.tenant));
        Untold {
            views: views.collect(),
            step,
        }
    }

    /// Tells the owners of the transitions, and performs the other actions.
    fn tell(&mut self, Untold { step, views }: Untold) {
        for (transition, view) in step.transitions.iter().zip(views) {
            let _span = timeline::span("loop: transition", transition.tenant.as_str());
            // First, since it may find out why a program has ended.
            self.watch_program(transition);
            let inventory = self.executor.inventory();
            let reached = self.reached.reason(&transition.tenant);
            self.transitions.publish(transition, view.as_ref(), reached);
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
