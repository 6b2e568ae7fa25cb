//! Signals that were sent on request.

use serde::{Deserialize, Serialize};

use tenantd_core::name::TenantName;

/// What became of a request to send a signal, for one tenant.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Signalled {
    /// The tenant.
    pub tenant: TenantName,
    /// To how many processes the signal was sent.
    pub processes: u64,
    /// The main process, if the signal was sent to that one only; else null.
    pub pid: Option<u32>,
    /// Why it was not sent to all that it was meant for; else null.
    pub refused: Option<String>,
}
