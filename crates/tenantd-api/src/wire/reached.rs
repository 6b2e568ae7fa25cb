//! Limits that a tenant has reached, what it waited for, and what probes of its program found.

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

/// What the probes of a running program have found, as `[app.alive]` asks.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, CustomType)]
pub struct ProbeResults {
    /// What is asked.
    pub probe: String,
    /// How many passed since the program became ready, or since this supervisor began to ask.
    pub passed: u64,
    /// How many failed since then.
    pub failed: u64,
    /// How many of the last ones failed in a row.
    pub failing: u32,
    /// At how many in a row the program is ended.
    pub most: u32,
    /// Why the last one failed that did; null if none did.
    pub last: Option<String>,
}

impl ProbeResults {
    /// Those of a program that was not asked yet.
    #[must_use]
    pub fn none(probe: String, most: u32) -> Self {
        Self {
            probe,
            passed: 0,
            failed: 0,
            failing: 0,
            most,
            last: None,
        }
    }
}
