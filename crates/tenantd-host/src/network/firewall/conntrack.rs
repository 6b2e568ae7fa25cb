//! Forgets the connections of a tenant that has ended: an entry would lead packets of an earlier client to
//! whatever has the address next, and past the rules. Entries of others stay.

use std::io;
use std::net::Ipv4Addr;

use netlink_packet_netfilter::{
    NetfilterHeader, NetfilterMessage, NetfilterMessageInner, NetfilterProtoFamily,
    NetfilterSubsystem,
};
use rtnetlink::packet_core::{
    DefaultNla, NLM_F_ACK, NLM_F_REQUEST, NetlinkMessage, NetlinkPayload,
};
use rtnetlink::sys::{Socket, SocketAddr, protocols::NETLINK_NETFILTER};

use super::wire::nested;

/// `IPCTNL_MSG_CT_DELETE`.
const DELETE: u8 = 2;

/// `CTA_TUPLE_ORIG`, `CTA_TUPLE_REPLY`, `CTA_FILTER`, and the flag `CTA_FILTER_F_CTA_IP_SRC`.
const ORIGINAL: u16 = 1;
const REPLY: u16 = 2;
const FILTER: u16 = 25;
const BY_SOURCE: u32 = 1;

/// Deletes the entries of connections that this address has begun or accepted, also by a published port.
///
/// # Errors
/// The kernel's: before Linux 6.12 it cannot delete by a filter.
pub(super) fn forget(address: Ipv4Addr) -> io::Result<()> {
    let socket = Socket::new(NETLINK_NETFILTER)?;
    socket.set_non_blocking(true)?;
    socket.connect(&SocketAddr::new(0, 0))?;
    for tuple in [ORIGINAL, REPLY] {
        socket.send(&request(address, tuple), 0)?;
        let (answer, _) = socket.recv_from_full()?;
        let answer =
            NetlinkMessage::<NetfilterMessage>::deserialize(&answer).map_err(io::Error::other)?;
        if let NetlinkPayload::Error(error) = answer.payload
            && error.code.is_some()
        {
            return Err(io::Error::from_raw_os_error(error.raw_code().abs()));
        }
    }
    Ok(())
}

fn request(address: Ipv4Addr, tuple: u16) -> Vec<u8> {
    let source = DefaultNla::new(1, address.octets().to_vec());
    let flags = |of| {
        let bits = if of == tuple { BY_SOURCE } else { 0 };
        DefaultNla::new(of, bits.to_ne_bytes().to_vec())
    };
    let attributes = vec![
        nested(tuple, &[nested(1, &[source])]),
        nested(FILTER, &[flags(ORIGINAL), flags(REPLY)]),
    ];
    let header = NetfilterHeader::new(NetfilterProtoFamily::IPv4, 0, 0);
    let inner = NetfilterMessageInner::Other {
        subsys: NetfilterSubsystem::Conntrack,
        message_type: DELETE,
        attributes,
    };
    let mut message = NetlinkMessage::from(NetfilterMessage::new(header, inner));
    message.header.flags = NLM_F_REQUEST | NLM_F_ACK;
    message.finalize();
    let mut bytes = vec![0; message.buffer_len()];
    message.serialize(&mut bytes);
    bytes
}
