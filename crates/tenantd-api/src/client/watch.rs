//! Follows what happens to tenants: a [`Subscription`] returns a snapshot and then each event; a
//! [`Waiting`] returns each tenant when it has reached a state, and [`wait`] returns all of them.
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
//!     }
//! }
//! # }
//! ```

use std::collections::{BTreeMap, BTreeSet, VecDeque};

use serde::Serialize;
use tokio::net::UnixStream;

use super::framing::{Framing, NoReply};
use super::{ClientError, SUCCESSORS_MAX, not_connected};
use crate::wire::varlink::Refusal;
use crate::wire::watch::{EndReason, EventKind, Snapshot, TenantEvent, Update};
use crate::wire::{self, StateWord, TenantStatus};
use tenantd_core::name::{AppName, TenantName};

/// One item of a subscription.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Watched {
    /// The current state of all watched tenants. It comes first, and again whenever another
    /// supervisor program has taken over; events between the two are not delivered.
    Snapshot(Snapshot),
    /// Something happened to one of the tenants.
    Event(Box<TenantEvent>),
}

/// A subscription to the events of tenants. Dropping it ends it.
///
/// Call [`Subscription::next`] without long pauses: a supervisor keeps about a thousand events for
/// a slow subscriber and then ends the subscription with [`EndReason::TooSlow`].
#[derive(Debug)]
pub struct Subscription {
    app: AppName,
    tenants: Vec<TenantName>,
    framing: Framing,
    /// The parts of the snapshot that is being read.
    snapshot: Option<Snapshot>,
    first: Option<Update>,
}

#[derive(Serialize)]
struct Parameters<'a> {
    tenants: &'a [TenantName],
}

impl Subscription {
    /// Watches these tenants. If the list is empty, it watches all tenants, including those that a
    /// reload adds later.
    ///
    /// # Errors
    /// [`ClientError::UnknownTenant`] if a tenant does not exist. See [`ClientError`] for the
    /// others.
    pub async fn open(app: &AppName, tenants: &[TenantName]) -> Result<Self, ClientError> {
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
            match Self::begin(&mut framing, tenants).await {
                Ok(first) => {
                    return Ok(Self {
                        app: app.clone(),
                        tenants: tenants.to_vec(),
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

    async fn begin(framing: &mut Framing, tenants: &[TenantName]) -> Result<Update, NoReply> {
        let method = format!("{}.Watch", wire::INTERFACE);
        framing.call(&method, Parameters { tenants }).await?;
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
                // The new program accepts the next connection, or the old one if the upgrade fails.
                Update::End(EndReason::Upgrading) => {
                    *self = Self::open(&self.app, &self.tenants).await?;
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

/// What [`Waiting`] and [`wait`] wait for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Until {
    /// The tenant is settled, see [`TenantStatus::is_settled`].
    Settled,
    /// The tenant is settled, or an attempt to start it has failed and the next one is scheduled.
    Tried,
}

impl Until {
    fn is_reached(self, tenant: &TenantStatus) -> bool {
        let failed = self == Self::Tried && tenant.state == StateWord::Waiting;
        failed || tenant.is_settled()
    }
}

/// The result of [`wait`].
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Outcome {
    /// The tenants that reached the state, each as it was at that moment, in the order of the
    /// request.
    pub reached: Vec<TenantStatus>,
    /// The tenants that a reload removed meanwhile.
    pub gone: Vec<TenantName>,
}

/// What became of one tenant of a [`Waiting`].
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Became {
    /// It reached the state, and was like this at that moment.
    Reached(Box<TenantStatus>),
    /// A reload removed it.
    Gone(TenantName),
}

/// Waits until each of some tenants has reached a state or was removed, and returns them one by one
/// in the order in which that happens. There is no time limit. Dropping it ends the wait.
///
/// ```no_run
/// # async fn example() -> Result<(), tenantd_api::client::ClientError> {
/// use tenantd_api::client::watch::{Became, Until, Waiting};
///
/// let tenants = ["acme".parse().unwrap()];
/// let mut waiting = Waiting::new(&"wiki".parse().unwrap(), &tenants, Until::Settled);
/// while let Some(became) = waiting.next().await? {
///     match became {
///         Became::Reached(tenant) => println!("{}: {}", tenant.name, tenant.state.word()),
///         Became::Gone(tenant) => println!("{tenant}: removed"),
///     }
/// }
/// # Ok(())
/// # }
/// ```
#[derive(Debug)]
pub struct Waiting {
    app: AppName,
    until: Until,
    left: BTreeSet<TenantName>,
    subscription: Option<Subscription>,
    became: VecDeque<Became>,
}

impl Waiting {
    /// Begins to wait. Nothing is sent before the first call of [`Waiting::next`].
    #[must_use]
    pub fn new(app: &AppName, tenants: &[TenantName], until: Until) -> Self {
        Self {
            app: app.clone(),
            until,
            left: tenants.iter().cloned().collect(),
            subscription: None,
            became: VecDeque::new(),
        }
    }

    /// The tenants that have not been returned yet.
    pub fn left(&self) -> impl Iterator<Item = &TenantName> {
        let became = self.became.iter().map(|became| match became {
            Became::Reached(tenant) => &tenant.name,
            Became::Gone(tenant) => tenant,
        });
        self.left.iter().chain(became)
    }

    /// Returns the next tenant, or `None` after the last one. It is cancel-safe: a call that is
    /// dropped, as by `select!`, loses nothing.
    ///
    /// # Errors
    /// See [`Subscription::next`].
    pub async fn next(&mut self) -> Result<Option<Became>, ClientError> {
        loop {
            if let Some(became) = self.became.pop_front() {
                return Ok(Some(became));
            }
            if self.left.is_empty() {
                return Ok(None);
            }
            let Some(subscription) = &mut self.subscription else {
                self.subscribe().await?;
                continue;
            };
            match subscription.next().await {
                Ok(Watched::Snapshot(snapshot)) => self.look_at(snapshot.tenants),
                Ok(Watched::Event(event)) if event.kind == EventKind::Removed => {
                    self.is_gone(&event.tenant);
                }
                Ok(Watched::Event(event)) => self.look_at(event.status),
                // The supervisor was upgraded, and one of the tenants was removed before or
                // meanwhile: the next subscription is only to those that are left.
                Err(ClientError::UnknownTenant { .. }) => self.subscription = None,
                Err(error) => return Err(error),
            }
        }
    }

    async fn subscribe(&mut self) -> Result<(), ClientError> {
        let names: Vec<TenantName> = self.left.iter().cloned().collect();
        match Subscription::open(&self.app, &names).await {
            Ok(subscription) => self.subscription = Some(subscription),
            // The tenant was removed before the subscription began.
            Err(ClientError::UnknownTenant { app, tenant }) => {
                match names.iter().find(|name| name.as_str() == tenant) {
                    Some(name) => self.is_gone(name),
                    None => return Err(ClientError::UnknownTenant { app, tenant }),
                }
            }
            Err(error) => return Err(error),
        }
        Ok(())
    }

    fn is_gone(&mut self, tenant: &TenantName) {
        if self.left.remove(tenant) {
            self.became.push_back(Became::Gone(tenant.clone()));
        }
    }

    fn look_at(&mut self, tenants: impl IntoIterator<Item = TenantStatus>) {
        for tenant in tenants {
            if self.until.is_reached(&tenant) && self.left.remove(&tenant.name) {
                self.became.push_back(Became::Reached(Box::new(tenant)));
            }
        }
    }
}

/// Waits until each of these tenants has reached the state or was removed. There is no time limit;
/// wrap it in `tokio::time::timeout` for one. An empty list returns at once.
///
/// # Errors
/// See [`Subscription::next`].
pub async fn wait(
    app: &AppName,
    tenants: &[TenantName],
    until: Until,
) -> Result<Outcome, ClientError> {
    let mut waiting = Waiting::new(app, tenants, until);
    let mut reached = BTreeMap::new();
    let mut gone = Vec::new();
    while let Some(became) = waiting.next().await? {
        match became {
            Became::Reached(tenant) => {
                reached.insert(tenant.name.clone(), *tenant);
            }
            Became::Gone(tenant) => gone.push(tenant),
        }
    }
    let reached = tenants.iter().filter_map(|name| reached.remove(name));
    let reached = reached.collect();
    Ok(Outcome { reached, gone })
}
