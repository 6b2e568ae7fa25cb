//! What can be seen of a tenant from outside: what is wanted, the state in one word, and why.

use std::fmt;

use serde::{Deserialize, Serialize};

use crate::name::TenantName;
use crate::stage::Failure;

use super::event::{Exit, LaunchId};
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

/// The state of a tenant, in one word.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum StateWord {
    /// Nothing of it is on the host but its datastore.
    Down,
    /// Its network, datastore and cgroup are being made.
    Provisioning,
    /// Its program is being started.
    Launching,
    /// Its program runs.
    Up,
    /// Its processes are being ended.
    Stopping,
    /// It will be started again.
    Waiting,
    /// It has been given up: an operator must act.
    Failed,
    /// Its network and cgroup are being taken away.
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
            StateWord::Up => "up",
            StateWord::Stopping => "stopping",
            StateWord::Waiting => "waiting",
            StateWord::Failed => "failed",
            StateWord::Releasing => "releasing",
            StateWord::Stuck => "stuck",
        })
    }
}

/// Why a tenant is in its state, where that is not what was wanted.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Why {
    /// A stage failed.
    Failure(Failure),
    /// The program ended unasked.
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

/// What of a tenant's plan does not hold yet for its launch, though it could without ending it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Unapplied {
    /// The host is at it.
    Underway,
    /// The host refused it. It is tried again when the manifest is read again, and the next launch
    /// begins with it.
    Refused(Failure),
}

/// One tenant as it is now.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct View {
    /// Its name.
    pub name: TenantName,
    /// What is wanted of it.
    pub want: Want,
    /// The state it is in.
    pub state: StateWord,
    /// The launch that runs, is being started or is being ended.
    pub launch: Option<LaunchId>,
    /// How often it was launched again because it had ended unasked, since an application's
    /// supervisor was last started with none of its tenants left.
    pub restarts: u32,
    /// When it entered its state.
    pub since: Moment,
    /// Whether it is ready; nothing while there is no launch.
    pub ready: Option<bool>,
    /// When it may be started again, while it waits. It may lie in the past where the host's
    /// budget of restarts is used up.
    pub until: Option<Moment>,
    /// Why it is in its state, where that is not what was wanted.
    pub why: Option<Why>,
    /// What of its plan does not hold yet for its launch; nothing where all of it does.
    pub unapplied: Option<Unapplied>,
}
