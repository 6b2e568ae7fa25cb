//! Which processes have sockets at ports of the host, see sock_diag(7).

use std::collections::BTreeMap;
use std::fs;
use std::io;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use rtnetlink::sys::{Socket, SocketAddr, protocols::NETLINK_SOCK_DIAG};

use tenantd_core::plan::traffic::{Protocol, Publish};

/// `SOCK_DIAG_BY_FAMILY`, and `NLM_F_REQUEST | NLM_F_DUMP`.
const BY_FAMILY: u16 = 20;
const DUMP: u16 = 0x301;

/// `NLMSG_ERROR` and `NLMSG_DONE`.
const ERROR: u16 = 2;
const DONE: u16 = 3;

/// The lengths of `struct nlmsghdr`, `struct inet_diag_req_v2` and `struct inet_diag_msg`.
const HEADER: usize = 16;
const QUESTION: usize = 56;
const ANSWER: usize = 72;

/// The length of a question with its header.
const LENGTH: u32 = 72;

/// A process that has a port.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Holder {
    pub(super) pid: u32,
    pub(super) name: String,
}

/// The processes that have these ports, as far as they can be found.
pub(super) fn holders<'a>(ports: &[&'a Publish]) -> BTreeMap<&'a Publish, Holder> {
    let mut wanted: BTreeMap<u64, &Publish> = BTreeMap::new();
    for publish in ports {
        for family in [libc::AF_INET, libc::AF_INET6] {
            // Without the kernel's module no process is named.
            let found = sockets(family, publish).unwrap_or_default();
            wanted.extend(found.into_iter().map(|inode| (inode, *publish)));
        }
    }
    let mut found = BTreeMap::new();
    if wanted.is_empty() {
        return found;
    }
    let processes = fs::read_dir("/proc").into_iter().flatten().flatten();
    for process in processes {
        let Some(pid) = process.file_name().to_str().and_then(|it| it.parse().ok()) else {
            continue;
        };
        let open = fs::read_dir(process.path().join("fd"));
        for descriptor in open.into_iter().flatten().flatten() {
            let inode = fs::read_link(descriptor.path()).ok().and_then(|link| {
                let inode = link.to_str()?.strip_prefix("socket:[")?.strip_suffix(']')?;
                inode.parse::<u64>().ok()
            });
            if let Some(publish) = inode.and_then(|inode| wanted.get(&inode)) {
                found.entry(*publish).or_insert_with(|| Holder {
                    pid,
                    name: name(pid),
                });
            }
        }
    }
    found
}

/// The name of a process, which it chooses itself.
fn name(pid: u32) -> String {
    let name = fs::read_to_string(format!("/proc/{pid}/comm")).unwrap_or_default();
    let name = name.trim_end().escape_debug().to_string();
    match name.is_empty() {
        true => "a process".to_owned(),
        false => name,
    }
}

/// The inodes of the sockets of a family that keep a port from being published.
fn sockets(family: i32, publish: &Publish) -> io::Result<Vec<u64>> {
    let socket = Socket::new(NETLINK_SOCK_DIAG)?;
    socket.connect(&SocketAddr::new(0, 0))?;
    socket.send(&question(family, publish), 0)?;
    let mut inodes = Vec::new();
    loop {
        let (datagram, _) = socket.recv_from_full()?;
        let mut rest = datagram.as_slice();
        while rest.len() >= HEADER {
            let (length, kind) = (u32_at(rest, 0) as usize, u16_at(rest, 4));
            let message = rest.get(HEADER..length).unwrap_or_default();
            match kind {
                DONE => return Ok(inodes),
                ERROR => {
                    let errno = u32_at(message, 0).cast_signed().abs();
                    return Err(io::Error::from_raw_os_error(errno));
                }
                _ => inodes.extend(inode(message, publish)),
            }
            let length = length.max(HEADER).next_multiple_of(4);
            rest = rest.get(length..).unwrap_or_default();
        }
    }
}

/// A question for the sockets with a port, in all states.
fn question(family: i32, publish: &Publish) -> Vec<u8> {
    let protocol = match publish.protocol {
        Protocol::Tcp => libc::IPPROTO_TCP,
        Protocol::Udp => libc::IPPROTO_UDP,
    };
    let mut bytes = Vec::with_capacity(HEADER + QUESTION);
    bytes.extend(LENGTH.to_ne_bytes());
    bytes.extend(BY_FAMILY.to_ne_bytes());
    bytes.extend(DUMP.to_ne_bytes());
    bytes.extend([0; 8]);
    bytes.extend([family, protocol].map(|it| it.to_le_bytes()[0]));
    bytes.extend([0; 2]);
    bytes.extend(u32::MAX.to_ne_bytes());
    bytes.extend(publish.port.to_be_bytes());
    bytes.resize(HEADER + QUESTION, 0);
    bytes
}

/// The inode of a socket, if its address overlaps the published one.
fn inode(message: &[u8], publish: &Publish) -> Option<u64> {
    if message.len() < ANSWER {
        return None;
    }
    let own = match i32::from(message[0]) {
        libc::AF_INET => IpAddr::V4(Ipv4Addr::from(<[u8; 4]>::try_from(&message[8..12]).ok()?)),
        _ => IpAddr::V6(Ipv6Addr::from(<[u8; 16]>::try_from(&message[8..24]).ok()?)),
    };
    let own = own.to_canonical();
    let is_same = own.is_ipv4() == publish.address.is_ipv4();
    // One that is for all of IPv6 may be for all of IPv4 too.
    let overlaps = match own.is_unspecified() {
        true => is_same || own.is_ipv6(),
        false => is_same && (publish.address.is_unspecified() || own == publish.address),
    };
    overlaps.then(|| u64::from(u32_at(message, 68)))
}

fn u16_at(bytes: &[u8], at: usize) -> u16 {
    let found = bytes.get(at..at + 2).and_then(|it| it.try_into().ok());
    u16::from_ne_bytes(found.unwrap_or_default())
}

fn u32_at(bytes: &[u8], at: usize) -> u32 {
    let found = bytes.get(at..at + 4).and_then(|it| it.try_into().ok());
    u32::from_ne_bytes(found.unwrap_or_default())
}
