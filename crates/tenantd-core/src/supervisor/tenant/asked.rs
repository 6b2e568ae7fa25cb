//! What an operator asks of a tenant, and what the supervisor's own end asks of all of them.

use crate::supervisor::action::Answer;
use crate::supervisor::event::Verb;
use crate::supervisor::view::Want;

use super::{After, Anew, Ending, Left, Live, Making, State, Tenant, Turn};

impl Tenant {
    /// A request, and its one answer.
    pub(in crate::supervisor) fn asked(&mut self, verb: Verb, turn: &mut Turn) -> Answer {
        if self.leaving && verb != Verb::Stop {
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
                | State::Held { .. }
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
            Verb::Start => self.want_up(turn),
            Verb::Stop => self.want_down(turn),
            Verb::Restart => self.want_again(turn),
        }
        Answer::Accepted
    }

    /// Wants it up, now: whatever it waits for or was given up for is forgotten.
    pub(in crate::supervisor) fn want_up(&mut self, turn: &mut Turn) {
        self.want = Want::Up;
        self.strikes.clear();
        self.state = match self.take() {
            State::Down => self.provision(turn),
            State::Waiting { footing, .. } | State::Held { footing, .. } => {
                self.bring_up(turn, footing)
            }
            State::Stopping {
                launch,
                ending,
                after,
            } => relaunch_after(launch, ending, &after),
            State::Stuck { left, .. } => self.try_again(turn, &left, 0),
            // On its way up, or looked at once the host has answered.
            state @ (State::Provisioning { .. }
            | State::Launching { .. }
            | State::Up { .. }
            | State::Releasing { .. }) => state,
        };
    }

    /// Wants it up with a launch that begins after now.
    fn want_again(&mut self, turn: &mut Turn) {
        self.want = Want::Up;
        self.strikes.clear();
        self.state = match self.take() {
            State::Down => self.provision(turn),
            State::Waiting { footing, .. } | State::Held { footing, .. } => {
                self.bring_up(turn, footing)
            }
            State::Launching { launch, again } => State::Launching {
                launch,
                again: again.max(Some(Anew::Relaunch)),
            },
            State::Up { launch, .. } => self.stop(turn, launch, After::Relaunch),
            State::Stopping {
                launch,
                ending,
                after,
            } => relaunch_after(launch, ending, &after),
            State::Stuck { left, .. } => self.try_again(turn, &left, 0),
            // Its next launch is still to come.
            state @ (State::Provisioning { .. } | State::Releasing { .. }) => state,
        };
    }

    /// Wants it down.
    pub(in crate::supervisor) fn want_down(&mut self, turn: &mut Turn) {
        self.want = Want::Down;
        self.state = match self.take() {
            State::Up { launch, .. } => self.stop(turn, launch, After::Relaunch),
            State::Waiting { footing, .. } | State::Held { footing, .. } => {
                self.bring_down(turn, footing)
            }
            State::Provisioning {
                making: Making::Awaiting,
                ..
            } => State::Down,
            State::Stuck { left, .. } => self.try_again(turn, &left, 0),
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
    pub(in crate::supervisor) fn shut_down(&mut self, turn: &mut Turn) {
        self.want_before_end.get_or_insert(self.want);
        self.want_down(turn);
    }

    /// Ends a grace that is running.
    pub(in crate::supervisor) fn hurry(&mut self, turn: &mut Turn) {
        self.state = match self.take() {
            State::Stopping {
                launch,
                ending: Ending::Grace { .. },
                after,
            } => self.kill(turn, launch, after),
            state @ (State::Stopping {
                ending: Ending::Killed { .. },
                ..
            }
            | State::Down
            | State::Provisioning { .. }
            | State::Launching { .. }
            | State::Up { .. }
            | State::Waiting { .. }
            | State::Held { .. }
            | State::Releasing { .. }
            | State::Stuck { .. }) => state,
        };
    }

    /// Tries once more to end or release what is left, after so many tries that failed.
    pub(super) fn try_again(&self, turn: &mut Turn, left: &Left, tries: u32) -> State {
        match left {
            Left::Processes { launch, after } => self.kill(turn, *launch, after.asked()),
            Left::Network => self.release(turn, tries),
        }
    }
}

/// The same end, but an operator wants the next launch right after it.
fn relaunch_after(launch: Live, ending: Ending, after: &After) -> State {
    State::Stopping {
        launch,
        ending,
        after: after.asked(),
    }
}
