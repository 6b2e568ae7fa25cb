//! Transitions on deadlines. Each state has at most one deadline.

use std::time::Duration;

use crate::plan::model::Readiness;
use crate::stage::{Failure, Stage};
use crate::supervisor::action::Action;
use crate::supervisor::step::Cause;
use crate::supervisor::view::Why;

use super::{After, Ending, Ends, KILL_LIMIT, Left, Readying, State};
use super::{Tenant, TransitionContext, stuck};

impl Tenant {
    /// Its deadline has passed. Not called for `Waiting`, see [`Tenant::relaunch`].
    pub(in crate::supervisor) fn due(&mut self, context: &mut TransitionContext) {
        self.state = match self.take() {
            State::Up { launch, ready } => match ready {
                Readying::Ready => State::Up { launch, ready },
                Readying::At(_) | Readying::Unknown(_) => {
                    context.cause = Cause::Ready;
                    State::Up {
                        launch,
                        ready: Readying::Ready,
                    }
                }
                Readying::Before(at) => {
                    let why = self.never_ready(at.since(self.since));
                    context.cause = Cause::Failed(why.clone());
                    self.stop(context, launch, After::Judge(Why::Failure(why)))
                }
            },
            State::Preparing { launch, .. } => self.phase_too_long(context, launch),
            State::Stopping {
                launch,
                ending,
                after,
            } => match ending {
                Ending::Grace { kill_at } => {
                    context.cause = Cause::GraceOver;
                    if !self.policy.grace.is_zero() {
                        let grace = self.grace_until(launch.phase, kill_at);
                        context.ends = Ends::Forced(Some(grace));
                    }
                    self.kill(context, launch, after)
                }
                Ending::Own { until } => self.not_stopped(context, launch, (after, until)),
                Ending::Killed { .. } => {
                    stuck(context, Left::Processes { launch, after }, outlived(), 0)
                }
            },
            State::Stuck {
                left, why, tries, ..
            } => self.retry(context, left, why, tries + 1),
            // None of these has a deadline except Waiting, which `relaunch` handles.
            state @ (State::Down
            | State::Provisioning { .. }
            | State::Launching { .. }
            | State::Concluding { .. }
            | State::Waiting { .. }
            | State::Failed { .. }
            | State::Releasing { .. }) => state,
        };
    }

    /// Its restart delay is over, and the budget allows a restart.
    pub(in crate::supervisor) fn relaunch(&mut self, context: &mut TransitionContext) {
        self.state = match self.take() {
            State::Waiting {
                resources, again, ..
            } => {
                if again {
                    self.restarts = self.restarts.saturating_add(1);
                }
                self.bring_up(context, resources)
            }
            state @ (State::Down
            | State::Provisioning { .. }
            | State::Launching { .. }
            | State::Preparing { .. }
            | State::Concluding { .. }
            | State::Up { .. }
            | State::Stopping { .. }
            | State::Failed { .. }
            | State::Releasing { .. }
            | State::Stuck { .. }) => state,
        };
    }

    fn retry(
        &self,
        context: &mut TransitionContext,
        left: Left,
        why: Failure,
        tries: u32,
    ) -> State {
        context.cause = Cause::Retry;
        match left {
            Left::Network => self.release(context, tries),
            // It stays stuck until the launch is empty.
            Left::Processes { launch, after } => {
                context.actions.push(Action::Kill {
                    tenant: self.name.clone(),
                    launch: launch.id,
                });
                stuck(context, Left::Processes { launch, after }, why, tries)
            }
        }
    }

    fn never_ready(&self, within: Duration) -> Failure {
        let within = within.as_secs_f64();
        match self.policy.ready {
            Readiness::Tcp(port) => Failure::detail(
                Stage::Ready,
                format!("port {port}"),
                format!("no connection accepted within {within} s"),
            ),
            Readiness::Notify | Readiness::Started | Readiness::Lived(_) => Failure::detail(
                Stage::Ready,
                "its notify socket",
                format!("no READY=1 received within {within} s"),
            ),
        }
    }
}

fn outlived() -> Failure {
    let limit = KILL_LIMIT.as_secs();
    Failure::detail(
        Stage::End,
        "",
        format!("some are still running {limit} s after SIGKILL"),
    )
}
