//! The last failure of a tenant.

use serde::{Deserialize, Serialize};

/// The last failure of a tenant, and the strikes that count now. It is also known once the tenant is up again, and to
/// the next supervisor.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct LastFailure {
    /// When (RFC 3339, UTC); null if it is not known.
    pub time: Option<jiff::Timestamp>,
    /// Why; null as `time`.
    pub reason: Option<String>,
    /// How many strikes count now.
    pub strikes: u32,
    /// With how many the tenant becomes failed; 0 means never.
    pub strikes_max: u32,
    /// When the oldest strike counts no longer; null without any.
    pub until: Option<jiff::Timestamp>,
}
