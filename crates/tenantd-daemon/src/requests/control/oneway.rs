//! Calls whose client wants no answer (`oneway`, see <https://varlink.org/Method-Call>). zlink leaves out
//! the answers that it writes itself; this leaves out those that are written in parts, and refusals. The
//! client lives until the connection is closed: the request of one that has ended is refused.

use std::os::fd::OwnedFd;

use zlink::connection::Socket;
use zlink::service::{HandleResult, MethodReply};
use zlink::{Call, Connection};

use crate::requests::control::guard::Writer;

/// A service that does not answer such calls.
#[derive(Debug)]
pub(super) struct Answering<S>(pub(super) S);

impl<S, Sock> zlink::Service<Sock> for Answering<S>
where
    S: zlink::Service<Sock>,
    Sock: Socket<WriteHalf = Writer>,
{
    type MethodCall<'de> = S::MethodCall<'de>;
    type ReplyParams<'ser>
        = S::ReplyParams<'ser>
    where
        Self: 'ser;
    type ReplyStreamParams = S::ReplyStreamParams;
    type ReplyStreamError = S::ReplyStreamError;
    type ReplyStream = S::ReplyStream;
    type ReplyError<'ser>
        = S::ReplyError<'ser>
    where
        Self: 'ser;
    type Upgrade = S::Upgrade;

    async fn handle<'ser>(
        &'ser mut self,
        call: &'ser Call<Self::MethodCall<'_>>,
        conn: &mut Connection<Sock>,
        fds: Vec<OwnedFd>,
    ) -> HandleResult<
        Self::ReplyParams<'ser>,
        Self::ReplyStream,
        Self::ReplyError<'ser>,
        Self::Upgrade,
    > {
        conn.write().write_half().answer(!call.oneway());
        let (reply, fds) = self.0.handle(call, conn, fds).await;
        match reply {
            // What is left of it is a refusal.
            MethodReply::Multi(_) if call.oneway() => (MethodReply::Single(None), fds),
            reply => (reply, fds),
        }
    }
}
