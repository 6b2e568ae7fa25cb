//! The types of the control protocol: requests, answers and events.
//!
//! The protocol is varlink (<https://varlink.org>) with the interface [`INTERFACE`]. Types that
//! implement `Serialize` have the same form on the socket and in the output of `--json`.

use serde::{Deserialize, Serialize};
use zlink::introspect::CustomType;

use tenantd_core::name::{AppName, TenantName};
pub use tenantd_core::plan::address::Addresses;
pub use tenantd_core::plan::data::KeyChange;
pub use tenantd_core::plan::diff::{Change, Changes, FieldChange, TenantChange, Unlaunchable};
pub use tenantd_core::stage::{Failure, Stage};
pub use tenantd_core::supervisor::action::Answer;
pub use tenantd_core::supervisor::event::Verb;
use tenantd_core::supervisor::view;

mod answer;
mod app_reload;
pub mod asked;
mod bare;
mod by_hand;
mod deputy;
mod exec;
mod frozen;
mod killed;
mod last_failure;
mod network;
mod offline;
mod phase;
mod privileges;
mod program;
mod reached;
mod refused;
mod repaired;
mod residue;
mod signalled;
mod upgraded;
pub mod varlink;
pub mod watch;

pub use answer::TenantAnswer;
pub use app_reload::AppReloaded;
pub use by_hand::{LimitByHand, LimitsSet};
pub use deputy::{CommandEnd, Deputy, LOG_LINES_MAX, Streams};
pub use exec::{ExecLimit, ExecTarget};
pub use frozen::Frozen;
pub use killed::{Killed, NamedProcess};
pub use last_failure::LastFailure;
pub use network::NetworkState;
pub use offline::Offline;
pub use phase::Phase;
pub use privileges::ExecPrivileges;
pub use program::Program;
pub use reached::{ProbeResults, ReachedLimit, Starved};
pub use refused::RefusedWrite;
pub use repaired::Repaired;
pub use residue::{Residue, ResidueFate, ResidueKind, ResidueList};
pub use signalled::Signalled;
pub use upgraded::{Upgraded, Upgrading};

/// The name of the varlink interface.
pub const INTERFACE: &str = "io.tenantd.Supervisor";

pub use tenantd_core::layout::{RUNTIME, control_socket};

/// The maximum size of a request in bytes, including its final NUL: enough to name several thousand
/// tenants.
pub const REQUEST_MAX: usize = 256 * 1024;

/// The state of an application, as `tenantd status --json` prints it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct AppStatus {
    /// The name of the application.
    pub app: AppName,
    /// The process ID of the supervisor.
    pub pid: u32,
    /// How the supervisor tracks and ends the processes of a tenant.
    pub tracking: Tracking,
    /// Where the tenants' output goes.
    pub logs: LogPlace,
    /// Why the supervisor does not notice when the host removes or renames a folder that tenants
    /// have mounts on; null if it does.
    #[serde(default)]
    pub unwatched: Option<String>,
    /// What the tenants share of the network on the host.
    #[serde(default)]
    pub network: NetworkState,
    /// The path of the manifest; null if an earlier version answers.
    #[serde(default)]
    pub manifest: Option<String>,
    /// The requested tenants, in the order of the manifest.
    pub tenants: Vec<TenantStatus>,
}

/// How the supervisor tracks and ends the processes of a tenant.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, CustomType)]
#[serde(rename_all = "kebab-case")]
#[zlink(rename_all = "lowercase")]
pub enum Tracking {
    /// By a cgroup v2 leaf per tenant.
    Cgroup,
    /// By network namespace, because the host has no writable cgroup v2 tree.
    Netns,
}

/// Where the tenants' output goes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, CustomType)]
#[serde(rename_all = "kebab-case")]
#[zlink(rename_all = "lowercase")]
pub enum LogPlace {
    /// To the systemd journal.
    Journal,
    /// To the supervisor's own output and to a file of limited size per tenant.
    Files,
}

/// The state of one tenant. In JSON, an absent value is null.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct TenantStatus {
    /// The name of the tenant.
    pub name: TenantName,
    /// Whether the tenant is wanted up or down now.
    pub want: Want,
    /// The permanent want that an operator set, which also holds after a restart of the supervisor
    /// and after a reboot. Null if the manifest decides.
    pub permanent: Option<Want>,
    /// The state of the tenant.
    pub state: StateWord,
    /// The command that runs before the program, while the tenant is launching; null if none runs.
    #[serde(default)]
    pub phase: Option<Phase>,
    /// The process ID of the program that was launched; null if none runs.
    pub pid: Option<u32>,
    /// The addresses of the tenant. In JSON these are `addresses`, a list, and `address`, the first
    /// of them.
    #[serde(flatten)]
    pub addresses: Addresses,
    /// How often the program was started again after it ended without a request.
    pub restarts: u32,
    /// When the tenant entered its state (RFC 3339, UTC).
    pub since: jiff::Timestamp,
    /// Whether the program is ready; null while none runs.
    pub ready: Option<bool>,
    /// Whether the running program is the file that is now on disk; null while none runs, if that
    /// is unknown, and in events.
    #[serde(default)]
    pub program: Option<Program>,
    /// The tenants that must release an address or a datastore before this tenant can use it.
    #[serde(default)]
    pub awaits: Vec<TenantName>,
    /// When the program will be started again, while the tenant is waiting.
    pub until: Option<jiff::Timestamp>,
    /// Why the tenant is in a state that is not the wanted one. While it is being started again after
    /// a failure, this is the failure.
    pub why: Option<String>,
    /// The failed stage that `why` describes, if a stage failed.
    pub failure: Option<Failure>,
    /// Whether a live change is being applied to the running processes.
    #[serde(default)]
    pub applying: bool,
    /// Why the host refused a live change for the running processes. The next reload tries again;
    /// the next launch uses the new value in any case.
    #[serde(default)]
    pub unapplied: Option<Failure>,
    /// What prevents the running program from writing to the host's files: `landlock` with its version, `mount watch`
    /// (the supervisor makes each new mount of the host read-only, a moment later) or `host writable` (nothing does).
    /// Null while none runs, and if that is unknown, as for a program that an earlier version started.
    pub lid: Option<String>,
    /// Writes to the host's files that were refused, as the tenant's log says, since its program was started last.
    #[serde(default)]
    pub refused: Vec<RefusedWrite>,
    /// Why the user of its program cannot write to its data, and what to do about it.
    pub misfit: Option<String>,
    /// How the program ended, if it ended by itself and is not restarted; else null.
    pub exit: Option<watch::ProgramExit>,
    /// What was killed at the end of its last launch, after its grace; null if that ended by itself.
    pub killed: Option<Killed>,
    /// How the main process is known, if it is not the first one, and `pid` is its number: `notified` (by
    /// `MAINPID`, see sd_notify(3)), `pid file`, `guessed`, or `oldest` if it is not known: then `pid` is the
    /// oldest process.
    pub main: Option<String>,
    /// What the program says of itself (`STATUS`, see sd_notify(3)), at most 200 characters, with those
    /// escaped that are not safe on a terminal.
    pub status_text: Option<String>,
    /// True while the program reloads its configuration (`RELOADING` until `READY`, see sd_notify(3)), else null.
    #[serde(default)]
    pub reloading: Option<bool>,
    /// What confines the running program: `landlock` with its version (a domain of its own), `uid` (only its
    /// user, which is neither root nor that of another tenant) or `none`. Null while none runs, and if that
    /// is unknown, as for a program that an earlier version started.
    #[serde(default)]
    pub confined: Option<String>,
    /// The command of `exec --offline` that runs in the tenant, which is not up; null if none does. The
    /// state is `launching` meanwhile.
    #[serde(default)]
    pub offline: Option<Offline>,
    /// Whether its processes are frozen: `tenantd pause`.
    #[serde(default)]
    pub paused: bool,
    /// The host's side of its network.
    #[serde(default)]
    pub network: NetworkState,
    /// The path of its cgroup on the host, which counts what its processes use; null while it has none.
    #[serde(default)]
    pub cgroup: Option<String>,
    /// The name of its link on the host, which counts its bytes and packets; null as `cgroup`.
    #[serde(default)]
    pub link: Option<String>,
    /// Its last failure and its strikes; null without any.
    pub last_failure: Option<LastFailure>,
    /// What it waited for; null if it did not, as far as the kernel notified of that.
    pub starved: Option<Starved>,
    /// What the probes of its program found; null if it is not probed.
    pub probe: Option<ProbeResults>,
    /// The limits that were set by hand, with `tenantd set`.
    #[serde(default)]
    pub by_hand: Vec<LimitByHand>,
    /// The limits that it has reached since its last launch, as far as the kernel notifies of that.
    #[serde(default)]
    pub reached: Vec<ReachedLimit>,
    /// What starts and stops it, as `engine` of the manifest says, unless the supervisor does.
    #[serde(default)]
    pub engine: Option<String>,
}

impl StateWord {
    /// All states that this version knows.
    pub const ALL: [Self; 10] = [
        Self::Down,
        Self::Provisioning,
        Self::Launching,
        Self::Up,
        Self::Stopping,
        Self::Waiting,
        Self::Failed,
        Self::Exited,
        Self::Releasing,
        Self::Stuck,
    ];

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
            Self::Exited => "exited",
            Self::Releasing => "releasing",
            Self::Stuck => "stuck",
            Self::Unknown => "unknown",
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

    /// [`Want::Up`] if `up` is true, else [`Want::Down`].
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
            view::StateWord::Launching
            | view::StateWord::Offline
            | view::StateWord::Initializing
            | view::StateWord::Preparing => Self::Launching,
            view::StateWord::Up => Self::Up,
            view::StateWord::Stopping => Self::Stopping,
            view::StateWord::Waiting => Self::Waiting,
            view::StateWord::Failed => Self::Failed,
            view::StateWord::Exited => Self::Exited,
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
    /// Whether the tenant is in the wanted state: up and ready, or down. A live change that the
    /// host refused does not count.
    #[must_use]
    pub fn is_in_wanted_state(&self) -> bool {
        is_as_wanted(self.want, self.state, self.ready)
    }

    /// Whether the tenant is in the wanted state, every live change is applied, and its network is as planned.
    #[must_use]
    pub fn is_as_wanted(&self) -> bool {
        self.is_in_wanted_state() && self.unapplied.is_none() && self.network.drift.is_none()
    }

    /// Whether the supervisor has nothing left to do for the tenant: it is in the wanted state,
    /// failed, exited or stuck, and no live change is being applied.
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

/// Whether a tenant is settled, regardless of live changes. See [`TenantStatus::is_settled`].
#[must_use]
pub fn is_settled(want: Want, state: StateWord, ready: Option<bool>) -> bool {
    let at_rest = [StateWord::Failed, StateWord::Exited, StateWord::Stuck];
    is_as_wanted(want, state, ready) || at_rest.contains(&state)
}

/// Whether a tenant is wanted up or down.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize, CustomType)]
#[serde(rename_all = "kebab-case")]
#[zlink(rename_all = "lowercase")]
pub enum Want {
    /// The program is to run.
    Up,
    /// The program is not to run.
    Down,
}

/// The state of a tenant.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize, CustomType)]
#[serde(rename_all = "kebab-case")]
#[zlink(rename_all = "lowercase")]
pub enum StateWord {
    /// Only the datastore of the tenant exists.
    Down,
    /// The network, datastore and cgroup are being made.
    Provisioning,
    /// The program, or a command before it, is being started.
    Launching,
    /// The program runs.
    Up,
    /// The processes are being ended.
    Stopping,
    /// The program has ended and will be started again after a delay.
    Waiting,
    /// The program ended too often, so it is not started again until an operator acts.
    Failed,
    /// The program ended by itself, with success, and is not restarted. Only the datastore exists.
    /// An earlier version of this library does not know this state.
    Exited,
    /// The network and cgroup are being removed.
    Releasing,
    /// Processes could not be ended, or resources could not be released.
    Stuck,
    /// A state that only a later version knows. The supervisor never sends this.
    #[serde(other)]
    Unknown,
}
