//! Transitions on requests of operators and on the shutdown of the supervisor.

use crate::supervisor::action::Answer;
use crate::supervisor::event::Verb;
use crate::supervisor::view::Want;

use super::{
    After, Ending, Ends, Left, Live, Making, RestartScope, State, Tenant, TransitionContext,
};

impl Tenant {
    /// Handles a request, and returns the answer.
    pub(in crate::supervisor) fn requested(
        &mut self,
        verb: Verb,
        context: &mut TransitionContext,
    ) -> Answer {
        if self.removed && verb != Verb::Stop {
            let reason = "it was removed from the manifest and is being stopped".to_owned();
            return Answer::Refused { reason };
        }
        if let Some(refused) = self.refused_by_offline(verb) {
            return refused;
        }
        // During a shutdown, only a stop gets here.
        if let Some(want) = &mut self.want_before_end {
            *want = Want::Down;
        }
        let already_so = match (verb, self.want, &self.state) {
            (Verb::Start, Want::Up, state) => match state {
                State::Provisioning { .. }
                | State::Launching { .. }
                | State::Preparing { .. }
                | State::Concluding {
                    after: After::Proceed,
                    ..
                }
                | State::Up { .. } => true,
                State::Down
                | State::Concluding { .. }
                | State::Stopping { .. }
                | State::Waiting { .. }
                | State::Failed { .. }
                | State::Releasing { .. }
                | State::Stuck { .. } => false,
            },
            (Verb::Stop, _, state) => matches!(state, State::Down) && self.exited.is_none(),
            (Verb::Start, Want::Down, _) | (Verb::Restart, _, _) => false,
        };
        if already_so {
            return Answer::AlreadySo;
        }
        self.exited = None;
        match verb {
            Verb::Start => self.want_up(context),
            Verb::Stop => self.want_down(context),
            Verb::Restart => self.want_again(context),
        }
        Answer::Accepted
    }

    /// Wants it up, now: ends any delay and clears the strikes.
    pub(in crate::supervisor) fn want_up(&mut self, context: &mut TransitionContext) {
        self.want = Want::Up;
        self.exited = None;
        self.strikes.clear();
        self.state = match self.take() {
            State::Down => self.provision(context),
            State::Waiting { resources, .. } | State::Failed { resources, .. } => {
                self.bring_up(context, resources)
            }
            State::Concluding {
                launch,
                after,
                resources,
            } => State::Concluding {
                launch,
                after: after.requested(),
                resources,
            },
            State::Stopping {
                launch,
                ending,
                after,
            } => relaunch_after(launch, ending, &after),
            State::Stuck { left, .. } => self.try_again(context, &left, 0),
            // Already starting, or continued on the answer of the host.
            state @ (State::Provisioning { .. }
            | State::Launching { .. }
            | State::Preparing { .. }
            | State::Up { .. }
            | State::Releasing { .. }) => state,
        };
    }

    /// Wants it up with a new launch.
    fn want_again(&mut self, context: &mut TransitionContext) {
        self.want = Want::Up;
        self.strikes.clear();
        self.state = match self.take() {
            State::Down => self.provision(context),
            State::Waiting { resources, .. } | State::Failed { resources, .. } => {
                self.bring_up(context, resources)
            }
            State::Launching { launch, again } => {
                self.abandon(context, launch, again.max(Some(RestartScope::Relaunch)))
            }
            State::Preparing { launch, .. } | State::Up { launch, .. } => {
                self.stop(context, launch, After::Relaunch)
            }
            State::Concluding {
                launch,
                after,
                resources,
            } => State::Concluding {
                launch,
                after: after.requested(),
                resources,
            },
            // Nobody has asked it yet.
            State::Stopping {
                launch,
                ending: Ending::Own { .. },
                after,
            } => self.stop(context, launch, after.requested()),
            State::Stopping {
                launch,
                ending,
                after,
            } => relaunch_after(launch, ending, &after),
            State::Stuck { left, .. } => self.try_again(context, &left, 0),
            // Its next launch is still to come.
            state @ (State::Provisioning { .. } | State::Releasing { .. }) => state,
        };
    }

    /// Wants it down.
    pub(in crate::supervisor) fn want_down(&mut self, context: &mut TransitionContext) {
        self.want = Want::Down;
        self.end_offline();
        self.state = match self.take() {
            State::Preparing { launch, .. } | State::Up { launch, .. } => {
                self.stop(context, launch, After::Relaunch)
            }
            // Nobody has asked it yet.
            State::Stopping {
                launch,
                ending: Ending::Own { .. },
                after,
            } => self.stop(context, launch, after.requested()),
            State::Waiting { resources, .. } | State::Failed { resources, .. } => {
                self.bring_down(context, resources)
            }
            State::Provisioning {
                making: Making::Awaiting,
                ..
            } => State::Down,
            State::Stuck { left, .. } => self.try_again(context, &left, 0),
            State::Launching { launch, again } => self.abandon(context, launch, again),
            // Already stopping, or continued on the answer of the host.
            state @ (State::Down
            | State::Provisioning {
                making: Making::Begun | Making::Outdated,
                ..
            }
            | State::Concluding { .. }
            | State::Stopping { .. }
            | State::Releasing { .. }) => state,
        };
    }

    /// Takes it down for a shutdown of the supervisor. The checkpoint keeps what was wanted before,
    /// for the next supervisor.
    pub(in crate::supervisor) fn shut_down(&mut self, context: &mut TransitionContext) {
        self.want_before_end.get_or_insert(self.want);
        self.want_down(context);
    }

    /// Ends a grace period.
    pub(in crate::supervisor) fn hurry(&mut self, context: &mut TransitionContext) {
        self.state = match self.take() {
            State::Stopping {
                launch,
                ending: Ending::Own { .. } | Ending::Grace { .. },
                after,
            } => {
                context.ends = Ends::Forced(None);
                self.kill(context, launch, after)
            }
            state @ (State::Stopping {
                ending: Ending::Killed { .. },
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
            | State::Stuck { .. }) => state,
        };
    }

    /// Retries to end or release what is left, after this many failed tries.
    pub(super) fn try_again(
        &self,
        context: &mut TransitionContext,
        left: &Left,
        tries: u32,
    ) -> State {
        match left {
            Left::Processes { launch, after } => self.kill(context, *launch, after.requested()),
            Left::Network => self.release(context, tries),
        }
    }
}

/// Continues a stop, followed by a new launch on request of an operator.
fn relaunch_after(launch: Live, ending: Ending, after: &After) -> State {
    State::Stopping {
        launch,
        ending,
        after: after.requested(),
    }
}
