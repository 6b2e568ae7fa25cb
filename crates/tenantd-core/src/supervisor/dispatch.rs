//! Passes each event to the tenant that it concerns.

use std::time::Duration;

use crate::name::TenantName;
use crate::stage::Failure;

use super::Supervisor;
use super::event::{Event, Exit, LaunchId};
use super::forced::Processes;
use super::step::{Cause, Step};
use super::tenant::{Tenant, TransitionContext};
use super::time::Moment;

impl Supervisor {
    pub(super) fn dispatch(&mut self, now: Moment, event: Event, step: &mut Step) {
        match event {
            Event::Planned {
                tenant,
                policy,
                found,
            } => self.planned(now, tenant, policy, found, step),
            Event::Replanned {
                tenant,
                policy,
                effect,
                apply,
            } => self.replanned(now, &tenant, policy, (effect, apply), step),
            Event::Reloaded => self.reloaded(now, step),
            Event::Removed { tenant } => self.removed(now, &tenant, step),
            Event::Awaits { tenant, others } => self.awaits(tenant, others),
            Event::Shutdown => self.shut_down(now, step),
            Event::Hurry => self.hurry_up(now, step),
            Event::Provisioned { tenant } => {
                self.on_tenant(now, &tenant, Cause::Provisioned, step, Tenant::provisioned);
            }
            Event::ProvisionFailed { tenant, why } => {
                self.on_tenant_failure(now, &tenant, why, step, Tenant::provision_failed);
            }
            Event::Released { tenant } => {
                self.on_tenant(now, &tenant, Cause::Released, step, Tenant::released);
            }
            Event::ReleaseFailed { tenant, why } => {
                self.on_tenant_failure(now, &tenant, why, step, Tenant::release_failed);
            }
            Event::Skipped { launch } => self.skipped(now, launch, step),
            Event::Concluded { launch } => self.concluded(now, launch, step),
            Event::ConcludeFailed { launch, why } => self.conclude_failed(now, launch, why, step),
            Event::Launched { launch } => self.launched(now, launch, step),
            Event::LaunchFailed { launch, why } => {
                self.on_launch_failure(now, launch, why, step, Tenant::launch_failed);
            }
            Event::Applied { launch } => self.applied(now, launch, None, step),
            Event::ApplyFailed { launch, why } => self.applied(now, launch, Some(why), step),
            Event::Ready { launch } => self.ready(now, launch, step),
            Event::Exited {
                launch,
                exit,
                others,
                said,
            } => self.exited(now, launch, (exit, others, &said), step),
            Event::MainExited {
                launch,
                exit,
                others,
            } => self.main_exited(now, launch, (exit, others), step),
            Event::Emptied { launch } => self.emptied(now, launch, step),
            Event::Extend { launch, by } => self.extend(now, launch, by, step),
            Event::SaysStopping { launch } => self.says_stopping(now, launch, step),
            Event::NotAlive { launch, why } => self.not_alive(now, launch, why, step),
            Event::Killed { launch, processes } => self.killed(now, launch, processes, step),
            Event::MountLost { launch, why } => self.mount_lost(now, launch, why, step),
            Event::LinkLost { tenant, why } => self.link_lost(now, &tenant, why, step),
            Event::EndFailed { launch, why } => self.end_failed(now, launch, why, step),
        }
    }

    fn conclude_failed(&mut self, now: Moment, launch: LaunchId, why: Failure, step: &mut Step) {
        self.on_launch_failure(now, launch, why, step, Tenant::conclude_failed);
    }

    fn mount_lost(&mut self, now: Moment, launch: LaunchId, why: Failure, step: &mut Step) {
        self.on_launch_failure(now, launch, why, step, Tenant::mount_lost);
    }

    fn link_lost(&mut self, now: Moment, tenant: &TenantName, why: Failure, step: &mut Step) {
        self.on_tenant_failure(now, tenant, why, step, Tenant::link_lost);
    }

    fn launched(&mut self, now: Moment, launch: LaunchId, step: &mut Step) {
        self.on_launch(now, launch, Cause::Launched, step, Tenant::launched);
    }

    fn ready(&mut self, now: Moment, launch: LaunchId, step: &mut Step) {
        self.on_launch(now, launch, Cause::Ready, step, |t, _| t.ready());
    }

    fn killed(&mut self, now: Moment, launch: LaunchId, processes: Processes, step: &mut Step) {
        self.on_launch(now, launch, Cause::GraceOver, step, |t, context| {
            t.killed(processes, context);
        });
    }

    fn emptied(&mut self, now: Moment, launch: LaunchId, step: &mut Step) {
        self.on_launch(now, launch, Cause::Emptied, step, Tenant::emptied);
    }

    fn main_exited(
        &mut self,
        now: Moment,
        launch: LaunchId,
        (exit, others): (Exit, bool),
        step: &mut Step,
    ) {
        self.on_launch(now, launch, Cause::Exited(exit), step, |t, context| {
            t.main_exited(exit, others, context);
        });
    }

    fn extend(&mut self, now: Moment, launch: LaunchId, by: Duration, step: &mut Step) {
        self.on_launch(now, launch, Cause::Extended, step, |t, context| {
            t.extend(by, context);
        });
    }

    fn says_stopping(&mut self, now: Moment, launch: LaunchId, step: &mut Step) {
        self.on_launch(
            now,
            launch,
            Cause::SaysStopping,
            step,
            Tenant::says_stopping,
        );
    }

    fn not_alive(&mut self, now: Moment, launch: LaunchId, why: Failure, step: &mut Step) {
        self.on_launch_failure(now, launch, why, step, Tenant::not_alive);
    }

    fn end_failed(&mut self, now: Moment, launch: LaunchId, why: Failure, step: &mut Step) {
        self.on_launch_failure(now, launch, why, step, Tenant::end_failed);
    }

    fn skipped(&mut self, now: Moment, launch: LaunchId, step: &mut Step) {
        self.on_launch(now, launch, Cause::Skipped, step, Tenant::skipped);
    }

    fn concluded(&mut self, now: Moment, launch: LaunchId, step: &mut Step) {
        self.on_launch(now, launch, Cause::Concluded, step, Tenant::concluded);
    }

    fn exited(
        &mut self,
        now: Moment,
        launch: LaunchId,
        (exit, others, said): (Exit, bool, &str),
        step: &mut Step,
    ) {
        self.on_launch(now, launch, Cause::Exited(exit), step, |t, context| {
            t.exited(exit, others, said, context);
        });
    }

    fn removed(&mut self, now: Moment, name: &TenantName, step: &mut Step) {
        self.on_tenant(now, name, Cause::Removed, step, Tenant::removed);
    }

    /// Handles the answer to an `Apply`.
    fn applied(
        &mut self,
        now: Moment,
        launch: LaunchId,
        refused: Option<Failure>,
        step: &mut Step,
    ) {
        let cause = refused.clone().map_or(Cause::Applied, Cause::NotApplied);
        self.on_launch(now, launch, cause, step, |t, context| {
            t.applied(refused, context);
        });
    }

    /// Runs a transition of the tenant with this name, if it exists.
    pub(super) fn on_tenant(
        &mut self,
        now: Moment,
        name: &TenantName,
        cause: Cause,
        step: &mut Step,
        act: impl FnOnce(&mut Tenant, &mut TransitionContext),
    ) {
        if let Some(&index) = self.names.get(name) {
            self.transition(now, index, cause, step, act);
        }
    }

    /// Runs a transition of the tenant with this launch, unless the launch is over.
    fn on_launch(
        &mut self,
        now: Moment,
        launch: LaunchId,
        cause: Cause,
        step: &mut Step,
        act: impl FnOnce(&mut Tenant, &mut TransitionContext),
    ) {
        if let Some(&index) = self.launches.get(&launch) {
            self.transition(now, index, cause, step, act);
        }
    }

    /// Runs a transition for a failed stage of a tenant.
    fn on_tenant_failure(
        &mut self,
        now: Moment,
        name: &TenantName,
        why: Failure,
        step: &mut Step,
        act: impl FnOnce(&mut Tenant, Failure, &mut TransitionContext),
    ) {
        let cause = Cause::Failed(why.clone());
        self.on_tenant(now, name, cause, step, |t, context| act(t, why, context));
    }

    /// Runs a transition for a failed stage of a launch.
    fn on_launch_failure(
        &mut self,
        now: Moment,
        launch: LaunchId,
        why: Failure,
        step: &mut Step,
        act: impl FnOnce(&mut Tenant, Failure, &mut TransitionContext),
    ) {
        let cause = Cause::Failed(why.clone());
        self.on_launch(now, launch, cause, step, |t, context| act(t, why, context));
    }
}
