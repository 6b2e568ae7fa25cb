//! The end of the main process of a launch, where that is not its first process: the program put itself
//! into the background, or named another process (`MAINPID`, see sd_notify(3)).
//!
//! The host finds the main process. Its end is the end of the launch, as that of the first process is
//! elsewhere: what is left gets the stop signal and the grace time.

use crate::supervisor::event::Exit;
use crate::supervisor::view::Why;

use super::{After, Ending, State, Tenant, TransitionContext};

impl Tenant {
    pub(in crate::supervisor) fn main_exited(
        &mut self,
        exit: Exit,
        others: bool,
        context: &mut TransitionContext,
    ) {
        self.state = match self.take() {
            State::Up { launch, .. } => {
                let after = After::Judge(Why::Exit(exit));
                self.ended_itself(context, launch, (exit, others), after)
            }
            State::Stopping {
                launch,
                ending: Ending::Own { .. },
                after,
            } => self.ended_itself(context, launch, (exit, others), after),
            // The stop signal went to the main process only.
            State::Stopping {
                launch,
                ending: ending @ Ending::Grace { .. },
                after,
            } if others => {
                self.terminate(context, launch);
                State::Stopping {
                    launch,
                    ending,
                    after,
                }
            }
            state @ (State::Stopping { .. }
            | State::Down
            | State::Provisioning { .. }
            | State::Launching { .. }
            | State::Preparing { .. }
            | State::Concluding { .. }
            | State::Waiting { .. }
            | State::Failed { .. }
            | State::Releasing { .. }
            | State::Stuck { .. }) => state,
        };
    }
}
