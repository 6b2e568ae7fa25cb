//! The supervisor's output: actions on the host, and answers to operators.

use serde::{Deserialize, Serialize};

use crate::name::TenantName;
use crate::plan::phase::Phase;

use super::event::LaunchId;

/// The answer to an operator's request.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Answer {
    /// The request was accepted.
    Accepted,
    /// The tenant is already in the requested state.
    AlreadySo,
    /// The request was refused.
    Refused {
        /// Why, and what to do about it.
        reason: String,
    },
}

/// An operation on the host. Each `Provision`, `Launch`, `Conclude`, `Apply` and `Release` is answered
/// by exactly one event with its result. The only exception is an `Apply` whose launch ends meanwhile.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Action {
    /// Create the tenant's network namespace, link, log pipes and cgroup; prepare its datastore.
    Provision {
        /// The tenant.
        tenant: TenantName,
    },
    /// Start the tenant's program, or the command of a phase before it; watch for its end and the
    /// end of its last process, and for the readiness of the program.
    Launch {
        /// The tenant.
        tenant: TenantName,
        /// The number of the new launch.
        launch: LaunchId,
        /// What is started.
        phase: Phase,
    },
    /// End the launch soon if it has not executed what it starts: it is no longer wanted. Otherwise do
    /// nothing, since it is ended as any other once it is reported.
    Abandon {
        /// The tenant.
        tenant: TenantName,
        /// The launch.
        launch: LaunchId,
    },
    /// Record that the datastore is initialized, or make it empty again if it is not. No process of
    /// the launch of phase init is left.
    Conclude {
        /// The tenant.
        tenant: TenantName,
        /// The launch.
        launch: LaunchId,
        /// Whether its command succeeded.
        success: bool,
    },
    /// Apply the current plan to a running launch, as far as that is possible without a restart.
    /// Settings that already match are not touched.
    Apply {
        /// The tenant.
        tenant: TenantName,
        /// The launch.
        launch: LaunchId,
    },
    /// Send the tenant's stop signal to the first process of the launch, or to all its processes if
    /// the first has exited.
    Terminate {
        /// The tenant.
        tenant: TenantName,
        /// The launch.
        launch: LaunchId,
    },
    /// Kill every process of the launch.
    Kill {
        /// The tenant.
        tenant: TenantName,
        /// The launch.
        launch: LaunchId,
    },
    /// Remove everything that `Provision` created, except the datastore.
    Release {
        /// The tenant.
        tenant: TenantName,
    },
    /// Remove a tenant that was removed from the manifest and has been released.
    Remove {
        /// The tenant.
        tenant: TenantName,
    },
}
