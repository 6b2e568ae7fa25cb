//! The subscription: a socket that receives what changes about the links, addresses, routes, neighbours and
//! rules of the host.
//!
//! A filter in the kernel drops most of what concerns nobody here: what this thread's own requests cause,
//! and neighbours that grow old, which happens all the time.

use std::io;

use nix::sys::socket::{setsockopt, sockopt::RcvBufForce};
use rtnetlink::sys::{Socket, SocketAddr, protocols::NETLINK_ROUTE};
use socket2::{SockFilter, SockRef};
use tokio::io::Interest;
use tokio::io::unix::AsyncFd;

use super::wire::NEW_NEIGHBOUR;

/// The multicast groups, see rtnetlink(7): link, neighbour, traffic control, and of both families address, route and
/// rule.
const GROUPS: [u32; 9] = [1, 3, 4, 5, 7, 8, 9, 11, 19];

/// The size of the receive buffer in bytes: about a thousand changes of links.
const BUFFER: usize = 4 << 20;

/// The largest message of the kernel.
const MESSAGE_MAX: usize = 1 << 16;

/// How many messages are read before other work gets its turn.
const BATCH: usize = 256;

/// The states of a neighbour that are heard of: `NUD_PERMANENT`, and what a permanent one may be in when its
/// deletion is told while a packet uses it: `NUD_FAILED`, `NUD_INCOMPLETE` or `NUD_REACHABLE`.
const HEARD: u32 = 0x80 | 0x20 | 0x01 | 0x02;

/// What was received.
pub(super) enum Received {
    /// Messages.
    Datagram,
    /// Messages were lost: the buffer was full.
    Overrun,
    /// Nothing more for now.
    Nothing,
}

#[derive(Debug)]
pub(super) struct Subscription {
    socket: AsyncFd<Socket>,
    buffer: Vec<u8>,
}

impl Subscription {
    /// Subscribes in the network namespace of the calling thread. `own` is the port of the socket whose
    /// changes are not reported.
    ///
    /// # Errors
    /// Those of socket(2) and setsockopt(2).
    pub(super) fn open(own: u32) -> io::Result<Self> {
        let mut socket = Socket::new(NETLINK_ROUTE)?;
        socket.set_non_blocking(true)?;
        setsockopt(&socket, RcvBufForce, &BUFFER)?;
        SockRef::from(&socket).attach_filter(&filter(own))?;
        socket.bind(&SocketAddr::new(0, 0))?;
        for group in GROUPS {
            socket.add_membership(group)?;
        }
        #[expect(
            deprecated,
            reason = "its successor is unsafe for the sake of types that may change their \
                      descriptor; a Socket keeps its own open until it is dropped"
        )]
        let socket = AsyncFd::with_interest(socket, Interest::READABLE)?;
        Ok(Self {
            socket,
            buffer: Vec::with_capacity(MESSAGE_MAX),
        })
    }

    /// Waits until there is something to read.
    ///
    /// # Errors
    /// Those of epoll(7).
    pub(super) async fn readable(&self) -> io::Result<()> {
        // The readiness ends with the read that finds nothing.
        self.socket.readable().await.map(drop)
    }

    /// Reads up to [`BATCH`] datagrams.
    ///
    /// # Errors
    /// Those of recv(2), except that nothing is there and that messages were lost.
    pub(super) fn read(&mut self, mut each: impl FnMut(&[u8])) -> io::Result<Received> {
        for _ in 0..BATCH {
            let Self { socket, buffer } = self;
            buffer.clear();
            let received = socket.try_io(Interest::READABLE, |socket| {
                socket.recv(buffer, libc::MSG_DONTWAIT)
            });
            match received {
                Ok(_) => each(buffer),
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {
                    return Ok(Received::Nothing);
                }
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) if error.raw_os_error() == Some(libc::ENOBUFS) => {
                    return Ok(Received::Overrun);
                }
                Err(error) => return Err(error),
            }
        }
        Ok(Received::Datagram)
    }
}

/// The filter in classic BPF. It loads in network byte order what the kernel writes in its own.
fn filter(own: u32) -> [SockFilter; 8] {
    const LOAD: u32 = libc::BPF_LD | libc::BPF_ABS;
    let code = |code: u32| u16::try_from(code).unwrap_or(u16::MAX);
    let load = |size: u32, offset| SockFilter::new(code(LOAD | size), 0, 0, offset);
    let jump = |test: u32, value, yes, no| {
        SockFilter::new(code(libc::BPF_JMP | libc::BPF_K | test), yes, no, value)
    };
    let end = |length| SockFilter::new(code(libc::BPF_RET | libc::BPF_K), 0, 0, length);
    let neighbour = u16::from_be_bytes(NEW_NEIGHBOUR.to_ne_bytes());
    let state_at = match cfg!(target_endian = "little") {
        true => 24,
        false => 25,
    };
    [
        // `nlmsg_pid`: the port of who asked for the change.
        load(libc::BPF_W, 12),
        jump(libc::BPF_JEQ, u32::from_be_bytes(own.to_ne_bytes()), 5, 0),
        // `nlmsg_type`.
        load(libc::BPF_H, 4),
        jump(libc::BPF_JEQ, u32::from(neighbour), 0, 2),
        // The lower byte of `ndm_state`.
        load(libc::BPF_B, state_at),
        jump(libc::BPF_JSET, HEARD, 0, 1),
        end(u32::MAX),
        end(0),
    ]
}
