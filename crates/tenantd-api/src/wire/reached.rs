//! Limits that a tenant has reached, and what it waited for.

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

/// What a tenant waited for when the kernel notified of pressure on the application last, and the tenant that used
/// most of it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, CustomType)]
pub struct Starved {
    /// When (RFC 3339, UTC).
    pub time: String,
    /// `cpu`, `io` or `memory`.
    pub resource: String,
    /// For which part of the time it waited, in percent.
    pub percent: u32,
    /// The tenant that used most of it, which may be the same; null if none used any.
    pub by: Option<String>,
    /// The same as text.
    pub text: String,
}
