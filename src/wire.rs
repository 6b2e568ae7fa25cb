//! The words spoken on the control socket: what is asked, and what is answered.
//!
//! The protocol is varlink (<https://varlink.org>), the interface [`INTERFACE`]. These are its
//! types; the same words appear in the command line, in `--json` and in the documents.

use std::net::Ipv4Addr;

use serde::{Deserialize, Serialize};

use crate::name::{AppName, TenantName};
use crate::stage::Failure;
pub use crate::supervisor::action::Answer;
pub use crate::supervisor::event::Verb;
pub use crate::supervisor::view::{StateWord, Want};

/// The name of the varlink interface.
pub const INTERFACE: &str = "io.tenantd.Supervisor";

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
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Tracking {
    /// A cgroup v2 leaf per tenant.
    Cgroup,
    /// By network namespace: no cgroup v2 tree is there to write to.
    Netns,
}

/// Where the tenants' output goes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
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
    /// The state it is in.
    pub state: StateWord,
    /// The first process of its launch.
    pub pid: Option<u32>,
    /// Its address.
    pub address: Ipv4Addr,
    /// How often it was started again because it had ended unasked.
    pub restarts: u32,
    /// When it entered its state (RFC 3339, UTC).
    pub since: jiff::Timestamp,
    /// Whether it is ready; null while there is no launch.
    pub ready: Option<bool>,
    /// When it will be started again, while it waits.
    pub until: Option<jiff::Timestamp>,
    /// Why it is in its state, where that is not what was wanted.
    pub why: Option<String>,
    /// The stage, object and errno of `why`, where a stage failed.
    pub failure: Option<Failure>,
}

impl TenantStatus {
    /// Whether the tenant is as wanted: up and ready, or down.
    #[must_use]
    pub fn is_as_wanted(&self) -> bool {
        match self.want {
            Want::Up => self.state == StateWord::Up && self.ready == Some(true),
            Want::Down => self.state == StateWord::Down,
        }
    }

    /// Whether nothing more will happen to the tenant before an operator or its program acts:
    /// it is as wanted, or has been given up.
    #[must_use]
    pub fn is_settled(&self) -> bool {
        self.is_as_wanted() || matches!(self.state, StateWord::Held | StateWord::Stuck)
    }
}

/// The answer to one request, with the tenant it is about.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct TenantAnswer {
    /// The tenant.
    pub tenant: TenantName,
    /// The answer.
    pub answer: Answer,
}

/// What a process needs to join a tenant, as `tenantd exec` does.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Door {
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
    pub environment: Vec<(String, String)>,
    /// The folder that its program was started in.
    pub working_directory: String,
}
