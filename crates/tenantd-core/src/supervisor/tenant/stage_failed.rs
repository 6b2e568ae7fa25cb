//! What follows a failed provision or launch. The program has not run, so the restart policy decides
//! only how often the stage is retried, and only if a retry can help. A program or command that
//! cannot be executed or fails is not retried if the policy never restarts a program.

use std::time::Duration;

use crate::plan::model::RestartWhen;
use crate::stage::{Failure, Retry};
use crate::supervisor::backoff::Verdict;
use crate::supervisor::checkpoint::Resources;
use crate::supervisor::time::Moment;
use crate::supervisor::view::Why;

use super::over::{give_up, judged};
use super::phases::is_of_command;
use super::{State, Tenant, TransitionContext};

/// The number of tries in a row, the first included, while a file of the host is missing. A package
/// manager has 15 s (1, 2, 4 and 8 s) to put the next file there.
pub(super) const BRIEF_TRIES: u32 = 5;

/// The least delay after the first of these tries, if that of the policy is shorter. It doubles.
pub(super) const BRIEF_DELAY: Duration = Duration::from_secs(1);

impl Tenant {
    /// A provision or launch failed.
    pub(super) fn stage_failed(
        &mut self,
        context: &mut TransitionContext,
        started_at: Moment,
        has: (Resources, bool),
        failure: Failure,
    ) -> State {
        let restart = &self.policy.restart;
        if restart.when == RestartWhen::Never && is_of_command(&failure) {
            return give_up(context, has.0, Why::Failure(failure));
        }
        let start = context.now.since(started_at);
        let mut count = || self.strikes.count_failure(context.now, start, restart);
        let verdict = match failure.retry() {
            Retry::Policy => count(),
            Retry::Briefly => match count() {
                Verdict::Delay(_) if self.strikes.count >= BRIEF_TRIES => Verdict::GiveUp,
                Verdict::Delay(delay) => {
                    let doublings = self.strikes.count.saturating_sub(1);
                    Verdict::Delay(delay.max(BRIEF_DELAY * 2u32.pow(doublings)))
                }
                Verdict::GiveUp => Verdict::GiveUp,
            },
            Retry::Never => Verdict::GiveUp,
        };
        judged(context, verdict, started_at, has, Why::Failure(failure))
    }
}
