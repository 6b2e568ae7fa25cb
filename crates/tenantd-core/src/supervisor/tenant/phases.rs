//! The commands that run before the program: one that initializes a new datastore, and one before
//! each start.
//!
//! A start has up to three phases. Each is a launch of its own, with a number and a process, and
//! begins after all processes of the one before have exited:
//!
//! ```text
//! Launching (init) --> Preparing --> Concluding --> Launching (before) --> Preparing --> Launching
//!         | not a new datastore                         ^                              (program)
//!         `---------------------------------------------'
//! ```
//!
//! Only the host knows whether a datastore is new, and looks at each start: [`Tenant::skipped`]. When
//! the command of phase init has ended, for whatever reason, the host records its success, or makes
//! the datastore empty again (`Concluding`). So an interrupted one begins from nothing. If the command
//! fails, the tenant becomes failed at once: it would fail again. A failed command of phase before is
//! a failed launch.

use std::time::Duration;

use crate::plan::phase::Phase;
use crate::stage::{Failure, Stage};
use crate::supervisor::action::Action;
use crate::supervisor::checkpoint::Resources;
use crate::supervisor::event::Exit;
use crate::supervisor::step::Cause;
use crate::supervisor::view::{Want, Why};

use super::over::give_up;
use super::{After, Live, RestartScope, State, Tenant, TransitionContext};

/// The time limit of a command that is no longer in the plan while it runs.
const WITHIN: Duration = Duration::from_secs(5 * 60);

impl Tenant {
    /// The state of a launch whose program or command was executed.
    pub(super) fn running(&self, context: &mut TransitionContext, launch: Live) -> State {
        if launch.phase == Phase::Main {
            return self.up(context, launch);
        }
        context.cause = Cause::Executed(launch.phase);
        let policy = self.policy.phases.of(launch.phase);
        State::Preparing {
            launch,
            // That of phase offline has none, see `State::deadline`.
            until: context.now + policy.map_or(WITHIN, |policy| policy.within),
        }
    }

    /// The datastore is not new: the next phase begins.
    pub(in crate::supervisor) fn skipped(&mut self, context: &mut TransitionContext) {
        self.state = match (self.take(), self.want) {
            (State::Launching { launch, again }, Want::Up | Want::Down)
                if launch.phase == Phase::Init =>
            {
                let after = again.map_or(After::Proceed, After::from);
                self.follow(context, launch, after, Resources::Full)
            }
            (
                state @ (State::Launching { .. }
                | State::Down
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

    /// The first process of the command has exited. What it has left running is stopped.
    pub(super) fn phase_exited(
        &self,
        context: &mut TransitionContext,
        launch: Live,
        (exit, others): (Exit, bool),
        said: &str,
    ) -> State {
        let time = context.now.since(launch.started_at);
        context.cause = Cause::Finished(launch.phase, exit, time);
        let after = self.after_phase(launch.phase, exit, said);
        match others {
            true => self.stop(context, launch, after),
            false => self.ending(context, launch, after),
        }
    }

    /// What follows on a command that has ended so.
    pub(super) fn after_phase(&self, phase: Phase, exit: Exit, said: &str) -> After {
        if phase == Phase::Offline {
            return After::Proceed;
        }
        let how = match exit {
            Exit::Status(0) => return After::Proceed,
            Exit::Status(_) | Exit::Signal(_) if said.is_empty() => exit.to_string(),
            Exit::Status(_) | Exit::Signal(_) => format!("{exit}: {said}"),
            Exit::Unknown => return After::Judge(Why::Exit(exit)),
        };
        After::Judge(Why::Failure(self.phase_failure(phase, how)))
    }

    /// What follows on a command that has ended so while no supervisor was running.
    pub(super) fn after_unwatched(
        &self,
        phase: Phase,
        exit: Exit,
        scope: Option<RestartScope>,
    ) -> After {
        let after = match exit {
            // Perhaps with its supervisor, so it is tried again.
            Exit::Signal(_) | Exit::Unknown => After::Judge(Why::Exit(exit)),
            Exit::Status(_) => self.after_phase(phase, exit, ""),
        };
        scope.map_or(after.clone(), |scope| after.at_least(scope))
    }

    /// The failure of a command.
    pub(super) fn phase_failure(&self, phase: Phase, how: String) -> Failure {
        let stage = match phase {
            Phase::Init => Stage::Init,
            Phase::Before => Stage::Before,
            Phase::Main | Phase::Offline => Stage::Exec,
        };
        let policy = self.policy.phases.of(phase);
        let program = policy.map(|policy| policy.program.display().to_string());
        Failure::detail(stage, program.unwrap_or_default(), how)
    }

    /// The command has not ended in time.
    pub(super) fn phase_too_long(&self, context: &mut TransitionContext, launch: Live) -> State {
        let policy = self.policy.phases.of(launch.phase);
        let within = policy.map_or(WITHIN, |policy| policy.within).as_secs_f64();
        let why = self.phase_failure(launch.phase, format!("not finished within {within} s"));
        context.cause = Cause::Failed(why.clone());
        self.stop(context, launch, After::Judge(Why::Failure(why)))
    }

    /// No process of a launch of phase init is left.
    pub(super) fn conclude(
        &self,
        context: &mut TransitionContext,
        launch: Live,
        after: After,
        resources: Resources,
    ) -> State {
        context.actions.push(Action::Conclude {
            tenant: self.name.clone(),
            launch: launch.id,
            success: after == After::Proceed,
        });
        State::Concluding {
            launch,
            after,
            resources,
        }
    }

    /// The result of phase init is recorded.
    pub(in crate::supervisor) fn concluded(&mut self, context: &mut TransitionContext) {
        self.state = match self.take() {
            State::Concluding {
                launch,
                after,
                resources,
            } => self.follow(context, launch, after, resources),
            state @ (State::Down
            | State::Provisioning { .. }
            | State::Launching { .. }
            | State::Preparing { .. }
            | State::Up { .. }
            | State::Stopping { .. }
            | State::Waiting { .. }
            | State::Failed { .. }
            | State::Releasing { .. }
            | State::Stuck { .. }) => state,
        };
    }

    /// The result of phase init could not be recorded. The next try begins from nothing.
    pub(in crate::supervisor) fn conclude_failed(
        &mut self,
        why: Failure,
        context: &mut TransitionContext,
    ) {
        self.state = match (self.take(), self.want) {
            (State::Concluding { resources, .. }, Want::Down) => {
                self.bring_down(context, resources)
            }
            (
                State::Concluding {
                    launch,
                    after,
                    resources,
                },
                Want::Up,
            ) => match after {
                After::Judge(Why::Failure(failure)) if is_of_command(&failure) => {
                    let also = format!("{}; afterwards: {why}", failure.detail);
                    give_up(context, resources, Why::Failure(failure.with(also)))
                }
                After::Reprovision => {
                    self.bring_up_scoped(context, resources, RestartScope::Reprovision)
                }
                After::Judge(_) | After::Relaunch | After::Proceed => {
                    let again = true;
                    let started_at = launch.started_at;
                    self.stage_failed(context, started_at, (resources, again), why)
                }
            },
            (
                state @ (State::Down
                | State::Provisioning { .. }
                | State::Launching { .. }
                | State::Preparing { .. }
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

    /// The plan has changed in a way that interrupts nothing: a tenant that failed because of a
    /// command is tried again.
    pub(super) fn retry_phases(&mut self, context: &mut TransitionContext) {
        self.state = match self.take() {
            State::Failed {
                resources,
                why: Why::Failure(why),
            } if is_of_command(&why) => {
                self.strikes.clear();
                self.bring_up(context, resources)
            }
            state @ (State::Failed { .. }
            | State::Down
            | State::Provisioning { .. }
            | State::Launching { .. }
            | State::Preparing { .. }
            | State::Concluding { .. }
            | State::Up { .. }
            | State::Stopping { .. }
            | State::Waiting { .. }
            | State::Releasing { .. }
            | State::Stuck { .. }) => state,
        };
    }
}

/// Whether a failure is of a command itself, or of a file that cannot be executed: it would occur
/// again.
pub(super) fn is_of_command(failure: &Failure) -> bool {
    let stages = [Stage::Init, Stage::Before, Stage::Program, Stage::Exec];
    stages.contains(&failure.stage)
}
