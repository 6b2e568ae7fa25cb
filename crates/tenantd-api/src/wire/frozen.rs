//! Tenants that were paused or continued on request.

use serde::{Deserialize, Serialize};

use tenantd_core::name::TenantName;

/// What became of a request to pause a tenant, or to let it continue.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Frozen {
    /// The tenant.
    pub tenant: TenantName,
    /// Whether it was so already.
    pub unchanged: bool,
    /// By how many bytes its memory shrank; null if none was to be taken.
    pub reclaimed: Option<u64>,
    /// Whether there was more to take when its time was over.
    #[serde(default)]
    pub cut: bool,
    /// Why nothing was done, or not all; else null.
    pub refused: Option<String>,
}
