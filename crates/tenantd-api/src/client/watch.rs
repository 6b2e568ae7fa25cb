//! Follows what happens to tenants: a [`Subscription`] returns a snapshot and then each event; a
//! [`Waiting`] returns each tenant when it has reached a state, and [`wait`](wait()) returns all of them.
//!
//! ```no_run
//! # async fn example() -> Result<(), tenantd_api::client::ClientError> {
//! use tenantd_api::client::watch::{Subscription, Watched};
//!
//! let mut subscription = Subscription::open(&"wiki".parse().unwrap(), &[]).await?;
//! loop {
//!     match subscription.next().await? {
//!         Watched::Snapshot(snapshot) => println!("{} tenants", snapshot.tenants.len()),
//!         Watched::Event(event) => println!("{}: {}", event.tenant, event.state.word()),
//!         Watched::Request(request) => println!("{}", request.verb),
//!     }
//! }
//! # }
//! ```

use serde::Serialize;
use tokio::net::UnixStream;

use super::framing::{Framing, NoReply};
pub use super::wait::{Became, Outcome, Until, Waiting, wait};
use super::{ClientError, SUCCESSORS_MAX, not_connected};
use crate::wire;
use crate::wire::asked::RequestEvent;
use crate::wire::varlink::Refusal;
use crate::wire::watch::{EndReason, Snapshot, TenantEvent, Update};
use tenantd_core::name::{AppName, TenantName};

/// One item of a subscription.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Watched {
    /// The current state of all watched tenants. It comes first, and again whenever another
    /// supervisor program has taken over; events between the two are not delivered.
    Snapshot(Snapshot),
    /// Something happened to one of the tenants.
    Event(Box<TenantEvent>),
    /// A request was answered that changed something or was refused. Only in a subscription of root that
    /// was opened with [`Subscription::with_requests`].
    Request(Box<RequestEvent>),
}

/// A subscription to the events of tenants. Dropping it ends it.
///
/// Call [`Subscription::next`] without long pauses: a supervisor keeps about a thousand events for
/// a slow subscriber and then ends the subscription with [`EndReason::TooSlow`].
#[derive(Debug)]
pub struct Subscription {
    app: AppName,
    tenants: Vec<TenantName>,
    requests: bool,
    framing: Framing,
    /// The parts of the snapshot that is being read.
    snapshot: Option<Snapshot>,
    first: Option<Update>,
}

#[derive(Serialize)]
struct Parameters<'a> {
    tenants: &'a [TenantName],
    #[serde(skip_serializing_if = "Option::is_none")]
    requests: Option<bool>,
}

impl Subscription {
    /// Watches these tenants. If the list is empty, it watches all tenants, including those that a
    /// reload adds later.
    ///
    /// # Errors
    /// [`ClientError::UnknownTenant`] if a tenant does not exist. See [`ClientError`] for the
    /// others.
    pub async fn open(app: &AppName, tenants: &[TenantName]) -> Result<Self, ClientError> {
        Self::opened(app, tenants, false).await
    }

    /// Watches these tenants, and the requests that concern them or all tenants. Only root is told about
    /// requests: to others this is [`Subscription::open`].
    ///
    /// # Errors
    /// Those of [`Subscription::open`].
    pub async fn with_requests(app: &AppName, tenants: &[TenantName]) -> Result<Self, ClientError> {
        Self::opened(app, tenants, true).await
    }

    async fn opened(
        app: &AppName,
        tenants: &[TenantName],
        requests: bool,
    ) -> Result<Self, ClientError> {
        let mut before = None;
        for _ in 0..SUCCESSORS_MAX {
            let stream = match UnixStream::connect(wire::control_socket(app)).await {
                Ok(stream) => stream,
                // No supervisor has followed: the answer of the last one counts.
                Err(error) => {
                    return Err(match before {
                        Some(before) => Self::failed(app, before),
                        None => not_connected(app, error),
                    });
                }
            };
            let mut framing = Framing::new(stream);
            match Self::begin(&mut framing, tenants, requests).await {
                Ok(first) => {
                    return Ok(Self {
                        app: app.clone(),
                        tenants: tenants.to_vec(),
                        requests,
                        framing,
                        snapshot: None,
                        first: Some(first),
                    });
                }
                // The supervisor is about to exit, or to be upgraded.
                Err(error @ (NoReply::Closed | NoReply::Refused(Refusal::ShuttingDown))) => {
                    before = Some(error);
                }
                Err(error) => return Err(Self::failed(app, error)),
            }
        }
        Err(Self::failed(app, before.unwrap_or(NoReply::Closed)))
    }

    async fn begin(
        framing: &mut Framing,
        tenants: &[TenantName],
        requests: bool,
    ) -> Result<Update, NoReply> {
        let method = format!("{}.Watch", wire::INTERFACE);
        let requests = requests.then_some(true);
        let parameters = Parameters { tenants, requests };
        framing.call(&method, parameters).await?;
        framing.reply().await
    }

    /// Returns the next item. It is cancel-safe: a call that is dropped, as by `select!`, loses
    /// nothing. It follows the supervisor through an upgrade.
    ///
    /// # Errors
    /// [`ClientError::SubscriptionEnded`] with the reason, if the supervisor gave one;
    /// [`ClientError::Lost`] if it did not, as when it was killed.
    pub async fn next(&mut self) -> Result<Watched, ClientError> {
        loop {
            let update = match self.first.take() {
                Some(first) => first,
                None => match self.framing.reply().await {
                    Ok(update) => update,
                    Err(NoReply::Closed) => {
                        let app = self.app.clone();
                        return Err(ClientError::Lost { app });
                    }
                    Err(error) => return Err(Self::failed(&self.app, error)),
                },
            };
            match update {
                Update::Snapshot(part) => {
                    let complete = part.complete;
                    let snapshot = match self.snapshot.take() {
                        None => part,
                        Some(before) => joined(before, part),
                    };
                    if complete {
                        return Ok(Watched::Snapshot(snapshot));
                    }
                    self.snapshot = Some(snapshot);
                }
                Update::Event(event) => return Ok(Watched::Event(event)),
                Update::Request(request) => return Ok(Watched::Request(request)),
                // The new program accepts the next connection, or the old one if the upgrade fails.
                Update::End(EndReason::Upgrading) => {
                    *self = Self::opened(&self.app, &self.tenants, self.requests).await?;
                }
                Update::End(reason) => {
                    let app = self.app.clone();
                    return Err(ClientError::SubscriptionEnded { app, reason });
                }
            }
        }
    }

    fn failed(app: &AppName, error: NoReply) -> ClientError {
        let app = app.clone();
        match error {
            NoReply::Closed => ClientError::Died { app },
            NoReply::Io(source) => ClientError::Connect { app, source },
            NoReply::Refused(refusal) => ClientError::refused(app, refusal),
            NoReply::Nonsense(source) => ClientError::Protocol {
                app,
                source: source.into(),
            },
        }
    }
}

fn joined(mut before: Snapshot, part: Snapshot) -> Snapshot {
    before.tenants.extend(part.tenants);
    before.complete = part.complete;
    before
}
