//! All that a supervisor can ask for.

use serde::{Deserialize, Serialize};

use crate::name::TenantName;

use super::event::LaunchId;

/// The answer to an operator's request.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Answer {
    /// It is being done.
    Accepted,
    /// It was so before.
    AlreadySo,
    /// It will not be done.
    Refused {
        /// Why not, and what would help.
        reason: String,
    },
}

/// Something to be done on the host. Each `Provision`, `Launch`, `Apply` and `Release` is answered
/// by exactly one event that says how it went; only a launch that ends meanwhile takes the answer
/// to its `Apply` with it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Action {
    /// Make the tenant's network namespace, link, datastore, log and cgroup.
    Provision {
        /// Which tenant.
        tenant: TenantName,
    },
    /// Start the tenant's program; watch for its readiness, its end and the end of its last
    /// process.
    Launch {
        /// Which tenant.
        tenant: TenantName,
        /// The name of this start.
        launch: LaunchId,
    },
    /// Make what runs as it is planned now, as far as that is possible without ending it: set all
    /// that a change of the plan can set on a launch that lives. What is set already is left alone.
    Apply {
        /// Which tenant.
        tenant: TenantName,
        /// Which launch.
        launch: LaunchId,
    },
    /// Send the tenant's stop signal to the launch's first process (to all of its processes
    /// where the first has left).
    Terminate {
        /// Which tenant.
        tenant: TenantName,
        /// Which launch.
        launch: LaunchId,
    },
    /// Kill every process of the launch.
    Kill {
        /// Which tenant.
        tenant: TenantName,
        /// Which launch.
        launch: LaunchId,
    },
    /// Take away what `Provision` made, but for the datastore.
    Release {
        /// Which tenant.
        tenant: TenantName,
    },
    /// Forget the tenant: it was removed, and nothing of it is left.
    Remove {
        /// Which tenant.
        tenant: TenantName,
    },
}
