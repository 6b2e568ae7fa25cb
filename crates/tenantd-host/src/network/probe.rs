//! Asks whether another machine has an address, before a tenant takes it.
//!
//! Only where others are on the same segment: on a bridge of the host or an uplink. Where a link leads to nobody but the
//! host, nobody else can have an address, and nothing is asked.

use std::io;
use std::net::IpAddr;
use std::os::fd::{AsRawFd, OwnedFd};
use std::time::Duration;

use nix::ifaddrs::getifaddrs;
use nix::sys::socket::{
    AddressFamily, LinkAddr, MsgFlags, SockFlag, SockProtocol, SockType, bind, recvfrom, sendto,
    socket,
};
use socket2::{SockFilter, SockRef};
use tokio::io::Interest;
use tokio::io::unix::AsyncFd;
use tokio::time::{Instant, interval, timeout_at};

use tenantd_core::plan::model::MacAddr;
use tenantd_core::stage::{Failure, Stage};

use super::frame::{claimant, question};
use super::refusal::broken;
use crate::netns::{self, Netns};

/// How often it is asked, and how long an answer is waited for each time. RFC 5227 has seconds, for media that lose
/// frames and machines that wake up.
const QUESTIONS: u32 = 3;
const EVERY: Duration = Duration::from_millis(100);

/// The largest frame of interest.
const FRAME_MAX: usize = 128;

/// The link that is asked on.
#[derive(Debug, Clone, Copy)]
pub enum On<'a> {
    /// A tenant's end, in its namespace. The link must be up.
    Tenant(&'a Netns, &'a str),
    /// A link of the host. The addresses of all links are read, to find it.
    Host(&'a str),
    /// A link of the host, as a packet socket has it.
    Link(LinkAddr),
}

/// Fails if another machine has one of these addresses. `mac` is that of the link, to which the answers come.
///
/// # Errors
/// [`Stage::Address`] with EADDRINUSE and the MAC address of who has it, or what the kernel refuses.
pub async fn refuse_taken(
    on: On<'_>,
    mac: MacAddr,
    addresses: impl IntoIterator<Item = IpAddr>,
) -> Result<(), Failure> {
    let addresses: Vec<IpAddr> = addresses.into_iter().collect();
    let fail = |error: io::Error| broken(Stage::Address, "(who has it)", &error);
    let (socket, link) = match on {
        On::Tenant(netns, name) => netns::visit(netns, || open(packet_address(name)?)),
        On::Host(name) => packet_address(name).and_then(open),
        On::Link(link) => open(link),
    }
    .map_err(fail)?;
    #[expect(
        deprecated,
        reason = "its successor is unsafe for the sake of types that may change their \
                  descriptor; an OwnedFd keeps its own until it is dropped"
    )]
    let socket = AsyncFd::with_interest(socket, Interest::READABLE).map_err(fail)?;
    let mut ticks = interval(EVERY);
    let end = Instant::now() + EVERY * QUESTIONS;
    let mut left = QUESTIONS;
    loop {
        tokio::select! {
            _ = ticks.tick(), if left > 0 => {
                left -= 1;
                for address in &addresses {
                    let frame = question(mac, *address);
                    let fd = socket.get_ref().as_raw_fd();
                    let sent = sendto(fd, &frame, &link, MsgFlags::MSG_DONTWAIT);
                    sent.map_err(|errno| fail(errno.into()))?;
                }
            }
            heard = timeout_at(end, hear(&socket)) => match heard {
                Err(_elapsed) => return Ok(()),
                // One that sends frames without a pause lets no timeout come.
                Ok(_) if Instant::now() >= end => return Ok(()),
                Ok(frame) => {
                    let frame = frame.map_err(fail)?;
                    let mut all = addresses.iter();
                    let taken = all.find_map(|it| Some((it, claimant(&frame, mac, *it)?)));
                    if let Some((address, by)) = taken {
                        return Err(taken_by(*address, by));
                    }
                }
            }
        }
    }
}

fn taken_by(address: IpAddr, mac: MacAddr) -> Failure {
    let why = format!(
        "the machine with the MAC address {mac} has it: change the address there, or `ip` of the tenant"
    );
    Failure::errno(Stage::Address, address.to_string(), libc::EADDRINUSE).with(why)
}

/// The next frame.
async fn hear(socket: &AsyncFd<OwnedFd>) -> io::Result<Vec<u8>> {
    let mut buffer = [0; FRAME_MAX];
    loop {
        let mut ready = socket.readable().await?;
        let received = ready.try_io(|socket| {
            let received = recvfrom::<LinkAddr>(socket.get_ref().as_raw_fd(), &mut buffer);
            received.map(|(length, _)| length).map_err(io::Error::from)
        });
        match received {
            Ok(Ok(length)) => return Ok(buffer[..length.min(FRAME_MAX)].to_vec()),
            Ok(Err(error)) if error.kind() == io::ErrorKind::Interrupted => {}
            Ok(Err(error)) => return Err(error),
            Err(_would_block) => {}
        }
    }
}

/// A socket for frames of a link of the calling thread's namespace.
fn open(link: LinkAddr) -> io::Result<(OwnedFd, LinkAddr)> {
    let flags = SockFlag::SOCK_CLOEXEC | SockFlag::SOCK_NONBLOCK;
    let socket = socket(
        AddressFamily::Packet,
        SockType::Raw,
        flags,
        SockProtocol::EthAll,
    )?;
    SockRef::from(&socket).attach_filter(&filter())?;
    bind(socket.as_raw_fd(), &link)?;
    Ok((socket, link))
}

/// The address of a link of the calling thread's namespace, for a packet socket, see packet(7).
pub(super) fn packet_address(name: &str) -> io::Result<LinkAddr> {
    getifaddrs()?
        .filter(|link| link.interface_name == name)
        .find_map(|link| link.address?.as_link_addr().copied())
        .ok_or_else(|| io::Error::from_raw_os_error(libc::ENODEV))
}

/// Lets pass ARP, and neighbour discovery.
fn filter() -> [SockFilter; 9] {
    const LOAD: u32 = libc::BPF_LD | libc::BPF_ABS;
    let code = |code: u32| u16::try_from(code).unwrap_or(u16::MAX);
    let load = |size: u32, offset| SockFilter::new(code(LOAD | size), 0, 0, offset);
    let jump = |test: u32, value, yes, no| {
        SockFilter::new(code(libc::BPF_JMP | libc::BPF_K | test), yes, no, value)
    };
    let end = |length| SockFilter::new(code(libc::BPF_RET | libc::BPF_K), 0, 0, length);
    [
        load(libc::BPF_H, 12),
        jump(libc::BPF_JEQ, 0x0806, 5, 0),
        jump(libc::BPF_JEQ, 0x86dd, 0, 5),
        load(libc::BPF_B, 20),
        jump(libc::BPF_JEQ, 58, 0, 3),
        load(libc::BPF_B, 54),
        // Of ICMPv6, few messages have a higher number than those two.
        jump(libc::BPF_JGE, 135, 0, 1),
        end(u32::MAX),
        end(0),
    ]
}
