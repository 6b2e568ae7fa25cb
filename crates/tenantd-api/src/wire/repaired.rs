//! What was mended on request.

use serde::{Deserialize, Serialize};

use tenantd_core::name::TenantName;

/// What became of a request to mend what differs from the plan, for one tenant.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Repaired {
    /// The tenant.
    pub tenant: TenantName,
    /// What could not be mended; null if nothing failed.
    pub failed: Option<String>,
}
