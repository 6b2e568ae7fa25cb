//! The messages of the subscription. Only the first fields are read of what concerns nobody here.

use rtnetlink::packet_core::{NetlinkMessage, NetlinkPayload};
use rtnetlink::packet_route::RouteNetlinkMessage;

pub(super) const NEW_LINK: u16 = 16;
pub(super) const DEL_LINK: u16 = 17;
pub(super) const NEW_ADDRESS: u16 = 20;
pub(super) const DEL_ADDRESS: u16 = 21;
pub(super) const NEW_ROUTE: u16 = 24;
pub(super) const DEL_ROUTE: u16 = 25;
pub(super) const NEW_NEIGHBOUR: u16 = 28;
pub(super) const DEL_NEIGHBOUR: u16 = 29;
pub(super) const NEW_QDISC: u16 = 36;
pub(super) const DEL_QDISC: u16 = 37;
pub(super) const NEW_RULE: u16 = 32;
pub(super) const DEL_RULE: u16 = 33;

/// The length of `struct nlmsghdr`.
const HEADER: usize = 16;

/// One message.
#[derive(Debug, Clone, Copy)]
pub(super) struct Raw<'a> {
    pub(super) kind: u16,
    bytes: &'a [u8],
}

impl Raw<'_> {
    /// The index of the link that a message about a link, an address or a neighbour is about. It is at the
    /// same place in all of them.
    pub(super) fn index(&self) -> Option<u32> {
        self.word(HEADER + 4)
    }

    /// Whether it is about a route, a neighbour or a rule.
    pub(super) fn is_about_ways(&self) -> bool {
        let kinds = [
            NEW_ROUTE,
            DEL_ROUTE,
            NEW_NEIGHBOUR,
            DEL_NEIGHBOUR,
            NEW_RULE,
            DEL_RULE,
        ];
        kinds.contains(&self.kind)
    }

    /// The flags of a link.
    pub(super) fn flags(&self) -> Option<u32> {
        self.word(HEADER + 8)
    }

    /// The address family.
    pub(super) fn family(&self) -> Option<u8> {
        self.bytes.get(HEADER).copied()
    }

    fn word(&self, at: usize) -> Option<u32> {
        let bytes = self.bytes.get(at..at + 4)?;
        Some(u32::from_ne_bytes(bytes.try_into().ok()?))
    }

    /// The whole message. None if this version does not understand it.
    pub(super) fn parse(&self) -> Option<RouteNetlinkMessage> {
        match NetlinkMessage::deserialize(self.bytes).ok()?.payload {
            NetlinkPayload::InnerMessage(message) => Some(message),
            _ => None,
        }
    }
}

/// The messages in a datagram.
pub(super) fn messages(datagram: &[u8]) -> impl Iterator<Item = Raw<'_>> {
    let mut rest = datagram;
    std::iter::from_fn(move || {
        let length = u32::from_ne_bytes(rest.get(..4)?.try_into().ok()?);
        let kind = u16::from_ne_bytes(rest.get(4..6)?.try_into().ok()?);
        let length = usize::try_from(length).ok().filter(|it| *it >= HEADER)?;
        let bytes = rest.get(..length)?;
        rest = rest.get(length.next_multiple_of(4)..).unwrap_or_default();
        Some(Raw { kind, bytes })
    })
}
