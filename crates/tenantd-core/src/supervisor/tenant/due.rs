//! What time does to a tenant: each state has at most one deadline.

use crate::plan::model::Readiness;
use crate::stage::{Failure, Stage};
use crate::supervisor::action::Action;
use crate::supervisor::step::Cause;
use crate::supervisor::view::Why;

use super::{After, Ending, KILL_LIMIT, Left, Readying, State};
use super::{Tenant, Turn, stuck};

impl Tenant {
    /// Its deadline has come, and it is not that of a wait.
    pub(in crate::supervisor) fn due(&mut self, turn: &mut Turn) {
        self.state = match self.take() {
            State::Up { launch, ready } => match ready {
                Readying::Ready => State::Up { launch, ready },
                Readying::At(_) | Readying::Unheard(_) => {
                    turn.cause = Cause::Ready;
                    State::Up {
                        launch,
                        ready: Readying::Ready,
                    }
                }
                Readying::Before(_) => {
                    let why = self.never_ready();
                    turn.cause = Cause::Failed(why.clone());
                    self.stop(turn, launch, After::Judge(Why::Failure(why)))
                }
            },
            State::Stopping {
                launch,
                ending,
                after,
            } => match ending {
                Ending::Grace { .. } => {
                    turn.cause = Cause::GraceOver;
                    self.kill(turn, launch, after)
                }
                Ending::Killed { .. } => {
                    stuck(turn, Left::Processes { launch, after }, outlived(), 0)
                }
            },
            State::Stuck {
                left, why, tries, ..
            } => self.retry(turn, left, why, tries + 1),
            // None of these has a deadline but Waiting, which `relaunch` ends.
            state @ (State::Down
            | State::Provisioning { .. }
            | State::Launching { .. }
            | State::Waiting { .. }
            | State::Held { .. }
            | State::Releasing { .. }) => state,
        };
    }

    /// Its wait is over, and the host's budget allows a restart.
    pub(in crate::supervisor) fn relaunch(&mut self, turn: &mut Turn) {
        self.state = match self.take() {
            State::Waiting { footing, again, .. } => {
                if again {
                    self.restarts = self.restarts.saturating_add(1);
                }
                self.bring_up(turn, footing)
            }
            state @ (State::Down
            | State::Provisioning { .. }
            | State::Launching { .. }
            | State::Up { .. }
            | State::Stopping { .. }
            | State::Held { .. }
            | State::Releasing { .. }
            | State::Stuck { .. }) => state,
        };
    }

    fn retry(&self, turn: &mut Turn, left: Left, why: Failure, tries: u32) -> State {
        turn.cause = Cause::Retry;
        match left {
            Left::Network => self.release(turn, tries),
            // It stays stuck: whether the kill helped is known when the launch is empty.
            Left::Processes { launch, after } => {
                turn.actions.push(Action::Kill {
                    tenant: self.name.clone(),
                    launch: launch.id,
                });
                stuck(turn, Left::Processes { launch, after }, why, tries)
            }
        }
    }

    fn never_ready(&self) -> Failure {
        let within = self.policy.ready_within.as_secs_f64();
        match self.policy.ready {
            Readiness::Tcp(port) => Failure::detail(
                Stage::Ready,
                format!("port {port}"),
                format!("it accepted no connection within {within} s"),
            ),
            Readiness::Notify | Readiness::Started | Readiness::Lived(_) => Failure::detail(
                Stage::Ready,
                "its notify socket",
                format!("it sent no READY=1 within {within} s"),
            ),
        }
    }
}

fn outlived() -> Failure {
    let limit = KILL_LIMIT.as_secs();
    Failure::detail(
        Stage::End,
        "",
        format!("some outlived SIGKILL by {limit} s"),
    )
}
