//! Sockets of a tenant's network namespace, for a caller that is not in it.

use std::io;
use std::net::TcpStream;

use socket2::{Domain, Protocol, Socket, Type};

use super::{Netns, visit};

/// Makes a TCP socket in a namespace. It is not connected yet, and does not block.
///
/// # Errors
/// Those of socket(2) and setns(2).
pub fn socket_in(netns: &Netns, is_ipv4: bool) -> io::Result<TcpStream> {
    let domain = if is_ipv4 { Domain::IPV4 } else { Domain::IPV6 };
    let socket = visit(netns, || {
        Socket::new(
            domain,
            Type::STREAM.cloexec().nonblocking(),
            Some(Protocol::TCP),
        )
    })?;
    Ok(socket.into())
}
