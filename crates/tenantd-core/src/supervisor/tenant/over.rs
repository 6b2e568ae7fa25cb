//! What follows on a launch whose last process has exited: the next phase, a relaunch, or what the
//! restart policy decides.

use std::time::Duration;

use crate::plan::alive::Alive;
use crate::plan::model::{RestartWhen, SuccessExit};
use crate::plan::phase::Phase;
use crate::stage::Stage;
use crate::supervisor::backoff::Verdict;
use crate::supervisor::checkpoint::Resources;
use crate::supervisor::event::{Exit, LaunchId};
use crate::supervisor::step::Cause;
use crate::supervisor::time::Moment;
use crate::supervisor::view::{Want, Why};

use super::background;
use super::phases::is_of_command;
use super::{After, Live, RestartScope, State, Tenant, TransitionContext};

impl Tenant {
    /// The last process of a launch has exited.
    pub(super) fn over(
        &mut self,
        context: &mut TransitionContext,
        launch: Live,
        after: After,
        resources: Resources,
    ) -> State {
        match launch.phase {
            Phase::Init => self.conclude(context, launch, after, resources),
            Phase::Offline => self.offline_over(context, resources),
            Phase::Before | Phase::Main => self.follow(context, launch, after, resources),
        }
    }

    /// What follows on a launch.
    pub(super) fn follow(
        &mut self,
        context: &mut TransitionContext,
        launch: Live,
        after: After,
        resources: Resources,
    ) -> State {
        match (self.want, after) {
            (
                Want::Down,
                After::Relaunch | After::Judge(_) | After::Reprovision | After::Proceed,
            ) => self.bring_down(context, resources),
            (Want::Up, After::Proceed)
                if resources == Resources::Full && self.link_lost.is_none() =>
            {
                self.launch_phase(context, self.policy.phases.after(launch.phase))
            }
            (Want::Up, After::Proceed) => self.bring_up(context, resources),
            (Want::Up, After::Reprovision) => {
                self.bring_up_scoped(context, resources, RestartScope::Reprovision)
            }
            (Want::Up, After::Relaunch) => self.bring_up(context, resources),
            (Want::Up, After::Judge(why)) => self.judge(context, launch, why, resources),
        }
    }

    /// Launches the program, after a provision if necessary.
    pub(super) fn bring_up(&self, context: &mut TransitionContext, resources: Resources) -> State {
        match resources {
            Resources::Full if self.link_lost.is_some() => self.release(context, 0),
            Resources::Full => self.launch_now(context),
            // A tenant that waits for others must hold nothing itself.
            Resources::Partial if context.blocked => self.release(context, 0),
            Resources::None | Resources::Partial => self.provision(context),
        }
    }

    /// Releases what exists.
    pub(super) fn bring_down(
        &self,
        context: &mut TransitionContext,
        resources: Resources,
    ) -> State {
        match resources {
            Resources::Full | Resources::Partial => self.release(context, 0),
            Resources::None => State::Down,
        }
    }

    /// A launch ended without a request: applies the restart policy.
    fn judge(
        &mut self,
        context: &mut TransitionContext,
        launch: Live,
        why: Why,
        resources: Resources,
    ) -> State {
        match (launch.phase, &why) {
            // The launch of a command of `exec --offline` is not judged.
            (Phase::Main | Phase::Offline, _) => {}
            (Phase::Init, Why::Failure(failure)) if is_of_command(failure) => {
                return give_up(context, resources, why);
            }
            (Phase::Init | Phase::Before, Why::Failure(failure)) => {
                let (started_at, failure) = (launch.started_at, failure.clone());
                return self.stage_failed(context, started_at, (resources, true), failure);
            }
            // It was interrupted: it is tried again, like a failed stage.
            (Phase::Init | Phase::Before, Why::Exit(_)) => {
                let again = true;
                return self.count_failed_start(
                    context,
                    launch.started_at,
                    (resources, again),
                    why,
                );
            }
        }
        let exit = background::exit(&why);
        let success = exit.filter(|exit| self.is_success(*exit));
        match (self.policy.restart.when, success) {
            (RestartWhen::OnFailure | RestartWhen::Never, Some(exit)) => {
                return self.ended_by_itself(context, (exit, why), resources);
            }
            (RestartWhen::Never, None) => return give_up(context, resources, why),
            (RestartWhen::Always, _) | (RestartWhen::OnFailure, None) => {}
        }
        let lived = context.now.since(launch.started_at);
        let unhealthy = self.unhealthy(launch, &why, lived);
        if unhealthy < lived && lived - unhealthy >= self.policy.restart.healthy_after {
            self.strikes.clear();
        }
        let start = unhealthy;
        let restart = &self.policy.restart;
        let verdict = self.strikes.count_failure(context.now, start, restart);
        judged(context, verdict, launch.started_at, (resources, true), why)
    }

    /// For how much of its life a launch that ended so was not healthy. One that did not become ready
    /// never was, however long it ran; one that no longer answers has hung for some time.
    fn unhealthy(&self, launch: Live, why: &Why, lived: Duration) -> Duration {
        let was_ready = self.unready != Some(launch.id);
        match why {
            Why::Failure(failure) if failure.stage == Stage::Alive => {
                let alive = self.policy.alive.as_ref();
                let probes = alive.map_or(Duration::ZERO, Alive::unnoticed);
                let watchdog = self.policy.watchdog.unwrap_or_default();
                probes.max(watchdog).min(lived)
            }
            Why::Failure(failure)
                if was_ready
                    && [Stage::Mounted, Stage::Linked, Stage::End].contains(&failure.stage) =>
            {
                Duration::ZERO
            }
            _ if was_ready && background::exit(why).is_some() => Duration::ZERO,
            Why::Failure(_) | Why::Exit(_) => lived,
        }
    }

    /// Whether an end of the program counts as success.
    fn is_success(&self, exit: Exit) -> bool {
        let counts = |success: &SuccessExit| match (success, exit) {
            (SuccessExit::Status(status), Exit::Status(other)) => *status == other,
            (SuccessExit::Signal(signal), Exit::Signal(other)) => signal.number == other,
            (SuccessExit::Status(_), Exit::Signal(_) | Exit::Unknown)
            | (SuccessExit::Signal(_), Exit::Status(_) | Exit::Unknown) => false,
        };
        exit.is_success() || self.policy.restart.success.iter().any(counts)
    }

    /// Adds a strike for a start that failed: the tenant waits for its next try, or fails.
    fn count_failed_start(
        &mut self,
        context: &mut TransitionContext,
        started_at: Moment,
        (resources, again): (Resources, bool),
        why: Why,
    ) -> State {
        let start = context.now.since(started_at);
        let restart = &self.policy.restart;
        let verdict = self.strikes.count_failure(context.now, start, restart);
        judged(context, verdict, started_at, (resources, again), why)
    }

    /// Notes what the next transition forgets: whether its launch became ready, and why it waits.
    pub(in crate::supervisor) fn note(&mut self) {
        match &self.state {
            State::Up { .. } => self.unready = self.state.unready_launch(),
            State::Waiting { why, .. } => self.last_failure = Some(why.clone()),
            State::Down
            | State::Provisioning { .. }
            | State::Launching { .. }
            | State::Preparing { .. }
            | State::Concluding { .. }
            | State::Stopping { .. }
            | State::Failed { .. }
            | State::Releasing { .. }
            | State::Stuck { .. } => {}
        }
    }

    /// Its launch, if that has not become ready. What is said of an earlier launch is over.
    pub(super) fn unready_now(&self) -> Option<LaunchId> {
        let noted = self.unready.filter(|id| self.state.launch() == Some(*id));
        match &self.state {
            State::Up { .. } => self.state.unready_launch(),
            State::Stopping { .. } | State::Stuck { .. } => noted,
            State::Down
            | State::Provisioning { .. }
            | State::Launching { .. }
            | State::Preparing { .. }
            | State::Concluding { .. }
            | State::Waiting { .. }
            | State::Failed { .. }
            | State::Releasing { .. } => None,
        }
    }

    /// [`Tenant::last_failure`] for the checkpoint: a state that has the failure itself needs no other.
    pub(super) fn last_failure_now(&self) -> Option<Why> {
        match &self.state {
            State::Waiting { .. } | State::Failed { .. } => None,
            State::Down
            | State::Provisioning { .. }
            | State::Launching { .. }
            | State::Preparing { .. }
            | State::Concluding { .. }
            | State::Up { .. }
            | State::Stopping { .. }
            | State::Releasing { .. }
            | State::Stuck { .. } => self.last_failure(),
        }
    }

    /// Why its last start failed, while it is being started again. A request of an operator and a
    /// changed plan forget it.
    pub(super) fn last_failure(&self) -> Option<Why> {
        let failure = self.last_failure.clone();
        failure.filter(|_| self.strikes.count > 0 && !self.state.is_ready())
    }
}

/// What follows a failure: the tenant waits for its next try, or fails.
pub(super) fn judged(
    context: &mut TransitionContext,
    verdict: Verdict,
    started_at: Moment,
    (resources, again): (Resources, bool),
    why: Why,
) -> State {
    match verdict {
        Verdict::Delay(delay) => State::Waiting {
            until: context.now.max(started_at + delay),
            resources,
            again,
            why,
        },
        Verdict::GiveUp => give_up(context, resources, why),
    }
}

pub(super) fn give_up(context: &mut TransitionContext, resources: Resources, why: Why) -> State {
    context.cause = Cause::GivenUp(why.clone());
    State::Failed { resources, why }
}
