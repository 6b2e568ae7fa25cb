//! Watching tenants: a subscription, and waiting by it.
//!
//! ```no_run
//! # async fn example() -> Result<(), tenantd::client::ClientError> {
//! use tenantd::client::watch::{Subscription, Watched};
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

use std::collections::{BTreeMap, BTreeSet};

use serde::Serialize;
use tokio::net::UnixStream;

use super::framing::{Framing, NoReply};
use super::{ClientError, SUCCESSORS_MAX, not_connected};
use crate::wire::varlink::Refusal;
use crate::wire::watch::{EndReason, EventKind, Snapshot, TenantEvent, Update};
use crate::wire::{self, StateWord, TenantStatus};
use tenantd_core::name::{AppName, TenantName};

/// What a subscription says.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Watched {
    /// All tenants that are watched, as they are now. It comes first, and again whenever another
    /// supervisor has taken over: then it stands for all that happened in between.
    Snapshot(Snapshot),
    /// Something happened to one of them.
    Event(Box<TenantEvent>),
}

/// A subscription to what happens to tenants. It ends when it is dropped.
///
/// Read it without delay: a supervisor keeps about a thousand events for a subscriber that does not
/// read, and then ends the subscription with [`EndReason::TooSlow`].
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
    /// Watches these tenants, or all, those that will be added included, if none is named.
    ///
    /// # Errors
    /// See [`ClientError`]; [`ClientError::UnknownTenant`] where one of them is not there.
    pub async fn open(app: &AppName, tenants: &[TenantName]) -> Result<Self, ClientError> {
        let mut before = None;
        for _ in 0..SUCCESSORS_MAX {
            let stream = match UnixStream::connect(wire::control_socket(app)).await {
                Ok(stream) => stream,
                // There is no next one: what the last one said counts.
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
                // It is about to end, or to be upgraded.
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

    /// What comes next. Given up, as in a `select!`, it can be called again: nothing is lost.
    ///
    /// It follows the supervisor over an upgrade.
    ///
    /// # Errors
    /// [`ClientError::SubscriptionEnded`] with the reason, where the supervisor gave one;
    /// [`ClientError::Lost`] where it did not, as when it was killed.
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
                // Who connects now is served by the next one, or by the same one if that fails.
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

/// How far a tenant is waited for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Until {
    /// Until nothing more will happen to it, see [`TenantStatus::is_settled`].
    Settled,
    /// As [`Until::Settled`], or until a try has failed and the next one is waited for.
    Tried,
}

impl Until {
    fn is_reached(self, tenant: &TenantStatus) -> bool {
        let failed = self == Self::Tried && tenant.state == StateWord::Waiting;
        failed || tenant.is_settled()
    }
}

/// What became of the tenants that were waited for.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Outcome {
    /// Those that came so far, as they were then, in the order asked for.
    pub reached: Vec<TenantStatus>,
    /// Those that are gone: a reload removed them.
    pub gone: Vec<TenantName>,
}

/// Waits until each of these tenants has come so far, or is gone.
///
/// # Errors
/// See [`Subscription::next`].
pub async fn wait(
    app: &AppName,
    tenants: &[TenantName],
    until: Until,
) -> Result<Outcome, ClientError> {
    let mut names = tenants.to_vec();
    let mut gone = Vec::new();
    while !names.is_empty() {
        match reached(app, &names, until, &mut gone).await {
            // It was gone before it was watched.
            Err(ClientError::UnknownTenant { tenant, .. })
                if names.iter().any(|name| name.as_str() == tenant) =>
            {
                gone.extend(names.extract_if(.., |name| name.as_str() == tenant));
            }
            Err(error) => return Err(error),
            Ok(mut reached) => {
                let reached = names.iter().filter_map(|name| reached.remove(name));
                let reached = reached.collect();
                return Ok(Outcome { reached, gone });
            }
        }
    }
    let reached = Vec::new();
    Ok(Outcome { reached, gone })
}

async fn reached(
    app: &AppName,
    names: &[TenantName],
    until: Until,
    gone: &mut Vec<TenantName>,
) -> Result<BTreeMap<TenantName, TenantStatus>, ClientError> {
    let mut subscription = Subscription::open(app, names).await?;
    let mut waited: BTreeSet<TenantName> = names.iter().cloned().collect();
    let mut reached = BTreeMap::new();
    loop {
        let tenants = match subscription.next().await? {
            Watched::Snapshot(snapshot) => snapshot.tenants,
            Watched::Event(event) if event.kind == EventKind::Removed => {
                if waited.remove(&event.tenant) {
                    gone.push(event.tenant);
                }
                Vec::new()
            }
            Watched::Event(event) => event.status.into_iter().collect(),
        };
        for tenant in tenants {
            if until.is_reached(&tenant) && waited.remove(&tenant.name) {
                reached.insert(tenant.name.clone(), tenant);
            }
        }
        if waited.is_empty() {
            return Ok(reached);
        }
    }
}
