//! What is left to send of an answer in parts.

use std::io;

use futures_util::stream::{self, Stream};
use serde::Serialize;
use zlink::Reply;

use crate::requests::control::guard::Writer;
use crate::requests::control::parts::{self, Unsent};
use tenantd_api::wire::varlink::Refusal;

/// Sends an answer about any number of tenants, see [`parts`]; zlink has nothing left to send. There
/// is one reply, also for a call with `more`.
pub(super) async fn send_whole<T: Serialize>(
    _more: bool,
    answer: Result<T, Refusal>,
    writer: &Writer,
) -> impl Stream<Item = Result<Reply<T>, Refusal>> + Unpin + use<T> {
    sent(parts::whole(&answer, writer).await, writer)
}

/// What zlink still has to send after an answer in parts: nothing, or a refusal.
pub(super) fn sent<T>(
    result: Result<(), Unsent>,
    writer: &Writer,
) -> impl Stream<Item = Result<Reply<T>, Refusal>> + Unpin + use<T> {
    let refusal = match result {
        Ok(()) => None,
        Err(Unsent::Refused(refusal)) => Some(refusal),
        Err(Unsent::Broken(error)) => {
            match is_of_peer(&error) {
                true => tracing::debug!(%error, "the rest of an answer was not sent"),
                false => tracing::warn!(
                    %error,
                    "cannot send an answer to a client of the control socket: its connection is closed"
                ),
            }
            writer.hang_up();
            None
        }
    };
    stream::iter(refusal.map(Err))
}

/// Whether an error of sending means that the peer has gone.
fn is_of_peer(error: &io::Error) -> bool {
    matches!(
        error.kind(),
        io::ErrorKind::BrokenPipe | io::ErrorKind::ConnectionReset
    )
}
