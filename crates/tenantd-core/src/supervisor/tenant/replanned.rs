//! What a changed manifest does to a tenant: it is planned otherwise, or in the plan no more.

use std::sync::Arc;

use crate::plan::effect::Effect;
use crate::plan::model::Policy;
use crate::supervisor::memory::Footing;
use crate::supervisor::view::Want;

use super::{Anew, Left, Making, State, Tenant, Turn};

impl Tenant {
    /// It is planned otherwise. What is wanted of it stays, and what went wrong by the old plan
    /// is forgotten where the new one changes what runs.
    pub(in crate::supervisor) fn replanned(
        &mut self,
        policy: Arc<Policy>,
        effect: Effect,
        turn: &mut Turn,
    ) {
        self.policy = policy;
        let Some(anew) = Anew::by(effect) else {
            return;
        };
        self.strikes.clear();
        self.state = match self.take() {
            State::Waiting { footing, .. } | State::Held { footing, .. } => {
                self.bring_up_anew(turn, footing, anew)
            }
            State::Provisioning {
                started_at,
                making: Making::Begun,
            } if anew == Anew::Renew => State::Provisioning {
                started_at,
                making: Making::Outdated,
            },
            State::Launching { launch, again } => State::Launching {
                launch,
                again: again.max(Some(anew)),
            },
            State::Up { launch, .. } => self.stop(turn, launch, anew.into()),
            State::Stopping {
                launch,
                ending,
                after,
            } => State::Stopping {
                launch,
                ending,
                after: after.anew(anew),
            },
            State::Stuck {
                left: Left::Processes { launch, after },
                why,
                tries,
                retry_at,
            } => State::Stuck {
                left: Left::Processes {
                    launch,
                    after: after.anew(anew),
                },
                why,
                tries,
                retry_at,
            },
            // Whatever comes next comes by the new plan.
            state @ (State::Down
            | State::Provisioning { .. }
            | State::Releasing { .. }
            | State::Stuck {
                left: Left::Network,
                ..
            }) => state,
        };
    }

    /// Brings up by the new plan what nothing runs of.
    pub(super) fn bring_up_anew(&self, turn: &mut Turn, footing: Footing, anew: Anew) -> State {
        match (footing, anew) {
            // Once it is released it is provisioned anew.
            (Footing::Whole | Footing::Remains, Anew::Renew) => self.release(turn, 0),
            (Footing::Nothing, Anew::Renew) | (_, Anew::Relaunch) => self.bring_up(turn, footing),
        }
    }

    /// It is in the plan no more: it ends as if it had been stopped, and is forgotten then.
    pub(in crate::supervisor) fn removed(&mut self, turn: &mut Turn) {
        self.leaving = true;
        self.want_down(turn);
    }

    /// It is in the plan again before it was forgotten. What stands of it is not to be trusted.
    pub(in crate::supervisor) fn came_back(
        &mut self,
        policy: Arc<Policy>,
        wanted: bool,
        turn: &mut Turn,
    ) {
        self.leaving = false;
        self.want = if wanted { Want::Up } else { Want::Down };
        self.replanned(policy, Effect::Renew, turn);
    }

    /// Whether it was removed, and nothing of it is left.
    pub(in crate::supervisor) fn is_gone(&self) -> bool {
        self.leaving && matches!(self.state, State::Down)
    }

    pub(in crate::supervisor) fn is_leaving(&self) -> bool {
        self.leaving
    }

    /// What it takes is free now.
    pub(in crate::supervisor) fn unblocked(&mut self, turn: &mut Turn) {
        self.state = match self.take() {
            State::Provisioning {
                making: Making::Awaiting,
                ..
            } => self.provision(turn),
            state @ (State::Provisioning {
                making: Making::Begun | Making::Outdated,
                ..
            }
            | State::Down
            | State::Launching { .. }
            | State::Up { .. }
            | State::Stopping { .. }
            | State::Waiting { .. }
            | State::Held { .. }
            | State::Releasing { .. }
            | State::Stuck { .. }) => state,
        };
    }
}
