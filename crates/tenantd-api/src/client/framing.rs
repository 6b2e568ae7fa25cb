//! A varlink call with several replies. Each reply is a JSON object that ends with a NUL byte.
//!
//! It does not use zlink's client, which reads 256 bytes at a time, and copies a reply before it decodes it: a
//! snapshot of a thousand tenants has 400,000 bytes.

use std::io;

use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};
use tokio::io::{AsyncBufReadExt, AsyncWriteExt, BufReader};
use tokio::net::UnixStream;

use crate::wire::varlink::Refusal;

/// Bytes of the read buffer.
const READ: usize = 64 * 1024;

/// Why a call has no reply.
#[derive(Debug)]
pub(super) enum NoReply {
    /// The supervisor closed the connection.
    Closed,
    /// Reading or writing failed.
    Io(io::Error),
    /// The supervisor refused the call.
    Refused(Refusal),
    /// The reply cannot be decoded.
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

/// A connection for one call with several replies.
#[derive(Debug)]
pub(super) struct Framing {
    stream: BufReader<UnixStream>,
    /// The part of the next reply that was read so far; it makes `reply` cancel-safe.
    message: Vec<u8>,
}

#[derive(Serialize)]
struct Call<'a, T> {
    method: &'a str,
    parameters: T,
    more: bool,
}

/// The field that only an error has.
#[derive(Deserialize)]
struct Head {
    error: Option<String>,
}

#[derive(Deserialize)]
struct Reply<T> {
    parameters: T,
    #[serde(default)]
    continues: bool,
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

    /// Reads the next reply. Cancel-safe.
    pub(super) async fn reply<T: DeserializeOwned>(&mut self) -> Result<T, NoReply> {
        self.part().await.map(|(parameters, _)| parameters)
    }

    /// Reads the next reply, and whether another one follows. Cancel-safe.
    pub(super) async fn part<T: DeserializeOwned>(&mut self) -> Result<(T, bool), NoReply> {
        self.stream.read_until(0, &mut self.message).await?;
        if self.message.pop() != Some(0) {
            return Err(NoReply::Closed);
        }
        let reply = Self::understand(&self.message);
        self.message.clear();
        reply
    }

    fn understand<T: DeserializeOwned>(message: &[u8]) -> Result<(T, bool), NoReply> {
        let Head { error } = serde_json::from_slice(message).map_err(NoReply::Nonsense)?;
        if error.is_some() {
            let refusal = serde_json::from_slice(message).map_err(NoReply::Nonsense)?;
            return Err(NoReply::Refused(refusal));
        }
        let reply = serde_json::from_slice(message).map_err(NoReply::Nonsense)?;
        let Reply {
            parameters,
            continues,
        } = reply;
        Ok((parameters, continues))
    }
}
