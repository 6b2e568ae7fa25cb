//! TCP connections that have outlived the processes of a network namespace.
//!
//! The kernel keeps a connection that a process has left until its peer has confirmed the end. A peer that is gone never
//! does, and the connection keeps the namespace alive for minutes, see `tcp_orphan_retries` in ip-sysctl.rst of the
//! kernel's documentation.

use std::fs;
use std::io;

use rtnetlink::sys::{Socket, SocketAddr, protocols::NETLINK_SOCK_DIAG};

use super::{Netns, visit};

/// `SOCK_DIAG_BY_FAMILY` and `SOCK_DESTROY`, see sock_diag(7).
const BY_FAMILY: u16 = 20;
const DESTROY: u16 = 21;

/// `NLM_F_REQUEST | NLM_F_DUMP`, and `NLM_F_REQUEST | NLM_F_ACK`.
const DUMP: u16 = 0x301;
const ACKNOWLEDGED: u16 = 0x005;

/// `NLMSG_ERROR` and `NLMSG_DONE`.
const ERROR: u16 = 2;
const DONE: u16 = 3;

/// The lengths of `struct nlmsghdr` and of it with a `struct inet_diag_req_v2`.
const HEADER: usize = 16;
const LENGTH: u32 = 72;

/// Where `struct inet_diag_sockid` is in `struct inet_diag_msg`.
const IDENTITY: std::ops::Range<usize> = 4..52;

/// The states of a connection, as bits: not closed, not listening, and not a rest that the kernel keeps for a time
/// without the namespace.
const CONNECTED: u32 = 1 << 1 | 1 << 2 | 1 << 3 | 1 << 4 | 1 << 5 | 1 << 8 | 1 << 9 | 1 << 11;

/// The first release that ends a connection without a process. Earlier ones only remove what it has to send, and then it
/// stays for ever ("tcp: fix forever orphan socket caused by tcp_abort").
const ENDS_SINCE: (u32, u32) = (6, 12);

/// How often the kernel sends again what the peer of such a connection has not confirmed, where it cannot be ended.
const RETRIES: &str = "/proc/sys/net/ipv4/tcp_orphan_retries";

/// Ends the connections of a namespace in which no process is, and returns how many. Before Linux 6.12, they end when
/// the kernel would send next.
///
/// # Errors
/// Those of entering the namespace, and of sock_diag(7).
pub fn end_connections(netns: &Netns) -> io::Result<usize> {
    visit(netns, || {
        if !ends_orphans() {
            fs::write(RETRIES, "1")?;
            return Ok(0);
        }
        let socket = Socket::new(NETLINK_SOCK_DIAG)?;
        socket.connect(&SocketAddr::new(0, 0))?;
        let mut ended = 0;
        for family in [libc::AF_INET, libc::AF_INET6] {
            for identity in connections(&socket, family)? {
                ended += usize::from(end(&socket, family, &identity)?);
            }
        }
        Ok(ended)
    })
}

fn ends_orphans() -> bool {
    let release = rustix::system::uname()
        .release()
        .to_string_lossy()
        .into_owned();
    let mut numbers = release.split(|c: char| !c.is_ascii_digit()).map(str::parse);
    match (numbers.next(), numbers.next()) {
        (Some(Ok(major)), Some(Ok(minor))) => (major, minor) >= ENDS_SINCE,
        _ => false,
    }
}

/// The identities of the connections of a family.
fn connections(socket: &Socket, family: i32) -> io::Result<Vec<Vec<u8>>> {
    socket.send(&request((BY_FAMILY, DUMP), family, &[]), 0)?;
    let mut found = Vec::new();
    loop {
        let (datagram, _) = socket.recv_from_full()?;
        let mut rest = datagram.as_slice();
        while let Some((kind, message, next)) = first(rest) {
            match kind {
                DONE => return Ok(found),
                ERROR => return Err(refusal(message)),
                _ => found.extend(message.get(IDENTITY).map(<[u8]>::to_vec)),
            }
            rest = next;
        }
    }
}

/// Ends a connection; false if it has ended meanwhile.
fn end(socket: &Socket, family: i32, identity: &[u8]) -> io::Result<bool> {
    socket.send(&request((DESTROY, ACKNOWLEDGED), family, identity), 0)?;
    let (datagram, _) = socket.recv_from_full()?;
    let error = match first(&datagram) {
        Some((ERROR, message, _)) => refusal(message),
        Some(_) | None => io::ErrorKind::InvalidData.into(),
    };
    match error.raw_os_error() {
        Some(0) => Ok(true),
        Some(libc::ENOENT) => Ok(false),
        Some(_) | None => Err(error),
    }
}

/// A message for TCP.
fn request((kind, flags): (u16, u16), family: i32, identity: &[u8]) -> Vec<u8> {
    let mut bytes = Vec::with_capacity(LENGTH as usize);
    bytes.extend(LENGTH.to_ne_bytes());
    bytes.extend(kind.to_ne_bytes());
    bytes.extend(flags.to_ne_bytes());
    bytes.extend([0; 8]);
    bytes.extend([family, libc::IPPROTO_TCP].map(|it| it.to_le_bytes()[0]));
    bytes.extend([0; 2]);
    bytes.extend(CONNECTED.to_ne_bytes());
    bytes.extend(identity);
    bytes.resize(LENGTH as usize, 0);
    bytes
}

/// The first message of a datagram: its kind, its contents, and what follows.
fn first(datagram: &[u8]) -> Option<(u16, &[u8], &[u8])> {
    let length = u32::from_ne_bytes(datagram.get(..4)?.try_into().ok()?) as usize;
    let kind = u16::from_ne_bytes(datagram.get(4..6)?.try_into().ok()?);
    let message = datagram.get(HEADER..length)?;
    let next = datagram.get(length.next_multiple_of(4)..).unwrap_or(&[]);
    Some((kind, message, next))
}

/// The error of an answer; that with number 0 means that it was done.
fn refusal(message: &[u8]) -> io::Error {
    let number = message.get(..4).and_then(|it| it.try_into().ok());
    io::Error::from_raw_os_error(number.map_or(libc::EBADMSG, i32::from_ne_bytes).abs())
}
