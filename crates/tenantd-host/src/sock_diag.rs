//! Lists and ends sockets of a network namespace, see sock_diag(7).

use std::io;

use rtnetlink::sys::{Socket, SocketAddr, protocols::NETLINK_SOCK_DIAG};

/// `TCPDIAG_GETSOCK`, `SOCK_DIAG_BY_FAMILY` and `SOCK_DESTROY`.
const TCP: u16 = 18;
const BY_FAMILY: u16 = 20;
const DESTROY: u16 = 21;

/// `NLM_F_REQUEST | NLM_F_DUMP`, and `NLM_F_REQUEST | NLM_F_ACK`.
pub(crate) const DUMP: u16 = 0x301;
const ACKNOWLEDGED: u16 = 0x005;

/// `NLMSG_ERROR` and `NLMSG_DONE`.
pub(crate) const ERROR: u16 = 2;
pub(crate) const DONE: u16 = 3;

/// The lengths of `struct nlmsghdr`, and of it with a `struct inet_diag_req_v2`.
const HEADER: usize = 16;
const LENGTH: u32 = 72;

/// The length of both with a `struct inet_diag_req`.
const TCP_LENGTH: u32 = 76;

/// The length of `struct inet_diag_msg`: each answer has at least as many bytes.
pub(crate) const ANSWER: usize = 72;

/// Where `struct inet_diag_sockid` is in it.
pub(crate) const IDENTITY: std::ops::Range<usize> = 4..52;

/// Which sockets a request is about.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Sockets<'a> {
    /// `AF_INET` or `AF_INET6`.
    pub(crate) family: i32,
    /// `IPPROTO_TCP` or `IPPROTO_UDP`.
    pub(crate) protocol: i32,
    /// The states, as bits.
    pub(crate) states: u32,
    /// A `struct inet_diag_sockid`, or the beginning of one: its first two bytes are the port, 0 for all.
    pub(crate) identity: &'a [u8],
}

/// A socket for these requests, in the network namespace of the thread that opened it.
pub(crate) struct SockDiag(Socket);

impl SockDiag {
    /// # Errors
    /// Those of socket(2) and connect(2).
    pub(crate) fn open() -> io::Result<Self> {
        let socket = Socket::new(NETLINK_SOCK_DIAG)?;
        socket.connect(&SocketAddr::new(0, 0))?;
        Ok(Self(socket))
    }

    /// Calls `see` with the `struct inet_diag_msg` of each socket.
    ///
    /// # Errors
    /// That of the kernel, `ENOENT` if it has no such module.
    pub(crate) fn each(&self, which: Sockets<'_>, see: impl FnMut(&[u8])) -> io::Result<()> {
        self.0.send(&request((BY_FAMILY, DUMP), which), 0)?;
        self.answers(see)
    }

    /// The same for the sockets of TCP in these states, of both families: for each list, the kernel looks at the
    /// connections of all network namespaces of the host.
    ///
    /// # Errors
    /// As those of [`SockDiag::each`].
    pub(crate) fn each_tcp(&self, states: u32, see: impl FnMut(&[u8])) -> io::Result<()> {
        let mut bytes = header(TCP_LENGTH, (TCP, DUMP));
        bytes.resize(TCP_LENGTH as usize - 8, 0);
        bytes.extend(states.to_ne_bytes());
        bytes.resize(TCP_LENGTH as usize, 0);
        self.0.send(&bytes, 0)?;
        self.answers(see)
    }

    fn answers(&self, mut see: impl FnMut(&[u8])) -> io::Result<()> {
        loop {
            let (datagram, _) = self.0.recv_from_full()?;
            let mut rest = datagram.as_slice();
            while let Some((kind, message, next)) = first(rest) {
                match kind {
                    DONE => return Ok(()),
                    ERROR => return Err(answer(message)),
                    _ if message.len() >= ANSWER => see(message),
                    _ => {}
                }
                rest = next;
            }
        }
    }

    /// Ends the one socket with this identity; false if there is none any longer.
    ///
    /// # Errors
    /// That of the kernel.
    pub(crate) fn destroy(&self, which: Sockets<'_>) -> io::Result<bool> {
        self.0.send(&request((DESTROY, ACKNOWLEDGED), which), 0)?;
        let (datagram, _) = self.0.recv_from_full()?;
        let error = match first(&datagram) {
            Some((ERROR, message, _)) => answer(message),
            Some(_) | None => io::ErrorKind::InvalidData.into(),
        };
        match error.raw_os_error() {
            Some(0) => Ok(true),
            Some(libc::ENOENT) => Ok(false),
            Some(_) | None => Err(error),
        }
    }
}

fn header(length: u32, (kind, flags): (u16, u16)) -> Vec<u8> {
    let mut bytes = Vec::with_capacity(length as usize);
    bytes.extend(length.to_ne_bytes());
    bytes.extend(kind.to_ne_bytes());
    bytes.extend(flags.to_ne_bytes());
    bytes.extend([0; 8]);
    bytes
}

fn request(kind: (u16, u16), which: Sockets<'_>) -> Vec<u8> {
    let mut bytes = header(LENGTH, kind);
    bytes.extend([which.family, which.protocol].map(|it| it.to_le_bytes()[0]));
    bytes.extend([0; 2]);
    bytes.extend(which.states.to_ne_bytes());
    bytes.extend(which.identity);
    bytes.resize(LENGTH as usize, 0);
    bytes
}

/// The first message of a datagram: its kind, its contents, and what follows.
pub(crate) fn first(datagram: &[u8]) -> Option<(u16, &[u8], &[u8])> {
    let length = u32::from_ne_bytes(datagram.get(..4)?.try_into().ok()?) as usize;
    let kind = u16::from_ne_bytes(datagram.get(4..6)?.try_into().ok()?);
    let message = datagram.get(HEADER..length)?;
    let next = datagram.get(length.next_multiple_of(4)..).unwrap_or(&[]);
    Some((kind, message, next))
}

/// The error of an answer; that with number 0 means that it was done.
pub(crate) fn answer(message: &[u8]) -> io::Error {
    let number = message.get(..4).and_then(|it| it.try_into().ok());
    io::Error::from_raw_os_error(number.map_or(libc::EBADMSG, i32::from_ne_bytes).abs())
}
