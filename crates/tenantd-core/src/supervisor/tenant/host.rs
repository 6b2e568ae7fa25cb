//! Transitions on reports of the host: results of actions, and what the tenant's processes did.
//!
//! A report that does not fit the state changes nothing.

use crate::plan::phase::Phase;
use crate::stage::Failure;
use crate::supervisor::checkpoint::Resources;
use crate::supervisor::event::Exit;
use crate::supervisor::view::{Want, Why};

use super::{
    After, Ending, Ends, Left, Making, Readying, RestartScope, State, Tenant, TransitionContext,
    stuck,
};

impl Tenant {
    pub(in crate::supervisor) fn provisioned(&mut self, context: &mut TransitionContext) {
        self.state = match (self.take(), self.goal()) {
            (
                State::Provisioning {
                    making: Making::Begun,
                    ..
                },
                Want::Up,
            ) => self.launch_now(context),
            (
                State::Provisioning {
                    making: Making::Begun | Making::Outdated,
                    ..
                },
                Want::Up | Want::Down,
            ) => self.release(context, 0),
            (
                state @ (State::Provisioning {
                    making: Making::Awaiting,
                    ..
                }
                | State::Down
                | State::Launching { .. }
                | State::Preparing { .. }
                | State::Concluding { .. }
                | State::Up { .. }
                | State::Stopping { .. }
                | State::Waiting { .. }
                | State::Failed { .. }
                | State::Releasing { .. }
                | State::Stuck { .. }),
                Want::Up | Want::Down,
            ) => state,
        };
    }

    /// The program has not run, so the restart policy does not apply: see [`stage_failed`](super::stage_failed).
    pub(in crate::supervisor) fn provision_failed(
        &mut self,
        why: Failure,
        context: &mut TransitionContext,
    ) {
        self.state = match (self.take(), self.goal()) {
            (State::Provisioning { .. }, Want::Up) if self.repair.is_some() => {
                self.offline_failed(context, Resources::None, why)
            }
            (
                State::Provisioning {
                    making: Making::Begun,
                    started_at,
                },
                Want::Up,
            ) => {
                let again = false;
                let resources = Resources::None;
                self.stage_failed(context, started_at, (resources, again), why)
            }
            // The plan has changed since.
            (
                State::Provisioning {
                    making: Making::Outdated,
                    ..
                },
                Want::Up,
            ) => self.provision(context),
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
                | State::Preparing { .. }
                | State::Concluding { .. }
                | State::Up { .. }
                | State::Stopping { .. }
                | State::Waiting { .. }
                | State::Failed { .. }
                | State::Releasing { .. }
                | State::Stuck { .. }),
                Want::Up | Want::Down,
            ) => state,
        };
    }

    pub(in crate::supervisor) fn launched(&mut self, context: &mut TransitionContext) {
        self.executed(context);
        self.apply_awaited(context);
    }

    fn executed(&mut self, context: &mut TransitionContext) {
        self.state = match (self.take(), self.goal()) {
            (
                State::Launching {
                    launch,
                    again: None,
                },
                Want::Up,
            ) => match self.link_lost.clone() {
                Some(why) => self.stop(context, launch, After::Judge(Why::Failure(why))),
                None => self.running(context, launch),
            },
            (State::Launching { launch, again }, Want::Up | Want::Down) => {
                let scope = again.unwrap_or(RestartScope::Relaunch);
                self.stop(context, launch, scope.into())
            }
            (
                state @ (State::Down
                | State::Provisioning { .. }
                | State::Preparing { .. }
                | State::Concluding { .. }
                | State::Up { .. }
                | State::Stopping { .. }
                | State::Waiting { .. }
                | State::Failed { .. }
                | State::Releasing { .. }
                | State::Stuck { .. }),
                Want::Up | Want::Down,
            ) => state,
        };
    }

    /// The program has not run, so the restart policy does not apply: see [`stage_failed`](super::stage_failed).
    pub(in crate::supervisor) fn launch_failed(
        &mut self,
        why: Failure,
        context: &mut TransitionContext,
    ) {
        self.state = match (self.take(), self.want) {
            (State::Launching { launch, .. }, Want::Up | Want::Down)
                if launch.phase == Phase::Offline =>
            {
                self.offline_failed(context, Resources::Full, why)
            }
            // The datastore may have been made already.
            (State::Launching { launch, again }, Want::Up | Want::Down)
                if launch.phase == Phase::Init =>
            {
                let judged = After::Judge(Why::Failure(why));
                let after = again.map_or(judged, After::from);
                self.over(context, launch, after, Resources::Full)
            }
            (State::Launching { .. }, Want::Down)
            | (
                State::Launching {
                    again: Some(RestartScope::Reprovision),
                    ..
                },
                Want::Up,
            ) => self.release(context, 0),
            (
                State::Launching {
                    again: Some(RestartScope::Relaunch),
                    ..
                },
                Want::Up,
            ) => self.launch_now(context),
            (
                State::Launching {
                    launch,
                    again: None,
                },
                Want::Up,
            ) => {
                let again = true;
                let resources = Resources::Full;
                self.stage_failed(context, launch.started_at, (resources, again), why)
            }
            (
                state @ (State::Down
                | State::Provisioning { .. }
                | State::Preparing { .. }
                | State::Concluding { .. }
                | State::Up { .. }
                | State::Stopping { .. }
                | State::Waiting { .. }
                | State::Failed { .. }
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
                ready: Readying::Before(_) | Readying::Unknown(_),
            } => State::Up {
                launch,
                ready: Readying::Ready,
            },
            // Already ready, or ready by age only, or too late.
            state @ (State::Up {
                ready: Readying::Ready | Readying::At(_),
                ..
            }
            | State::Down
            | State::Provisioning { .. }
            | State::Launching { .. }
            | State::Preparing { .. }
            | State::Concluding { .. }
            | State::Stopping { .. }
            | State::Waiting { .. }
            | State::Failed { .. }
            | State::Releasing { .. }
            | State::Stuck { .. }) => state,
        };
    }

    /// The launch is over only when its cgroup is empty, so this never starts the next one.
    pub(in crate::supervisor) fn exited(
        &mut self,
        exit: Exit,
        others: bool,
        said: &str,
        context: &mut TransitionContext,
    ) {
        let is_left = self.policy.daemonizes && exit.is_success() && others;
        self.state = match self.take() {
            State::Preparing { launch, .. } => {
                self.phase_exited(context, launch, (exit, others), said)
            }
            State::Up { launch, ready } => {
                if is_left {
                    State::Up { launch, ready }
                } else if others {
                    // They may have to save data, as on a stop that was requested.
                    let why = self.why_left(launch, exit, context);
                    self.stop(context, launch, After::Judge(why))
                } else {
                    let after = After::Judge(Why::Exit(exit));
                    self.ended_itself(context, launch, (exit, others), after)
                }
            }
            State::Stopping {
                launch,
                ending: Ending::Own { .. },
                after,
            } if !is_left => self.ended_itself(context, launch, (exit, others), after),
            // The stop signal went to the first process only. It has exited, so the others get the
            // signal too, for the rest of the grace period.
            State::Stopping {
                launch,
                ending: ending @ Ending::Grace { .. },
                after,
            } if others => {
                self.terminate(context, launch);
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
            | State::Concluding { .. }
            | State::Waiting { .. }
            | State::Failed { .. }
            | State::Releasing { .. }
            | State::Stuck { .. }) => state,
        };
    }

    pub(in crate::supervisor) fn emptied(&mut self, context: &mut TransitionContext) {
        self.state = match self.take() {
            // The last process of a program in the background. Its exit status is not known.
            State::Up { launch, .. } | State::Preparing { launch, .. } => {
                context.ends = Ends::Begun;
                let after = After::Judge(Why::Exit(Exit::Unknown));
                self.over(context, launch, after, Resources::Full)
            }
            State::Stopping { launch, after, .. }
            | State::Stuck {
                left: Left::Processes { launch, after },
                ..
            } => self.over(context, launch, after, Resources::Full),
            state @ (State::Stuck {
                left: Left::Network,
                ..
            }
            | State::Down
            | State::Provisioning { .. }
            | State::Launching { .. }
            | State::Concluding { .. }
            | State::Waiting { .. }
            | State::Failed { .. }
            | State::Releasing { .. }) => state,
        };
    }

    pub(in crate::supervisor) fn end_failed(
        &mut self,
        why: Failure,
        context: &mut TransitionContext,
    ) {
        self.state = match self.take() {
            State::Stopping {
                launch,
                ending: Ending::Killed { .. },
                after,
            } => stuck(context, Left::Processes { launch, after }, why, 0),
            // The report on a retry is more recent.
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
                ending: Ending::Own { .. } | Ending::Grace { .. },
                ..
            }
            | State::Stuck {
                left: Left::Network,
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
            | State::Releasing { .. }) => state,
        };
    }

    pub(in crate::supervisor) fn released(&mut self, context: &mut TransitionContext) {
        self.state = match (self.take(), self.want) {
            (State::Releasing { .. }, Want::Down) => State::Down,
            (State::Releasing { .. }, Want::Up) => self.provision(context),
            (
                state @ (State::Down
                | State::Provisioning { .. }
                | State::Launching { .. }
                | State::Preparing { .. }
                | State::Concluding { .. }
                | State::Up { .. }
                | State::Stopping { .. }
                | State::Waiting { .. }
                | State::Failed { .. }
                | State::Stuck { .. }),
                Want::Up | Want::Down,
            ) => state,
        };
    }

    pub(in crate::supervisor) fn release_failed(
        &mut self,
        why: Failure,
        context: &mut TransitionContext,
    ) {
        self.state = match self.take() {
            State::Releasing { tries } => stuck(context, Left::Network, why, tries),
            state @ (State::Down
            | State::Provisioning { .. }
            | State::Launching { .. }
            | State::Preparing { .. }
            | State::Concluding { .. }
            | State::Up { .. }
            | State::Stopping { .. }
            | State::Waiting { .. }
            | State::Failed { .. }
            | State::Stuck { .. }) => state,
        };
    }
}
