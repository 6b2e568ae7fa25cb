//! Turns the kernel's error reply to a netlink request into a [`Failure`].

use std::io;

use rtnetlink::packet_core::{ErrorMessage, NlasIterator};

use tenantd_core::stage::{Failure, Stage};

/// Bytes of the request that the reply repeats: its header only (`NETLINK_CAP_ACK`).
const REPEATED: usize = 16;

/// `NLMSGERR_ATTR_MSG`: the attribute with the error message, see netlink(7).
const SENTENCE: u16 = 1;

/// The failure for an error that rtnetlink returned.
pub(super) fn refused(stage: Stage, object: impl Into<String>, error: rtnetlink::Error) -> Failure {
    match error {
        rtnetlink::Error::NetlinkError(message) => answered(stage, object, &message),
        rtnetlink::Error::RequestFailed => lost(stage, object),
        other => Failure::detail(stage, object, other.to_string()),
    }
}

/// The failure for a request that the socket could not send, or whose answer it could not read.
pub(super) fn lost(stage: Stage, object: impl Into<String>) -> Failure {
    let why = "the netlink socket failed, perhaps for want of memory: the next try uses a new one";
    Failure::detail(stage, object, why)
}

/// The failure for an error reply to a request that was sent without rtnetlink.
pub(super) fn answered(stage: Stage, object: impl Into<String>, message: &ErrorMessage) -> Failure {
    let failure = Failure::errno(stage, object, message.raw_code().abs());
    match sentence(&message.header) {
        Some(sentence) => failure.with(sentence),
        None => failure,
    }
}

/// The failure for an error of the socket.
pub(super) fn broken(stage: Stage, object: impl Into<String>, error: &io::Error) -> Failure {
    match error.raw_os_error() {
        Some(errno) => Failure::errno(stage, object, errno).with("on the netlink socket"),
        None => Failure::detail(stage, object, error.to_string()),
    }
}

/// The errno of the kernel's reply, if the error is such a reply.
pub(super) fn errno(error: &rtnetlink::Error) -> Option<i32> {
    match error {
        rtnetlink::Error::NetlinkError(message) => Some(message.raw_code().abs()),
        _ => None,
    }
}

fn sentence(answer: &[u8]) -> Option<String> {
    NlasIterator::new(answer.get(REPEATED..)?)
        .flatten()
        .find(|attribute| attribute.kind() == SENTENCE)
        .map(|attribute| {
            let text = String::from_utf8_lossy(attribute.value());
            text.trim_end_matches('\0').trim_end_matches('.').to_owned()
        })
}
