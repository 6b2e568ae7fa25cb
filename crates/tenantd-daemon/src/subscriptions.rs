//! Subscriptions: who watches which tenants, and what each of them has yet to be told.
//!
//! An event is written as JSON once, however many watch, and each subscriber has a bounded queue of
//! references to it, which its connection empties. One that does not read loses its subscription
//! once its queue is full; neither the loop nor the others wait for it.
//!
//! The snapshot is taken in parts, between which the loop goes on. A tenant whose part has yet to be
//! taken is *pending*: its events are left out, as the part will show what came of them. So each
//! tenant is in the snapshot once, and no later event of it is missed or told twice.

mod publish;

use std::collections::{BTreeSet, HashSet};
use std::sync::Arc;
use std::time::Duration;

use serde::Serialize;
use tokio::sync::{mpsc, watch};

use tenantd_api::wire::watch::{EndReason, TenantEvent, Update};
use tenantd_core::name::TenantName;

/// How many events may wait for a subscriber, whatever it watches.
const QUEUE_BASE: usize = 1024;

/// How many more may wait for each tenant that it watches: all of them may be restarted in one iteration
/// of the loop, which takes less than half of that.
const QUEUE_PER_TENANT: usize = 8;

/// How long a subscriber has to read what is left once its subscription has ended. An upgrade waits
/// for it.
pub const FAREWELL: Duration = Duration::from_secs(1);

/// Which subscription is meant.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct WatchId(u64);

/// All subscribers.
#[derive(Debug, Default)]
pub struct Subscriptions {
    subscribers: Vec<Subscriber>,
    /// Those whose subscription has ended, until they have been told.
    removed: Vec<mpsc::Sender<Message>>,
    last: u64,
}

/// An event as it is sent, shared by all who are told.
type Message = Arc<[u8]>;

#[derive(Debug)]
struct Subscriber {
    id: WatchId,
    /// The process that watches, for the log.
    pid: Option<i32>,
    /// Whom it watches: these, or all.
    names: Option<BTreeSet<TenantName>>,
    /// Whose part of the snapshot has yet to be taken.
    pending: HashSet<TenantName>,
    queue: mpsc::Sender<Message>,
    end: watch::Sender<Option<EndReason>>,
}

/// What a connection has of its subscription.
#[derive(Debug)]
pub struct Feed {
    /// Which subscription it is.
    pub id: WatchId,
    /// The tenants of the snapshot, in the order of the manifest.
    pub tenants: Vec<TenantName>,
    queue: mpsc::Receiver<Message>,
    end: watch::Receiver<Option<EndReason>>,
}

impl Subscriptions {
    /// Takes on a subscriber that watches `tenants`, and, if it watches `all`, those that are added
    /// later too.
    pub fn subscribe(&mut self, tenants: Vec<TenantName>, all: bool, pid: Option<i32>) -> Feed {
        // Those that left while nothing happened.
        self.subscribers.retain(|one| !one.queue.is_closed());
        self.last += 1;
        let id = WatchId(self.last);
        let room = QUEUE_BASE + QUEUE_PER_TENANT * tenants.len();
        let (queue, queued) = mpsc::channel(room);
        let (end, ended) = watch::channel(None);
        self.subscribers.push(Subscriber {
            id,
            pid,
            names: (!all).then(|| tenants.iter().cloned().collect()),
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

    /// Which of these tenants belong into the snapshot of a subscription: what happens to them from
    /// now on is told as events. All of them, where it is not a subscription that is answered.
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

    /// Whether anybody is to be told of this tenant: if not, there is no need to say it.
    #[must_use]
    pub fn watches(&self, tenant: &TenantName) -> bool {
        self.subscribers.iter().any(|one| one.is_told_of(tenant))
    }

    /// Tells all who watch the tenant.
    pub fn publish(&mut self, event: TenantEvent) {
        let tenant = event.tenant.clone();
        let message = message(&Update::Event(Box::new(event)), true);
        let mut left = Vec::new();
        self.subscribers.retain(|one| {
            if !one.is_told_of(&tenant) {
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
                        "a subscriber does not read its events: its subscription is ended"
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

    /// A tenant is gone: it is in no snapshot whose part of it has yet to be taken.
    pub fn forget(&mut self, tenant: &TenantName) {
        for one in &mut self.subscribers {
            one.pending.remove(tenant);
        }
    }

    /// Ends all subscriptions. Each subscriber is told why, after what waits for it.
    pub fn end(&mut self, reason: EndReason) {
        for one in self.subscribers.drain(..) {
            one.end.send_replace(Some(reason));
            self.removed.push(one.queue);
        }
    }

    /// Waits until all whose subscription has ended have been told, or have had [`FAREWELL`] for it.
    pub async fn told(&mut self) {
        for queue in self.removed.drain(..) {
            queue.closed().await;
        }
    }
}

impl Subscriber {
    fn is_told_of(&self, tenant: &TenantName) -> bool {
        let watched = self
            .names
            .as_ref()
            .is_none_or(|names| names.contains(tenant));
        watched && !self.pending.contains(tenant)
    }
}

impl Feed {
    /// The next events, as they are sent: as many as wait, up to about this many bytes. None, once
    /// the subscription has ended and there is nothing left to be told.
    pub async fn next(&mut self, bytes: usize) -> Option<Vec<u8>> {
        loop {
            let end = *self.end.borrow_and_update();
            // What it missed cannot be made up for by what it has not missed.
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

    /// Why the subscription ended, if it has.
    #[must_use]
    pub fn end(&self) -> Option<EndReason> {
        *self.end.borrow()
    }

    /// Ends [`FAREWELL`] after the subscription; never, while it goes on.
    pub fn overdue(&self) -> impl Future<Output = ()> + use<> {
        let mut end = self.end.clone();
        async move {
            // Without a sender there is no loop any more.
            let _ended = end.wait_for(Option::is_some).await;
            tokio::time::sleep(FAREWELL).await;
        }
    }
}

/// A reply as it goes over the socket.
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
    let mut bytes = serde_json::to_vec(&reply).expect("what is sent has names for keys");
    bytes.push(0);
    bytes.into()
}
