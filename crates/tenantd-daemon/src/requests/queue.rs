//! The request queue between the control socket and the loop. Each request contains a channel for
//! its answer.
//!
//! If the client disconnects before the answer is ready, the answer is dropped. Before preparing an
//! expensive answer, [`oneshot::Sender::is_closed`] tells whether a client waits for it.

mod needs;

use std::collections::BTreeSet;
use std::path::PathBuf;

use tokio::sync::{mpsc, oneshot, watch};

use tenantd_api::wire::varlink::RepairedList;
use tenantd_api::wire::{
    AppReloaded, ExecTarget, Frozen, LimitsSet, LogPlace, Signalled, StateWord, TenantAnswer,
    Upgraded, Upgrading, Verb,
};
use tenantd_core::cgroup::by_hand::Typed;
use tenantd_core::name::TenantName;
use tenantd_core::plan::diff::Changes;
use tenantd_core::rights::Right;
use tenantd_core::supervisor::offline::Offline;

use needs::Needs;
pub(crate) use needs::right_to;

use crate::gc;
use crate::requests::control::grants::{Grants, Missing};
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
        "nothing was changed, because the changes are not those with the hash {expected} ({}): run \
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
        /// Whether requests are asked for.
        requests: bool,
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
        /// The engine that sends it, see `engine` of the manifest.
        engine: Option<String>,
        /// What the client may do, unless it is root.
        grants: Option<Grants>,
        /// Receives the answers, one per tenant.
        reply: oneshot::Sender<Result<Vec<TenantAnswer>, Unknown>>,
    },
    /// Allow the next start of these tenants to take over a datastore.
    AllowTakeover(Vec<TenantName>, oneshot::Sender<Result<(), Unknown>>),
    /// Send a signal to the programs of these tenants.
    Signal {
        /// The tenants.
        tenants: Vec<TenantName>,
        /// The signal, and whether only the main process gets it.
        signal: (i32, bool),
        /// Receives the answers, one per tenant.
        reply: oneshot::Sender<Result<Vec<Signalled>, Unknown>>,
    },
    /// Pause these tenants, or let them continue: whether they are to be frozen, and their memory taken. Then who
    /// receives the answers, one per tenant, once all is done.
    Freeze(
        Vec<TenantName>,
        (bool, bool),
        oneshot::Sender<Result<Vec<Frozen>, Unknown>>,
    ),
    /// Set limits of a tenant by hand.
    Set(AskedSet),
    /// Make the programs of these tenants read their configuration again.
    ReloadApp {
        /// The tenants.
        tenants: Vec<TenantName>,
        /// Receives the answers, one per tenant, once all is done.
        reply: oneshot::Sender<Result<Vec<AppReloaded>, Unknown>>,
    },
    /// Return the names of these tenants, and where their logs are, for a client that may read them.
    Logs {
        /// The tenants.
        tenants: Vec<TenantName>,
        /// Receives the answer.
        reply: oneshot::Sender<Result<(Vec<TenantName>, LogPlace), Unknown>>,
    },
    /// Mend what of these tenants differs from the plan.
    Repair {
        /// The tenants.
        tenants: Vec<TenantName>,
        /// Receives the answers, one per tenant, once all is done.
        reply: oneshot::Sender<Result<RepairedList, Unknown>>,
    },
    /// Return what a command of a client without root needs to join this tenant.
    Exec(AskedExec),
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
    /// Return the tenants beside whose resources residue is looked for.
    Planned {
        /// Receives them.
        reply: oneshot::Sender<gc::Beside>,
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

/// Limits of one tenant that are to be set by hand.
#[derive(Debug)]
pub struct AskedSet {
    /// The tenant alone.
    pub tenants: Vec<TenantName>,
    /// The limits, or why they are none.
    pub typed: Result<Vec<Typed>, String>,
    /// Whether all that were set are taken back first.
    pub reset: bool,
    /// Receives the answer, once the kernel has confirmed it.
    pub reply: oneshot::Sender<Result<LimitsSet, Unknown>>,
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

/// A command of a client without root.
#[derive(Debug)]
pub struct AskedExec {
    /// The tenant alone.
    pub tenants: Vec<TenantName>,
    /// Whether a user is refused that other tenants have too.
    pub apart: bool,
    /// Receives what a process needs to join the tenant.
    pub reply: oneshot::Sender<Result<ExecTarget, NoExecTarget>>,
}

/// Why a request has no answer.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum NoAnswer {
    /// See [`Closed`].
    #[error(transparent)]
    Closed(#[from] Closed),
    /// The request is for root.
    #[error("user {uid} is not root")]
    ReadOnly {
        /// The user of the client.
        uid: u32,
    },
    /// The groups of the client have not this right.
    #[error("user {uid} has not the right to {right}")]
    NoRight {
        /// The user of the client.
        uid: u32,
        /// The right.
        right: Right,
        /// For this tenant; None: for all.
        tenant: Option<TenantName>,
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
    /// None: root.
    client: Option<Client>,
}

/// A client that is not root.
#[derive(Debug, Clone)]
pub(crate) struct Client {
    pub(crate) uid: u32,
    pub(crate) groups: BTreeSet<u32>,
    /// The grants as they are at each moment.
    pub(crate) grants: watch::Receiver<Grants>,
}

/// Opens a request queue: the sending side, and the side that the loop reads.
#[must_use]
pub fn open() -> (RequestQueue, mpsc::Receiver<Request>) {
    let (sender, received) = mpsc::channel(QUEUE);
    let client = None;
    (RequestQueue { sender, client }, received)
}

impl RequestQueue {
    /// The queue for a client that is not root.
    #[must_use]
    pub(crate) fn of(&self, client: Client) -> Self {
        Self {
            sender: self.sender.clone(),
            client: Some(client),
        }
    }

    /// Checks that the client is root.
    ///
    /// # Errors
    /// [`NoAnswer::ReadOnly`] if it is not.
    pub fn is_root(&self) -> Result<(), NoAnswer> {
        match &self.client {
            None => Ok(()),
            Some(Client { uid, .. }) => Err(NoAnswer::ReadOnly { uid: *uid }),
        }
    }

    /// The client, unless it is root.
    pub(crate) fn client(&self) -> Option<&Client> {
        self.client.as_ref()
    }

    /// Whether the client is not root, and has this right for these tenants.
    pub(crate) fn is_of_operator(&self, right: Right, tenants: &[TenantName]) -> bool {
        self.client.as_ref().is_some_and(|client| {
            let grants = client.grants.borrow().of(&client.groups);
            grants.check(right, &mut tenants.to_vec()).is_ok()
        })
    }

    /// Checks that the client may send this request.
    fn may_send(&self, request: &mut Request) -> Result<(), NoAnswer> {
        let Some(client) = &self.client else {
            return Ok(());
        };
        let (right, tenants) = match request.needs() {
            Needs::Any => return Ok(()),
            Needs::Root => return self.is_root(),
            Needs::Right(right, tenants) => (right, tenants),
        };
        let grants = client.grants.borrow().of(&client.groups);
        let checked = grants.check(right, tenants);
        checked.map_err(|Missing { right, tenant }| NoAnswer::NoRight {
            uid: client.uid,
            right,
            tenant,
        })?;
        if let Request::Act { grants: of, .. } = request {
            *of = Some(grants);
        }
        Ok(())
    }

    /// Sends one request and waits for its answer.
    ///
    /// # Errors
    /// [`Closed`] if the loop will not answer, the others of [`NoAnswer`] if the client may not send
    /// this request.
    pub async fn send<T>(
        &self,
        request: impl FnOnce(oneshot::Sender<T>) -> Request,
    ) -> Result<T, NoAnswer> {
        let (reply, answer) = oneshot::channel();
        let mut request = request(reply);
        self.may_send(&mut request)?;
        self.sender.send(request).await.map_err(|_| Closed)?;
        Ok(answer.await.map_err(|_| Closed)?)
    }
}
