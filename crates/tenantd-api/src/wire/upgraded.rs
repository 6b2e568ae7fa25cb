//! The exchange of a running supervisor's program.

use serde::{Deserialize, Serialize};
use zlink::introspect::Type;

/// The program on disk has passed its preflight and is about to be executed.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, Type)]
pub struct Upgrading {
    /// The version of the running supervisor.
    pub from: String,
    /// The version of the program on disk.
    pub to: String,
}

/// The version of the running supervisor, and the result of its last upgrade.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, Type)]
pub struct Upgraded {
    /// The version of the running supervisor.
    pub version: String,
    /// The process ID of the supervisor.
    pub pid: u32,
    /// Why the last upgrade was rolled back to this version; null if it was not.
    pub refused: Option<String>,
}
