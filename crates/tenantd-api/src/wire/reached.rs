//! Limits that a tenant has reached.

use serde::{Deserialize, Serialize};
use zlink::introspect::CustomType;

/// A limit that the running program of a tenant, or the last one, has reached.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, CustomType)]
pub struct ReachedLimit {
    /// Its key in the manifest: `memory.max` (processes were killed), `pids.max` (processes or threads were
    /// refused) or `hugetlb` with a size (pages were refused).
    pub limit: String,
    /// How many processes were killed, or how often something was refused.
    pub count: u64,
    /// The same as text, with the limit.
    pub text: String,
}
