//! Limits that were set by hand.

use serde::{Deserialize, Serialize};
use zlink::introspect::{CustomType, Type};

/// A limit of a tenant that an operator has set until the tenant stops, with `tenantd set`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, CustomType)]
pub struct LimitByHand {
    /// The limit as it is typed, such as `memory.max` or `hugetlb.2MB`.
    pub limit: String,
    /// Its value, in the notation of the manifest.
    pub value: String,
    /// What the manifest has; null if it has no such limit.
    pub planned: Option<String>,
}

/// What became of a request to set limits of a tenant.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, Type)]
pub struct LimitsSet {
    /// Whether all of it was so already.
    pub unchanged: bool,
    /// All limits that are set by hand now, as the kernel has confirmed.
    pub limits: Vec<LimitByHand>,
    /// Why nothing was done; else null.
    pub refused: Option<String>,
}
