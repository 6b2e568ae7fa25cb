//! The data of the states.

use crate::plan::effect::Effect;
use crate::plan::phase::Phase;
use crate::supervisor::event::LaunchId;
use crate::supervisor::time::Moment;
use crate::supervisor::view::{StateWord, Why};

/// A launch, from the moment when it is ordered until its last process has exited.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Live {
    /// Its number.
    pub id: LaunchId,
    /// When it was ordered.
    pub started_at: Moment,
    /// What it executes.
    pub phase: Phase,
}

impl Live {
    /// The state of a tenant while the command of the phase runs.
    pub(super) fn word(&self) -> StateWord {
        match self.phase {
            Phase::Init => StateWord::Initializing,
            Phase::Before => StateWord::Preparing,
            Phase::Main => StateWord::Up,
            Phase::Offline => StateWord::Offline,
        }
    }
}

/// The progress of a provision.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Making {
    /// It waits for another tenant to release what this one needs. Nothing has been created.
    Awaiting,
    /// It is in progress.
    Begun,
    /// It is in progress, by a plan that is no longer current.
    Outdated,
}

/// How much a restart repeats, the least first.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum RestartScope {
    /// The launch only.
    Relaunch,
    /// The provision too.
    Reprovision,
}

/// The readiness of a launch. Once ready, a launch stays ready.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Readying {
    /// It is ready.
    Ready,
    /// The host reports it; the launch fails at this time.
    Before(Moment),
    /// It is ready if it still runs at this time.
    At(Moment),
    /// It may have reported readiness while no supervisor was running. It is ready when it reports
    /// again, or still runs at this time.
    Unknown(Moment),
}

/// The progress of the end of a launch.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Ending {
    /// It was asked to stop, or is exiting by itself.
    Grace {
        /// When it is killed.
        kill_at: Moment,
    },
    /// It said that it is stopping (`STOPPING=1`, see sd_notify(3)), and nobody has asked it to stop.
    Own {
        /// When it is asked to stop.
        until: Moment,
    },
    /// It was killed.
    Killed {
        /// When it counts as stuck.
        until: Moment,
    },
}

/// What follows after the last process of a launch, if the tenant is still wanted up.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum After {
    /// The next launch, at once: an operator requested it, or the plan changed.
    Relaunch,
    /// A release, a provision and a launch: the plan changed.
    Reprovision,
    /// The restart policy decides, because the end was not requested.
    Judge(Why),
    /// The next phase: the command of this one has succeeded.
    Proceed,
}

impl After {
    /// The same, but on request of an operator.
    pub(in crate::supervisor::tenant) fn requested(&self) -> After {
        match self {
            After::Relaunch | After::Judge(_) => After::Relaunch,
            After::Reprovision => After::Reprovision,
            After::Proceed => After::Proceed,
        }
    }

    /// The same, but with at least this scope.
    pub(in crate::supervisor::tenant) fn at_least(&self, scope: RestartScope) -> After {
        match scope {
            RestartScope::Relaunch => self.requested(),
            RestartScope::Reprovision => After::Reprovision,
        }
    }
}

impl RestartScope {
    /// The scope of a change; `None` for a live change.
    pub(in crate::supervisor::tenant) fn of(effect: Effect) -> Option<Self> {
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

/// What is left of a stuck tenant.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Left {
    /// Processes of a launch.
    Processes {
        /// Their launch.
        launch: Live,
        /// What follows once they have exited.
        after: After,
    },
    /// Something that was provisioned, such as the network.
    Network,
}
