//! Resuming a tenant of an earlier supervisor, from its checkpoint and from what the host still
//! has.
//!
//! An operation that was in progress is completed, or undone if it is no longer wanted. A running
//! launch continues. A launch that ended meanwhile counts as an exit without a request. If the plan
//! changed, the tenant is relaunched or reprovisioned as by a reload, and its strikes are cleared.

use crate::plan::model::{Readiness, RestartWhen};
use crate::plan::phase::Phase;
use crate::supervisor::backoff::FailureCount;
use crate::supervisor::checkpoint::{Checkpoint, Fate, Found, Resources};
use crate::supervisor::event::Exit;
use crate::supervisor::step::{Cause, Find};
use crate::supervisor::view::{StateWord, Want, Why};

use super::{After, Ending, Left, Live, Readying, RestartScope, State, Tenant, TransitionContext};

impl Tenant {
    /// The checkpoint of the tenant. The caller adds the budget.
    pub(in crate::supervisor) fn checkpoint(&self) -> Checkpoint {
        let want = self.want();
        Checkpoint {
            want,
            // A removed tenant is wanted down only because of that. If it is in the manifest again
            // when it is found, it is a new tenant.
            requested: (want == Want::Up) != self.policy.autostart && !self.removed,
            state: self.state.clone(),
            since: self.since,
            restarts: self.restarts,
            strikes: match self.removed {
                true => FailureCount::default(),
                false => self.strikes.clone(),
            },
            exited: self.exited,
            left_others: self.left_others,
            forced: self.forced.clone(),
            unready: self.unready_now(),
            last_failure: self.last_failure_now(),
            repair: self.repair.clone(),
            ..Checkpoint::none(self.since)
        }
    }

    /// Resumes a tenant that this supervisor does not know yet. `allowed` is false during a
    /// shutdown, when nothing may be wanted up.
    pub(in crate::supervisor) fn found(
        &mut self,
        found: Found,
        allowed: bool,
        context: &mut TransitionContext,
    ) {
        let Found {
            checkpoint,
            fate,
            resources,
            outdated,
            applied,
        } = found;
        let word = checkpoint.state();
        // Without a request, the manifest decides, which may have changed.
        let always = self.policy.restart.when == RestartWhen::Always;
        self.exited = checkpoint.exited.filter(|_| !always);
        self.left_others = checkpoint.left_others;
        let up = match (checkpoint.exited, checkpoint.requested) {
            (Some(_), _) => always,
            (None, true) => checkpoint.want == Want::Up,
            (None, false) => self.policy.autostart,
        };
        self.want = if up && allowed { Want::Up } else { Want::Down };
        self.restarts = checkpoint.restarts;
        self.forced = checkpoint.forced;
        self.unready = checkpoint
            .unready
            .or_else(|| checkpoint.state.unready_launch());
        self.last_failure = checkpoint.last_failure;
        self.strikes = checkpoint.strikes;
        let scope = outdated.and_then(RestartScope::of);
        if scope.is_some() {
            self.strikes.clear();
        }
        self.found_offline(checkpoint.repair, scope, allowed);
        // A command of `exec --offline` continues whatever changed.
        let scope = scope.filter(|_| self.repair.is_none());
        context.cause = Cause::Found(Find::AsItWas(word));
        self.state = match fate {
            Fate::Lives => self.outlived(checkpoint.state, scope, context),
            Fate::Over(_) if self.is_set_up_offline(&checkpoint.state) => {
                self.offline_over(context, resources)
            }
            Fate::Over(exit) => self.resumed(checkpoint.state, exit, resources, scope, context),
        };
        if self.word() == word {
            self.since = checkpoint.since;
        }
        // The earlier supervisor may have died before it applied a live change.
        if fate == Fate::Lives && !applied {
            self.apply(context);
        }
    }

    /// Resumes a tenant whose launch is running.
    fn outlived(
        &mut self,
        was: State,
        scope: Option<RestartScope>,
        context: &mut TransitionContext,
    ) -> State {
        context.cause = Cause::Found(Find::Lives);
        match was {
            State::Stopping {
                launch,
                ending,
                after,
            } => {
                let after = scope.map_or(after.clone(), |scope| after.at_least(scope));
                self.continue_stopping(context, launch, ending, after)
            }
            State::Stuck {
                left: Left::Processes { launch, after },
                why,
                tries,
                retry_at,
            } => {
                context.cause = Cause::Found(Find::AsItWas(StateWord::Stuck));
                let after = scope.map_or(after.clone(), |scope| after.at_least(scope));
                let left = Left::Processes { launch, after };
                State::Stuck {
                    left,
                    why,
                    tries,
                    retry_at,
                }
            }
            State::Launching { launch, again } => match again.max(scope) {
                Some(scope) => self.stop(context, launch, scope.into()),
                None if self.goal() == Want::Down => self.stop(context, launch, After::Relaunch),
                None if launch.phase != Phase::Main => {
                    let state = self.running(context, launch);
                    context.cause = Cause::Found(Find::Lives);
                    state
                }
                None => self.up_readiness_unknown(context, launch, None),
            },
            State::Preparing { launch, until } => match scope {
                Some(scope) => self.stop(context, launch, scope.into()),
                None if self.goal() == Want::Down => self.stop(context, launch, After::Relaunch),
                None => State::Preparing { launch, until },
            },
            State::Up { launch, ready } => match scope {
                Some(scope) => self.stop(context, launch, scope.into()),
                None if self.goal() == Want::Down => self.stop(context, launch, After::Relaunch),
                None => self.up_readiness_unknown(context, launch, Some(ready)),
            },
            // These states have no launch, so the checkpoint is wrong. The processes that run are
            // in the way of a provision and of a release.
            State::Down
            | State::Provisioning { .. }
            | State::Concluding { .. }
            | State::Waiting { .. }
            | State::Failed { .. }
            | State::Releasing { .. }
            | State::Stuck {
                left: Left::Network,
                ..
            } => {
                context.cause = Cause::Found(Find::AsItWas(was.word()));
                self.resumed(was, Exit::Unknown, Resources::Partial, scope, context)
            }
        }
    }

    /// The state `Up` after a time without a supervisor, in which notifications were lost.
    fn up_readiness_unknown(
        &self,
        context: &TransitionContext,
        launch: Live,
        before: Option<Readying>,
    ) -> State {
        let ready = match (before, &self.policy.ready) {
            (Some(Readying::Ready), _) => Readying::Ready,
            (Some(at @ Readying::At(_)), Readiness::Lived(_)) => at,
            (
                Some(Readying::Before(_) | Readying::At(_) | Readying::Unknown(_)) | None,
                Readiness::Notify,
            ) => Readying::Unknown(context.now + self.policy.ready_within),
            (
                Some(Readying::Before(_) | Readying::At(_) | Readying::Unknown(_)) | None,
                Readiness::Started | Readiness::Lived(_) | Readiness::Tcp(_),
            ) => return self.up(context, launch),
        };
        State::Up { launch, ready }
    }

    /// Continues a stop. The signal is sent again, as it may not have been sent before.
    fn continue_stopping(
        &self,
        context: &mut TransitionContext,
        launch: Live,
        ending: Ending,
        after: After,
    ) -> State {
        match ending {
            Ending::Grace { kill_at } if !context.hurry => {
                self.terminate(context, launch);
                State::Stopping {
                    launch,
                    ending: Ending::Grace { kill_at },
                    after,
                }
            }
            Ending::Own { .. } if self.want == Want::Down => self.stop(context, launch, after),
            Ending::Own { until } if !context.hurry => State::Stopping {
                launch,
                ending: Ending::Own { until },
                after,
            },
            Ending::Own { .. } | Ending::Grace { .. } | Ending::Killed { .. } => {
                self.kill(context, launch, after)
            }
        }
    }

    /// Resumes a tenant without running processes.
    fn resumed(
        &mut self,
        was: State,
        exit: Exit,
        resources: Resources,
        scope: Option<RestartScope>,
        context: &mut TransitionContext,
    ) -> State {
        match was {
            State::Up { launch, .. } => {
                context.cause = Cause::Found(Find::Died(exit));
                let judged = self.over(context, launch, After::Judge(Why::Exit(exit)), resources);
                match (judged, scope) {
                    (State::Waiting { .. } | State::Failed { .. }, Some(scope)) => {
                        context.cause = Cause::Found(Find::Died(exit));
                        self.strikes.clear();
                        self.bring_up_scoped(context, resources, scope)
                    }
                    (judged, _) => judged,
                }
            }
            State::Preparing { launch, .. } => {
                let after = self.after_unwatched(launch.phase, exit, scope);
                self.over(context, launch, after, resources)
            }
            State::Stopping { launch, after, .. }
            | State::Concluding { launch, after, .. }
            | State::Stuck {
                left: Left::Processes { launch, after },
                ..
            } => {
                let after = scope.map_or(after.clone(), |scope| after.at_least(scope));
                self.over(context, launch, after, resources)
            }
            State::Waiting {
                until, again, why, ..
            } if self.want == Want::Up && scope.is_none() => State::Waiting {
                until,
                resources,
                again,
                why,
            },
            State::Failed { why, .. } if self.want == Want::Up && scope.is_none() => {
                State::Failed { resources, why }
            }
            State::Stuck {
                left: Left::Network,
                why,
                tries,
                retry_at,
            } if resources != Resources::None => State::Stuck {
                left: Left::Network,
                why,
                tries,
                retry_at,
            },
            // An operation in progress is repeated or undone. A program that was being started may
            // not have run, so this is no strike.
            State::Down
            | State::Provisioning { .. }
            | State::Launching { .. }
            | State::Waiting { .. }
            | State::Failed { .. }
            | State::Releasing { .. }
            | State::Stuck { .. } => match (self.want, scope) {
                (Want::Up, Some(scope)) => self.bring_up_scoped(context, resources, scope),
                (Want::Up, None) => self.bring_up(context, resources),
                (Want::Down, _) => self.bring_down(context, resources),
            },
        }
    }
}
