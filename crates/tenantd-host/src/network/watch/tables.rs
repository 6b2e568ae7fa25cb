//! Notices what other programs change of the tables of the firewall, where the kernel lets them: before Linux 6.9.
//!
//! The connections that began meanwhile are ended.

use std::io;

use nix::sys::socket::{setsockopt, sockopt::RcvBufForce};
use rtnetlink::sys::{Socket, SocketAddr, protocols::NETLINK_NETFILTER};
use socket2::{SockFilter, SockRef};
use tokio::io::Interest;
use tokio::io::unix::AsyncFd;

use super::{News, Part, Watch};
use crate::network::firewall::{Firewall, is_plain};
use crate::network::provision::Provisioner;

/// `NFNLGRP_NFTABLES`, and `NFNL_SUBSYS_NFTABLES`.
const GROUP: u32 = 7;
const NFTABLES: u8 = 10;

/// The lengths of `struct nlmsghdr`, and of that with `struct nfgenmsg`.
const HEADER: usize = 16;
const BOTH: usize = 20;

/// The size of the receive buffer in bytes.
const BUFFER: usize = 4 << 20;

/// The largest message of the kernel.
const MESSAGE_MAX: usize = 1 << 16;

/// A socket that receives what changes about all tables of nftables. None where no other process can change ours.
pub(in crate::network) struct TablesWatch {
    socket: Option<AsyncFd<Socket>>,
    /// The name of our tables, with its NUL.
    table: Vec<u8>,
    /// The port of the socket that makes our own changes.
    own: u32,
}

impl TablesWatch {
    pub(in crate::network) fn open(provisioner: &Provisioner) -> Self {
        let firewall = provisioner.firewall.as_ref().filter(|_| is_plain());
        let (table, own) = firewall.map_or(("", 0), Firewall::identity);
        let socket = firewall.map(|_| subscribe(own)).transpose();
        let socket = socket.unwrap_or_else(|error| {
            tracing::error!(%error, "what others change of the firewall's tables is not noticed");
            None
        });
        Self {
            socket,
            table: [table.as_bytes(), b"\0"].concat(),
            own,
        }
    }

    /// Waits until another process has changed our tables. Cancelling this loses nothing.
    pub(in crate::network) async fn changed(&self) {
        let Some(socket) = &self.socket else {
            return std::future::pending().await;
        };
        let mut buffer = Vec::with_capacity(MESSAGE_MAX);
        loop {
            buffer.clear();
            let received = socket.async_io(Interest::READABLE, |socket| {
                socket.recv(&mut buffer, libc::MSG_DONTWAIT)
            });
            match received.await {
                Ok(_) if self.concerns(&buffer) => return,
                Ok(_) => {}
                // Messages were lost: perhaps that one.
                Err(error) if error.raw_os_error() == Some(libc::ENOBUFS) => return,
                Err(error) => {
                    tracing::error!(%error, "what others change of the firewall's tables is not noticed");
                    return std::future::pending().await;
                }
            }
        }
    }

    /// Whether a message of a datagram is of another process, and about our tables. Each names its table first.
    fn concerns(&self, datagram: &[u8]) -> bool {
        let mut rest = datagram;
        while let Some(head) = rest.get(..HEADER) {
            let word = |at: usize| {
                let bytes = head.get(at..at + 4).and_then(|it| it.try_into().ok());
                u32::from_ne_bytes(bytes.unwrap_or_default())
            };
            let (length, port) = (word(0) as usize, word(12));
            // The upper byte of the type, in the byte order of this host.
            let subsystem = (word(4) & 0xffff) >> 8;
            let attribute = rest.get(BOTH + 4..length).unwrap_or_default();
            if port != self.own
                && subsystem == u32::from(NFTABLES)
                && attribute.starts_with(&self.table)
            {
                return true;
            }
            let next = length.max(HEADER).next_multiple_of(4);
            rest = rest.get(next..).unwrap_or_default();
        }
        false
    }
}

/// Subscribes to what other sockets than that with the port `own` change.
fn subscribe(own: u32) -> io::Result<AsyncFd<Socket>> {
    let mut socket = Socket::new(NETLINK_NETFILTER)?;
    socket.set_non_blocking(true)?;
    setsockopt(&socket, RcvBufForce, &BUFFER)?;
    SockRef::from(&socket).attach_filter(&filter(own))?;
    socket.bind(&SocketAddr::new(0, 0))?;
    socket.add_membership(GROUP)?;
    #[expect(
        deprecated,
        reason = "its successor is unsafe for the sake of types that may change their \
                  descriptor; a Socket keeps its own open until it is dropped"
    )]
    AsyncFd::with_interest(socket, Interest::READABLE)
}

/// The filter in classic BPF: `nlmsg_pid` is the port of who asked for the change. It loads in network byte order what
/// the kernel writes in its own.
fn filter(own: u32) -> [SockFilter; 4] {
    let code = |code: u32| u16::try_from(code).unwrap_or(u16::MAX);
    let end = |length| SockFilter::new(code(libc::BPF_RET | libc::BPF_K), 0, 0, length);
    let load = code(libc::BPF_LD | libc::BPF_ABS | libc::BPF_W);
    let jump = code(libc::BPF_JMP | libc::BPF_K | libc::BPF_JEQ);
    [
        SockFilter::new(load, 0, 0, 12),
        SockFilter::new(jump, 1, 0, u32::from_be_bytes(own.to_ne_bytes())),
        end(u32::MAX),
        end(0),
    ]
}

impl Watch {
    /// Makes the tables again after another process has changed them, and ends the connections of all tenants.
    pub(in crate::network) fn restore_tables(&mut self, provisioner: &Provisioner) {
        let Some(firewall) = &provisioner.firewall else {
            return;
        };
        let tenants = self.model.links();
        if firewall.is_whole(&tenants).is_ok_and(|is_whole| is_whole) {
            return;
        }
        match firewall.restore(&tenants) {
            Ok(()) => {
                firewall.cut(&tenants);
                let what = "the tables of the firewall".to_owned();
                self.note(Part::Hub, News::Mended(vec![what]));
            }
            Err(why) => self.failed(Part::Hub, why),
        }
    }
}
