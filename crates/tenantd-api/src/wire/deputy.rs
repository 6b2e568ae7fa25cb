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

/// What the client of `Exec` sends to the deputy first, with three descriptors: standard input, output and error
/// of the command. Each is a pipe or the slave of a pseudo-terminal. Further messages are one byte: the
/// number of a signal for the command.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Streams {
    /// The number of the one that becomes its controlling terminal; null if none does.
    pub terminal: Option<usize>,
}

/// What the deputy of `Exec` sends at the end.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct CommandEnd {
    /// The exit code of `tenantd exec`.
    pub code: u8,
    /// Why the command could not be run; null if it was.
    pub error: Option<String>,
}
