//! Refused writes to the host's files.

use serde::{Deserialize, Serialize};
use zlink::introspect::CustomType;

/// A line of a tenant's log that says that a file of the host could not be written. The tenant can
/// write any line.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, CustomType)]
pub struct RefusedWrite {
    /// The path in the line; null if there is none.
    pub path: Option<String>,
    /// The line.
    pub line: String,
}
