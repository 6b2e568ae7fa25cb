//! The public view of a tenant: what is wanted of it, its state, and the reason.

use std::fmt;

use serde::{Deserialize, Serialize};

use crate::name::TenantName;
use crate::stage::Failure;

use super::event::{Exit, LaunchId};
use super::forced::ForcedKill;
use super::offline::Offline;
use super::time::Moment;

/// What is wanted of a tenant.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Want {
    /// Running.
    Up,
    /// Not running.
    Down,
}

impl fmt::Display for Want {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(match self {
            Want::Up => "up",
            Want::Down => "down",
        })
    }
}

/// The name of a state.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum StateWord {
    /// Nothing of the tenant exists on the host except its datastore.
    Down,
    /// Its network, datastore and cgroup are being set up.
    Provisioning,
    /// Its program, or a command before it, is being started.
    Launching,
    /// The command that initializes its datastore runs.
    Initializing,
    /// The command before its program runs.
    Preparing,
    /// Its program runs.
    Up,
    /// Its program does not run, and a command of `exec --offline` does.
    Offline,
    /// Its processes are being ended.
    Stopping,
    /// It is waiting for its next provision or launch.
    Waiting,
    /// It had too many strikes, is not to be restarted, or cannot be started. An operator must act.
    Failed,
    /// Its program ended by itself and is not restarted. Nothing of the tenant exists on the host
    /// except its datastore.
    Exited,
    /// Its network and cgroup are being removed.
    Releasing,
    /// It could not be ended or released: something is left.
    Stuck,
}

impl fmt::Display for StateWord {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(match self {
            StateWord::Down => "down",
            StateWord::Provisioning => "provisioning",
            StateWord::Launching => "launching",
            StateWord::Initializing => "initializing",
            StateWord::Preparing => "preparing",
            StateWord::Up => "up",
            StateWord::Offline => "offline",
            StateWord::Stopping => "stopping",
            StateWord::Waiting => "waiting",
            StateWord::Failed => "failed",
            StateWord::Exited => "exited",
            StateWord::Releasing => "releasing",
            StateWord::Stuck => "stuck",
        })
    }
}

/// Why a tenant is in a state that was not requested.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Why {
    /// A stage failed.
    Failure(Failure),
    /// The program exited without a request.
    Exit(Exit),
}

impl fmt::Display for Why {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Why::Failure(failure) => failure.fmt(f),
            Why::Exit(exit) => exit.fmt(f),
        }
    }
}

/// A live change that has not been applied to the running launch.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Unapplied {
    /// It is being applied.
    Underway,
    /// The host refused it. It is retried on the next reload, and the next launch includes it.
    Refused(Failure),
}

/// The current view of one tenant.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct View {
    /// Its name.
    pub name: TenantName,
    /// What is wanted of it.
    pub want: Want,
    /// Its state.
    pub state: StateWord,
    /// The current launch: running, being started or being ended.
    pub launch: Option<LaunchId>,
    /// The number of automatic restarts. Later supervisors keep counting, unless one was started
    /// when none of the application's tenants was left.
    pub restarts: u32,
    /// The time at which it entered its state.
    pub since: Moment,
    /// Whether it is ready; `None` without a launch.
    pub ready: Option<bool>,
    /// When a waiting tenant may be restarted, or a stuck one is retried. May be in the past if the
    /// restart budget is used up.
    pub until: Option<Moment>,
    /// Why it is in its state, if that state was not requested; while it is being started again, why
    /// it failed last.
    pub why: Option<Why>,
    /// A live change that has not been applied; `None` if there is none.
    pub unapplied: Option<Unapplied>,
    /// The forced kill at the end of its last launch, if there was one.
    pub forced: Option<ForcedKill>,
    /// The command of `exec --offline` that runs in it, or for which it is being set up.
    pub offline: Option<Offline>,
}
