//! Whom an event concerns, and what it is to that tenant.

use crate::name::TenantName;
use crate::stage::Failure;

use super::Supervisor;
use super::event::{Event, LaunchId};
use super::step::{Cause, Step};
use super::tenant::{Tenant, Turn};
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
            Event::Reloaded => self.each(now, &Cause::Reloaded, step, Tenant::apply_again),
            Event::Removed { tenant } => self.removed(now, &tenant, step),
            Event::Awaits { tenant, others } => self.awaits(tenant, others),
            Event::Shutdown => self.shut_down(now, step),
            Event::Hurry => self.hurry_up(now, step),
            Event::Provisioned { tenant } => {
                self.of(now, &tenant, Cause::Provisioned, step, Tenant::provisioned);
            }
            Event::ProvisionFailed { tenant, why } => {
                self.of_failed(now, &tenant, why, step, Tenant::provision_failed);
            }
            Event::Released { tenant } => {
                self.of(now, &tenant, Cause::Released, step, Tenant::released);
            }
            Event::ReleaseFailed { tenant, why } => {
                self.of_failed(now, &tenant, why, step, Tenant::release_failed);
            }
            Event::Launched { launch } => {
                self.on(now, launch, Cause::Launched, step, Tenant::launched);
            }
            Event::LaunchFailed { launch, why } => {
                self.on_failed(now, launch, why, step, Tenant::launch_failed);
            }
            Event::Applied { launch } => self.applied(now, launch, None, step),
            Event::ApplyFailed { launch, why } => self.applied(now, launch, Some(why), step),
            Event::Ready { launch } => {
                self.on(now, launch, Cause::Ready, step, |t, _| t.ready());
            }
            Event::Exited {
                launch,
                exit,
                others,
            } => self.on(now, launch, Cause::Exited(exit), step, |t, turn| {
                t.exited(exit, others, turn);
            }),
            Event::Emptied { launch } => {
                self.on(now, launch, Cause::Emptied, step, Tenant::emptied);
            }
            Event::EndFailed { launch, why } => {
                self.on_failed(now, launch, why, step, Tenant::end_failed);
            }
        }
    }

    fn removed(&mut self, now: Moment, name: &TenantName, step: &mut Step) {
        self.of(now, name, Cause::Removed, step, Tenant::removed);
    }

    /// A live change was applied to this launch, or refused.
    fn applied(
        &mut self,
        now: Moment,
        launch: LaunchId,
        refused: Option<Failure>,
        step: &mut Step,
    ) {
        let cause = refused.clone().map_or(Cause::Applied, Cause::NotApplied);
        self.on(now, launch, cause, step, |t, turn| t.applied(refused, turn));
    }

    /// A turn for the tenant of this name, if there is one.
    pub(super) fn of(
        &mut self,
        now: Moment,
        name: &TenantName,
        cause: Cause,
        step: &mut Step,
        act: impl FnOnce(&mut Tenant, &mut Turn),
    ) {
        if let Some(&index) = self.names.get(name) {
            self.turn(now, index, cause, step, act);
        }
    }

    /// A turn for the tenant with this launch, unless the launch is over.
    fn on(
        &mut self,
        now: Moment,
        launch: LaunchId,
        cause: Cause,
        step: &mut Step,
        act: impl FnOnce(&mut Tenant, &mut Turn),
    ) {
        if let Some(&index) = self.launches.get(&launch) {
            self.turn(now, index, cause, step, act);
        }
    }

    /// A stage of the tenant of this name failed.
    fn of_failed(
        &mut self,
        now: Moment,
        name: &TenantName,
        why: Failure,
        step: &mut Step,
        act: impl FnOnce(&mut Tenant, Failure, &mut Turn),
    ) {
        let cause = Cause::Failed(why.clone());
        self.of(now, name, cause, step, |t, turn| act(t, why, turn));
    }

    /// A stage of this launch failed.
    fn on_failed(
        &mut self,
        now: Moment,
        launch: LaunchId,
        why: Failure,
        step: &mut Step,
        act: impl FnOnce(&mut Tenant, Failure, &mut Turn),
    ) {
        let cause = Cause::Failed(why.clone());
        self.on(now, launch, cause, step, |t, turn| act(t, why, turn));
    }
}
