//! The words spoken on the control socket: what is asked, and what is answered.
//!
//! The protocol is varlink (<https://varlink.org>), the interface [`INTERFACE`]. These are its
//! types; the same words appear in the command line, in `--json` and in the documents.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};
use zlink::introspect::{CustomType, Type};

use tenantd_core::name::{AppName, TenantName};
use tenantd_core::plan::address::Addresses;
use tenantd_core::stage::Failure;
pub use tenantd_core::supervisor::action::Answer;
pub use tenantd_core::supervisor::event::Verb;
use tenantd_core::supervisor::view;

mod residue;
pub mod varlink;
pub mod watch;

pub use residue::{Residue, ResidueFate, ResidueKind, ResidueList};

/// The name of the varlink interface.
pub const INTERFACE: &str = "io.tenantd.Supervisor";

pub use tenantd_core::layout::{RUNTIME, control_socket};

/// The longest request in bytes, its final NUL included. The longest one that makes sense names
/// each of some thousand tenants.
pub const REQUEST_MAX: usize = 256 * 1024;

/// The state of an application: what `tenantd status --json` prints.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct AppStatus {
    /// The application.
    pub app: AppName,
    /// The supervisor's process.
    pub pid: u32,
    /// How the processes of a tenant are tracked and ended.
    pub tracking: Tracking,
    /// Where the tenants' output goes.
    pub logs: LogPlace,
    /// The tenants asked for, in the order of the manifest.
    pub tenants: Vec<TenantStatus>,
}

/// How the processes of a tenant are tracked and ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, CustomType)]
#[serde(rename_all = "kebab-case")]
#[zlink(rename_all = "lowercase")]
pub enum Tracking {
    /// A cgroup v2 leaf per tenant.
    Cgroup,
    /// By network namespace: no cgroup v2 tree is there to write to.
    Netns,
}

/// Where the tenants' output goes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, CustomType)]
#[serde(rename_all = "kebab-case")]
#[zlink(rename_all = "lowercase")]
pub enum LogPlace {
    /// To the journal.
    Journal,
    /// To the supervisor's own output and a bounded file per tenant.
    Files,
}

/// The state of one tenant. What is absent is null.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct TenantStatus {
    /// The tenant.
    pub name: TenantName,
    /// What is wanted of it.
    pub want: Want,
    /// What an operator wants of it for good: over the supervisor's end and a reboot. Null where that
    /// is what the manifest says.
    pub permanent: Option<Want>,
    /// The state it is in.
    pub state: StateWord,
    /// The first process of its launch.
    pub pid: Option<u32>,
    /// Its addresses: `addresses`, and `address` for the first of them.
    #[serde(flatten)]
    pub addresses: Addresses,
    /// How often it was started again because it had ended unasked.
    pub restarts: u32,
    /// When it entered its state (RFC 3339, UTC).
    pub since: jiff::Timestamp,
    /// Whether it is ready; null while there is no launch.
    pub ready: Option<bool>,
    /// Whether its program is the one on disk; null while there is no launch, or where that
    /// cannot be told. Only `status` looks.
    #[serde(default)]
    pub program: Option<Program>,
    /// The tenants that it awaits: they have not let go yet of the address or the datastore that it
    /// takes.
    #[serde(default)]
    pub awaits: Vec<TenantName>,
    /// When it will be started again, while it waits.
    pub until: Option<jiff::Timestamp>,
    /// Why it is in its state, where that is not what was wanted.
    pub why: Option<String>,
    /// The stage, object and errno of `why`, where a stage failed.
    pub failure: Option<Failure>,
    /// Whether a live change is being applied to what runs.
    #[serde(default)]
    pub applying: bool,
    /// Why a live change does not hold for what runs: the host refused it. It is tried again with
    /// the next reload, and holds from the next launch on.
    #[serde(default)]
    pub unapplied: Option<Failure>,
}

/// What a launch runs, beside what is on disk.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize, CustomType)]
#[serde(rename_all = "kebab-case")]
#[zlink(rename_all = "lowercase")]
pub enum Program {
    /// The file that is on disk.
    Current,
    /// An older one: it has been replaced, changed or removed since.
    Older,
}

impl Program {
    /// Its word, as in `--json`.
    #[must_use]
    pub fn word(self) -> &'static str {
        match self {
            Self::Current => "current",
            Self::Older => "older",
        }
    }
}

impl StateWord {
    /// Its word, as in `--json`.
    #[must_use]
    pub fn word(self) -> &'static str {
        match self {
            Self::Down => "down",
            Self::Provisioning => "provisioning",
            Self::Launching => "launching",
            Self::Up => "up",
            Self::Stopping => "stopping",
            Self::Waiting => "waiting",
            Self::Failed => "failed",
            Self::Releasing => "releasing",
            Self::Stuck => "stuck",
        }
    }
}

impl Want {
    /// Its word, as in `--json`.
    #[must_use]
    pub fn word(self) -> &'static str {
        match self {
            Self::Up => "up",
            Self::Down => "down",
        }
    }

    /// Up or not.
    #[must_use]
    pub fn of(up: bool) -> Self {
        match up {
            true => Self::Up,
            false => Self::Down,
        }
    }
}

impl From<view::StateWord> for StateWord {
    fn from(state: view::StateWord) -> Self {
        match state {
            view::StateWord::Down => Self::Down,
            view::StateWord::Provisioning => Self::Provisioning,
            view::StateWord::Launching => Self::Launching,
            view::StateWord::Up => Self::Up,
            view::StateWord::Stopping => Self::Stopping,
            view::StateWord::Waiting => Self::Waiting,
            view::StateWord::Failed => Self::Failed,
            view::StateWord::Releasing => Self::Releasing,
            view::StateWord::Stuck => Self::Stuck,
        }
    }
}

impl From<view::Want> for Want {
    fn from(want: view::Want) -> Self {
        match want {
            view::Want::Up => Self::Up,
            view::Want::Down => Self::Down,
        }
    }
}

impl TenantStatus {
    /// Whether the tenant is in the state that is wanted: up and ready, or down.
    #[must_use]
    pub fn is_in_wanted_state(&self) -> bool {
        is_as_wanted(self.want, self.state, self.ready)
    }

    /// Whether the tenant is as wanted: up and ready, with all that is planned, or down.
    #[must_use]
    pub fn is_as_wanted(&self) -> bool {
        self.is_in_wanted_state() && self.unapplied.is_none()
    }

    /// Whether nothing more will happen to the tenant before an operator or its program acts:
    /// it is as wanted, or has been given up.
    #[must_use]
    pub fn is_settled(&self) -> bool {
        is_settled(self.want, self.state, self.ready) && !self.applying
    }
}

fn is_as_wanted(want: Want, state: StateWord, ready: Option<bool>) -> bool {
    match want {
        Want::Up => state == StateWord::Up && ready == Some(true),
        Want::Down => state == StateWord::Down,
    }
}

/// See [`TenantStatus::is_settled`].
#[must_use]
pub fn is_settled(want: Want, state: StateWord, ready: Option<bool>) -> bool {
    is_as_wanted(want, state, ready) || matches!(state, StateWord::Failed | StateWord::Stuck)
}

/// What is wanted of a tenant.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize, CustomType)]
#[serde(rename_all = "kebab-case")]
#[zlink(rename_all = "lowercase")]
pub enum Want {
    /// Running.
    Up,
    /// Not running.
    Down,
}

/// The state of a tenant, in one word.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize, CustomType)]
#[serde(rename_all = "kebab-case")]
#[zlink(rename_all = "lowercase")]
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

/// The answer to one request, with the tenant it is about.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct TenantAnswer {
    /// The tenant.
    pub tenant: TenantName,
    /// The answer.
    pub answer: Answer,
}

/// The program on disk has been tried, and is about to be executed.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, Type)]
pub struct Upgrading {
    /// The version that runs.
    pub from: String,
    /// The version that comes.
    pub to: String,
}

/// Which program answers, and what came of the last upgrade.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, Type)]
pub struct Upgraded {
    /// The version of the program that answers.
    pub version: String,
    /// The supervisor's process.
    pub pid: u32,
    /// Why the program that was executed last gave back to this one, if it did.
    pub refused: Option<String>,
}

/// What a process needs to join a tenant, as `tenantd exec` does.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, Type)]
pub struct ExecTarget {
    /// A process of the tenant, whose namespaces are the tenant's.
    pub pid: u32,
    /// That process's start time in clock ticks since boot (field 22 of proc_pid_stat(5)), by
    /// which a process that got the same number later is told apart.
    pub start_ticks: u64,
    /// The folder of the tenant's cgroup leaf, if it has one.
    pub cgroup: Option<String>,
    /// The tenant's user.
    pub uid: u32,
    /// The tenant's group.
    pub gid: u32,
    /// The tenant's supplementary groups.
    pub groups: Vec<u32>,
    /// The environment that its program was started with.
    pub environment: BTreeMap<String, String>,
    /// The folder that its program was started in.
    pub working_directory: String,
}
