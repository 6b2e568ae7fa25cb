//! Answers to requests about tenants.

use serde::{Deserialize, Serialize};

use tenantd_core::name::TenantName;
use tenantd_core::supervisor::action::Answer;

/// The answer to a request, for one tenant.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct TenantAnswer {
    /// The tenant that the answer is about.
    pub tenant: TenantName,
    /// Whether the request was accepted, changes nothing, or was refused.
    pub answer: Answer,
    /// Why what was requested is not permanent, although the request was not refused and said so.
    #[serde(default)]
    pub unkept: Option<String>,
}
