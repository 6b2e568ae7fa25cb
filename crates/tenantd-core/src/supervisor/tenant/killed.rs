//! Forced kills: the note on what was killed after the grace of the last launch that ended.

use std::time::Duration;

use crate::supervisor::event::Exit;
use crate::supervisor::forced::{ForcedKill, Processes};
use crate::supervisor::offline::Repair;
use crate::supervisor::step::Cause;
use crate::supervisor::time::Moment;
use crate::supervisor::view::Want;

use super::{Ending, State, Tenant, TransitionContext};

/// See [`Tenant::kept`].
type Kept = (Want, bool, Option<Exit>, Option<ForcedKill>, Option<Repair>);

/// What a transition does to the note on the last forced kill.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(in crate::supervisor) enum Ends {
    /// Nothing.
    AsBefore,
    /// The end of a launch has begun: the note is on an earlier launch.
    Begun,
    /// What is left of the launch is killed after this grace; `None` if there was no time for it.
    Forced(Option<Duration>),
}

impl Tenant {
    /// What its checkpoint keeps besides the state: the want, whether it was removed, how its program
    /// ended by itself, the note, and the command of `exec --offline`.
    pub(in crate::supervisor) fn kept(&self) -> Kept {
        let (forced, repair) = (self.forced.clone(), self.repair.clone());
        (self.want(), self.removed, self.exit(), forced, repair)
    }

    pub(in crate::supervisor) fn note_ends(&mut self, now: Moment, ends: Ends) {
        self.forced = match ends {
            Ends::AsBefore => return,
            Ends::Begun => None,
            Ends::Forced(grace) => Some(ForcedKill {
                at: now,
                grace,
                processes: None,
            }),
        };
    }

    /// The host has killed these processes.
    pub(in crate::supervisor) fn killed(
        &mut self,
        processes: Processes,
        context: &mut TransitionContext,
    ) {
        match &self.state {
            State::Stopping {
                ending: Ending::Killed { .. },
                ..
            } => {}
            State::Stopping {
                ending: Ending::Own { .. } | Ending::Grace { .. },
                ..
            }
            | State::Down
            | State::Provisioning { .. }
            | State::Launching { .. }
            | State::Preparing { .. }
            | State::Concluding { .. }
            | State::Up { .. }
            | State::Waiting { .. }
            | State::Failed { .. }
            | State::Releasing { .. }
            | State::Stuck { .. } => return,
        }
        // A kill that is repeated finds what the first one has named.
        let Some(forced) = self.forced.as_mut().filter(|it| it.processes.is_none()) else {
            return;
        };
        if processes.count == 0 {
            // They have just ended by themselves.
            self.forced = None;
            return;
        }
        forced.processes = Some(processes);
        context.cause = Cause::Killed(forced.clone());
    }
}
