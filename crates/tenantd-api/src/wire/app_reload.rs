//! Programs that were told to read their configuration again.

use serde::{Deserialize, Serialize};

use tenantd_core::name::TenantName;

/// What became of a request to make a program read its configuration again, for one tenant.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct AppReloaded {
    /// The tenant.
    pub tenant: TenantName,
    /// The signal that was sent, or the command that was run; null if there is none.
    pub by: Option<String>,
    /// The main process, if it got a signal; else null.
    pub pid: Option<u32>,
    /// Why nothing was done; null if something was.
    pub refused: Option<String>,
    /// Why it failed; null if it did not.
    pub failed: Option<String>,
}
