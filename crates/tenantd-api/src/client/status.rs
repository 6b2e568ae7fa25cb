//! The state of tenants. It comes in several replies, each with some of the tenants, so that the client decodes the first
//! ones while the supervisor makes the next ones.

use std::io;
use std::os::fd::AsFd;
use std::os::unix::net::UnixStream as Plain;

use serde::Serialize;
use tokio::net::UnixStream;

use super::framing::{Framing, NoReply};
use super::{ClientError, Connection, SUCCESSORS_MAX};
use crate::wire::varlink::Refusal;
use crate::wire::{self, AppStatus};
use tenantd_core::name::TenantName;

#[derive(Serialize)]
struct Parameters<'a> {
    tenants: &'a [TenantName],
}

impl Connection {
    /// Returns the state of these tenants, or of all if the list is empty.
    ///
    /// # Errors
    /// See [`ClientError`].
    pub async fn status(&mut self, tenants: &[TenantName]) -> Result<AppStatus, ClientError> {
        let mut answer = self.status_once(tenants).await;
        for _ in 0..SUCCESSORS_MAX {
            if !self.is_succeeded(&answer).await {
                break;
            }
            answer = self.status_once(tenants).await;
        }
        self.understand(answer)
    }

    async fn status_once(
        &self,
        tenants: &[TenantName],
    ) -> zlink::Result<Result<AppStatus, Refusal>> {
        match whole(self.framing()?, tenants).await {
            Ok(status) => Ok(Ok(status)),
            Err(NoReply::Refused(refusal)) => Ok(Err(refusal)),
            Err(NoReply::Closed) => Err(zlink::Error::UnexpectedEof),
            Err(NoReply::Io(error)) => Err(error.into()),
            Err(NoReply::Nonsense(error)) => Err(error.into()),
        }
    }

    /// The same connection, by a descriptor with its own readiness. Each reply was read before the next call, so zlink
    /// holds no part of one.
    fn framing(&self) -> io::Result<Framing> {
        let read = self.varlink.read().read_half();
        let copy = Plain::from(read.as_fd().try_clone_to_owned()?);
        Ok(Framing::new(UnixStream::from_std(copy)?))
    }
}

/// The whole answer. A supervisor that knows no parts answers in one reply.
async fn whole(mut framing: Framing, tenants: &[TenantName]) -> Result<AppStatus, NoReply> {
    let method = format!("{}.Status", wire::INTERFACE);
    framing.call(&method, Parameters { tenants }).await?;
    let (mut status, mut continues): (AppStatus, bool) = framing.part().await?;
    while continues {
        let part: AppStatus;
        (part, continues) = framing.part().await?;
        status.tenants.extend(part.tenants);
    }
    Ok(status)
}

#[cfg(test)]
mod tests {
    use tokio::io::{AsyncReadExt, AsyncWriteExt};

    use super::*;
    use crate::wire::{LogPlace, NetworkState, StateWord, TenantStatus, Tracking};

    fn status(names: &[&str]) -> AppStatus {
        let tenant = |name: &&str| {
            let address = std::net::Ipv4Addr::new(10, 77, 0, 11).into();
            TenantStatus::bare(name.parse().unwrap(), address, StateWord::Up)
        };
        AppStatus {
            app: "wiki".parse().unwrap(),
            pid: 99,
            tracking: Tracking::Cgroup,
            logs: LogPlace::Files,
            unwatched: None,
            network: NetworkState::default(),
            manifest: None,
            tenants: names.iter().map(tenant).collect(),
        }
    }

    /// What a client makes of these replies, each with or without `continues`.
    async fn asked(replies: &[serde_json::Value]) -> Result<AppStatus, NoReply> {
        let (client, mut supervisor) = UnixStream::pair().unwrap();
        let serve = async {
            let mut call = vec![0; 4096];
            let read = supervisor.read(&mut call).await.unwrap();
            let call: serde_json::Value = serde_json::from_slice(&call[..read - 1]).unwrap();
            assert_eq!(call["method"], "io.tenantd.Supervisor.Status");
            assert_eq!(call["more"], true);
            for reply in replies {
                let bytes = format!("{reply}\0").into_bytes();
                supervisor.write_all(&bytes).await.unwrap();
            }
            drop(supervisor);
        };
        let (answer, ()) = tokio::join!(whole(Framing::new(client), &[]), serve);
        answer
    }

    fn reply(names: &[&str], continues: Option<bool>) -> serde_json::Value {
        let parameters = status(names);
        match continues {
            Some(continues) => {
                serde_json::json!({ "parameters": parameters, "continues": continues })
            }
            None => serde_json::json!({ "parameters": parameters }),
        }
    }

    #[tokio::test]
    async fn the_parts_are_one_answer() {
        let parts = [
            reply(&["a", "b"], Some(true)),
            reply(&["c"], Some(true)),
            reply(&[], Some(false)),
        ];
        assert_eq!(asked(&parts).await.unwrap(), status(&["a", "b", "c"]));
        // As a supervisor that knows no parts answers.
        let one = [reply(&["a", "b"], None)];
        assert_eq!(asked(&one).await.unwrap(), status(&["a", "b"]));
        let unfinished = asked(&parts[..2]).await;
        assert!(matches!(unfinished, Err(NoReply::Closed)), "{unfinished:?}");
        let error = "io.tenantd.Supervisor.ShuttingDown";
        let refused = asked(&[serde_json::json!({ "error": error })]).await;
        let Err(NoReply::Refused(Refusal::ShuttingDown)) = refused else {
            panic!("{refused:?}");
        };
    }
}
