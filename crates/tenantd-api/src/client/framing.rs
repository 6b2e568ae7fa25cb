//! A varlink call with several replies: one JSON object each, ended by a NUL. zlink's client reads
//! 256 bytes at a time, and a snapshot of a thousand tenants has 400,000.

use std::io;

use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};
use tokio::io::{AsyncBufReadExt, AsyncWriteExt, BufReader};
use tokio::net::UnixStream;

use crate::wire::varlink::Refusal;

/// How much is read at once.
const READ: usize = 64 * 1024;

/// Why there is no reply.
#[derive(Debug)]
pub(super) enum NoReply {
    /// The connection has ended.
    Closed,
    /// It failed.
    Io(io::Error),
    /// The call was refused.
    Refused(Refusal),
    /// The reply makes no sense.
    Nonsense(serde_json::Error),
}

impl From<io::Error> for NoReply {
    fn from(error: io::Error) -> Self {
        match super::is_closed(&error) {
            true => Self::Closed,
            false => Self::Io(error),
        }
    }
}

/// A connection on which one call with several replies is made.
#[derive(Debug)]
pub(super) struct Framing {
    stream: BufReader<UnixStream>,
    /// The reply that is being read, so that a read which is given up loses nothing.
    message: Vec<u8>,
}

#[derive(Serialize)]
struct Call<'a, T> {
    method: &'a str,
    parameters: T,
    more: bool,
}

/// What tells an error from a reply.
#[derive(Deserialize)]
struct Head {
    error: Option<String>,
}

#[derive(Deserialize)]
struct Reply<T> {
    parameters: T,
}

impl Framing {
    pub(super) fn new(stream: UnixStream) -> Self {
        Self {
            stream: BufReader::with_capacity(READ, stream),
            message: Vec::new(),
        }
    }

    pub(super) async fn call(
        &mut self,
        method: &str,
        parameters: impl Serialize,
    ) -> Result<(), NoReply> {
        let call = Call {
            method,
            parameters,
            more: true,
        };
        let mut bytes = serde_json::to_vec(&call).map_err(NoReply::Nonsense)?;
        bytes.push(0);
        Ok(self.stream.get_mut().write_all(&bytes).await?)
    }

    /// The next reply. Given up, it can be called again.
    pub(super) async fn reply<T: DeserializeOwned>(&mut self) -> Result<T, NoReply> {
        self.stream.read_until(0, &mut self.message).await?;
        if self.message.pop() != Some(0) {
            return Err(NoReply::Closed);
        }
        let reply = Self::understand(&self.message);
        self.message.clear();
        reply
    }

    fn understand<T: DeserializeOwned>(message: &[u8]) -> Result<T, NoReply> {
        let Head { error } = serde_json::from_slice(message).map_err(NoReply::Nonsense)?;
        if error.is_some() {
            let refusal = serde_json::from_slice(message).map_err(NoReply::Nonsense)?;
            return Err(NoReply::Refused(refusal));
        }
        let Reply { parameters } = serde_json::from_slice(message).map_err(NoReply::Nonsense)?;
        Ok(parameters)
    }
}
