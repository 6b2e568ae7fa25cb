//! Lines that are written together, and where lines come from.

use std::fmt;

use crate::logs::Line;
use tenantd_core::name::TenantName;

/// Where a line of a tenant's log comes from.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Stream {
    /// Standard output.
    Stdout,
    /// Standard error.
    Stderr,
    /// The supervisor: see [`Mark`](crate::logs::Mark).
    Mark,
    /// Messages to syslog, at `/dev/log`.
    Syslog,
    /// The tenant's own log files.
    File,
}

impl fmt::Display for Stream {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(match self {
            Stream::Stdout => "stdout",
            Stream::Stderr => "stderr",
            Stream::Mark => "tenantd",
            Stream::Syslog => "syslog",
            Stream::File => "file",
        })
    }
}

/// Where a line comes from that the collector read, see [`collect`](crate::collect).
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Origin {
    /// A message to syslog. Identifier and process are what the program says.
    Syslog {
        /// 0 (emergency) to 7 (debug).
        level: u8,
        /// 0 to 23, see syslog(3).
        facility: u8,
        /// Who sent it.
        identifier: Option<String>,
        /// The process.
        pid: Option<u32>,
    },
    /// A file of the tenant, by the path that the tenant sees.
    File(String),
}

/// Lines of one tenant and stream that were read together.
#[derive(Debug, Clone)]
pub struct Batch {
    /// The tenant.
    pub tenant: TenantName,
    /// The stream.
    pub stream: Stream,
    /// The lines, in their order.
    pub lines: Vec<Line>,
}
