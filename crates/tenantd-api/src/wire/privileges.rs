//! What a command of `exec` may do.

use serde::{Deserialize, Serialize};
use zlink::introspect::CustomType;

/// What a process may do beyond what every user may: `[app.wall]` of the manifest.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, CustomType)]
pub struct ExecPrivileges {
    /// Whether set-user-ID and set-group-ID programs get their rights.
    pub set_id_programs: bool,
}
