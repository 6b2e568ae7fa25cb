//! The process of root that carries out what a client without root may do with a tenant.

use serde::{Deserialize, Serialize};
use zlink::introspect::Type;

/// The answer of a method that starts a deputy. A descriptor comes with it (`SCM_RIGHTS`, unix(7)): one end of
/// a pair of sockets, of which the deputy has the other. The deputy ends when this end is closed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, Type)]
pub struct Deputy {
    /// Its process ID.
    pub pid: u32,
}

/// The most lines that `Logs` can be asked for by their number.
pub const LOG_LINES_MAX: u64 = 10_000;
