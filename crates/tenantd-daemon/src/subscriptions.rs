//! Subscriptions: the clients that watch tenants, with a queue of events for each of them.
//!
//! An event is written as JSON once, for all subscribers. Each subscriber has a bounded queue of
//! references to events, which its connection sends. A subscriber that does not read loses its
//! subscription once its queue is full. Neither the loop nor other subscribers wait for it.
//!
//! The snapshot at the begin of a subscription is taken in parts, and the loop continues between
//! two parts. A tenant whose part is not taken yet is *pending*: its events are not queued, because
//! its part will show their result. So each tenant is in the snapshot once, and the subscriber gets
//! each later event of it once.

mod publish;

use std::collections::{BTreeSet, HashSet};
use std::sync::Arc;
use std::time::Duration;

use serde::Serialize;
use tokio::sync::{mpsc, watch};

use tenantd_api::wire::asked::RequestEvent;
use tenantd_api::wire::watch::{EndReason, TenantEvent, Update};
use tenantd_core::name::TenantName;

/// How many events may wait for a subscriber, in addition to [`QUEUE_PER_TENANT`].
const QUEUE_BASE: usize = 1024;

/// How many events may wait for each watched tenant. If all tenants are restarted in one iteration
/// of the loop, that needs less than half of it.
const QUEUE_PER_TENANT: usize = 8;

/// How long a subscriber may take to read its remaining events after its subscription has ended. An
/// upgrade waits for that.
pub const DRAIN_LIMIT: Duration = Duration::from_secs(1);

/// The number of a subscription.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct WatchId(u64);

/// All subscribers.
#[derive(Debug, Default)]
pub struct Subscriptions {
    subscribers: Vec<Subscriber>,
    /// The queues of ended subscriptions, until they are empty.
    removed: Vec<mpsc::Sender<Message>>,
    /// Why all subscriptions end, once the requests are noted that are answered.
    ending: Option<EndReason>,
    last: u64,
}

/// What a subscriber watches besides the tenants that it names.
#[derive(Debug, Clone, Copy, Default)]
pub struct Scope {
    /// Tenants that are added later.
    pub all: bool,
    /// Requests that concern its tenants, or all tenants.
    pub requests: bool,
}

/// An event in the form in which it is sent, shared by all subscribers.
type Message = Arc<[u8]>;

#[derive(Debug)]
struct Subscriber {
    id: WatchId,
    /// The process of the client, for the log.
    pid: Option<i32>,
    /// Whether it is told about requests.
    requests: bool,
    /// The watched tenants; None for all.
    names: Option<BTreeSet<TenantName>>,
    /// The tenants whose part of the snapshot is not taken yet.
    pending: HashSet<TenantName>,
    queue: mpsc::Sender<Message>,
    end: watch::Sender<Option<EndReason>>,
}

/// The receiving side of a subscription, for its connection.
#[derive(Debug)]
pub struct Feed {
    /// The number of the subscription.
    pub id: WatchId,
    /// The tenants of the snapshot, in the order of the manifest.
    pub tenants: Vec<TenantName>,
    queue: mpsc::Receiver<Message>,
    end: watch::Receiver<Option<EndReason>>,
}

impl Subscriptions {
    /// Adds a subscriber that watches `tenants` and what else this scope says.
    pub fn subscribe(&mut self, tenants: Vec<TenantName>, scope: Scope, pid: Option<i32>) -> Feed {
        // Subscribers may have disconnected while there was no event.
        self.subscribers.retain(|one| !one.queue.is_closed());
        self.last += 1;
        let id = WatchId(self.last);
        let room = QUEUE_BASE + QUEUE_PER_TENANT * tenants.len();
        let (queue, queued) = mpsc::channel(room);
        let (end, ended) = watch::channel(None);
        self.subscribers.push(Subscriber {
            id,
            pid,
            requests: scope.requests,
            names: (!scope.all).then(|| tenants.iter().cloned().collect()),
            pending: tenants.iter().cloned().collect(),
            queue,
            end,
        });
        Feed {
            id,
            tenants,
            queue: queued,
            end: ended,
        }
    }

    /// The tenants among these that are pending in a subscription; their later events are queued
    /// from now on. Without a subscription, all of these tenants.
    pub fn part_of(&mut self, id: Option<WatchId>, tenants: Vec<TenantName>) -> Vec<TenantName> {
        let Some(id) = id else {
            return tenants;
        };
        let Some(one) = self.subscribers.iter_mut().find(|one| one.id == id) else {
            return Vec::new();
        };
        let pending = &mut one.pending;
        let part = tenants.into_iter().filter(|name| pending.remove(name));
        part.collect()
    }

    /// Whether there is no subscriber.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.subscribers.is_empty()
    }

    /// Whether any subscriber needs events of this tenant.
    #[must_use]
    pub fn watches(&self, tenant: &TenantName) -> bool {
        self.subscribers.iter().any(|one| one.watches(tenant))
    }

    /// Queues an event for all subscribers that watch its tenant.
    pub fn publish(&mut self, event: TenantEvent) {
        let tenant = event.tenant.clone();
        let update = Update::Event(Box::new(event));
        self.queue(&update, |one| one.watches(&tenant));
    }

    /// Queues a request for all subscribers that watch requests and one of these tenants, which are all
    /// that it names. One that names none concerns all.
    pub fn publish_request(&mut self, request: RequestEvent, tenants: &[TenantName]) {
        let is_watched = |one: &Subscriber| one.requests && one.names_any(tenants);
        if self.subscribers.iter().any(is_watched) {
            self.queue(&Update::Request(Box::new(request)), is_watched);
        }
    }

    fn queue(&mut self, update: &Update, is_for: impl Fn(&Subscriber) -> bool) {
        let message = message(update, true);
        let mut left = Vec::new();
        self.subscribers.retain(|one| {
            if !is_for(one) {
                return true;
            }
            match one.queue.try_send(Arc::clone(&message)) {
                Ok(()) => true,
                Err(mpsc::error::TrySendError::Closed(_)) => false,
                Err(mpsc::error::TrySendError::Full(_)) => {
                    let waiting = one.queue.max_capacity();
                    tracing::warn!(
                        pid = one.pid,
                        waiting,
                        "a subscriber does not read its events: subscription ended"
                    );
                    one.end.send_replace(Some(EndReason::TooSlow));
                    left.push(one.queue.clone());
                    false
                }
            }
        });
        self.removed.retain(|queue| !queue.is_closed());
        self.removed.extend(left);
    }

    /// Removes a tenant from all pending snapshots, because it does not exist any more.
    pub fn remove_pending(&mut self, tenant: &TenantName) {
        for one in &mut self.subscribers {
            one.pending.remove(tenant);
        }
    }

    /// Ends all subscriptions for this reason once [`Subscriptions::end_now`] is called: the request that is
    /// the reason is noted as soon as its connection has its turn.
    pub(crate) fn end_after(&mut self, reason: EndReason) {
        self.ending = Some(reason);
    }

    /// Whether they are to end.
    pub(crate) fn end_soon(&self) -> bool {
        self.ending.is_some()
    }

    /// Ends them, if they are to end.
    pub(crate) fn end_now(&mut self) {
        if let Some(reason) = self.ending.take() {
            self.end(reason);
        }
    }

    /// Ends all subscriptions. Each subscriber gets the reason after its queued events.
    pub fn end(&mut self, reason: EndReason) {
        for one in self.subscribers.drain(..) {
            one.end.send_replace(Some(reason));
            self.removed.push(one.queue);
        }
    }

    /// Waits until the queues of all ended subscriptions are empty, at most [`DRAIN_LIMIT`].
    pub async fn flushed(&mut self) {
        for queue in self.removed.drain(..) {
            queue.closed().await;
        }
    }
}

impl Subscriber {
    fn names_any(&self, tenants: &[TenantName]) -> bool {
        let named = |names: &BTreeSet<TenantName>| tenants.iter().any(|it| names.contains(it));
        tenants.is_empty() || self.names.as_ref().is_none_or(named)
    }

    fn watches(&self, tenant: &TenantName) -> bool {
        let watched = self
            .names
            .as_ref()
            .is_none_or(|names| names.contains(tenant));
        watched && !self.pending.contains(tenant)
    }
}

impl Feed {
    /// The next queued events, up to about this many bytes. None once the subscription has ended
    /// and the queue is empty.
    pub async fn next(&mut self, bytes: usize) -> Option<Vec<u8>> {
        loop {
            let end = *self.end.borrow_and_update();
            // Events are missing, so the queued ones are not sent either.
            if end == Some(EndReason::TooSlow) {
                return None;
            }
            if let Ok(first) = self.queue.try_recv() {
                return Some(self.batch(&first, bytes));
            }
            if end.is_some() {
                return None;
            }
            tokio::select! {
                first = self.queue.recv() => return Some(self.batch(&first?, bytes)),
                ended = self.end.changed() => ended.ok()?,
            }
        }
    }

    fn batch(&mut self, first: &Message, bytes: usize) -> Vec<u8> {
        let mut batch = first.to_vec();
        while batch.len() < bytes
            && let Ok(message) = self.queue.try_recv()
        {
            batch.extend_from_slice(&message);
        }
        batch
    }

    /// Why the subscription has ended, if it has.
    #[must_use]
    pub fn end(&self) -> Option<EndReason> {
        *self.end.borrow()
    }

    /// Completes [`DRAIN_LIMIT`] after the end of the subscription.
    pub fn overdue(&self) -> impl Future<Output = ()> + use<> {
        let mut end = self.end.clone();
        async move {
            // An error means that the loop has ended.
            let _ended = end.wait_for(Option::is_some).await;
            tokio::time::sleep(DRAIN_LIMIT).await;
        }
    }
}

/// A reply in the form in which it is sent.
pub fn message(parameters: &impl Serialize, continues: bool) -> Message {
    #[derive(Serialize)]
    struct Reply<'a, T> {
        parameters: &'a T,
        continues: bool,
    }
    let reply = Reply {
        parameters,
        continues,
    };
    let mut bytes = serde_json::to_vec(&reply).expect("all keys of a reply are strings");
    bytes.push(0);
    bytes.into()
}
