//! What the host says of a tenant: how its actions went, and what its processes did.
//!
//! An answer to something that was not asked, as from a host that broke its word, changes nothing.

use crate::stage::Failure;
use crate::supervisor::event::Exit;
use crate::supervisor::memory::Footing;
use crate::supervisor::view::{Want, Why};

use super::{After, Anew, Ending, Left, Making, Readying, State, Tenant, Turn, stuck};

impl Tenant {
    pub(in crate::supervisor) fn provisioned(&mut self, turn: &mut Turn) {
        self.state = match (self.take(), self.want) {
            (
                State::Provisioning {
                    making: Making::Begun,
                    ..
                },
                Want::Up,
            ) => self.launch_now(turn),
            (
                State::Provisioning {
                    making: Making::Begun | Making::Outdated,
                    ..
                },
                Want::Up | Want::Down,
            ) => self.release(turn, 0),
            (
                state @ (State::Provisioning {
                    making: Making::Awaiting,
                    ..
                }
                | State::Down
                | State::Launching { .. }
                | State::Up { .. }
                | State::Stopping { .. }
                | State::Waiting { .. }
                | State::Held { .. }
                | State::Releasing { .. }
                | State::Stuck { .. }),
                Want::Up | Want::Down,
            ) => state,
        };
    }

    /// Its program has not run, so its restart policy has no say: it is tried again.
    pub(in crate::supervisor) fn provision_failed(&mut self, why: Failure, turn: &mut Turn) {
        self.state = match (self.take(), self.want) {
            (
                State::Provisioning {
                    making: Making::Begun,
                    started_at,
                },
                Want::Up,
            ) => {
                let again = false;
                let footing = Footing::Nothing;
                self.strike(turn, started_at, (footing, again), Why::Failure(why))
            }
            // What failed was another plan.
            (
                State::Provisioning {
                    making: Making::Outdated,
                    ..
                },
                Want::Up,
            ) => self.provision(turn),
            (
                State::Provisioning {
                    making: Making::Begun | Making::Outdated,
                    ..
                },
                Want::Down,
            ) => State::Down,
            (
                state @ (State::Provisioning {
                    making: Making::Awaiting,
                    ..
                }
                | State::Down
                | State::Launching { .. }
                | State::Up { .. }
                | State::Stopping { .. }
                | State::Waiting { .. }
                | State::Held { .. }
                | State::Releasing { .. }
                | State::Stuck { .. }),
                Want::Up | Want::Down,
            ) => state,
        };
    }

    pub(in crate::supervisor) fn launched(&mut self, turn: &mut Turn) {
        self.executed(turn);
        self.apply_awaited(turn);
    }

    fn executed(&mut self, turn: &mut Turn) {
        self.state = match (self.take(), self.want) {
            (
                State::Launching {
                    launch,
                    again: None,
                },
                Want::Up,
            ) => self.up(turn, launch),
            (State::Launching { launch, again }, Want::Up | Want::Down) => {
                let anew = again.unwrap_or(Anew::Relaunch);
                self.stop(turn, launch, anew.into())
            }
            (
                state @ (State::Down
                | State::Provisioning { .. }
                | State::Up { .. }
                | State::Stopping { .. }
                | State::Waiting { .. }
                | State::Held { .. }
                | State::Releasing { .. }
                | State::Stuck { .. }),
                Want::Up | Want::Down,
            ) => state,
        };
    }

    /// Its program has not run, so its restart policy has no say: it is tried again.
    pub(in crate::supervisor) fn launch_failed(&mut self, why: Failure, turn: &mut Turn) {
        self.state = match (self.take(), self.want) {
            (State::Launching { .. }, Want::Down)
            | (
                State::Launching {
                    again: Some(Anew::Renew),
                    ..
                },
                Want::Up,
            ) => self.release(turn, 0),
            (
                State::Launching {
                    again: Some(Anew::Relaunch),
                    ..
                },
                Want::Up,
            ) => self.launch_now(turn),
            (
                State::Launching {
                    launch,
                    again: None,
                },
                Want::Up,
            ) => {
                let again = true;
                let footing = Footing::Whole;
                self.strike(turn, launch.started_at, (footing, again), Why::Failure(why))
            }
            (
                state @ (State::Down
                | State::Provisioning { .. }
                | State::Up { .. }
                | State::Stopping { .. }
                | State::Waiting { .. }
                | State::Held { .. }
                | State::Releasing { .. }
                | State::Stuck { .. }),
                Want::Up | Want::Down,
            ) => state,
        };
    }

    pub(in crate::supervisor) fn ready(&mut self) {
        self.state = match self.take() {
            State::Up {
                launch,
                ready: Readying::Before(_) | Readying::Unheard(_),
            } => State::Up {
                launch,
                ready: Readying::Ready,
            },
            // Ready before, or by its age alone, or too late.
            state @ (State::Up {
                ready: Readying::Ready | Readying::At(_),
                ..
            }
            | State::Down
            | State::Provisioning { .. }
            | State::Launching { .. }
            | State::Stopping { .. }
            | State::Waiting { .. }
            | State::Held { .. }
            | State::Releasing { .. }
            | State::Stuck { .. }) => state,
        };
    }

    /// The launch is over only when it is empty, so this never starts the next one.
    pub(in crate::supervisor) fn exited(&mut self, exit: Exit, others: bool, turn: &mut Turn) {
        self.state = match self.take() {
            State::Up { launch, ready } => {
                if self.policy.daemonizes && exit.is_success() && others {
                    State::Up { launch, ready }
                } else if others {
                    self.kill(turn, launch, After::Judge(Why::Exit(exit)))
                } else {
                    self.ending(turn, launch, After::Judge(Why::Exit(exit)))
                }
            }
            // The stop signal went to the first process alone. Now that it has left, those that
            // it left behind are asked too, for the rest of the grace.
            State::Stopping {
                launch,
                ending: ending @ Ending::Grace { .. },
                after,
            } if others => {
                self.terminate(turn, launch);
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
            | State::Waiting { .. }
            | State::Held { .. }
            | State::Releasing { .. }
            | State::Stuck { .. }) => state,
        };
    }

    pub(in crate::supervisor) fn emptied(&mut self, turn: &mut Turn) {
        self.state = match self.take() {
            // The last process of a program that went to the background: nobody waits for it.
            State::Up { launch, .. } => {
                let after = After::Judge(Why::Exit(Exit::Unknown));
                self.over(turn, launch, after, Footing::Whole)
            }
            State::Stopping { launch, after, .. }
            | State::Stuck {
                left: Left::Processes { launch, after },
                ..
            } => self.over(turn, launch, after, Footing::Whole),
            state @ (State::Stuck {
                left: Left::Network,
                ..
            }
            | State::Down
            | State::Provisioning { .. }
            | State::Launching { .. }
            | State::Waiting { .. }
            | State::Held { .. }
            | State::Releasing { .. }) => state,
        };
    }

    pub(in crate::supervisor) fn end_failed(&mut self, why: Failure, turn: &mut Turn) {
        self.state = match self.take() {
            State::Stopping {
                launch,
                ending: Ending::Killed { .. },
                after,
            } => stuck(turn, Left::Processes { launch, after }, why, 0),
            // The answer to another try tells more than the one before.
            State::Stuck {
                left: left @ Left::Processes { .. },
                tries,
                retry_at,
                ..
            } => State::Stuck {
                left,
                why,
                tries,
                retry_at,
            },
            state @ (State::Stopping {
                ending: Ending::Grace { .. },
                ..
            }
            | State::Stuck {
                left: Left::Network,
                ..
            }
            | State::Down
            | State::Provisioning { .. }
            | State::Launching { .. }
            | State::Up { .. }
            | State::Waiting { .. }
            | State::Held { .. }
            | State::Releasing { .. }) => state,
        };
    }

    pub(in crate::supervisor) fn released(&mut self, turn: &mut Turn) {
        self.state = match (self.take(), self.want) {
            (State::Releasing { .. }, Want::Down) => State::Down,
            (State::Releasing { .. }, Want::Up) => self.provision(turn),
            (
                state @ (State::Down
                | State::Provisioning { .. }
                | State::Launching { .. }
                | State::Up { .. }
                | State::Stopping { .. }
                | State::Waiting { .. }
                | State::Held { .. }
                | State::Stuck { .. }),
                Want::Up | Want::Down,
            ) => state,
        };
    }

    pub(in crate::supervisor) fn release_failed(&mut self, why: Failure, turn: &mut Turn) {
        self.state = match self.take() {
            State::Releasing { tries } => stuck(turn, Left::Network, why, tries),
            state @ (State::Down
            | State::Provisioning { .. }
            | State::Launching { .. }
            | State::Up { .. }
            | State::Stopping { .. }
            | State::Waiting { .. }
            | State::Held { .. }
            | State::Stuck { .. }) => state,
        };
    }
}
