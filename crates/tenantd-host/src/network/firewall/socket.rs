//! The netlink socket of nftables: transactions and dumps.
//!
//! The kernel has carried out a request and queued every reply when the send returns. So nothing here
//! waits, and no async runtime is needed.

use std::io;

use nix::sys::socket::{setsockopt, sockopt::SndBufForce};

use netlink_packet_netfilter::nftables::{GenAttribute, GenMessage, NfTablesMessage};
use netlink_packet_netfilter::none::ControlMessage;
use netlink_packet_netfilter::{
    NetfilterHeader, NetfilterMessage, NetfilterMessageInner, NetfilterProtoFamily,
};
use rtnetlink::packet_core::{
    NLM_F_ACK, NLM_F_DUMP, NLM_F_REQUEST, NetlinkMessage, NetlinkPayload,
};
use rtnetlink::sys::{Socket, SocketAddr, protocols::NETLINK_NETFILTER};

use super::dumped;
use super::sets::Family;
use super::wire::{Change, number};

/// `NFNL_SUBSYS_NFTABLES`, which a batch names.
const NFTABLES: u16 = 10;

/// `NFNL_MSG_BATCH_BEGIN`, and `NFNL_BATCH_GENID`.
const BATCH_BEGIN: u8 = 16;
const GENERATION: u16 = 1;

/// How often a transaction is tried again after another one came between.
const TRIES: u32 = 10;

/// The largest message of a list that the kernel makes, see `netlink_dump`. Answers to other requests are smaller.
const DATAGRAM_MAX: usize = 32 << 10;

/// How many bytes are sent without a larger buffer. The kernel's default has more room.
const SEND_MAX: usize = 64 << 10;

/// The first bytes of a netlink message: length, type, flags, sequence number, port.
const HEADER: usize = 16;

/// Why a transaction was refused.
#[derive(Debug)]
pub(super) struct Refused {
    pub(super) errno: i32,
    /// The place of the change in the transaction.
    pub(super) at: Option<usize>,
}

impl From<io::Error> for Refused {
    fn from(error: io::Error) -> Self {
        Self {
            errno: error.raw_os_error().unwrap_or(libc::EIO),
            at: None,
        }
    }
}

/// A transaction: all of its changes are made, or none.
pub(super) type Transaction = Vec<(Family, Change)>;

/// The socket. It owns the tables that it has made with the flag `owner`.
#[derive(Debug)]
pub(super) struct NftSocket(Socket, u32);

impl NftSocket {
    /// Opens a socket in the network namespace of this thread.
    pub(super) fn open() -> io::Result<Self> {
        let mut socket = Socket::new(NETLINK_NETFILTER)?;
        socket.set_non_blocking(true)?;
        socket.set_cap_ack(true)?;
        let port = socket.bind_auto()?.port_number();
        socket.connect(&SocketAddr::new(0, 0))?;
        Ok(Self(socket, port))
    }

    /// Its port, see netlink(7), which is in the reports of its changes.
    pub(super) fn port(&self) -> u32 {
        self.1
    }

    /// Makes all changes of a transaction, or none.
    ///
    /// # Errors
    /// The first change that the kernel refused.
    pub(super) fn commit(&self, transaction: &Transaction) -> Result<(), Refused> {
        let mut tries = 0;
        loop {
            let generation = self.generation()?;
            match self.try_commit(generation, transaction) {
                Err(Refused {
                    errno: libc::ERESTART,
                    ..
                }) if tries < TRIES => tries += 1,
                outcome => return outcome,
            }
        }
    }

    fn try_commit(&self, generation: u32, transaction: &Transaction) -> Result<(), Refused> {
        let mut bytes = Vec::new();
        let control = |message| {
            let header = NetfilterHeader::new(NetfilterProtoFamily::Unspec, 0, NFTABLES);
            NetfilterMessage::new(header, message)
        };
        let begin = ControlMessage::Other {
            message_type: BATCH_BEGIN,
            attributes: vec![number(GENERATION, generation)],
        };
        append(&mut bytes, 0, NLM_F_REQUEST, control(begin));
        let last = transaction.len();
        for (sequence, (family, change)) in (1..).zip(transaction) {
            let ack = if sequence as usize == last {
                NLM_F_ACK
            } else {
                0
            };
            let message = with_header(*family, change.message.clone());
            append(
                &mut bytes,
                sequence,
                NLM_F_REQUEST | ack | change.flags,
                message,
            );
        }
        append(
            &mut bytes,
            0,
            NLM_F_REQUEST,
            control(ControlMessage::BatchEnd),
        );
        self.send(&bytes)?;
        let mut first: Option<Refused> = None;
        let mut done = false;
        while let Some(datagram) = self.receive()? {
            each_message(&datagram, |sequence, payload| {
                let NetlinkPayload::Error(error) = payload else {
                    return;
                };
                done |= error.code.is_none();
                if error.code.is_some() && first.is_none() {
                    first = Some(Refused {
                        errno: error.raw_code().abs(),
                        at: (sequence as usize).checked_sub(1),
                    });
                }
            })?;
        }
        match first {
            Some(refused) => Err(refused),
            None if done => Ok(()),
            None => Err(io::Error::from_raw_os_error(libc::EPROTO).into()),
        }
    }

    /// Sends a transaction. The kernel takes it in one datagram, or not at all (EMSGSIZE).
    fn send(&self, bytes: &[u8]) -> io::Result<()> {
        if bytes.len() > SEND_MAX {
            // Larger than the limit of the host (`wmem_max`), as nft(8) does it. The kernel takes twice as much.
            setsockopt(&self.0, SndBufForce, &bytes.len())?;
        }
        self.0.send(bytes, 0).map(drop)
    }

    /// The number of the last transaction that any process has made.
    fn generation(&self) -> Result<u32, Refused> {
        let get = GenMessage { attributes: vec![] };
        let mut generation = None;
        self.ask(Family::Inet, 0, NfTablesMessage::GetGen(get), |answer| {
            if let NfTablesMessage::NewGen(answer) = answer {
                generation = answer.attributes.into_iter().find_map(|part| match part {
                    GenAttribute::Id(id) => Some(id),
                    _ => None,
                });
            }
        })?;
        generation.ok_or_else(|| io::Error::from_raw_os_error(libc::EPROTO).into())
    }

    /// Asks for all objects of a kind, and passes each to `see`.
    ///
    /// # Errors
    /// The kernel's, such as ENOENT for a table that does not exist.
    pub(super) fn dump(
        &self,
        family: Family,
        message: NfTablesMessage,
        see: impl FnMut(NfTablesMessage),
    ) -> Result<(), Refused> {
        self.ask(family, NLM_F_DUMP, message, see)
    }

    fn ask(
        &self,
        family: Family,
        flags: u16,
        message: NfTablesMessage,
        mut see: impl FnMut(NfTablesMessage),
    ) -> Result<(), Refused> {
        let mut bytes = Vec::new();
        append(
            &mut bytes,
            0,
            NLM_F_REQUEST | flags,
            with_header(family, message),
        );
        self.0.send(&bytes, 0)?;
        let mut refused = None;
        while let Some(datagram) = self.receive()? {
            each_message(&datagram, |_, payload| match payload {
                NetlinkPayload::InnerMessage(NetfilterMessage {
                    inner: NetfilterMessageInner::NfTables(message),
                    ..
                }) => see(message),
                NetlinkPayload::Error(error) if error.code.is_some() => {
                    refused = Some(error.raw_code().abs());
                }
                _ => {}
            })?;
        }
        match refused {
            Some(errno) => Err(Refused { errno, at: None }),
            None => Ok(()),
        }
    }

    /// The next datagram that the kernel has queued; `None` if there is none.
    fn receive(&self) -> io::Result<Option<Vec<u8>>> {
        // Not after a look at its size: the kernel makes the next message of a list as large as the last buffer, and leaves
        // out what does not fit, such as a chain with the names of many links.
        let mut datagram = Vec::with_capacity(DATAGRAM_MAX);
        match self.0.recv(&mut datagram, 0) {
            Ok(_) => Ok(Some(datagram)),
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => Ok(None),
            Err(error) => Err(error),
        }
    }
}

fn with_header(family: Family, message: NfTablesMessage) -> NetfilterMessage {
    let family = match family {
        Family::Netdev => NetfilterProtoFamily::NetDev,
        Family::Inet => NetfilterProtoFamily::Inet,
    };
    NetfilterMessage::new(NetfilterHeader::new(family, 0, 0), message)
}

fn append(bytes: &mut Vec<u8>, sequence: u32, flags: u16, message: NetfilterMessage) {
    let mut message = NetlinkMessage::from(message);
    message.header.flags = flags;
    message.header.sequence_number = sequence;
    message.finalize();
    let start = bytes.len();
    bytes.resize(start + message.buffer_len(), 0);
    message.serialize(&mut bytes[start..]);
}

/// Passes each message of a datagram to `see`, with its sequence number.
fn each_message(
    datagram: &[u8],
    mut see: impl FnMut(u32, NetlinkPayload<NetfilterMessage>),
) -> io::Result<()> {
    let mut rest = datagram;
    while rest.len() >= HEADER {
        let length = rest.first_chunk().copied().map_or(0, u32::from_ne_bytes) as usize;
        match rest.get(..length).and_then(dumped::elements) {
            // A dump of elements; its sequence number is of no use.
            Some(message) => see(0, NetlinkPayload::InnerMessage(message?)),
            None => {
                let message = NetlinkMessage::deserialize(rest).map_err(io::Error::other)?;
                see(message.header.sequence_number, message.payload);
            }
        }
        let next = length.max(HEADER).next_multiple_of(4);
        rest = rest.get(next..).unwrap_or_default();
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::super::elements::{Data, Element};
    use super::super::found::all_elements_in;
    use super::super::sets::SETS;
    use super::super::wire::add_element;
    use super::*;

    /// What an earlier supervisor has left of many tenants, as the kernel writes it.
    fn datagram() -> (Vec<u8>, Vec<Element>) {
        let mut bytes = Vec::new();
        let mut all = Vec::new();
        let data = [
            Data::None,
            Data::Value(vec![7, 8]),
            Data::Return,
            Data::Goto("list".to_owned()),
        ];
        for (number, data) in (1..=4_u8).zip(data) {
            let set = SETS[0].name;
            let element = Element {
                set,
                key: vec![10, 77, 0, number],
                data,
            };
            let message = add_element("tenantd_wiki", &element, "tenantd:wiki/acme").message;
            append(&mut bytes, 3, 0, with_header(Family::Netdev, message));
            all.push(element);
        }
        (bytes, all)
    }

    #[test]
    fn elements_are_read_as_the_library_reads_them() {
        let (bytes, wanted) = datagram();
        let mut found = Vec::new();
        each_message(&bytes, |_, payload| {
            if let NetlinkPayload::InnerMessage(NetfilterMessage {
                inner: NetfilterMessageInner::NfTables(NfTablesMessage::NewSetElement(message)),
                ..
            }) = payload
            {
                found.extend(all_elements_in(&SETS[0], message));
            }
        })
        .unwrap();
        let mark = Some("tenantd:wiki/acme".to_owned());
        let wanted: Vec<_> = wanted.into_iter().map(|it| (mark.clone(), it)).collect();
        assert_eq!(found, wanted);
    }

    #[test]
    fn a_torn_answer_is_an_error() {
        let (bytes, _) = datagram();
        for end in HEADER..bytes.len() {
            // Either whole messages, or an error; no panic, and no element that is not there.
            let mut count = 0;
            let read = each_message(&bytes[..end], |_, _| count += 1);
            assert!(count <= 3 && (read.is_err() || count > 0), "{end}: {count}");
        }
    }
}
