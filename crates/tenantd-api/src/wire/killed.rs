//! Forced kills.

use std::fmt;
use std::time::Duration;

use serde::{Deserialize, Serialize};

use tenantd_core::supervisor::forced::{self, Processes};

pub use tenantd_core::supervisor::forced::NamedProcess;

/// What was killed at the end of a tenant's last launch, since it was still running when its grace
/// was over. Its display is a sentence for people without the subject.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Killed {
    /// When (RFC 3339, UTC).
    pub time: jiff::Timestamp,
    /// The grace in milliseconds; null if the supervisor was told not to wait for it.
    pub grace_ms: Option<u64>,
    /// The number of processes; null while that is unknown.
    pub count: Option<u64>,
    /// The first of them.
    pub processes: Vec<NamedProcess>,
}

impl fmt::Display for Killed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let processes = self.count.map(|count| Processes {
            count,
            named: self.processes.clone(),
        });
        let grace = self.grace_ms.map(Duration::from_millis);
        f.write_str(&forced::text(grace, processes.as_ref()))
    }
}
