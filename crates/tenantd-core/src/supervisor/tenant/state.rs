//! The states of a tenant, each with its data, and the transitions between them.
//!
//! ```text
//!             start                done             done
//!    Down ------------> Provisioning ---> Launching ---> Up
//!     ^                   ^ | failed        ^ | failed   | exited, not ready in time,
//!     |                   | v               | v          v stop or restart requested
//!     |                 Waiting           Waiting    Stopping <------------ requested again
//!     |                                                | |  survived SIGKILL    |
//!     | done      wanted down, or not to be restarted  | +---------------> Stuck (processes)
//!     +--- Releasing <---------------------------------+ emptied <----------' emptied
//!           ^ | failed                                 +--> Waiting, its delay, then Launching
//!     retry | v                                        +--> Failed, after too many strikes
//!          Stuck (network)                             +--> Launching, if a restart was requested
//! ```
//!
//! Waiting and Failed record which resources the tenant still has. From there, a start leads to
//! Launching or Provisioning, and a stop to Releasing or Down. If a tenant is wanted up again while
//! it is Releasing, it is provisioned after the release. A provision that needs what another tenant
//! holds begins when that tenant has released it. The head of `tenant.rs` describes the whole life.

mod parts;

use crate::plan::phase::Phase;
use crate::stage::Failure;
use crate::supervisor::checkpoint::Resources;
use crate::supervisor::event::LaunchId;
use crate::supervisor::time::Moment;
use crate::supervisor::view::{StateWord, Why};

pub use parts::{After, Ending, Left, Live, Making, Readying, RestartScope};

/// The state of a tenant, with its data.
///
/// It is part of a [`Checkpoint`](crate::supervisor::checkpoint::Checkpoint), so that the next
/// supervisor can resume from it. The types of the state file define how it is written: a new state
/// or field does not compile before it is converted there.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum State {
    /// Nothing of the tenant exists on the host except its datastore.
    Down,
    /// Its network, datastore and cgroup are being set up.
    Provisioning {
        /// When the provision was ordered.
        started_at: Moment,
        /// Its progress.
        making: Making,
    },
    /// Its program, or the command of a phase, is being started. This is not interrupted: a stop
    /// takes effect after the answer of the host.
    Launching {
        /// The launch that is being started.
        launch: Live,
        /// Set if a restart was requested meanwhile, or the plan changed.
        again: Option<RestartScope>,
    },
    /// The command of a phase before the program runs.
    Preparing {
        /// The launch that runs.
        launch: Live,
        /// When its time is over.
        until: Moment,
    },
    /// All processes of its launch of phase init have exited. The result is being recorded; without
    /// success, the datastore is made empty again.
    Concluding {
        /// The launch that is over.
        launch: Live,
        /// What follows.
        after: After,
        /// What it still has on the host.
        resources: Resources,
    },
    /// Its program runs.
    Up {
        /// The launch that runs.
        launch: Live,
        /// Its readiness.
        ready: Readying,
    },
    /// Its processes are being ended.
    Stopping {
        /// The launch that is being ended.
        launch: Live,
        /// Whether it was asked to stop or was killed.
        ending: Ending,
        /// What follows.
        after: After,
    },
    /// It is waiting for its next provision or launch.
    Waiting {
        /// The earliest time; later, if the restart budget is used up.
        until: Moment,
        /// What it still has on the host.
        resources: Resources,
        /// Whether its next launch counts as a restart.
        again: bool,
        /// Why it is waiting.
        why: Why,
    },
    /// It had too many strikes, is not to be restarted, or cannot be started. An operator must act.
    Failed {
        /// What it still has on the host.
        resources: Resources,
        /// Why it failed.
        why: Why,
    },
    /// Its network and cgroup are being removed.
    Releasing {
        /// Failed tries since the last request.
        tries: u32,
    },
    /// It could not be ended or released.
    Stuck {
        /// What is left.
        left: Left,
        /// What failed.
        why: Failure,
        /// Failed tries since the last request.
        tries: u32,
        /// When it is retried; `None` after the last retry.
        retry_at: Option<Moment>,
    },
}

impl State {
    pub(in crate::supervisor) fn word(&self) -> StateWord {
        match self {
            State::Down => StateWord::Down,
            State::Provisioning { .. } => StateWord::Provisioning,
            State::Launching { .. } => StateWord::Launching,
            State::Preparing { launch, .. }
            | State::Stopping {
                launch,
                after: After::Proceed,
                ..
            } => launch.word(),
            State::Concluding {
                launch,
                after: After::Proceed,
                ..
            } => launch.word(),
            State::Concluding { .. } => StateWord::Stopping,
            State::Up { .. } => StateWord::Up,
            State::Stopping { .. } => StateWord::Stopping,
            State::Waiting { .. } => StateWord::Waiting,
            State::Failed { .. } => StateWord::Failed,
            State::Releasing { .. } => StateWord::Releasing,
            State::Stuck { .. } => StateWord::Stuck,
        }
    }

    /// The state of a running launch of which only this is known.
    pub(in crate::supervisor) fn was_up(id: LaunchId, started_at: Moment, ready: bool) -> Self {
        State::Up {
            launch: Live {
                id,
                started_at,
                phase: Phase::Main,
            },
            ready: match ready {
                true => Readying::Ready,
                false => Readying::Unknown(started_at),
            },
        }
    }

    /// Its launch, if it is up and not ready.
    pub(in crate::supervisor) fn unready_launch(&self) -> Option<LaunchId> {
        self.launch()
            .filter(|_| self.word() == StateWord::Up && !self.is_ready())
    }

    /// The failure that is the reason of this state.
    pub(in crate::supervisor) fn failure_mut(&mut self) -> Option<&mut Failure> {
        match self {
            State::Stuck { why, .. }
            | State::Concluding {
                after: After::Judge(Why::Failure(why)),
                ..
            }
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
            | State::Preparing { .. }
            | State::Concluding { .. }
            | State::Up { .. }
            | State::Stopping { .. }
            | State::Waiting { .. }
            | State::Failed { .. }
            | State::Releasing { .. } => None,
        }
    }

    /// The same, but if it is `Concluding`, at least this follows.
    pub(in crate::supervisor) fn concluding_at_least(mut self, scope: RestartScope) -> Self {
        if let State::Concluding { after, .. } = &mut self {
            *after = after.at_least(scope);
        }
        self
    }

    /// The number of the current launch.
    pub(in crate::supervisor) fn launch(&self) -> Option<LaunchId> {
        self.live().map(|launch| launch.id)
    }

    /// The current launch.
    pub(in crate::supervisor) fn live(&self) -> Option<Live> {
        match self {
            State::Launching { launch, .. }
            | State::Preparing { launch, .. }
            | State::Concluding { launch, .. }
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

    /// Whether the tenant holds an address or a datastore that another one could need.
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
            | State::Preparing { .. }
            | State::Concluding { .. }
            | State::Up { .. }
            | State::Stopping { .. }
            | State::Releasing { .. }
            | State::Stuck { .. } => true,
        }
    }

    /// Whether the transition to `after` releases everything that the tenant held.
    pub(in crate::supervisor) fn has_released_all(&self, after: &State) -> bool {
        let (from, to) = (self.word(), after.word());
        // A release may be followed by a new provision in the same step.
        let released =
            from == StateWord::Releasing && !matches!(to, StateWord::Releasing | StateWord::Stuck);
        // A failed provision by an old plan has left nothing behind, and a new one has begun.
        let undone = self.is_outdated() && to == StateWord::Provisioning && !after.is_outdated();
        self.holds() && (released || undone || !after.holds())
    }

    /// Whether it is being provisioned by a plan that is no longer current.
    fn is_outdated(&self) -> bool {
        matches!(self, State::Provisioning { making, .. } if *making == Making::Outdated)
    }

    pub(in crate::supervisor) fn is_ready(&self) -> bool {
        matches!(self, State::Up { ready, .. } if *ready == Readying::Ready)
    }

    /// Whether it waits for its restart delay or for the restart budget.
    pub(in crate::supervisor) fn is_waiting(&self) -> bool {
        matches!(self, State::Waiting { .. })
    }

    /// Whether nothing more happens without a request once the tenant is wanted down.
    pub(in crate::supervisor) fn is_finished(&self) -> bool {
        match self {
            State::Down => true,
            State::Stuck { retry_at, .. } => retry_at.is_none(),
            State::Provisioning { .. }
            | State::Launching { .. }
            | State::Preparing { .. }
            | State::Concluding { .. }
            | State::Up { .. }
            | State::Stopping { .. }
            | State::Waiting { .. }
            | State::Failed { .. }
            | State::Releasing { .. } => false,
        }
    }

    /// Whether the program said that it is stopping, and was not asked to.
    fn is_stopping_itself(&self) -> bool {
        matches!(
            self,
            State::Stopping {
                ending: Ending::Own { .. },
                ..
            }
        )
    }

    /// Whether the program, which said that it is stopping, is asked to stop or killed in the next state.
    pub(in crate::supervisor) fn is_asked_only_in(&self, next: &State) -> bool {
        self.is_stopping_itself() && !next.is_stopping_itself()
    }

    /// When it is due.
    pub(in crate::supervisor) fn deadline(&self) -> Option<Moment> {
        match self {
            State::Up { ready, .. } => match ready {
                Readying::Ready => None,
                Readying::Before(moment) | Readying::At(moment) | Readying::Unknown(moment) => {
                    Some(*moment)
                }
            },
            State::Stopping { ending, .. } => match ending {
                Ending::Own { until: moment }
                | Ending::Grace { kill_at: moment }
                | Ending::Killed { until: moment } => Some(*moment),
            },
            State::Preparing { launch, .. } if launch.phase == Phase::Offline => None,
            State::Preparing { until, .. } | State::Waiting { until, .. } => Some(*until),
            State::Stuck { retry_at, .. } => *retry_at,
            State::Down
            | State::Provisioning { .. }
            | State::Launching { .. }
            | State::Concluding { .. }
            | State::Failed { .. }
            | State::Releasing { .. } => None,
        }
    }
}
