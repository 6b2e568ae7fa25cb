//! Programs that ask for more time, to become ready or to stop: `EXTEND_TIMEOUT_USEC`, see sd_notify(3).
//!
//! A message never brings a deadline nearer. A program that asks again and again gets at most
//! [`LIMIT_TIMES`] times its limit in all, counted from the beginning of the start or stop: otherwise a
//! tenant could hold up a `stop` for ever.

use std::time::Duration;

use crate::plan::phase::Phase;
use crate::supervisor::step::{Cause, TimeLimit};
use crate::supervisor::time::Moment;

use super::{Ending, Readying, State, Tenant, TransitionContext};

/// How many times its limit a program can have in all.
pub const LIMIT_TIMES: u32 = 10;

/// A deadline moves by whole steps, so that a flood of messages causes few records.
const STEP: Duration = Duration::from_millis(250);

impl Tenant {
    pub(in crate::supervisor) fn extend(&mut self, by: Duration, context: &mut TransitionContext) {
        self.state = match self.take() {
            State::Up {
                launch,
                ready: Readying::Before(at),
            } => State::Up {
                launch,
                ready: Readying::Before(self.later(at, by, TimeLimit::Start, context)),
            },
            State::Up {
                launch,
                ready: Readying::Unknown(at),
            } => State::Up {
                launch,
                ready: Readying::Unknown(self.later(at, by, TimeLimit::Start, context)),
            },
            State::Stopping {
                launch,
                ending: Ending::Grace { kill_at },
                after,
            } if launch.phase == Phase::Main => State::Stopping {
                launch,
                ending: Ending::Grace {
                    kill_at: self.later(kill_at, by, TimeLimit::Stop, context),
                },
                after,
            },
            State::Stopping {
                launch,
                ending: Ending::Own { until },
                after,
            } => State::Stopping {
                launch,
                ending: Ending::Own {
                    until: self.later(until, by, TimeLimit::Stop, context),
                },
                after,
            },
            // No limit of the program runs.
            state @ (State::Up {
                ready: Readying::Ready | Readying::At(_),
                ..
            }
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

    /// The deadline of a limit that began with the present state.
    fn later(
        &self,
        deadline: Moment,
        by: Duration,
        limit: TimeLimit,
        context: &mut TransitionContext,
    ) -> Moment {
        let most = LIMIT_TIMES
            * match limit {
                TimeLimit::Start => self.policy.ready_within,
                TimeLimit::Stop => self.policy.grace,
            };
        let wanted = (context.now + by).since(self.since);
        let given = match wanted < most {
            true => in_steps(wanted).min(most),
            false => most,
        };
        let later = self.since + given;
        if later <= deadline {
            return deadline;
        }
        if wanted >= most {
            context.cause = Cause::NoMoreTime(limit, most);
        }
        later
    }

    /// For how long its processes were asked to stop, if this is the end of the grace. The commands
    /// before the program have the one of the policy.
    pub(super) fn grace_until(&self, phase: Phase, kill_at: Moment) -> Duration {
        match phase {
            Phase::Main => kill_at.since(self.since),
            Phase::Init | Phase::Before | Phase::Offline => self.policy.grace,
        }
    }
}

/// The same, or the next longer one of whole steps.
fn in_steps(time: Duration) -> Duration {
    let steps = time.as_nanos().div_ceil(STEP.as_nanos());
    STEP.saturating_mul(u32::try_from(steps).unwrap_or(u32::MAX))
}
