//! Commands of `tenantd exec --offline`.

use std::fmt;

use serde::{Deserialize, Serialize};
use zlink::introspect::CustomType;

/// A command that runs in a tenant that is not up.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, CustomType)]
pub struct Offline {
    /// The process ID of `tenantd exec`. The command ends with it.
    pub pid: u32,
    /// The command.
    pub command: String,
}

impl fmt::Display for Offline {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { pid, command } = self;
        write!(f, "`exec --offline` is running (pid {pid}: {command})")
    }
}
