//! A program that was ready no longer answers: it is stopped, and the restart policy decides as for
//! a program that ended by itself.

use crate::stage::Failure;
use crate::supervisor::view::Why;

use super::{After, Readying, State, Tenant, TransitionContext};

impl Tenant {
    pub(in crate::supervisor) fn not_alive(
        &mut self,
        why: Failure,
        context: &mut TransitionContext,
    ) {
        self.state = match self.take() {
            State::Up {
                launch,
                ready: Readying::Ready,
            } => self.stop(context, launch, After::Judge(Why::Failure(why))),
            // Only a ready program is asked. The report is late.
            state @ (State::Up {
                ready: Readying::Before(_) | Readying::At(_) | Readying::Unknown(_),
                ..
            }
            | State::Down
            | State::Provisioning { .. }
            | State::Launching { .. }
            | State::Preparing { .. }
            | State::Concluding { .. }
            | State::Stopping { .. }
            | State::Waiting { .. }
            | State::Failed { .. }
            | State::Releasing { .. }
            | State::Stuck { .. }) => state,
        };
    }
}
