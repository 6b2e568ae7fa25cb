//! The supervisor's input: events and requests.

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use serde::{Deserialize, Serialize};

use crate::name::TenantName;
use crate::plan::effect::Effect;
use crate::plan::model::Policy;
use crate::stage::Failure;

use super::checkpoint::Found;
use super::forced::Processes;
use super::view::Want;

/// The number of a launch. Numbers are never reused, so an event of an earlier launch is recognized
/// and ignored.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct LaunchId(pub u64);

/// What an operator requests.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Verb {
    /// Want the tenant up, now, even if it is `waiting` or `failed`.
    Start,
    /// Want the tenant down.
    Stop,
    /// Stop the launch and start another one.
    Restart,
}

impl Verb {
    /// The name of the verb.
    #[must_use]
    pub fn word(self) -> &'static str {
        match self {
            Verb::Start => "start",
            Verb::Stop => "stop",
            Verb::Restart => "restart",
        }
    }

    /// What is wanted of the tenant after the request.
    #[must_use]
    pub fn want(self) -> Want {
        match self {
            Verb::Start | Verb::Restart => Want::Up,
            Verb::Stop => Want::Down,
        }
    }

    /// What the verb can make permanent, so that it also holds after a reboot.
    #[must_use]
    pub fn lasting_want(self) -> Option<Want> {
        match self {
            Verb::Start | Verb::Stop => Some(self.want()),
            Verb::Restart => None,
        }
    }
}

/// A request of an operator, see
/// [`Supervisor::handle_request`](super::Supervisor::handle_request).
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TenantRequest {
    /// The tenant.
    pub tenant: TenantName,
    /// What is requested.
    pub verb: Verb,
}

/// How a process ended, see waitid(2).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Exit {
    /// It exited with this status.
    Status(i32),
    /// It was killed by this signal.
    Signal(i32),
    /// It is not known how it ended.
    Unknown,
}

impl Exit {
    /// Whether the process exited with status 0.
    #[must_use]
    pub fn is_success(self) -> bool {
        self == Exit::Status(0)
    }
}

impl fmt::Display for Exit {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Exit::Status(status) => write!(f, "exited with status {status}"),
            Exit::Signal(number) => write!(f, "was killed by {}", signal_name(*number)),
            Exit::Unknown => f.write_str("ended with unknown status"),
        }
    }
}

/// What a signal is called: `SIGHUP`, or `signal 40` if it has no name.
#[must_use]
pub fn signal_name(number: i32) -> String {
    match nix::sys::signal::Signal::try_from(number) {
        Ok(signal) => signal.as_str().to_owned(),
        Err(_) => format!("signal {number}"),
    }
}

/// An event.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Event {
    /// The tenant is in the plan.
    Planned {
        /// The tenant.
        tenant: TenantName,
        /// Its policy. `autostart` determines whether it is wanted up.
        policy: Arc<Policy>,
        /// Its checkpoint by an earlier supervisor, and what still exists on the host.
        found: Option<Box<Found>>,
    },
    /// The tenant's plan changed. Any `Awaits` for it comes before.
    Replanned {
        /// The tenant.
        tenant: TenantName,
        /// Its new policy.
        policy: Arc<Policy>,
        /// What the change requires.
        effect: Effect,
        /// Whether the change must be applied to a running launch, see
        /// [`Action::Apply`](super::action::Action::Apply).
        apply: bool,
    },
    /// The manifest was reloaded, and all changes have been reported. Refused live changes are
    /// retried.
    Reloaded,
    /// The tenant is no longer in the plan.
    Removed {
        /// The tenant.
        tenant: TenantName,
    },
    /// The tenant will need an address or datastore that other tenants hold. It is not provisioned
    /// before all of them have released what they hold now.
    Awaits {
        /// The tenant.
        tenant: TenantName,
        /// The other tenants.
        others: Vec<TenantName>,
    },
    /// The supervisor shuts down: every tenant is wanted down.
    Shutdown,
    /// Tenants that are stopping are killed without waiting for their grace period.
    Hurry,
    /// The tenant is provisioned.
    Provisioned {
        /// The tenant.
        tenant: TenantName,
    },
    /// A provision failed and was rolled back.
    ProvisionFailed {
        /// The tenant.
        tenant: TenantName,
        /// The stage that failed, and the reason.
        why: Failure,
    },
    /// The program, or the command of the phase, was executed.
    Launched {
        /// The launch.
        launch: LaunchId,
    },
    /// The program, or the command of the phase, was not executed. No process of the launch is left.
    LaunchFailed {
        /// The launch.
        launch: LaunchId,
        /// The stage that failed, and the reason.
        why: Failure,
    },
    /// A launch of phase init was not necessary, because the datastore is not new. It has no process.
    Skipped {
        /// The launch.
        launch: LaunchId,
    },
    /// The answer to a [`Action::Conclude`](super::action::Action::Conclude).
    Concluded {
        /// The launch.
        launch: LaunchId,
    },
    /// The result of phase init could not be recorded, or the datastore not be made empty.
    ConcludeFailed {
        /// The launch.
        launch: LaunchId,
        /// The stage that failed, and the reason.
        why: Failure,
    },
    /// A live change was applied: the launch matches the plan as of its
    /// [`Action::Apply`](super::action::Action::Apply).
    Applied {
        /// The launch.
        launch: LaunchId,
    },
    /// A live change was refused, at least in part.
    ApplyFailed {
        /// The launch.
        launch: LaunchId,
        /// The stage that failed, and the reason.
        why: Failure,
    },
    /// The program is ready.
    Ready {
        /// The launch.
        launch: LaunchId,
    },
    /// The first process of the launch exited.
    Exited {
        /// The launch.
        launch: LaunchId,
        /// Its exit status.
        exit: Exit,
        /// Whether other processes of the launch are still running.
        others: bool,
        /// The last line of its output. Empty for the program, and if it is not known.
        said: String,
    },
    /// The main process of the launch exited, which is not its first process: see
    /// [`Policy::daemonizes`](crate::plan::model::Policy::daemonizes). It comes at most once.
    MainExited {
        /// The launch.
        launch: LaunchId,
        /// Its exit status.
        exit: Exit,
        /// Whether other processes of the launch are still running.
        others: bool,
    },
    /// The last process of the launch exited: its cgroup is empty. Comes after `Exited`.
    Emptied {
        /// The launch.
        launch: LaunchId,
    },
    /// The program asks for more time to become ready or to stop (`EXTEND_TIMEOUT_USEC`, see
    /// sd_notify(3)).
    Extend {
        /// The launch.
        launch: LaunchId,
        /// How much, from now on.
        by: Duration,
    },
    /// The program says that it is stopping (`STOPPING=1`, see sd_notify(3)).
    SaysStopping {
        /// The launch.
        launch: LaunchId,
    },
    /// The program was ready, and no longer answers as its policy asks.
    NotAlive {
        /// The launch.
        launch: LaunchId,
        /// What was asked, and why that failed.
        why: Failure,
    },
    /// A mount of the launch is gone, because the host took away the folder that it hung on.
    MountLost {
        /// The launch.
        launch: LaunchId,
        /// Which mount, and what the host did.
        why: Failure,
    },
    /// The link of a provisioned tenant is gone, because something on the host deleted it.
    LinkLost {
        /// The tenant.
        tenant: TenantName,
        /// Which link, and what happened to it.
        why: Failure,
    },
    /// Processes of the launch were sent SIGKILL: the result of a
    /// [`Action::Kill`](super::action::Action::Kill).
    Killed {
        /// The launch.
        launch: LaunchId,
        /// The processes.
        processes: Processes,
    },
    /// Processes of the launch survived SIGKILL.
    EndFailed {
        /// The launch.
        launch: LaunchId,
        /// Which processes are left.
        why: Failure,
    },
    /// Everything that `Provision` created was removed.
    Released {
        /// The tenant.
        tenant: TenantName,
    },
    /// A release failed, at least in part.
    ReleaseFailed {
        /// The tenant.
        tenant: TenantName,
        /// What is left, and why.
        why: Failure,
    },
}
