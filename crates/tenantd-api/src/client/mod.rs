//! Talks to the supervisor of an application.
//!
//! A [`Connection`] sends requests and returns their answers. A [`watch::Subscription`] receives
//! events. [`survey`] asks several supervisors at once, with a time limit. `examples/watch.rs` uses
//! a connection and a subscription together.
//!
//! A client follows its supervisor through an upgrade: a request that is safe to repeat is sent
//! again to the new program, and a subscription continues with a new snapshot.

pub mod app;
pub mod deputy;
mod error;
pub mod followed;
mod framing;
pub mod pattern;
mod status;
pub mod survey;
mod wait;
pub mod watch;

use std::io;
use std::path::PathBuf;

use crate::wire::varlink::{Answers, Refusal, RepairedList, Supervisor};
use crate::wire::{
    self, AppReloaded, ExecTarget, Frozen, LimitsSet, Residue, Signalled, TenantAnswer, Upgraded,
    Upgrading, Verb,
};
use tenantd_core::manifest::engine::Engine;
use tenantd_core::name::{AppName, TenantName};
use tenantd_core::plan::diff::Changes;

pub use error::ClientError;

/// How often a request is repeated on a new connection. A supervisor that shuts down may still
/// accept connections for a while, so the number is limited.
const SUCCESSORS_MAX: usize = 10;

/// Sends a request, and sends it again to the next supervisor if the first one exits without an
/// answer. Only for requests that are safe to repeat.
macro_rules! follow {
    ($connection:ident.$method:ident($($argument:expr),*)) => {{
        let mut answer = $connection.varlink.$method($($argument),*).await;
        for _ in 0..SUCCESSORS_MAX {
            if !$connection.is_succeeded(&answer).await {
                break;
            }
            answer = $connection.varlink.$method($($argument),*).await;
        }
        $connection.understand(answer)
    }};
}

/// A connection to the supervisor of one application.
///
/// An empty list of tenants means all of them. Requests take effect one after the other; the answer
/// to `start`, `stop` and `restart` says that a request was accepted, not that it is done. Use
/// [`watch::wait`] to wait for that.
#[derive(Debug)]
pub struct Connection {
    varlink: zlink::tokio::unix::Connection,
    app: AppName,
}

impl Connection {
    /// Connects to the supervisor of an application.
    ///
    /// # Errors
    /// [`ClientError::NotRunning`], [`ClientError::Detached`], [`ClientError::Dead`] or
    /// [`ClientError::NotAllowed`]; [`ClientError::Connect`] for anything else.
    pub async fn open(app: &AppName) -> Result<Self, ClientError> {
        let app = app.clone();
        match zlink::tokio::unix::connect(wire::control_socket(&app)).await {
            Ok(varlink) => Ok(Self { varlink, app }),
            Err(zlink::Error::Io(source)) => Err(not_connected(&app, source)),
            Err(source) => Err(ClientError::Protocol { app, source }),
        }
    }

    /// Starts, stops or restarts these tenants, or all if the list is empty, and returns one answer
    /// per tenant. A `permanent` start or stop also holds after the supervisor restarts and after a
    /// reboot. `permanent` is ignored for a restart.
    ///
    /// # Errors
    /// See [`ClientError`]. If one tenant is unknown, nothing is done to any of them.
    pub async fn act(
        &mut self,
        verb: Verb,
        tenants: &[TenantName],
        permanent: bool,
    ) -> Result<Vec<TenantAnswer>, ClientError> {
        let mut answer = self.act_once(verb, tenants, permanent).await;
        // Before an upgrade the supervisor stops reading: the request was not even sent, so it is
        // safe to repeat.
        if matches!(&answer, Err(zlink::Error::Io(error)) if error.kind() == io::ErrorKind::BrokenPipe)
            && self.is_succeeded(&answer).await
        {
            answer = self.act_once(verb, tenants, permanent).await;
        }
        let Answers { answers } = self.understand(answer)?;
        Ok(answers.into_iter().map(TenantAnswer::from).collect())
    }

    /// Allows the next start of these tenants, or of all if the list is empty, to take over a datastore that
    /// another host uses, as its owner record says. It holds for a minute. Only for a caller that knows that
    /// the other host does not use it, because it was fenced. Needs root.
    ///
    /// # Errors
    /// See [`ClientError`]. If one tenant is unknown, nothing is allowed to any of them.
    pub async fn allow_takeover(&mut self, tenants: &[TenantName]) -> Result<(), ClientError> {
        follow!(self.allow_takeover(tenants))
    }

    /// Starts these tenants on behalf of the engine that the manifest names for them. Needs root.
    ///
    /// # Errors
    /// See [`ClientError`]. If one tenant is unknown, nothing is done to any of them.
    pub async fn start_by(
        &mut self,
        engine: Engine,
        tenants: &[TenantName],
    ) -> Result<Vec<TenantAnswer>, ClientError> {
        // A start that was begun is not begun twice, so it is safe to repeat.
        let answer: Result<Answers, _> = follow!(self.start_by(tenants, engine.word()));
        Ok(answer?
            .answers
            .into_iter()
            .map(TenantAnswer::from)
            .collect())
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

    /// Sends a signal to every process of the programs of these tenants, or of all if the list is
    /// empty; with `main`, to their main processes only. Returns when it has been sent.
    ///
    /// # Errors
    /// See [`ClientError`]. If one tenant is unknown, no process gets the signal.
    pub async fn signal(
        &mut self,
        tenants: &[TenantName],
        signal: i32,
        main: bool,
    ) -> Result<Vec<Signalled>, ClientError> {
        let answer = self.varlink.signal(tenants, signal, main).await;
        Ok(self.understand(answer)?.tenants)
    }

    /// Pauses these tenants, or all if the list is empty, or lets them continue. With `reclaim`, also takes the
    /// memory of those that are paused. Returns when that is done.
    ///
    /// # Errors
    /// See [`ClientError`]. If one tenant is unknown, nothing is done to any of them.
    pub async fn freeze(
        &mut self,
        tenants: &[TenantName],
        frozen: bool,
        reclaim: bool,
    ) -> Result<Vec<Frozen>, ClientError> {
        let answer = self.varlink.freeze(tenants, frozen, reclaim).await;
        Ok(self.understand(answer)?.tenants)
    }

    /// Sets limits of a running tenant until it stops, each as `LIMIT=VALUE`; without a value it is taken back. With
    /// `reset`, all that were set are taken back first. Returns when the kernel has confirmed it.
    ///
    /// # Errors
    /// See [`ClientError`].
    pub async fn set(
        &mut self,
        tenant: &TenantName,
        limits: &[String],
        reset: bool,
    ) -> Result<LimitsSet, ClientError> {
        let answer = self.varlink.set(tenant, limits, reset).await;
        self.understand(answer)
    }

    /// Makes the programs of these tenants, or of all if the list is empty, read their configuration
    /// again, as `[app.reload]` of the manifest says. Returns when that is done.
    ///
    /// # Errors
    /// See [`ClientError`]. If one tenant is unknown, nothing is done to any of them.
    pub async fn reload_app(
        &mut self,
        tenants: &[TenantName],
    ) -> Result<Vec<AppReloaded>, ClientError> {
        let answer = self.varlink.reload_app(tenants).await;
        Ok(self.understand(answer)?.tenants)
    }

    /// Mends what of these tenants, or of all if the list is empty, differs from the plan, as far as it can be while
    /// they run. Returns when that is done.
    ///
    /// # Errors
    /// See [`ClientError`]. If one tenant is unknown, nothing is mended.
    pub async fn repair(&mut self, tenants: &[TenantName]) -> Result<RepairedList, ClientError> {
        let answer = self.varlink.repair(tenants).await;
        self.understand(answer)
    }

    /// Ends the supervisor and keeps its tenants running. Returns when the supervisor has accepted
    /// the request; it is complete once the supervisor's process has exited.
    ///
    /// # Errors
    /// See [`ClientError`].
    pub async fn detach(&mut self) -> Result<(), ClientError> {
        follow!(self.detach())
    }

    /// Makes the supervisor read its manifest again and apply it. Returns the changes that this
    /// causes. With `expect`, the [`hash`](Changes::hash) of changes that [`Connection::diff`]
    /// returned, it applies exactly those changes or none.
    ///
    /// # Errors
    /// See [`ClientError`]. On [`ClientError::BadManifest`], [`ClientError::Refused`] and
    /// [`ClientError::NoHashes`] nothing was changed.
    pub async fn reload(&mut self, expect: Option<&str>) -> Result<Changes, ClientError> {
        // An older supervisor does not know the parameter, and closes the connection. It also
        // returns no hash, by which it is recognized first.
        if expect.is_some() {
            let changes = self.diff().await?;
            if changes.hash.is_none() && changes.fixed.is_empty() {
                let app = self.app.clone();
                return Err(ClientError::NoHashes { app });
            }
        }
        follow!(self.reload(expect))
    }

    /// Returns the changes that [`Connection::reload`] would make.
    ///
    /// # Errors
    /// See [`ClientError`].
    pub async fn diff(&mut self) -> Result<Changes, ClientError> {
        follow!(self.diff())
    }

    /// Returns the path of the supervisor's manifest.
    ///
    /// # Errors
    /// See [`ClientError`].
    pub async fn manifest(&mut self) -> Result<PathBuf, ClientError> {
        follow!(self.manifest()).map(|manifest| manifest.path.into())
    }

    /// Removes residue: what bears the application's mark on the host and belongs to no tenant of
    /// its manifest. With `dry_run` it only lists what it would remove.
    ///
    /// # Errors
    /// See [`ClientError`].
    pub async fn collect(&mut self, dry_run: bool) -> Result<Vec<Residue>, ClientError> {
        let answer = self.varlink.collect(dry_run).await;
        Ok(self.understand(answer)?.residue)
    }

    /// The version of the running supervisor.
    ///
    /// # Errors
    /// See [`ClientError`].
    pub async fn version(&mut self) -> Result<String, ClientError> {
        follow!(self.upgraded()).map(|it| it.version)
    }

    /// Makes the supervisor execute the program on disk in its place, and waits until that one
    /// answers. The tenants keep running.
    ///
    /// # Errors
    /// [`ClientError::Refused`] if the new program failed its preflight or was rolled back; the old
    /// one carries on then. See [`ClientError`] for the others.
    pub async fn upgrade(&mut self) -> Result<(Upgrading, Upgraded), ClientError> {
        let begun = self.varlink.upgrade().await;
        let begun = self.understand(begun)?;
        loop {
            // The new program accepts this connection once it serves.
            *self = Self::open(&self.app).await?;
            let answer = self.varlink.upgraded().await;
            let answered = match self.understand(answer) {
                Err(ClientError::Died { .. } | ClientError::Closed { .. }) => continue,
                answered => answered?,
            };
            return match answered.refused {
                None => Ok((begun, answered)),
                Some(reason) => Err(ClientError::Refused {
                    subject: self.app.to_string(),
                    reason: format!(
                        "upgrade to {} refused, {} keeps running: {reason}",
                        begun.to, answered.version
                    ),
                }),
            };
        }
    }

    /// Returns what a process needs to join this tenant's namespaces, as `tenantd exec` does.
    ///
    /// # Errors
    /// See [`ClientError`].
    pub async fn enter(&mut self, tenant: &TenantName) -> Result<ExecTarget, ClientError> {
        let answer = self.varlink.enter(tenant).await;
        self.understand(answer)
    }

    /// Makes what the program of this tenant would have, for a command of this process, and returns what a
    /// process needs to join it. The tenant must be down or have failed, and is so again once this process
    /// or the one that is returned has ended.
    ///
    /// # Errors
    /// See [`ClientError`].
    pub async fn exec_offline(
        &mut self,
        tenant: &TenantName,
        command: &str,
    ) -> Result<ExecTarget, ClientError> {
        let answer = self.varlink.exec_offline(tenant, command).await;
        self.understand(answer)
    }

    /// Whether the supervisor exited without an answer and another one accepts connections. If so,
    /// this becomes a connection to that one.
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
            Err(zlink::Error::UnexpectedEof) => Err(unanswered(app)),
            Err(zlink::Error::Io(error)) if is_closed(&error) => Err(unanswered(app)),
            Err(zlink::Error::Io(source)) => Err(ClientError::Broken { app, source }),
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

/// Why a connection closed without an answer.
fn unanswered(app: AppName) -> ClientError {
    match app::is_served(&app) {
        true => ClientError::Closed { app },
        false => ClientError::Died { app },
    }
}

fn is_closed(error: &io::Error) -> bool {
    matches!(
        error.kind(),
        io::ErrorKind::ConnectionReset | io::ErrorKind::BrokenPipe
    )
}
