//! A command of an operator in a tenant that is not up, see
//! [`Repair`](crate::supervisor::offline::Repair): a launch of its own, from `Down` or `Failed` and back.
//!
//! ```text
//!   Down, Failed --> Provisioning --> Launching --> Preparing --> Stopping --> Releasing, Failed
//! ```
//!
//! What is wanted of the tenant stays as it is. Nothing is started before the command has ended, and its
//! end is no strike. A stop, a removal from the manifest and a shutdown end it.

use crate::plan::effect::Effect;
use crate::plan::phase::Phase;
use crate::stage::Failure;
use crate::supervisor::action::Answer;
use crate::supervisor::checkpoint::Resources;
use crate::supervisor::event::Verb;
use crate::supervisor::offline::{Offline, Repair};
use crate::supervisor::step::Cause;
use crate::supervisor::view::Want;

use super::{Left, Making, RestartScope, State, Tenant, TransitionContext};

impl Tenant {
    /// Begins a command of `exec --offline`, or refuses it.
    pub(in crate::supervisor) fn exec_offline(
        &mut self,
        offline: Offline,
        context: &mut TransitionContext,
    ) -> Answer {
        let refused = |reason: String| Answer::Refused { reason };
        let (failed, resources) = match (self.refuses_offline(context.blocked), &self.state) {
            (Some(reason), _) => return refused(reason),
            (None, State::Failed { resources, why }) => (Some(why.clone()), *resources),
            (None, _) => (None, Resources::None),
        };
        self.repair = Some(Repair {
            offline,
            failed,
            stopped: false,
            outdated: None,
        });
        self.state = self.bring_up(context, resources);
        Answer::Accepted
    }

    /// Why such a command cannot begin now.
    fn refuses_offline(&self, blocked: bool) -> Option<String> {
        if let Some(repair) = &self.repair {
            let other = &repair.offline;
            return Some(format!("another `exec --offline` is running ({other})"));
        }
        let reason = match (&self.state, self.want) {
            _ if self.removed => "it was removed from the manifest and is being stopped",
            (State::Down | State::Failed { .. }, _) if blocked => {
                "another tenant still holds its address or datastore: stop that one first"
            }
            (State::Failed { .. }, _) if self.link_lost.is_some() => {
                "its link was deleted on the host: stop it first"
            }
            (State::Down | State::Failed { .. }, _) => return None,
            (State::Up { .. }, Want::Up) => {
                "it is up: use `exec` without --offline, or stop it first"
            }
            (State::Waiting { .. }, _) => "it waits for its next start: stop it first",
            (State::Stuck { .. }, _) => "it is stuck: see `tenantd status`, and stop it first",
            (
                State::Provisioning { .. }
                | State::Launching { .. }
                | State::Preparing { .. }
                | State::Concluding { .. }
                | State::Stopping { .. }
                | State::Releasing { .. },
                Want::Up,
            ) => {
                "it is being started: use `exec` without --offline once it is up, or stop it first"
            }
            (
                State::Provisioning { .. }
                | State::Launching { .. }
                | State::Preparing { .. }
                | State::Concluding { .. }
                | State::Up { .. }
                | State::Stopping { .. }
                | State::Releasing { .. },
                Want::Down,
            ) => "it is being stopped: try again once it is down",
        };
        Some(reason.to_owned())
    }

    /// Why a request is refused while such a command runs.
    pub(super) fn refused_by_offline(&self, verb: Verb) -> Option<Answer> {
        let repair = self.repair.as_ref()?;
        match verb {
            Verb::Stop => None,
            Verb::Start | Verb::Restart => {
                let Offline { client, .. } = &repair.offline;
                let (name, offline) = (&self.name, &repair.offline);
                let reason = format!(
                    "`exec --offline` is running ({offline}): {} it once that has ended, or end it with \
                     `kill {client}` or `tenantd stop {name}`",
                    verb.word()
                );
                Some(Answer::Refused { reason })
            }
        }
    }

    /// The command that runs in it, if it is not up.
    pub(in crate::supervisor) fn offline(&self) -> Option<&Offline> {
        self.repair.as_ref().map(|repair| &repair.offline)
    }

    /// Whether its next launch is to run: that of the program, or that of such a command.
    pub(super) fn goal(&self) -> Want {
        match &self.repair {
            Some(Repair { stopped: false, .. }) => Want::Up,
            Some(_) | None => self.want,
        }
    }

    /// The first phase of its next launch.
    pub(super) fn first_phase(&self) -> Phase {
        match self.repair {
            Some(_) => Phase::Offline,
            None => self.policy.phases.first(),
        }
    }

    /// Ends such a command, if one runs.
    pub(super) fn end_offline(&mut self) {
        if let Some(repair) = &mut self.repair {
            repair.stopped = true;
        }
    }

    /// The launch of such a command is over, or a stage before it has failed.
    pub(super) fn offline_over(
        &mut self,
        context: &mut TransitionContext,
        resources: Resources,
    ) -> State {
        let Some(Repair {
            failed, outdated, ..
        }) = self.repair.take()
        else {
            return self.bring_down(context, resources);
        };
        match (self.want, outdated, failed) {
            (Want::Down, _, _) => self.bring_down(context, resources),
            // As by a reload that changes a tenant that has failed.
            (Want::Up, Some(scope), _) => self.bring_up_scoped(context, resources, scope),
            (Want::Up, None, Some(why)) => State::Failed { resources, why },
            (Want::Up, None, None) => self.bring_up(context, resources),
        }
    }

    /// A stage before such a command has failed. That is no strike.
    pub(super) fn offline_failed(
        &mut self,
        context: &mut TransitionContext,
        resources: Resources,
        why: Failure,
    ) -> State {
        let state = self.offline_over(context, resources);
        context.cause = Cause::Failed(why);
        state
    }

    /// How much of its start a change of its plan repeats now. Such a command continues, and the next start
    /// uses the new plan.
    pub(super) fn scope_now(&mut self, effect: Effect) -> Option<RestartScope> {
        let scope = RestartScope::of(effect);
        let Some(repair) = &mut self.repair else {
            return scope;
        };
        repair.outdated = repair.outdated.max(scope);
        if scope.is_some() {
            self.strikes.clear();
        }
        if let State::Provisioning { making, .. } = &mut self.state
            && *making == Making::Begun
            && scope == Some(RestartScope::Reprovision)
        {
            *making = Making::Outdated;
        }
        None
    }

    /// What an earlier supervisor kept of such a command, if its launch had begun.
    pub(super) fn found_offline(
        &mut self,
        repair: Option<Repair>,
        scope: Option<RestartScope>,
        allowed: bool,
    ) {
        self.repair = repair.map(|repair| Repair {
            stopped: repair.stopped || !allowed,
            outdated: repair.outdated.max(scope),
            ..repair
        });
    }

    /// Whether such a command had not begun under an earlier supervisor. Nothing waits for it any more.
    pub(super) fn is_set_up_offline(&self, was: &State) -> bool {
        let is_set_up = matches!(was, State::Provisioning { .. } | State::Launching { .. });
        is_set_up && self.repair.is_some()
    }

    /// Forgets the command once its launch is over in whatever way.
    pub(in crate::supervisor) fn settle_offline(&mut self) {
        let continues = match &self.state {
            State::Provisioning { making, .. } => *making != Making::Awaiting,
            State::Launching { .. }
            | State::Preparing { .. }
            | State::Stopping { .. }
            | State::Stuck {
                left: Left::Processes { .. },
                ..
            } => true,
            State::Down
            | State::Concluding { .. }
            | State::Up { .. }
            | State::Waiting { .. }
            | State::Failed { .. }
            | State::Releasing { .. }
            | State::Stuck {
                left: Left::Network,
                ..
            } => false,
        };
        if !continues {
            self.repair = None;
        }
    }
}
