//! The states of a tenant, each with what it alone needs.
//!
//! ```text
//!             start                done             done
//!    Down ------------> Provisioning ---> Launching ---> Up
//!     ^                   ^ | failed        ^ | failed   | it ended, or never got ready;
//!     |                   | v               | v          v a stop or restart was asked
//!     |                 Waiting           Waiting    Stopping <-------------- asked again
//!     |                                                | |  outlived SIGKILL    |
//!     | done      wanted down, or ended as it should   | +---------------> Stuck (processes)
//!     +--- Releasing <---------------------------------+ emptied <----------' emptied
//!           ^ | failed                                 +--> Waiting, its delay, then Launching
//!     again | v                                        +--> Failed, after too many strikes
//!          Stuck (network)                             +--> Launching, if a restart was asked
//! ```
//!
//! Waiting and Failed remember what stands of the tenant. A start takes them on at once to
//! Launching or Provisioning, a stop to Releasing or Down. A tenant that is wanted up again
//! while it is Releasing is provisioned as soon as it is released. A provision that takes what
//! another tenant holds begins once that one has let go.

use crate::plan::effect::Effect;
use crate::stage::Failure;
use crate::supervisor::checkpoint::Resources;
use crate::supervisor::event::LaunchId;
use crate::supervisor::time::Moment;
use crate::supervisor::view::{StateWord, Why};

/// A launch that is there, from the moment its action is given until its last process is gone.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Live {
    /// Which launch.
    pub id: LaunchId,
    /// When its action was given.
    pub started_at: Moment,
}

/// The state, with all that it needs to know.
///
/// The next supervisor goes on from it, so it is part of a [`Checkpoint`](crate::supervisor::checkpoint::Checkpoint).
/// How it is written into the state file is not said here but by the types of that file: a new state
/// or field does not compile until it has a form there.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum State {
    /// Nothing of the tenant is on the host but its datastore.
    Down,
    /// Its network, datastore and cgroup are being made.
    Provisioning {
        /// When the provision was decided.
        started_at: Moment,
        /// How far it is.
        making: Making,
    },
    /// Its program is being started. Cannot be interrupted: what it is wanted for is looked at once
    /// it is answered.
    Launching {
        /// The launch that is being started.
        launch: Live,
        /// A restart was asked for meanwhile, or the plan changed.
        again: Option<RestartScope>,
    },
    /// Its program runs.
    Up {
        /// The launch that runs.
        launch: Live,
        /// How far its readiness is.
        ready: Readying,
    },
    /// Its processes are being ended.
    Stopping {
        /// The launch that is being ended.
        launch: Live,
        /// How far its end is.
        ending: Ending,
        /// What comes then.
        after: After,
    },
    /// It will be started again.
    Waiting {
        /// When; later, if the host's budget of restarts is used up.
        until: Moment,
        /// What stands of it.
        resources: Resources,
        /// Whether its next launch counts as a restart.
        again: bool,
        /// Why it was not left running.
        why: Why,
    },
    /// It has been given up until an operator acts.
    Failed {
        /// What stands of it.
        resources: Resources,
        /// Why it was given up.
        why: Why,
    },
    /// What was provisioned is being taken away.
    Releasing {
        /// Tries that failed since somebody asked.
        tries: u32,
    },
    /// It could not be ended or released.
    Stuck {
        /// What is left.
        left: Left,
        /// What failed.
        why: Failure,
        /// Tries that failed since somebody asked.
        tries: u32,
        /// When the next try comes by itself; none after the last one.
        retry_at: Option<Moment>,
    },
}

/// How far a provision is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Making {
    /// Another tenant has not let go yet of what this one takes. Nothing of it stands.
    Awaiting,
    /// It was begun.
    Begun,
    /// It was begun, and what it makes is not what is planned any more.
    Outdated,
}

/// How much is made anew, the least first.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum RestartScope {
    /// The launch.
    Relaunch,
    /// What was provisioned too.
    Reprovision,
}

/// How far the readiness of a launch is. It never ends before its launch does.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Readying {
    /// It is ready.
    Ready,
    /// The host says when, and has time until then.
    Before(Moment),
    /// It only has to live until then.
    At(Moment),
    /// It may have said so while no supervisor listened: it is ready when it says so again, or has
    /// lived until then.
    Unknown(Moment),
}

/// How far the end of a launch is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Ending {
    /// It was asked to end, or is ending by itself.
    Grace {
        /// When it is killed.
        kill_at: Moment,
    },
    /// It was killed.
    Killed {
        /// When it counts as stuck.
        until: Moment,
    },
}

/// What comes after the last process of a launch, if the tenant is still wanted up.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum After {
    /// The next launch at once: an operator asked, or the plan changed.
    Relaunch,
    /// A release, a provision and a launch: what stands is not what is planned.
    Reprovision,
    /// What the restart policy says: the launch ended unasked.
    Judge(Why),
}

impl After {
    /// The same, but an operator has asked for what comes.
    pub(super) fn requested(&self) -> After {
        match self {
            After::Relaunch | After::Judge(_) => After::Relaunch,
            After::Reprovision => After::Reprovision,
        }
    }

    /// The same, but at least so much is made anew.
    pub(super) fn at_least(&self, scope: RestartScope) -> After {
        match scope {
            RestartScope::Relaunch => self.requested(),
            RestartScope::Reprovision => After::Reprovision,
        }
    }
}

impl RestartScope {
    /// What a change makes anew, if that is anything.
    pub(super) fn of(effect: Effect) -> Option<Self> {
        match effect {
            Effect::Live => None,
            Effect::Relaunch => Some(RestartScope::Relaunch),
            Effect::Reprovision => Some(RestartScope::Reprovision),
        }
    }
}

impl From<RestartScope> for After {
    fn from(scope: RestartScope) -> Self {
        match scope {
            RestartScope::Relaunch => After::Relaunch,
            RestartScope::Reprovision => After::Reprovision,
        }
    }
}

/// What keeps a tenant stuck.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Left {
    /// Processes of a launch.
    Processes {
        /// Which launch.
        launch: Live,
        /// What comes once they are gone.
        after: After,
    },
    /// The network, or anything else that was provisioned.
    Network,
}

impl State {
    pub(in crate::supervisor) fn word(&self) -> StateWord {
        match self {
            State::Down => StateWord::Down,
            State::Provisioning { .. } => StateWord::Provisioning,
            State::Launching { .. } => StateWord::Launching,
            State::Up { .. } => StateWord::Up,
            State::Stopping { .. } => StateWord::Stopping,
            State::Waiting { .. } => StateWord::Waiting,
            State::Failed { .. } => StateWord::Failed,
            State::Releasing { .. } => StateWord::Releasing,
            State::Stuck { .. } => StateWord::Stuck,
        }
    }

    /// Of a launch of which no more is known.
    pub(in crate::supervisor) fn was_up(id: LaunchId, started_at: Moment, ready: bool) -> Self {
        State::Up {
            launch: Live { id, started_at },
            ready: match ready {
                true => Readying::Ready,
                false => Readying::Unknown(started_at),
            },
        }
    }

    /// The failure that it keeps as its reason.
    pub(in crate::supervisor) fn failure_mut(&mut self) -> Option<&mut Failure> {
        match self {
            State::Stuck { why, .. }
            | State::Waiting {
                why: Why::Failure(why),
                ..
            }
            | State::Failed {
                why: Why::Failure(why),
                ..
            }
            | State::Stopping {
                after: After::Judge(Why::Failure(why)),
                ..
            } => Some(why),
            State::Down
            | State::Provisioning { .. }
            | State::Launching { .. }
            | State::Up { .. }
            | State::Stopping { .. }
            | State::Waiting { .. }
            | State::Failed { .. }
            | State::Releasing { .. } => None,
        }
    }

    /// The name of the launch whose events concern it.
    pub(in crate::supervisor) fn launch(&self) -> Option<LaunchId> {
        self.live().map(|launch| launch.id)
    }

    /// The launch whose events concern it.
    pub(in crate::supervisor) fn live(&self) -> Option<Live> {
        match self {
            State::Launching { launch, .. }
            | State::Up { launch, .. }
            | State::Stopping { launch, .. }
            | State::Stuck {
                left: Left::Processes { launch, .. },
                ..
            } => Some(*launch),
            State::Down
            | State::Provisioning { .. }
            | State::Waiting { .. }
            | State::Failed { .. }
            | State::Releasing { .. }
            | State::Stuck {
                left: Left::Network,
                ..
            } => None,
        }
    }

    /// Whether it holds anything of the host that another tenant could want.
    pub(in crate::supervisor) fn holds(&self) -> bool {
        match self {
            State::Down
            | State::Provisioning {
                making: Making::Awaiting,
                ..
            } => false,
            State::Waiting { resources, .. } | State::Failed { resources, .. } => {
                *resources != Resources::None
            }
            State::Provisioning {
                making: Making::Begun | Making::Outdated,
                ..
            }
            | State::Launching { .. }
            | State::Up { .. }
            | State::Stopping { .. }
            | State::Releasing { .. }
            | State::Stuck { .. } => true,
        }
    }

    /// Whether all that it held is let go of once it is `after`.
    pub(in crate::supervisor) fn has_let_go(&self, after: &State) -> bool {
        let (from, to) = (self.word(), after.word());
        // What is released at last may be provisioned anew in the same step.
        let released =
            from == StateWord::Releasing && !matches!(to, StateWord::Releasing | StateWord::Stuck);
        // A provision by an old plan that failed has left nothing, and the new one has begun.
        let undone = self.is_outdated() && to == StateWord::Provisioning && !after.is_outdated();
        self.holds() && (released || undone || !after.holds())
    }

    /// Whether it is being provisioned by a plan that is not today's.
    fn is_outdated(&self) -> bool {
        matches!(self, State::Provisioning { making, .. } if *making == Making::Outdated)
    }

    pub(in crate::supervisor) fn is_ready(&self) -> bool {
        matches!(self, State::Up { ready, .. } if *ready == Readying::Ready)
    }

    /// Whether it waits for the end of its delay and then, if need be, for the host's budget.
    pub(in crate::supervisor) fn is_waiting(&self) -> bool {
        matches!(self, State::Waiting { .. })
    }

    /// Whether nothing more will happen by itself once it is wanted down.
    pub(in crate::supervisor) fn is_finished(&self) -> bool {
        match self {
            State::Down => true,
            State::Stuck { retry_at, .. } => retry_at.is_none(),
            State::Provisioning { .. }
            | State::Launching { .. }
            | State::Up { .. }
            | State::Stopping { .. }
            | State::Waiting { .. }
            | State::Failed { .. }
            | State::Releasing { .. } => false,
        }
    }

    /// When it wants to be looked at again.
    pub(in crate::supervisor) fn deadline(&self) -> Option<Moment> {
        match self {
            State::Up { ready, .. } => match ready {
                Readying::Ready => None,
                Readying::Before(moment) | Readying::At(moment) | Readying::Unknown(moment) => {
                    Some(*moment)
                }
            },
            State::Stopping { ending, .. } => match ending {
                Ending::Grace { kill_at: moment } | Ending::Killed { until: moment } => {
                    Some(*moment)
                }
            },
            State::Waiting { until, .. } => Some(*until),
            State::Stuck { retry_at, .. } => *retry_at,
            State::Down
            | State::Provisioning { .. }
            | State::Launching { .. }
            | State::Failed { .. }
            | State::Releasing { .. } => None,
        }
    }
}
