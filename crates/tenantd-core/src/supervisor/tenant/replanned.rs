//! Transitions on a changed manifest: the tenant's plan changed, or the tenant was removed.

use std::sync::Arc;

use crate::plan::effect::Effect;
use crate::plan::model::Policy;
use crate::supervisor::checkpoint::Resources;
use crate::supervisor::view::Want;

use super::{Left, Making, RestartScope, State, Tenant, TransitionContext};

impl Tenant {
    /// Its plan changed. What is wanted of it stays the same. A relaunch or reprovision clears the
    /// strikes.
    pub(in crate::supervisor) fn replanned(
        &mut self,
        policy: Arc<Policy>,
        effect: Effect,
        context: &mut TransitionContext,
    ) {
        let before = std::mem::replace(&mut self.policy, policy);
        let Some(scope) = self.scope_now(effect) else {
            return self.continue_with(&before, context);
        };
        self.strikes.clear();
        self.state = match self.take() {
            State::Waiting { resources, .. } | State::Failed { resources, .. } => {
                self.bring_up_scoped(context, resources, scope)
            }
            State::Provisioning {
                started_at,
                making: Making::Begun,
            } if scope == RestartScope::Reprovision => State::Provisioning {
                started_at,
                making: Making::Outdated,
            },
            State::Launching { launch, again } => {
                self.abandon(context, launch, again.max(Some(scope)))
            }
            State::Preparing { launch, .. } | State::Up { launch, .. } => {
                self.stop(context, launch, scope.into())
            }
            state @ State::Concluding { .. } => state.concluding_at_least(scope),
            State::Stopping {
                launch,
                ending,
                after,
            } => State::Stopping {
                launch,
                ending,
                after: after.at_least(scope),
            },
            State::Stuck {
                left: Left::Processes { launch, after },
                why,
                tries,
                retry_at,
            } => State::Stuck {
                left: Left::Processes {
                    launch,
                    after: after.at_least(scope),
                },
                why,
                tries,
                retry_at,
            },
            // The next operation uses the new plan.
            state @ (State::Down
            | State::Provisioning { .. }
            | State::Releasing { .. }
            | State::Stuck {
                left: Left::Network,
                ..
            }) => state,
        };
        self.restart_exited(context);
    }

    /// The new plan restarts nothing that runs. What the old one had failed with is tried again.
    fn continue_with(&mut self, before: &Policy, context: &mut TransitionContext) {
        if before.phases.any() || self.policy.phases.any() {
            self.retry_phases(context);
        }
        if self.policy.daemonizes && !before.daemonizes {
            self.retry_in_background(context);
        }
        self.restart_exited(context);
    }

    /// Brings up a tenant without running processes, by the new plan.
    pub(super) fn bring_up_scoped(
        &self,
        context: &mut TransitionContext,
        resources: Resources,
        scope: RestartScope,
    ) -> State {
        match (resources, scope) {
            // It is provisioned again after the release.
            (Resources::Full | Resources::Partial, RestartScope::Reprovision) => {
                self.release(context, 0)
            }
            (Resources::None, RestartScope::Reprovision) | (_, RestartScope::Relaunch) => {
                self.bring_up(context, resources)
            }
        }
    }

    /// It was removed from the plan: it is stopped and released, and then forgotten.
    pub(in crate::supervisor) fn removed(&mut self, context: &mut TransitionContext) {
        self.removed = true;
        self.exited = None;
        self.want_down(context);
    }

    /// It is in the plan again before it was forgotten. Its resources may be outdated.
    pub(in crate::supervisor) fn came_back(
        &mut self,
        policy: Arc<Policy>,
        wanted: bool,
        context: &mut TransitionContext,
    ) {
        self.removed = false;
        self.exited = None;
        self.want = if wanted { Want::Up } else { Want::Down };
        self.replanned(policy, Effect::Reprovision, context);
    }

    /// Whether it was removed and has been released.
    pub(in crate::supervisor) fn is_gone(&self) -> bool {
        self.removed && matches!(self.state, State::Down)
    }

    pub(in crate::supervisor) fn is_removed(&self) -> bool {
        self.removed
    }

    /// The address or datastore that it needs is free.
    pub(in crate::supervisor) fn unblocked(&mut self, context: &mut TransitionContext) {
        self.state = match self.take() {
            State::Provisioning {
                making: Making::Awaiting,
                ..
            } => self.provision(context),
            state @ (State::Provisioning {
                making: Making::Begun | Making::Outdated,
                ..
            }
            | State::Down
            | State::Launching { .. }
            | State::Preparing { .. }
            | State::Concluding { .. }
            | State::Up { .. }
            | State::Stopping { .. }
            | State::Waiting { .. }
            | State::Failed { .. }
            | State::Releasing { .. }
            | State::Stuck { .. }) => state,
        };
    }
}
