//! Forgets the connections of a tenant that has ended: an entry would lead packets of an earlier client to
//! whatever has the address next, and past the rules. Entries of others stay.

use std::cell::RefCell;
use std::collections::BTreeSet;
use std::io;
use std::net::{IpAddr, Ipv4Addr};

use netlink_packet_netfilter::{
    NetfilterHeader, NetfilterMessage, NetfilterMessageInner, NetfilterProtoFamily,
    NetfilterSubsystem,
};
use rtnetlink::packet_core::{
    DefaultNla, NLA_F_NESTED, NLM_F_ACK, NLM_F_DUMP, NLM_F_REQUEST, NetlinkMessage, NetlinkPayload,
};
use rtnetlink::sys::{Socket, SocketAddr, protocols::NETLINK_NETFILTER};

use super::wire::nested;

/// `IPCTNL_MSG_CT_GET` and `IPCTNL_MSG_CT_DELETE`.
const GET: u8 = 1;
const DELETE: u8 = 2;

/// `CTA_TUPLE_ORIG`, `CTA_TUPLE_REPLY`, `CTA_FILTER`, and the flag `CTA_FILTER_F_CTA_IP_SRC`.
const ORIGINAL: u16 = 1;
const REPLY: u16 = 2;
const FILTER: u16 = 25;
const BY_SOURCE: u32 = 1;

/// `CTA_ID`, `CTA_IP_V4_SRC` and `CTA_IP_V6_SRC`.
const ID: u16 = 12;
const SOURCE4: u16 = 1;
const SOURCE6: u16 = 3;

/// The lengths of `struct nlmsghdr` and `struct nfgenmsg`.
const HEADER: usize = 16;
const FAMILY: usize = 4;

/// `NLMSG_DONE` and `NLMSG_ERROR`.
const DONE: u16 = 3;
const ERROR: u16 = 2;

/// For how many addresses at most each is asked for by itself, with two looks of the kernel at all connections. For more,
/// all connections of a family are listed once.
const FEW: usize = 2;

/// The socket for connections. It stays open: when a socket of this protocol is closed, the kernel waits until it has
/// freed what earlier transactions of nftables have removed.
#[derive(Debug, Default)]
pub(super) struct Conntrack(RefCell<Option<Socket>>);

impl Conntrack {
    /// Deletes the entries of connections that one of these addresses has begun or accepted, also by a published port.
    ///
    /// # Errors
    /// The kernel's: before Linux 6.12 it cannot delete by a filter.
    pub(super) fn forget(&self, addresses: &BTreeSet<IpAddr>) -> io::Result<()> {
        if addresses.len() > FEW {
            return self.forget_all(addresses);
        }
        self.ask(|socket| {
            for address in addresses {
                match *address {
                    IpAddr::V4(address) => {
                        for tuple in [ORIGINAL, REPLY] {
                            ask(socket, &filtered(address, tuple))?;
                        }
                    }
                    // The filter of the kernel is the wrong way round for IPv6: it deletes the entries of all others.
                    IpAddr::V6(_) => {
                        let own = [*address].into();
                        delete(socket, NetfilterProtoFamily::IPv6, &own)?;
                    }
                }
            }
            Ok(())
        })
    }

    /// The same with a list of all connections of each family.
    ///
    /// # Errors
    /// The kernel's.
    pub(super) fn forget_all(&self, addresses: &BTreeSet<IpAddr>) -> io::Result<()> {
        self.ask(|socket| {
            if addresses.iter().any(IpAddr::is_ipv4) {
                delete(socket, NetfilterProtoFamily::IPv4, addresses)?;
            }
            if addresses.iter().any(IpAddr::is_ipv6) {
                delete(socket, NetfilterProtoFamily::IPv6, addresses)?;
            }
            Ok(())
        })
    }

    fn ask(&self, with: impl FnOnce(&Socket) -> io::Result<()>) -> io::Result<()> {
        let mut opened = self.0.borrow_mut();
        let socket = match opened.take() {
            Some(socket) => socket,
            None => {
                let socket = Socket::new(NETLINK_NETFILTER)?;
                socket.set_non_blocking(true)?;
                socket.connect(&SocketAddr::new(0, 0))?;
                socket
            }
        };
        // After an error it may have answers that nobody has read.
        with(&socket)?;
        *opened = Some(socket);
        Ok(())
    }
}

/// Deletes the entries of a family that have one of these addresses as a source, one by one.
fn delete(
    socket: &Socket,
    family: NetfilterProtoFamily,
    addresses: &BTreeSet<IpAddr>,
) -> io::Result<()> {
    for entry in entries(socket, family, addresses)? {
        match ask(socket, &entry) {
            // It has expired meanwhile.
            Err(error) if error.raw_os_error() == Some(libc::ENOENT) => {}
            outcome => outcome?,
        }
    }
    Ok(())
}

/// Sends a request and reads its answer.
fn ask(socket: &Socket, request: &[u8]) -> io::Result<()> {
    socket.send(request, 0)?;
    let (answer, _) = socket.recv_from_full()?;
    let answer =
        NetlinkMessage::<NetfilterMessage>::deserialize(&answer).map_err(io::Error::other)?;
    match answer.payload {
        NetlinkPayload::Error(error) if error.code.is_some() => {
            Err(io::Error::from_raw_os_error(error.raw_code().abs()))
        }
        _ => Ok(()),
    }
}

fn filtered(address: Ipv4Addr, tuple: u16) -> Vec<u8> {
    let source = DefaultNla::new(1, address.octets().to_vec());
    let flags = |of| {
        let bits = if of == tuple { BY_SOURCE } else { 0 };
        DefaultNla::new(of, bits.to_ne_bytes().to_vec())
    };
    let attributes = vec![
        nested(tuple, &[nested(1, &[source])]),
        nested(FILTER, &[flags(ORIGINAL), flags(REPLY)]),
    ];
    request((NetfilterProtoFamily::IPv4, DELETE), NLM_F_ACK, attributes)
}

/// Requests that delete the entries of addresses, one each.
fn entries(
    socket: &Socket,
    family: NetfilterProtoFamily,
    addresses: &BTreeSet<IpAddr>,
) -> io::Result<Vec<Vec<u8>>> {
    let question = request((family, GET), NLM_F_DUMP, vec![]);
    socket.send(&question, 0)?;
    let mut found = Vec::new();
    loop {
        let (datagram, _) = socket.recv_from_full()?;
        let mut rest = datagram.as_slice();
        while let [a, b, c, d, kind, more, ..] = *rest {
            let length = u32::from_ne_bytes([a, b, c, d]) as usize;
            let message = rest.get(HEADER..length).unwrap_or_default();
            match u16::from_ne_bytes([kind, more]) {
                DONE => return Ok(found),
                ERROR => {
                    let errno = message.get(..4).and_then(|it| it.try_into().ok());
                    let errno = i32::from_ne_bytes(errno.unwrap_or_default());
                    return Err(io::Error::from_raw_os_error(errno.abs()));
                }
                _ => {
                    let entry = message.get(FAMILY..).unwrap_or_default();
                    found.extend(deletion(entry, family, addresses));
                }
            }
            let length = length.max(HEADER).next_multiple_of(4);
            rest = rest.get(length..).unwrap_or_default();
        }
    }
}

/// The request that deletes an entry, if it is one of these addresses.
fn deletion(
    entry: &[u8],
    family: NetfilterProtoFamily,
    addresses: &BTreeSet<IpAddr>,
) -> Option<Vec<u8>> {
    let parts = [ORIGINAL, REPLY, ID].map(|kind| part(entry, kind));
    let [original, reply, id] = parts;
    let is_its = |tuple: &[u8]| {
        let source = part(tuple, 1).and_then(source);
        source.is_some_and(|source| addresses.contains(&source))
    };
    if ![original?, reply?].into_iter().any(is_its) {
        return None;
    }
    let attributes = vec![
        DefaultNla::new(ORIGINAL | NLA_F_NESTED, original?.to_vec()),
        DefaultNla::new(ID, id?.to_vec()),
    ];
    Some(request((family, DELETE), NLM_F_ACK, attributes))
}

/// The source in the addresses of a tuple.
fn source(addresses: &[u8]) -> Option<IpAddr> {
    match (part(addresses, SOURCE4), part(addresses, SOURCE6)) {
        (Some(source), _) => Some(<[u8; 4]>::try_from(source).ok()?.into()),
        (None, Some(source)) => Some(<[u8; 16]>::try_from(source).ok()?.into()),
        (None, None) => None,
    }
}

/// The value of an attribute.
fn part(mut attributes: &[u8], kind: u16) -> Option<&[u8]> {
    while let [low, high, of, flags, ..] = *attributes {
        let length = usize::from(u16::from_ne_bytes([low, high]));
        if u16::from_ne_bytes([of, flags]) & !NLA_F_NESTED == kind {
            return attributes.get(4..length);
        }
        let next = length.max(4).next_multiple_of(4);
        attributes = attributes.get(next..).unwrap_or_default();
    }
    None
}

fn request(
    (family, message_type): (NetfilterProtoFamily, u8),
    flags: u16,
    attributes: Vec<DefaultNla>,
) -> Vec<u8> {
    let inner = NetfilterMessageInner::Other {
        subsys: NetfilterSubsystem::Conntrack,
        message_type,
        attributes,
    };
    let header = NetfilterHeader::new(family, 0, 0);
    let mut message = NetlinkMessage::from(NetfilterMessage::new(header, inner));
    message.header.flags = NLM_F_REQUEST | flags;
    message.finalize();
    let mut bytes = vec![0; message.buffer_len()];
    message.serialize(&mut bytes);
    bytes
}
