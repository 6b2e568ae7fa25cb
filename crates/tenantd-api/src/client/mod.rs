//! Asks the supervisor of an application. It shows nothing and decides nothing; what an answer
//! means to a person is said in the command line.
//!
//! A [`Connection`] asks and is answered; [`watch`] is told what happens. `examples/watch.rs` uses
//! both.

pub mod app;
mod error;
mod framing;
pub mod survey;
pub mod watch;

use std::io;
use std::path::PathBuf;

use crate::wire::varlink::{Answers, Refusal, Supervisor};
use crate::wire::{self, AppStatus, ExecTarget, Residue, TenantAnswer, Upgraded, Upgrading, Verb};
use tenantd_core::name::{AppName, TenantName};
use tenantd_core::plan::diff::Changes;

pub use error::ClientError;

/// How many supervisors that go without an answer are followed up: one that is about to end may go on
/// letting in who asks.
const SUCCESSORS_MAX: usize = 10;

/// What a supervisor answers, or the one after it where it goes without an answer: for what does no
/// harm if it is asked twice.
macro_rules! follow {
    ($connection:ident.$method:ident($($argument:expr)?)) => {{
        let mut answer = $connection.varlink.$method($($argument)?).await;
        for _ in 0..SUCCESSORS_MAX {
            if !$connection.is_succeeded(&answer).await {
                break;
            }
            answer = $connection.varlink.$method($($argument)?).await;
        }
        $connection.understand(answer)
    }};
}

/// A connection to the supervisor of one application.
#[derive(Debug)]
pub struct Connection {
    varlink: zlink::tokio::unix::Connection,
    app: AppName,
}

impl Connection {
    /// Connects to the supervisor of this application.
    ///
    /// # Errors
    /// See [`ClientError`]: no supervisor, a dead one and a forbidden one are told apart.
    pub async fn open(app: &AppName) -> Result<Self, ClientError> {
        let app = app.clone();
        match zlink::tokio::unix::connect(wire::control_socket(&app)).await {
            Ok(varlink) => Ok(Self { varlink, app }),
            Err(zlink::Error::Io(source)) => Err(not_connected(&app, source)),
            Err(source) => Err(ClientError::Protocol { app, source }),
        }
    }

    /// The state of these tenants, or of all if none is named.
    ///
    /// # Errors
    /// See [`ClientError`].
    pub async fn status(&mut self, tenants: &[TenantName]) -> Result<AppStatus, ClientError> {
        follow!(self.status(tenants))
    }

    /// Asks this of these tenants, or of all if none is named. A permanent start or stop outlives the
    /// supervisor's end and a reboot; a restart is never permanent.
    ///
    /// # Errors
    /// See [`ClientError`]. With an unknown tenant nothing is done to any.
    pub async fn act(
        &mut self,
        verb: Verb,
        tenants: &[TenantName],
        permanent: bool,
    ) -> Result<Vec<TenantAnswer>, ClientError> {
        let mut answer = self.act_once(verb, tenants, permanent).await;
        // A supervisor that is about to be upgraded reads nothing more: it was not even sent.
        if matches!(&answer, Err(zlink::Error::Io(error)) if error.kind() == io::ErrorKind::BrokenPipe)
            && self.is_succeeded(&answer).await
        {
            answer = self.act_once(verb, tenants, permanent).await;
        }
        let Answers { answers } = self.understand(answer)?;
        Ok(answers.into_iter().map(TenantAnswer::from).collect())
    }

    async fn act_once(
        &mut self,
        verb: Verb,
        tenants: &[TenantName],
        permanent: bool,
    ) -> zlink::Result<Result<Answers, Refusal>> {
        match verb {
            Verb::Start => self.varlink.start(tenants, permanent).await,
            Verb::Stop => self.varlink.stop(tenants, permanent).await,
            Verb::Restart => self.varlink.restart(tenants).await,
        }
    }

    /// Ends the supervisor, and lets the tenants go on. It is done when its process has ended.
    ///
    /// # Errors
    /// See [`ClientError`].
    pub async fn detach(&mut self) -> Result<(), ClientError> {
        follow!(self.detach())
    }

    /// Has the manifest read again and applied; what that changes.
    ///
    /// # Errors
    /// See [`ClientError`]; with any of them nothing was changed.
    pub async fn reload(&mut self) -> Result<Changes, ClientError> {
        follow!(self.reload())
    }

    /// What a reload would change.
    ///
    /// # Errors
    /// See [`ClientError`].
    pub async fn diff(&mut self) -> Result<Changes, ClientError> {
        follow!(self.diff())
    }

    /// Where the manifest lies that a reload reads.
    ///
    /// # Errors
    /// See [`ClientError`].
    pub async fn manifest(&mut self) -> Result<PathBuf, ClientError> {
        let answer = self.varlink.manifest().await;
        self.understand(answer).map(|manifest| manifest.path.into())
    }

    /// Collects residue, or only says which there are.
    ///
    /// # Errors
    /// See [`ClientError`].
    pub async fn collect(&mut self, dry_run: bool) -> Result<Vec<Residue>, ClientError> {
        let answer = self.varlink.collect(dry_run).await;
        Ok(self.understand(answer)?.residue)
    }

    /// Has the program on disk executed, and waits until it answers. A program that gives back is
    /// an error.
    ///
    /// # Errors
    /// See [`ClientError`].
    pub async fn upgrade(&mut self) -> Result<(Upgrading, Upgraded), ClientError> {
        let begun = self.varlink.upgrade().await;
        let begun = self.understand(begun)?;
        loop {
            // Who connects now waits for the program that comes.
            *self = Self::open(&self.app).await?;
            let answer = self.varlink.upgraded().await;
            let answered = match self.understand(answer) {
                Err(ClientError::Died { .. }) => continue,
                answered => answered?,
            };
            return match answered.refused {
                None => Ok((begun, answered)),
                Some(reason) => Err(ClientError::Refused {
                    subject: self.app.to_string(),
                    reason: format!(
                        "the upgrade to {} is refused, and {} carries on: {reason}",
                        begun.to, answered.version
                    ),
                }),
            };
        }
    }

    /// What is needed to join this tenant.
    ///
    /// # Errors
    /// See [`ClientError`].
    pub async fn enter(&mut self, tenant: &TenantName) -> Result<ExecTarget, ClientError> {
        let answer = self.varlink.enter(tenant).await;
        self.understand(answer)
    }

    /// Whether the supervisor went without an answer and another one can be asked: to ask twice for
    /// a state does no harm. From now on this is a connection to that one.
    async fn is_succeeded<T>(&mut self, answer: &zlink::Result<Result<T, Refusal>>) -> bool {
        let gone = match answer {
            Ok(Err(Refusal::ShuttingDown)) | Err(zlink::Error::UnexpectedEof) => true,
            Err(zlink::Error::Io(error)) => is_closed(error),
            Ok(_) | Err(_) => false,
        };
        if !gone {
            return false;
        }
        match Self::open(&self.app).await {
            Ok(next) => {
                *self = next;
                true
            }
            Err(_) => false,
        }
    }

    fn understand<T>(&self, answer: zlink::Result<Result<T, Refusal>>) -> Result<T, ClientError> {
        let app = self.app.clone();
        match answer {
            Ok(Ok(answer)) => Ok(answer),
            Ok(Err(refusal)) => Err(ClientError::refused(app, refusal)),
            Err(zlink::Error::UnexpectedEof) => Err(ClientError::Died { app }),
            Err(zlink::Error::Io(error)) if is_closed(&error) => Err(ClientError::Died { app }),
            Err(source) => Err(ClientError::Protocol { app, source }),
        }
    }
}

/// Why the control socket cannot be connected to.
fn not_connected(app: &AppName, source: io::Error) -> ClientError {
    let app = app.clone();
    match source.kind() {
        io::ErrorKind::NotFound if app::detached().is_ok_and(|left| left.contains(&app)) => {
            ClientError::Detached { app }
        }
        io::ErrorKind::NotFound => {
            let others = app::running().unwrap_or_default();
            ClientError::NotRunning { app, others }
        }
        io::ErrorKind::ConnectionRefused => ClientError::Dead { app },
        io::ErrorKind::PermissionDenied => ClientError::NotAllowed { app },
        _ => ClientError::Connect { app, source },
    }
}

fn is_closed(error: &io::Error) -> bool {
    matches!(
        error.kind(),
        io::ErrorKind::ConnectionReset | io::ErrorKind::BrokenPipe
    )
}
