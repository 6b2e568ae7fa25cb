//! TCP connections that have outlived the processes of a network namespace.
//!
//! The kernel keeps a connection that a process has left until its peer has confirmed the end. A peer that is gone never
//! does, and the connection keeps the namespace alive for minutes, see `tcp_orphan_retries` in ip-sysctl.rst of the
//! kernel's documentation.

use std::fs;
use std::io;

use super::{Netns, visit_each};
use crate::release;
use crate::sock_diag::{IDENTITY, SockDiag, Sockets};

/// The states of a connection, as bits: not closed, not listening, and not a rest that the kernel keeps for a time
/// without the namespace.
const CONNECTED: u32 = 1 << 1 | 1 << 2 | 1 << 3 | 1 << 4 | 1 << 5 | 1 << 8 | 1 << 9 | 1 << 11;

/// The first release that ends a connection without a process. Earlier ones only remove what it has to send, and then it
/// stays for ever ("tcp: fix forever orphan socket caused by tcp_abort").
const ENDS_SINCE: (u32, u32) = (6, 12);

/// How often the kernel sends again what the peer of such a connection has not confirmed, where it cannot be ended.
const RETRIES: &str = "/proc/sys/net/ipv4/tcp_orphan_retries";

/// Ends the connections of namespaces in which no process is, and returns how many of each. Before Linux 6.12, they end
/// when the kernel would send next.
///
/// # Errors
/// Those of entering the namespace, and of sock_diag(7), for each.
pub fn end_connections(all: &[Netns]) -> Vec<io::Result<usize>> {
    visit_each(all, end_here)
}

fn end_here() -> io::Result<usize> {
    if release::numbers().is_none_or(|release| release < ENDS_SINCE) {
        fs::write(RETRIES, "1")?;
        return Ok(0);
    }
    let sockets = SockDiag::open()?;
    let mut found = Vec::new();
    sockets.each_tcp(CONNECTED, |socket| {
        let identity = socket.get(IDENTITY).map(<[u8]>::to_vec);
        found.extend(socket.first().copied().zip(identity));
    })?;
    let mut ended = 0;
    for (family, identity) in &found {
        let one = Sockets {
            family: i32::from(*family),
            protocol: libc::IPPROTO_TCP,
            states: CONNECTED,
            identity,
        };
        ended += usize::from(sockets.destroy(one)?);
    }
    Ok(ended)
}
