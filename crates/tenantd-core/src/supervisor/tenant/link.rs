//! The link of a provisioned tenant is gone: something on the host deleted it.
//!
//! The program can neither be reached nor reach anything, and a new link cannot be made without a provision.
//! It is stopped, and the restart policy decides as for a program that ended by itself. Whatever brings the
//! tenant up next releases what is left first.

use crate::stage::Failure;
use crate::supervisor::view::Why;

use super::{After, State, Tenant, TransitionContext};

impl Tenant {
    pub(in crate::supervisor) fn link_lost(
        &mut self,
        why: Failure,
        context: &mut TransitionContext,
    ) {
        self.state = match self.take() {
            State::Preparing { launch, .. } | State::Up { launch, .. } => {
                self.link_lost = Some(why.clone());
                self.stop(context, launch, After::Judge(Why::Failure(why)))
            }
            // A launch is ended once it runs.
            state @ (State::Launching { .. }
            | State::Stopping { .. }
            | State::Concluding { .. }
            | State::Stuck { .. }
            | State::Waiting { .. }
            | State::Failed { .. }) => {
                self.link_lost = Some(why);
                state
            }
            // Nothing is provisioned, or it is being removed.
            state @ (State::Down | State::Provisioning { .. } | State::Releasing { .. }) => state,
        };
    }

    /// What each transition ends with. A loss is forgotten once the resources are being removed.
    pub(in crate::supervisor) fn settle(&mut self) {
        self.settle_offline();
        match &self.state {
            State::Down | State::Provisioning { .. } | State::Releasing { .. } => {
                self.link_lost = None;
            }
            State::Launching { .. }
            | State::Preparing { .. }
            | State::Concluding { .. }
            | State::Up { .. }
            | State::Stopping { .. }
            | State::Waiting { .. }
            | State::Failed { .. }
            | State::Stuck { .. } => {}
        }
    }
}
