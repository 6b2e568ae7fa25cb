//! The counters of links, from `RTM_GETSTATS` of rtnetlink(7): an answer has the numbers alone, and none of a link's
//! other attributes.

use std::collections::HashMap;
use std::io;

use rtnetlink::sys::protocols::NETLINK_ROUTE;
use rtnetlink::sys::{Socket, SocketAddr};
use rustix::io::Errno;
use rustix::net::netdevice::name_to_index;
use rustix::net::{AddressFamily, SocketFlags, SocketType, socket_with};

use super::LinkCounters;
use crate::sock_diag::{DONE, DUMP, ERROR, answer, first};

/// `RTM_NEWSTATS` and `RTM_GETSTATS`.
const ANSWER: u16 = 92;
const ASK: u16 = 94;

/// `NLM_F_REQUEST`.
const REQUEST: u16 = 0x001;

/// `IFLA_STATS_LINK_64`, and the bit that asks for it.
const LINK_64: u16 = 1;
const FILTER: u32 = 1 << (LINK_64 - 1);

/// The lengths of `struct if_stats_msg` and `struct nlattr`, and of a request.
const STATS: usize = 12;
const ATTRIBUTE: usize = 4;
const LENGTH: u32 = 28;

/// The counters of the host's links, in the network namespace of the thread that reads them.
#[derive(Debug)]
pub struct Links {
    found: HashMap<u32, LinkCounters>,
    any: rustix::fd::OwnedFd,
}

impl Links {
    /// Reads those of all links, for a program that shows all tenants.
    ///
    /// # Errors
    /// Those of the netlink socket, and of the kernel (rtnetlink(7)).
    pub fn all() -> io::Result<Self> {
        let mut found = HashMap::new();
        each(|counters| {
            found.insert(counters.index, counters);
        })?;
        Ok(Self { found, any: any()? })
    }

    /// The counters of the link with this name, if there was one.
    ///
    /// # Errors
    /// Those of looking its number up, see netdevice(7).
    pub fn named(&self, name: &str) -> io::Result<Option<LinkCounters>> {
        let index = index(&self.any, name)?;
        Ok(index.and_then(|index| self.found.get(&index)).copied())
    }
}

/// Reads those of all links, one after the other.
pub(super) fn each(see: impl FnMut(LinkCounters)) -> io::Result<()> {
    ask(0, DUMP, see)
}

/// Reads the counters of one link. `None` if there is none with this name.
///
/// # Errors
/// As [`Links::all`].
pub fn of_link(name: &str) -> io::Result<Option<LinkCounters>> {
    let Some(index) = index(&any()?, name)? else {
        return Ok(None);
    };
    let mut found = None;
    match ask(index, REQUEST, |counters| found = Some(counters)) {
        Err(error) if error.raw_os_error() == Some(libc::ENODEV) => Ok(None),
        asked => asked.map(|()| found),
    }
}

/// A socket for requests about interfaces.
pub(super) fn any() -> io::Result<rustix::fd::OwnedFd> {
    let (family, flags) = (AddressFamily::INET, SocketFlags::CLOEXEC);
    Ok(socket_with(family, SocketType::DGRAM, flags, None)?)
}

pub(super) fn index(any: &rustix::fd::OwnedFd, name: &str) -> io::Result<Option<u32>> {
    match name_to_index(any, name) {
        Ok(index) => Ok(Some(index)),
        Err(Errno::NODEV) => Ok(None),
        Err(errno) => Err(errno.into()),
    }
}

fn ask(index: u32, flags: u16, mut see: impl FnMut(LinkCounters)) -> io::Result<()> {
    let socket = Socket::new(NETLINK_ROUTE)?;
    socket.connect(&SocketAddr::new(0, 0))?;
    socket.send(&request(index, flags), 0)?;
    loop {
        let (datagram, _) = socket.recv_from_full()?;
        let mut rest = datagram.as_slice();
        while let Some((kind, message, next)) = first(rest) {
            match kind {
                DONE => return Ok(()),
                ERROR => return Err(answer(message)),
                ANSWER => {
                    if let Some(counters) = parse(message) {
                        see(counters);
                    }
                    if flags == REQUEST {
                        return Ok(());
                    }
                }
                _ => {}
            }
            rest = next;
        }
    }
}

fn request(index: u32, flags: u16) -> Vec<u8> {
    let mut bytes = Vec::with_capacity(LENGTH as usize);
    bytes.extend(LENGTH.to_ne_bytes());
    bytes.extend(ASK.to_ne_bytes());
    bytes.extend(flags.to_ne_bytes());
    bytes.extend([0; 8]);
    bytes.extend([0; 4]);
    bytes.extend(index.to_ne_bytes());
    bytes.extend(FILTER.to_ne_bytes());
    bytes
}

/// The counters in a `struct if_stats_msg` with its attributes. The host's end receives what the tenant sends.
fn parse(message: &[u8]) -> Option<LinkCounters> {
    let index = u32::from_ne_bytes(message.get(4..8)?.try_into().ok()?);
    let mut rest = message.get(STATS..)?;
    loop {
        let short = |at: usize| Some(u16::from_ne_bytes(rest.get(at..at + 2)?.try_into().ok()?));
        let (length, kind) = (usize::from(short(0)?), short(2)?);
        if kind == LINK_64 {
            let stats = rest.get(ATTRIBUTE..length)?;
            let number = |at: usize| {
                let bytes = stats.get(8 * at..8 * (at + 1))?;
                Some(u64::from_ne_bytes(bytes.try_into().ok()?))
            };
            return Some(LinkCounters {
                index,
                out_packets: number(0)?,
                in_packets: number(1)?,
                out_bytes: number(2)?,
                in_bytes: number(3)?,
            });
        }
        rest = rest.get(length.max(ATTRIBUTE).next_multiple_of(4)..)?;
    }
}
