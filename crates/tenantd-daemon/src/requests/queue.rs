//! The request queue between the control socket and the loop. Each request contains a channel for
//! its answer.
//!
//! If the client disconnects before the answer is ready, the answer is dropped. Before preparing an
//! expensive answer, [`oneshot::Sender::is_closed`] tells whether a client waits for it.

use std::path::PathBuf;

use tokio::sync::{mpsc, oneshot};

use tenantd_api::wire::{
    AppReloaded, ExecTarget, Signalled, StateWord, TenantAnswer, Upgraded, Upgrading, Verb,
};
use tenantd_core::name::TenantName;
use tenantd_core::plan::diff::Changes;
use tenantd_core::supervisor::offline::Offline;
use tenantd_host::network::residue::Survey;

use crate::gc::Sorted;
use crate::requests::programs::Part;
use crate::subscriptions::{Feed, WatchId};

/// How many requests may wait for the loop. Further requests wait in their connections.
const QUEUE: usize = 64;

/// The application has no tenant of this name.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{tenant}: no tenant of this name")]
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
    /// No process of it runs.
    #[error("not running: it is {}", .0.word())]
    Down(StateWord),
    /// It runs, but something that is needed to join it is unknown.
    #[error("{0}")]
    Lost(String),
}

/// Why a reload was refused. Nothing was changed.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum NoReload {
    /// The manifest has problems: the text lists all of them.
    #[error("{0}")]
    BadManifest(String),
    /// The manifest is valid, but a running supervisor cannot apply it.
    #[error("{0}")]
    Refused(String),
    /// The changes are not those that the request expects.
    #[error(
        "the changes are not those with the hash {expected} ({}), nothing was changed: run \
         `tenantd diff` again", now(.found.as_deref())
    )]
    OtherChanges {
        /// The hash that the request expects.
        expected: String,
        /// The present hash; `None` if there are no changes.
        found: Option<String>,
    },
    /// The supervisor is about to end or to be upgraded. Ask the next one.
    #[error("the supervisor is shutting down")]
    Closed,
}

fn now(found: Option<&str>) -> String {
    match found {
        Some(found) => format!("now they have the hash {found}"),
        None => "now there are none".to_owned(),
    }
}

/// One request. An empty list of tenants means all tenants. A list with an unknown name is refused
/// as a whole, and the answer contains that name.
#[derive(Debug)]
pub enum Request {
    /// Return the names of these tenants; of all, in the order of the manifest.
    Names {
        /// The tenants.
        tenants: Vec<TenantName>,
        /// Receives the answer.
        reply: oneshot::Sender<Result<Vec<TenantName>, Unknown>>,
    },
    /// Return the state of these tenants. Unknown ones are left out.
    Part {
        /// The tenants.
        tenants: Vec<TenantName>,
        /// The subscription whose snapshot this is a part of.
        watch: Option<WatchId>,
        /// Receives the answer.
        reply: oneshot::Sender<Part>,
    },
    /// Subscribe to the events of these tenants.
    Watch {
        /// The tenants.
        tenants: Vec<TenantName>,
        /// The process of the client.
        pid: Option<i32>,
        /// Receives the subscription.
        reply: oneshot::Sender<Result<Feed, Unknown>>,
    },
    /// Start, stop or restart these tenants.
    Act {
        /// The verb.
        verb: Verb,
        /// The tenants.
        tenants: Vec<TenantName>,
        /// Whether the want also holds after the supervisor's end and a reboot.
        permanent: bool,
        /// Receives the answers, one per tenant.
        reply: oneshot::Sender<Result<Vec<TenantAnswer>, Unknown>>,
    },
    /// Send a signal to the programs of these tenants.
    Signal {
        /// The tenants.
        tenants: Vec<TenantName>,
        /// The signal, and whether only the main process gets it.
        signal: (i32, bool),
        /// Receives the answers, one per tenant.
        reply: oneshot::Sender<Result<Vec<Signalled>, Unknown>>,
    },
    /// Make the programs of these tenants read their configuration again.
    ReloadApp {
        /// The tenants.
        tenants: Vec<TenantName>,
        /// Receives the answers, one per tenant, once all is done.
        reply: oneshot::Sender<Result<Vec<AppReloaded>, Unknown>>,
    },
    /// Detach: end the supervisor and leave the tenants running.
    Detach {
        /// Answered once it has begun.
        reply: oneshot::Sender<Result<(), Closed>>,
    },
    /// Read the manifest again and apply the changes.
    Reload {
        /// The hash of the changes that the client has seen. Others are not applied.
        expect: Option<String>,
        /// Receives the changes, once they have begun.
        reply: oneshot::Sender<Result<Changes, NoReload>>,
    },
    /// Read the manifest again and return the changes.
    Diff {
        /// Receives the changes.
        reply: oneshot::Sender<Result<Changes, NoReload>>,
    },
    /// Return the path of the manifest.
    Manifest {
        /// Receives the path.
        reply: oneshot::Sender<PathBuf>,
    },
    /// Find residue, and remove all of it except links.
    Collect {
        /// The links of the host.
        survey: Survey,
        /// Whether to remove nothing.
        dry_run: bool,
        /// Receives the answer.
        reply: oneshot::Sender<Sorted>,
    },
    /// Run the preflight of the program on disk, and execute it if that succeeds.
    Upgrade {
        /// Receives the versions once the preflight has succeeded, or why it failed.
        reply: oneshot::Sender<Result<Upgrading, String>>,
    },
    /// Return the version of this program and the result of the last upgrade.
    Upgraded {
        /// Receives the answer.
        reply: oneshot::Sender<Upgraded>,
    },
    /// Launch what a command needs in this tenant, which is not up, until the client ends.
    Offline(AskedOffline),
    /// Return what a process needs to join this tenant.
    Enter {
        /// The tenant.
        tenant: TenantName,
        /// Receives the answer.
        reply: oneshot::Sender<Result<ExecTarget, NoExecTarget>>,
    },
}

/// A command for a tenant that is not up.
#[derive(Debug)]
pub struct AskedOffline {
    /// The tenant.
    pub tenant: TenantName,
    /// The client and the command.
    pub offline: Offline,
    /// Receives what a process needs to join the tenant.
    pub reply: oneshot::Sender<Result<ExecTarget, NoExecTarget>>,
}

impl Request {
    /// Whether it only reads the state, and reveals nothing but that: members of the groups in
    /// `[control] read` may send it.
    fn is_for_readers(&self) -> bool {
        match self {
            Request::Names { .. }
            | Request::Part { .. }
            | Request::Watch { .. }
            | Request::Manifest { .. }
            | Request::Upgraded { .. } => true,
            // The values of a diff and of an exec target contain environments.
            Request::Act { .. }
            | Request::Signal { .. }
            | Request::ReloadApp { .. }
            | Request::Detach { .. }
            | Request::Reload { .. }
            | Request::Diff { .. }
            | Request::Collect { .. }
            | Request::Upgrade { .. }
            | Request::Offline(_)
            | Request::Enter { .. } => false,
        }
    }
}

/// Why a request has no answer.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum NoAnswer {
    /// See [`Closed`].
    #[error(transparent)]
    Closed(#[from] Closed),
    /// The client may only read the state.
    #[error("user {uid} may only read the state")]
    ReadOnly {
        /// The user of the client.
        uid: u32,
    },
}

/// The loop has ended or dropped the request: the supervisor is shutting down.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("the supervisor is shutting down")]
pub struct Closed;

/// The sending side of the request queue.
#[derive(Debug, Clone)]
pub struct RequestQueue {
    sender: mpsc::Sender<Request>,
    /// The user, if only requests that read the state are accepted.
    reader: Option<u32>,
}

/// Opens a request queue: the sending side, and the side that the loop reads.
#[must_use]
pub fn open() -> (RequestQueue, mpsc::Receiver<Request>) {
    let (sender, received) = mpsc::channel(QUEUE);
    let reader = None;
    (RequestQueue { sender, reader }, received)
}

impl RequestQueue {
    /// The queue for a user who may only read the state.
    #[must_use]
    pub fn for_reader(&self, uid: u32) -> Self {
        Self {
            sender: self.sender.clone(),
            reader: Some(uid),
        }
    }

    /// Checks that requests that change something are accepted.
    ///
    /// # Errors
    /// [`NoAnswer::ReadOnly`] if they are not.
    pub fn may_change(&self) -> Result<(), NoAnswer> {
        match self.reader {
            None => Ok(()),
            Some(uid) => Err(NoAnswer::ReadOnly { uid }),
        }
    }

    /// Sends one request and waits for its answer.
    ///
    /// # Errors
    /// [`Closed`] if the loop will not answer, [`NoAnswer::ReadOnly`] if the client may not send
    /// this request.
    pub async fn send<T>(
        &self,
        request: impl FnOnce(oneshot::Sender<T>) -> Request,
    ) -> Result<T, NoAnswer> {
        let (reply, answer) = oneshot::channel();
        let request = request(reply);
        if !request.is_for_readers() {
            self.may_change()?;
        }
        self.sender.send(request).await.map_err(|_| Closed)?;
        Ok(answer.await.map_err(|_| Closed)?)
    }
}
