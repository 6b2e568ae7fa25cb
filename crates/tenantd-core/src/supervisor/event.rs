//! All that can happen to a supervisor.

use std::fmt;
use std::sync::Arc;

use serde::{Deserialize, Serialize};

use crate::name::TenantName;
use crate::plan::effect::Effect;
use crate::plan::model::Policy;
use crate::stage::Failure;

use super::checkpoint::Found;
use super::view::Want;

/// One start of a program. Never used twice in the life of a supervisor: an event that bears an
/// older one changes nothing.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct LaunchId(pub u64);

/// What an operator asks of a tenant.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Verb {
    /// Want it up, now: overrides any wait and ends the state `failed`.
    Start,
    /// Want it down.
    Stop,
    /// End its launch and start another.
    Restart,
}

impl Verb {
    /// In one word.
    #[must_use]
    pub fn word(self) -> &'static str {
        match self {
            Verb::Start => "start",
            Verb::Stop => "stop",
            Verb::Restart => "restart",
        }
    }

    /// What is wanted of the tenant from then on.
    #[must_use]
    pub fn want(self) -> Want {
        match self {
            Verb::Start | Verb::Restart => Want::Up,
            Verb::Stop => Want::Down,
        }
    }

    /// What can be wanted of it for good by this verb.
    #[must_use]
    pub fn lasting_want(self) -> Option<Want> {
        match self {
            Verb::Start | Verb::Stop => Some(self.want()),
            Verb::Restart => None,
        }
    }
}

/// One request of an operator, which
/// [`Supervisor::handle_request`](super::Supervisor::handle_request) answers.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TenantRequest {
    /// Of which tenant.
    pub tenant: TenantName,
    /// What is asked.
    pub verb: Verb,
}

/// How a process ended, see waitid(2).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Exit {
    /// With this status.
    Status(i32),
    /// By this signal.
    Signal(i32),
    /// In a way that nobody can tell any more.
    Unknown,
}

impl Exit {
    /// Whether it ended with status 0.
    #[must_use]
    pub fn is_success(self) -> bool {
        self == Exit::Status(0)
    }
}

impl fmt::Display for Exit {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Exit::Status(status) => write!(f, "exited with status {status}"),
            Exit::Signal(number) => match nix::sys::signal::Signal::try_from(*number) {
                Ok(signal) => write!(f, "was killed by {signal}"),
                Err(_) => write!(f, "was killed by signal {number}"),
            },
            Exit::Unknown => f.write_str("ended, and how is not known"),
        }
    }
}

/// Something happened.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Event {
    /// The tenant belongs to the plan, from now on with this policy.
    Planned {
        /// Which tenant.
        tenant: TenantName,
        /// What to decide by. Whether it is wanted up follows from its `autostart`.
        policy: Arc<Policy>,
        /// What an earlier supervisor had of it, with what the host still has.
        found: Option<Box<Found>>,
    },
    /// The tenant is planned otherwise. Comes after what it awaits was told.
    Replanned {
        /// Which tenant.
        tenant: TenantName,
        /// What to decide by from now on.
        policy: Arc<Policy>,
        /// What has to be made anew.
        effect: Effect,
        /// Whether what changed has to be set on a launch that lives, see
        /// [`Action::Apply`](super::action::Action::Apply).
        apply: bool,
    },
    /// The manifest was read again, and all that is different was told: what could not be applied
    /// before is tried again.
    Reloaded,
    /// The tenant belongs to the plan no more.
    Removed {
        /// Which tenant.
        tenant: TenantName,
    },
    /// The tenant is about to be planned with what these others hold: none of its provisions
    /// from now on begins before each of them has let go of what it holds now.
    Awaits {
        /// Which tenant.
        tenant: TenantName,
        /// The others.
        others: Vec<TenantName>,
    },
    /// Every tenant is wanted down for good: the supervisor is to end.
    Shutdown,
    /// What is stopping shall use its grace no longer.
    Hurry,
    /// Network, datastore and cgroup of the tenant are there.
    Provisioned {
        /// Which tenant.
        tenant: TenantName,
    },
    /// They could not be made, and what was half-made has been undone.
    ProvisionFailed {
        /// Which tenant.
        tenant: TenantName,
        /// Why.
        why: Failure,
    },
    /// The program is being executed.
    Launched {
        /// Which launch.
        launch: LaunchId,
    },
    /// The program was not executed, and nothing of the launch is left.
    LaunchFailed {
        /// Which launch.
        launch: LaunchId,
        /// Why.
        why: Failure,
    },
    /// The launch is as it was planned when [`Action::Apply`](super::action::Action::Apply) was
    /// carried out.
    Applied {
        /// Which launch.
        launch: LaunchId,
    },
    /// It is not, or not in all parts.
    ApplyFailed {
        /// Which launch.
        launch: LaunchId,
        /// Why.
        why: Failure,
    },
    /// The program is ready by its policy.
    Ready {
        /// Which launch.
        launch: LaunchId,
    },
    /// The launch's first process ended.
    Exited {
        /// Which launch.
        launch: LaunchId,
        /// How.
        exit: Exit,
        /// Whether other processes of the launch live on.
        others: bool,
    },
    /// No process of the launch is left: its cgroup is empty. Comes after `Exited`.
    Emptied {
        /// Which launch.
        launch: LaunchId,
    },
    /// The processes of a launch could not be ended: some outlived SIGKILL.
    EndFailed {
        /// Which launch.
        launch: LaunchId,
        /// What is left.
        why: Failure,
    },
    /// All that `Provision` made is gone.
    Released {
        /// Which tenant.
        tenant: TenantName,
    },
    /// Some of it is still there.
    ReleaseFailed {
        /// Which tenant.
        tenant: TenantName,
        /// What, and why.
        why: Failure,
    },
}
