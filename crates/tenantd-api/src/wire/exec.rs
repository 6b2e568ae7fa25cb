//! What `tenantd exec` needs to know.

use std::collections::BTreeMap;

use super::ExecPrivileges;
use serde::{Deserialize, Serialize};
use zlink::introspect::{CustomType, Type};

/// What a process needs to join a tenant, as `tenantd exec` does.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, Type)]
pub struct ExecTarget {
    /// The process ID of a process in the tenant's namespaces.
    pub pid: u32,
    /// The start time of that process in clock ticks since boot, field 22 of proc_pid_stat(5). A
    /// process with the same ID and another start time is a different one.
    pub start_ticks: u64,
    /// The path of the cgroup that the process enters; null if it enters none.
    pub cgroup: Option<String>,
    /// The user ID of the tenant.
    pub uid: u32,
    /// The group ID of the tenant.
    pub gid: u32,
    /// The supplementary group IDs of the tenant.
    pub groups: Vec<u32>,
    /// The environment of the tenant's program.
    pub environment: BTreeMap<String, String>,
    /// The working directory of the tenant's program, as seen inside the tenant.
    pub working_directory: String,
    /// The resource limits of the tenant's program; null if the supervisor is of a version that
    /// does not report them.
    #[serde(default)]
    pub limits: Option<Vec<ExecLimit>>,
    /// What a command may do beyond what every user may; null if the supervisor is of a version that
    /// does not report it.
    #[serde(default)]
    pub privileges: Option<ExecPrivileges>,
    /// When a command is confined by a Landlock domain: `always` or `never`. An earlier version also says
    /// `other user` (only if it does not run as the tenant's user). Null if the supervisor is of a version
    /// that does not report it.
    #[serde(default)]
    pub landlock: Option<String>,
    /// The path of the socket of a process that starts commands which reach the tenant's program; null if there
    /// is none, or if the supervisor is of a version that does not report it.
    #[serde(default)]
    pub keeper: Option<String>,
}

/// A resource limit, see getrlimit(2).
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, CustomType)]
pub struct ExecLimit {
    /// The resource, by its key in `limits` of the manifest.
    pub resource: String,
    /// The soft limit; null if there is none.
    pub soft: Option<u64>,
    /// The hard limit; null if there is none.
    pub hard: Option<u64>,
}
