//! Programs that say that they are stopping (`STOPPING=1`, see sd_notify(3)), without a request.
//!
//! As with systemd, this is the beginning of the end of the launch. The program gets the grace to end by
//! itself, without a signal, which could cut short what it does. Its exit decides what follows, as that of
//! any program that ends by itself. One that still runs then is asked to stop and has failed.

use crate::stage::{Failure, Stage};
use crate::supervisor::event::Exit;
use crate::supervisor::step::Cause;
use crate::supervisor::time::Moment;
use crate::supervisor::view::Why;

use super::{After, Ending, Ends, Live, State, Tenant, TransitionContext};

impl Tenant {
    pub(in crate::supervisor) fn says_stopping(&mut self, context: &mut TransitionContext) {
        self.state = match self.take() {
            State::Up { launch, .. } if !self.policy.grace.is_zero() => {
                context.ends = Ends::Begun;
                let until = context.now + self.policy.grace;
                State::Stopping {
                    launch,
                    ending: Ending::Own { until },
                    after: After::Judge(Why::Exit(Exit::Unknown)),
                }
            }
            // Without a grace, it would be killed.
            state @ (State::Up { .. }
            | State::Stopping { .. }
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

    /// The process that counts has ended by itself. What is left gets the stop signal.
    pub(super) fn ended_itself(
        &self,
        context: &mut TransitionContext,
        launch: Live,
        (exit, others): (Exit, bool),
        after: After,
    ) -> State {
        let after = match after {
            After::Judge(_) => After::Judge(Why::Exit(exit)),
            After::Relaunch | After::Reprovision | After::Proceed => after,
        };
        match others {
            // They may have to save data, as on a stop that was requested.
            true => self.stop(context, launch, after),
            false => self.ending(context, launch, after),
        }
    }

    /// It said that it is stopping, and still runs.
    pub(super) fn not_stopped(
        &self,
        context: &mut TransitionContext,
        launch: Live,
        (after, until): (After, Moment),
    ) -> State {
        let time = until.since(self.since);
        context.cause = Cause::StillRuns(time);
        let after = match after {
            After::Judge(_) => {
                let time = time.as_secs_f64();
                let why = format!("still running {time} s after STOPPING=1");
                After::Judge(Why::Failure(Failure::detail(Stage::End, "", why)))
            }
            After::Relaunch | After::Reprovision | After::Proceed => after,
        };
        self.stop(context, launch, after)
    }
}
