//! A mount of a running launch is lost: the host removed or renamed the folder that it hung on.
//!
//! The program then sees the host's folder, which is read-only, instead of its data. It is stopped,
//! and the restart policy decides as for a program that ended by itself: the next launch attaches
//! all mounts again, or fails with a reason.

use crate::stage::Failure;
use crate::supervisor::view::Why;

use super::{After, RestartScope, State, Tenant, TransitionContext};

impl Tenant {
    pub(in crate::supervisor) fn mount_lost(
        &mut self,
        why: Failure,
        context: &mut TransitionContext,
    ) {
        self.state = match self.take() {
            State::Preparing { launch, .. } | State::Up { launch, .. } => {
                self.stop(context, launch, After::Judge(Why::Failure(why)))
            }
            State::Launching { launch, again } => State::Launching {
                launch,
                again: again.max(Some(RestartScope::Relaunch)),
            },
            // It is ending already.
            state @ (State::Stopping { .. }
            | State::Concluding { .. }
            | State::Stuck { .. }
            | State::Down
            | State::Provisioning { .. }
            | State::Waiting { .. }
            | State::Failed { .. }
            | State::Releasing { .. }) => state,
        };
    }
}
