//! Requests that a deputy carries out: a process of root, which the supervisor starts.

use std::os::fd::OwnedFd;

use crate::client::{ClientError, Connection};
use crate::history::Asked;
use crate::wire::Deputy;
use crate::wire::varlink::{Refusal, Supervisor};
use tenantd_core::name::TenantName;

/// Which lines of logs are asked for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Lines {
    /// The most lines, the last ones of all tenants together, at most
    /// [`LOG_LINES_MAX`](crate::wire::LOG_LINES_MAX); None if there is no limit.
    pub lines: Option<u64>,
    /// Only those since this time, in microseconds since 1970.
    pub since: Option<i64>,
    /// Whether later ones are sent too.
    pub follow: bool,
}

impl Connection {
    /// Asks for the logs of these tenants, or of all if the list is empty. Returns a stream of items. Each
    /// begins with a line of words: `line INDEX TIME STREAM LENGTH` is a line of the tenant with this index in
    /// the list, whose text follows in so many bytes (`-`: time or stream are unknown); `error LENGTH` says with
    /// its text why the rest is missing; `done` is the end. It is closed without `done` if the right was
    /// taken away meanwhile.
    ///
    /// # Errors
    /// See [`ClientError`].
    pub async fn logs(
        &mut self,
        tenants: &[TenantName],
        what: Lines,
    ) -> Result<OwnedFd, ClientError> {
        let Lines {
            lines,
            since,
            follow,
        } = what;
        let answer = self.varlink.logs(tenants, lines, since, follow).await;
        self.descriptor(answer)
    }

    /// Asks for what happened to these tenants, or to all if the list is empty; `app`, `names` and `is_restricted`
    /// of `asked` do not matter. Returns a stream with a [`Sent`](crate::history::Sent) as JSON: without requests,
    /// and without the changes of reloads.
    ///
    /// # Errors
    /// See [`ClientError`].
    pub async fn history(
        &mut self,
        tenants: &[TenantName],
        asked: &Asked,
    ) -> Result<OwnedFd, ClientError> {
        let kinds: Vec<&str> = asked.kinds.iter().map(|kind| kind.word()).collect();
        let (since, until) = (asked.since_ms, asked.until_ms);
        let varlink = &mut self.varlink;
        let answer = varlink.history(tenants, since, until, asked.lines, &kinds);
        let answer = answer.await;
        self.descriptor(answer)
    }

    /// Asks for a command in this tenant, as its user. `term` is the value of `TERM` for it. Returns a socket
    /// of the type `SOCK_SEQPACKET`, at which the deputy waits some seconds for
    /// [`Streams`](crate::wire::Streams), and sends a [`CommandEnd`](crate::wire::CommandEnd) once all of
    /// the command has ended. Closing the socket ends the command.
    ///
    /// # Errors
    /// See [`ClientError`].
    pub async fn exec(
        &mut self,
        tenant: &TenantName,
        command: &[String],
        term: Option<&str>,
    ) -> Result<OwnedFd, ClientError> {
        let answer = self.varlink.exec(tenant, command, term).await;
        self.descriptor(answer)
    }

    fn descriptor(
        &self,
        answer: zlink::Result<(Result<Deputy, Refusal>, Vec<OwnedFd>)>,
    ) -> Result<OwnedFd, ClientError> {
        let (answer, descriptors) = match answer {
            Ok((answer, descriptors)) => (Ok(answer), descriptors),
            Err(error) => (Err(error), Vec::new()),
        };
        self.understand(answer)?;
        let app = self.app.clone();
        let missing = || ClientError::Refused {
            subject: app.to_string(),
            reason: "the answer came without a descriptor: this process may open no more"
                .to_owned(),
        };
        descriptors.into_iter().next().ok_or_else(missing)
    }
}
