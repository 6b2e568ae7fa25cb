//! What an operator asks of a tenant, and what the supervisor's own end asks of all of them.

use crate::supervisor::action::Answer;
use crate::supervisor::event::Verb;
use crate::supervisor::view::Want;

use super::{After, Ending, Left, Live, Making, RestartScope, State, Tenant, TransitionContext};

impl Tenant {
    /// A request, and its one answer.
    pub(in crate::supervisor) fn requested(
        &mut self,
        verb: Verb,
        context: &mut TransitionContext,
    ) -> Answer {
        if self.removed && verb != Verb::Stop {
            let reason = "it is in the manifest no more, and is being ended".to_owned();
            return Answer::Refused { reason };
        }
        // Once the supervisor is to end, nothing but a stop gets here.
        if let Some(want) = &mut self.want_before_end {
            *want = Want::Down;
        }
        let already_so = match (verb, self.want, &self.state) {
            (Verb::Start, Want::Up, state) => match state {
                State::Provisioning { .. } | State::Launching { .. } | State::Up { .. } => true,
                State::Down
                | State::Stopping { .. }
                | State::Waiting { .. }
                | State::Failed { .. }
                | State::Releasing { .. }
                | State::Stuck { .. } => false,
            },
            (Verb::Stop, _, state) => matches!(state, State::Down),
            (Verb::Start, Want::Down, _) | (Verb::Restart, _, _) => false,
        };
        if already_so {
            return Answer::AlreadySo;
        }
        match verb {
            Verb::Start => self.want_up(context),
            Verb::Stop => self.want_down(context),
            Verb::Restart => self.want_again(context),
        }
        Answer::Accepted
    }

    /// Wants it up, now: whatever it waits for or was given up for is forgotten.
    pub(in crate::supervisor) fn want_up(&mut self, context: &mut TransitionContext) {
        self.want = Want::Up;
        self.strikes.clear();
        self.state = match self.take() {
            State::Down => self.provision(context),
            State::Waiting { resources, .. } | State::Failed { resources, .. } => {
                self.bring_up(context, resources)
            }
            State::Stopping {
                launch,
                ending,
                after,
            } => relaunch_after(launch, ending, &after),
            State::Stuck { left, .. } => self.try_again(context, &left, 0),
            // On its way up, or looked at once the host has answered.
            state @ (State::Provisioning { .. }
            | State::Launching { .. }
            | State::Up { .. }
            | State::Releasing { .. }) => state,
        };
    }

    /// Wants it up with a launch that begins after now.
    fn want_again(&mut self, context: &mut TransitionContext) {
        self.want = Want::Up;
        self.strikes.clear();
        self.state = match self.take() {
            State::Down => self.provision(context),
            State::Waiting { resources, .. } | State::Failed { resources, .. } => {
                self.bring_up(context, resources)
            }
            State::Launching { launch, again } => State::Launching {
                launch,
                again: again.max(Some(RestartScope::Relaunch)),
            },
            State::Up { launch, .. } => self.stop(context, launch, After::Relaunch),
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
        self.state = match self.take() {
            State::Up { launch, .. } => self.stop(context, launch, After::Relaunch),
            State::Waiting { resources, .. } | State::Failed { resources, .. } => {
                self.bring_down(context, resources)
            }
            State::Provisioning {
                making: Making::Awaiting,
                ..
            } => State::Down,
            State::Stuck { left, .. } => self.try_again(context, &left, 0),
            // Down, on its way down, or looked at once the host has answered.
            state @ (State::Down
            | State::Provisioning {
                making: Making::Begun | Making::Outdated,
                ..
            }
            | State::Launching { .. }
            | State::Stopping { .. }
            | State::Releasing { .. }) => state,
        };
    }

    /// Takes it down because the supervisor is to end. The next supervisor wants of it what was
    /// wanted before.
    pub(in crate::supervisor) fn shut_down(&mut self, context: &mut TransitionContext) {
        self.want_before_end.get_or_insert(self.want);
        self.want_down(context);
    }

    /// Ends a grace that is running.
    pub(in crate::supervisor) fn hurry(&mut self, context: &mut TransitionContext) {
        self.state = match self.take() {
            State::Stopping {
                launch,
                ending: Ending::Grace { .. },
                after,
            } => self.kill(context, launch, after),
            state @ (State::Stopping {
                ending: Ending::Killed { .. },
                ..
            }
            | State::Down
            | State::Provisioning { .. }
            | State::Launching { .. }
            | State::Up { .. }
            | State::Waiting { .. }
            | State::Failed { .. }
            | State::Releasing { .. }
            | State::Stuck { .. }) => state,
        };
    }

    /// Tries once more to end or release what is left, after so many tries that failed.
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

/// The same end, but an operator wants the next launch right after it.
fn relaunch_after(launch: Live, ending: Ending, after: &After) -> State {
    State::Stopping {
        launch,
        ending,
        after: after.requested(),
    }
}
