//! The request queue between the control socket and the daemon's loop: requests come in over it one after
//! another, and each takes its answer back by a channel of its own.
//!
//! It decides nothing and knows neither sockets nor tenants. Whoever asked may be gone before the
//! answer is there: a reply that cannot be delivered is dropped, and
//! [`oneshot::Sender::is_closed`] says so before it is worked out.

use std::path::PathBuf;

use tokio::sync::{mpsc, oneshot};

use tenantd_api::wire::{ExecTarget, StateWord, TenantAnswer, Upgraded, Upgrading, Verb};
use tenantd_core::name::TenantName;
use tenantd_core::plan::diff::Changes;
use tenantd_host::network::residue::Survey;

use crate::gc::Sorted;
use crate::requests::programs::Part;
use crate::subscriptions::{Feed, WatchId};

/// How many requests may wait for the loop. Further ones wait in their connections.
const QUEUE: usize = 64;

/// The application has no tenant of this name.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{tenant}: there is no tenant of this name")]
pub struct Unknown {
    /// The name.
    pub tenant: TenantName,
}

/// Why a tenant cannot be joined.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum NoExecTarget {
    /// There is no such tenant.
    #[error(transparent)]
    Unknown(#[from] Unknown),
    /// None of its processes runs.
    #[error("no process of it runs: it is {}", .0.word())]
    Down(StateWord),
    /// It runs, but something that is needed to join it is not known.
    #[error("{0}")]
    Lost(String),
}

/// Why nothing was reloaded. Nothing was changed either.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum NoReload {
    /// The manifest has problems: all of them, as a person reads them.
    #[error("{0}")]
    BadManifest(String),
    /// It is good, and cannot be applied.
    #[error("{0}")]
    Refused(String),
    /// The supervisor is about to end, or another program to take its place: that one can be asked.
    #[error("the supervisor is about to end")]
    Closed,
}

/// One request. An empty list of tenants means all of them; a list with an unknown name is
/// answered by that name, and then nothing was done to any of them.
#[derive(Debug)]
pub enum Request {
    /// Which tenants are these, in the order of the manifest where all are meant?
    Names {
        /// Which.
        tenants: Vec<TenantName>,
        /// Where the answer goes.
        reply: oneshot::Sender<Result<Vec<TenantName>, Unknown>>,
    },
    /// What is the state of these tenants? Those that are not there are left out.
    Part {
        /// Which.
        tenants: Vec<TenantName>,
        /// The subscription whose snapshot this is a part of.
        watch: Option<WatchId>,
        /// Where the answer goes.
        reply: oneshot::Sender<Part>,
    },
    /// Tell what happens to these tenants from now on.
    Watch {
        /// Which.
        tenants: Vec<TenantName>,
        /// The process that asks.
        pid: Option<i32>,
        /// Where the subscription goes.
        reply: oneshot::Sender<Result<Feed, Unknown>>,
    },
    /// Start, stop or restart these tenants.
    Act {
        /// What to do.
        verb: Verb,
        /// To which.
        tenants: Vec<TenantName>,
        /// Whether that is to outlive the supervisor's end and a reboot.
        permanent: bool,
        /// Where the answers go, one per tenant.
        reply: oneshot::Sender<Result<Vec<TenantAnswer>, Unknown>>,
    },
    /// End, and let the tenants go on.
    Detach {
        /// Told once it is begun.
        reply: oneshot::Sender<Result<(), Closed>>,
    },
    /// Read the manifest again and do what is different.
    Reload {
        /// Where the changes go, once they have begun.
        reply: oneshot::Sender<Result<Changes, NoReload>>,
    },
    /// Read the manifest again and say what is different.
    Diff {
        /// Where the changes go.
        reply: oneshot::Sender<Result<Changes, NoReload>>,
    },
    /// Which manifest is it that a reload reads?
    Manifest {
        /// Where its path goes.
        reply: oneshot::Sender<PathBuf>,
    },
    /// Sort what is left over, and take it but for its links.
    Collect {
        /// What a look at all links found.
        survey: Survey,
        /// Whether nothing is to be taken.
        dry_run: bool,
        /// Where the answer goes.
        reply: oneshot::Sender<Sorted>,
    },
    /// Try the program on disk, and execute it if it would serve.
    Upgrade {
        /// Where the end of the preflight goes, or why it would not serve.
        reply: oneshot::Sender<Result<Upgrading, String>>,
    },
    /// Which program answers?
    Upgraded {
        /// Where the answer goes.
        reply: oneshot::Sender<Upgraded>,
    },
    /// How is this tenant joined?
    Enter {
        /// Which.
        tenant: TenantName,
        /// Where the answer goes.
        reply: oneshot::Sender<Result<ExecTarget, NoExecTarget>>,
    },
}

/// The loop has ended, or dropped the request: the supervisor is shutting down.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("the supervisor is shutting down")]
pub struct Closed;

/// The side of the request queue that asks.
#[derive(Debug, Clone)]
pub struct RequestQueue {
    sender: mpsc::Sender<Request>,
}

/// Opens a request queue: the side that asks, and what the loop reads from.
#[must_use]
pub fn open() -> (RequestQueue, mpsc::Receiver<Request>) {
    let (sender, received) = mpsc::channel(QUEUE);
    (RequestQueue { sender }, received)
}

impl RequestQueue {
    /// Puts one request and waits for its answer.
    ///
    /// # Errors
    /// [`Closed`] if the loop will not answer any more.
    pub async fn send<T>(
        &self,
        request: impl FnOnce(oneshot::Sender<T>) -> Request,
    ) -> Result<T, Closed> {
        let (reply, answer) = oneshot::channel();
        self.sender.send(request(reply)).await.map_err(|_| Closed)?;
        answer.await.map_err(|_| Closed)
    }
}
