//! The rates of a tenant's link: a token bucket, tc-tbf(8), on the end from which packets leave. The host's end limits what
//! the tenant receives, the tenant's end what it sends.
//!
//! A police action where packets arrive would be on the host for both directions. It drops where a bucket waits, and needs
//! modules of the kernel (act_police, cls_matchall) that some kernels do not have. No tenant has the capability to change
//! its own end.

use std::io;

use rtnetlink::packet_core::{
    DefaultNla, ErrorMessage, NLM_F_ACK, NLM_F_CREATE, NLM_F_ECHO, NLM_F_REPLACE, NLM_F_REQUEST,
    NetlinkMessage, NetlinkPayload, Nla, NlasIterator,
};
use rtnetlink::packet_route::RouteNetlinkMessage;
use rtnetlink::packet_route::tc::{TcAttribute, TcHandle, TcMessage, TcOption};
use rtnetlink::sys::{Socket, SocketAddr, protocols::NETLINK_ROUTE};
use rustix::net::netdevice::name_to_index;

use tenantd_core::plan::model::LinkPlan;
use tenantd_core::plan::rate::Rate;
use tenantd_core::stage::{Failure, Stage};

use super::refusal::{answered, broken};
use crate::netns::{self, Netns};

/// The number of the queueing discipline, by which it is known as tenantd's: `7464:`.
const HANDLE: TcHandle = TcHandle {
    major: 0x7464,
    minor: 0,
};

/// The name of its kind.
const KIND: &str = "tbf";

// Attributes of `TCA_OPTIONS`, see linux/pkt_sched.h.
const PARAMETERS: u16 = 1;
const RATE_64: u16 = 4;
const BURST: u16 = 6;

/// `TC_LINKLAYER_ETHERNET`: no table of sizes is needed.
const ETHERNET: u8 = 1;

/// The least burst in bytes: a packet of the largest MTU is never too large.
const BURST_MIN: u64 = 80_000;

/// How long the full rate may be exceeded, and how long a packet may wait, in milliseconds.
const BURST_TIME: u64 = 10;
const WAIT: u64 = 50;

/// The bytes that pass in a time.
fn within(rate: Rate, milliseconds: u64) -> u64 {
    rate.bits() / 8 * milliseconds / 1000
}

fn narrow(number: u64) -> u32 {
    u32::try_from(number).unwrap_or(u32::MAX)
}

/// `TCA_OPTIONS` for a rate.
fn options(rate: Rate) -> Vec<TcOption> {
    let bytes = rate.bits() / 8;
    let burst = within(rate, BURST_TIME).max(BURST_MIN);
    let limit = narrow(burst + within(rate, WAIT));
    // `struct tc_tbf_qopt`: the rate and a peak rate of none, each a `struct tc_ratespec`, and limit, buffer, mtu.
    let mut parameters = vec![0; 36];
    parameters[1] = ETHERNET;
    parameters[8..12].copy_from_slice(&narrow(bytes).to_ne_bytes());
    parameters[24..28].copy_from_slice(&limit.to_ne_bytes());
    let burst = narrow(burst).to_ne_bytes().to_vec();
    let mut all = vec![(PARAMETERS, parameters), (BURST, burst)];
    if bytes > u64::from(u32::MAX) {
        all.push((RATE_64, bytes.to_ne_bytes().to_vec()));
    }
    let options = all.into_iter();
    options
        .map(|(kind, value)| TcOption::Other(DefaultNla::new(kind, value)))
        .collect()
}

/// The value of an attribute.
fn value_of(attribute: &impl Nla) -> Vec<u8> {
    let mut value = vec![0; attribute.value_len()];
    attribute.emit_value(&mut value);
    value
}

/// The bytes a second in `TCA_OPTIONS`, as the kernel reports it.
fn rate_of(options: &[u8]) -> Option<u64> {
    let value = |kind: u16| {
        let mut all = NlasIterator::new(options).flatten();
        all.find(|it| it.kind() == kind)
            .map(|it| it.value().to_vec())
    };
    if let Some(bytes) = value(RATE_64) {
        return Some(u64::from_ne_bytes(bytes.try_into().ok()?));
    }
    let parameters = value(PARAMETERS)?;
    let bytes: [u8; 4] = parameters.get(8..12)?.try_into().ok()?;
    Some(u32::from_ne_bytes(bytes).into())
}

/// The same, of the attribute. What the library does not know in it is one attribute, and not those in it.
fn reported(attribute: &TcAttribute) -> Option<u64> {
    let TcAttribute::Options(options) = attribute else {
        return None;
    };
    match options.as_slice() {
        [TcOption::Other(whole)] => rate_of(&value_of(whole)),
        _ => None,
    }
}

/// What a link has at its root.
#[derive(Debug, PartialEq, Eq)]
enum Root {
    /// A bucket of tenantd with this number of bytes a second.
    Ours(u64),
    /// Something else, or nothing.
    Other,
}

impl Root {
    fn of(message: &TcMessage) -> Self {
        let attributes = &message.attributes;
        let is_ours = message.header.handle == HANDLE
            && message.header.parent == TcHandle::ROOT
            && attributes.contains(&TcAttribute::Kind(KIND.to_owned()));
        let rate = attributes.iter().find_map(reported);
        rate.filter(|_| is_ours).map_or(Self::Other, Self::Ours)
    }
}

/// Whether a message is about a bucket of tenantd with this rate.
pub(super) fn is_at(message: &TcMessage, rate: Rate) -> bool {
    Root::of(message) == Root::Ours(rate.bits() / 8)
}

/// A socket in the network namespace of the calling thread. The kernel has carried out a request and queued its reply
/// when the send returns, so nothing here blocks.
struct Asked(Socket);

impl Asked {
    fn open() -> io::Result<Self> {
        let socket = Socket::new(NETLINK_ROUTE)?;
        socket.set_non_blocking(true)?;
        socket.set_cap_ack(true)?;
        socket.set_ext_ack(true)?;
        socket.connect(&SocketAddr::new(0, 0))?;
        Ok(Self(socket))
    }

    /// Sends one request. Returns the message that answers it, if any; the inner error is the kernel's.
    fn ask(
        &self,
        message: RouteNetlinkMessage,
        flags: u16,
    ) -> io::Result<Result<Option<TcMessage>, ErrorMessage>> {
        let mut message = NetlinkMessage::from(message);
        message.header.flags = NLM_F_REQUEST | NLM_F_ACK | flags;
        message.header.sequence_number = 1;
        message.finalize();
        let mut bytes = vec![0; message.buffer_len()];
        message.serialize(&mut bytes);
        self.0.send(&bytes, 0)?;
        let mut found = None;
        loop {
            let (datagram, _) = self.0.recv_from_full()?;
            let mut rest = datagram.as_slice();
            while !rest.is_empty() {
                let answer = NetlinkMessage::<RouteNetlinkMessage>::deserialize(rest)
                    .map_err(io::Error::other)?;
                let length = (answer.header.length as usize).next_multiple_of(4);
                match answer.payload {
                    NetlinkPayload::Error(error) if error.code.is_some() => return Ok(Err(error)),
                    NetlinkPayload::Error(_) => return Ok(Ok(found)),
                    NetlinkPayload::InnerMessage(RouteNetlinkMessage::NewQueueDiscipline(
                        message,
                    )) => found = Some(message),
                    _ => {}
                }
                rest = rest.get(length.max(4)..).unwrap_or_default();
            }
        }
    }

    /// What a link has. `None` if there is no such link.
    fn root(&self, name: &str) -> io::Result<Option<(i32, Root)>> {
        let Ok(index) = name_to_index(&self.0, name) else {
            return Ok(None);
        };
        let index = i32::try_from(index).map_err(io::Error::other)?;
        let mut message = TcMessage::with_index(index);
        message.header.parent = TcHandle::ROOT;
        // Without the flag, the kernel tells only subscribers.
        let answer = self.ask(RouteNetlinkMessage::GetQueueDiscipline(message), NLM_F_ECHO)?;
        // The kernel does not tell of what links have without a request.
        let found = answer.ok().flatten();
        Ok(Some((index, found.as_ref().map_or(Root::Other, Root::of))))
    }

    /// Lets packets leave by a link at this rate, or at any. Returns whether that was different.
    fn set(&self, name: &str, rate: Option<Rate>) -> io::Result<Result<bool, ErrorMessage>> {
        let Some((index, found)) = self.root(name)? else {
            return Err(io::Error::from_raw_os_error(libc::ENODEV));
        };
        let mut message = TcMessage::with_index(index);
        message.header.parent = TcHandle::ROOT;
        message.header.handle = HANDLE;
        let (message, flags) = match (rate, found) {
            (Some(rate), Root::Ours(found)) if rate.bits() / 8 == found => return Ok(Ok(false)),
            (None, Root::Other) => return Ok(Ok(false)),
            (Some(rate), _) => {
                message.attributes.push(TcAttribute::Kind(KIND.to_owned()));
                let options = TcAttribute::Options(options(rate));
                message.attributes.push(options);
                let message = RouteNetlinkMessage::NewQueueDiscipline(message);
                (message, NLM_F_CREATE | NLM_F_REPLACE)
            }
            (None, Root::Ours(_)) => (RouteNetlinkMessage::DelQueueDiscipline(message), 0),
        };
        Ok(self.ask(message, flags)?.map(|_| true))
    }
}

fn set(name: &str, rate: Option<Rate>) -> Result<bool, Failure> {
    let object = || format!("the rate of {name}");
    let outcome = Asked::open().and_then(|asked| asked.set(name, rate));
    match outcome {
        Ok(Ok(changed)) => Ok(changed),
        Ok(Err(refused)) => {
            let failure = answered(Stage::Link, object(), &refused);
            Err(match failure.errno {
                libc::ENOENT => failure.with("the kernel has no tbf: load the module sch_tbf"),
                _ => failure,
            })
        }
        Err(error) => Err(broken(Stage::Link, object(), &error)),
    }
}

/// Limits what a tenant receives, on its host end, in the network namespace of the calling thread. Returns whether that
/// was different.
///
/// # Errors
/// [`Stage::Link`].
pub(super) fn limit_inward(link: &LinkPlan) -> Result<bool, Failure> {
    set(link.host.name.as_str(), link.rate.inward)
}

/// Limits what a tenant sends, on its own end.
///
/// # Errors
/// [`Stage::Link`].
pub fn limit_outward(netns: &Netns, link: &LinkPlan) -> Result<(), Failure> {
    let name = link.tenant.name.as_str();
    let visited = netns::visit(netns, || Ok(set(name, link.rate.outward)));
    let limited =
        visited.map_err(|error| broken(Stage::Link, format!("the rate of {name}"), &error))?;
    limited.map(drop)
}

/// The bytes a second at which tenantd lets packets leave by a link of the calling thread's namespace. `None` without a
/// limit of tenantd.
///
/// # Errors
/// Those of the socket.
pub(crate) fn found(name: &str) -> io::Result<Option<u64>> {
    Ok(match Asked::open()?.root(name)? {
        Some((_, Root::Ours(rate))) => Some(rate),
        Some((_, Root::Other)) | None => None,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_rate_is_read_back_from_the_options() {
        for (text, bytes) in [
            ("64 kbit/s", 8_000),
            ("100 Mbit/s", 12_500_000),
            ("32 Gbit/s", 4_000_000_000),
        ] {
            let options = TcAttribute::Options(options(text.parse().unwrap()));
            assert_eq!(rate_of(&value_of(&options)), Some(bytes), "{text}");
        }
    }
}
