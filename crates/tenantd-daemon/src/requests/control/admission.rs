//! Who may use the control socket, for what, and with how many connections.
//!
//! Operators are root and the supervisor's own user: they may do everything. Readers are the
//! members of the groups in `[control]`: they may read the state, or what their groups may do with
//! tenants. The permissions of the socket let only these connect, and the credentials of each peer are
//! checked again, because a reload may have changed the groups. No process inside a tenant is admitted.
//!
//! Operators and readers have separate places, and only a part of them may be subscriptions: neither
//! readers nor clients that watch can keep an operator's command from being served.

use std::cell::RefCell;
use std::collections::{BTreeMap, BTreeSet};
use std::io;
use std::os::fd::{AsFd, BorrowedFd};
use std::path::{Path, PathBuf};
use std::rc::Rc;
use std::sync::Arc;

use tokio::net::UnixStream;
use tokio::sync::{OwnedSemaphorePermit, Semaphore, watch};
use zlink::connection::socket::{FetchPeerCredentials, UnixSocket};

use crate::audit::Audit;
use crate::requests::control::deputies::Deputies;
use crate::requests::control::grants::Grants;
use crate::requests::control::judge::Judge;
use crate::requests::queue::Client;
use tenantd_api::wire::varlink::Refusal;
use tenantd_host::{acl, inbox};

/// How many connections one kind of peers may have.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Places {
    /// All connections. Each may hold [`REQUEST_MAX`](tenantd_api::wire::REQUEST_MAX) bytes.
    pub connections: u32,
    /// Those among them that may be subscriptions. The others are left for requests, which end.
    pub subscriptions: u32,
    /// The connections of one user.
    pub per_user: u32,
}

/// The places of operators. An operator has one or two, a monitor a few.
pub const OPERATORS: Places = Places {
    connections: 64,
    subscriptions: 48,
    per_user: 64,
};

/// The places of readers. No user can take all of them.
pub const READERS: Places = Places {
    connections: 32,
    subscriptions: 24,
    per_user: 16,
};

/// The groups whose members may use the socket without being root. Clones are the same set.
#[derive(Debug, Clone)]
pub struct Readers {
    socket: PathBuf,
    grants: Arc<watch::Sender<Grants>>,
    /// The deputies that work for them.
    pub(super) deputies: Deputies,
}

impl Readers {
    /// No groups, for the socket at this path.
    pub(super) fn of(socket: &Path) -> Self {
        Self {
            socket: socket.to_owned(),
            grants: Arc::new(watch::Sender::new(Grants::default())),
            deputies: Deputies::default(),
        }
    }

    /// Replaces what the groups may do, in the permissions of the socket too. Connections of clients whose
    /// rights change are closed.
    ///
    /// # Errors
    /// If the permissions of the socket cannot be changed. The rights are replaced nevertheless, so
    /// that no other reader is served.
    pub fn set(&self, grants: Grants) -> io::Result<()> {
        let set = acl::admit(&self.socket, &grants.groups());
        self.grants.send_replace(grants);
        set
    }
}

/// A peer that may connect.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Role {
    Operator,
    /// It may do what its groups may.
    Reader,
}

/// The places of one kind of peers.
struct Kind {
    limit: Places,
    connections: Arc<Semaphore>,
    subscriptions: Arc<Semaphore>,
    /// The number of connections of each user that has any.
    users: Rc<RefCell<BTreeMap<u32, u32>>>,
}

/// Admits peers.
pub(super) struct Admission {
    readers: Readers,
    audit: Audit,
    operators: Kind,
    others: Kind,
}

/// A place for a connection, until it is dropped.
pub(super) struct Admitted {
    pub(super) role: Role,
    pub(super) uid: u32,
    /// The process of the peer.
    pub(super) pid: Option<i32>,
    pub(super) judge: Judge,
    /// The places for subscriptions.
    pub(super) subscriptions: Arc<Semaphore>,
    pub(super) limit: Places,
    /// The groups of a reader, and what they could do when it connected.
    groups: BTreeSet<u32>,
    rights: Grants,
    readers: watch::Receiver<Grants>,
    users: Rc<RefCell<BTreeMap<u32, u32>>>,
    _place: OwnedSemaphorePermit,
}

impl Kind {
    fn new(limit: Places) -> Self {
        Self {
            limit,
            connections: Arc::new(Semaphore::new(limit.connections as usize)),
            subscriptions: Arc::new(Semaphore::new(limit.subscriptions as usize)),
            users: Rc::default(),
        }
    }

    /// A place for a user, or the limit that has been reached.
    fn take(&self, uid: u32) -> Result<OwnedSemaphorePermit, u32> {
        let mut users = self.users.borrow_mut();
        let used = users.get(&uid).copied().unwrap_or(0);
        if used >= self.limit.per_user {
            return Err(self.limit.per_user);
        }
        let place = Arc::clone(&self.connections).try_acquire_owned();
        let place = place.map_err(|_| self.limit.connections)?;
        users.insert(uid, used + 1);
        Ok(place)
    }
}

impl Admission {
    pub(super) fn new(readers: Readers, audit: Audit) -> Self {
        Self {
            readers,
            audit,
            operators: Kind::new(OPERATORS),
            others: Kind::new(READERS),
        }
    }

    /// Admits a peer. If it may not connect, or has no place, it gets a refusal.
    pub(super) async fn admit(&self, stream: &UnixStream) -> Option<Admitted> {
        let peer = match stream.peer_cred() {
            Ok(peer) => peer,
            Err(error) => {
                tracing::warn!(%error, "cannot get the peer credentials of a control connection");
                return None;
            }
        };
        let (uid, pid) = (peer.uid(), peer.pid());
        // From Linux 6.16 on, a connection inherits this when it is made: one that waited for a program
        // of an earlier version, which did not ask for it, has not.
        if let Err(error) = inbox::name_senders(stream.as_fd()) {
            tracing::warn!(%error, "cannot name the sender of a control connection");
            return None;
        }
        let judge = match Judge::of(stream, &peer, &self.audit) {
            Ok(judge) => judge,
            Err(refusal) => {
                refuse(stream, &refusal);
                return None;
            }
        };
        let readers = self.readers.grants.subscribe();
        let (role, groups) = if is_operator(uid) {
            (Role::Operator, BTreeSet::new())
        } else {
            (Role::Reader, groups(stream).await)
        };
        let rights = readers.borrow().of(&groups);
        if role == Role::Reader && rights.is_empty() {
            judge.refused("connect", &[], "its user is in no group of `[control]`");
            refuse(stream, &Refusal::NotAllowed { uid });
            return None;
        }
        let kind = match role {
            Role::Operator => &self.operators,
            Role::Reader => &self.others,
        };
        match kind.take(uid) {
            Ok(place) => Some(Admitted {
                role,
                uid,
                pid,
                judge,
                subscriptions: Arc::clone(&kind.subscriptions),
                limit: kind.limit,
                groups,
                rights,
                readers,
                users: Rc::clone(&kind.users),
                _place: place,
            }),
            Err(limit) => {
                refuse(stream, &Refusal::TooManyConnections { limit });
                None
            }
        }
    }

    /// Waits until no connection is left.
    pub(super) async fn all_have_left(&self) {
        for kind in [&self.operators, &self.others] {
            let _all = kind.connections.acquire_many(kind.limit.connections).await;
        }
    }
}

impl Admitted {
    /// The client, unless it is root.
    pub(super) fn client(&self) -> Option<Client> {
        match self.role {
            Role::Operator => None,
            Role::Reader => Some(Client {
                uid: self.uid,
                groups: self.groups.clone(),
                grants: self.readers.clone(),
            }),
        }
    }

    /// Waits until the peer must connect again, because its rights changed.
    pub(super) async fn expelled(&mut self) {
        let (groups, rights) = (&self.groups, &self.rights);
        let gone = |readers: &Grants| readers.of(groups) != *rights;
        match self.role {
            Role::Operator => std::future::pending().await,
            // An error means that the socket is closed, and with it every connection.
            Role::Reader => drop(self.readers.wait_for(gone).await),
        }
    }
}

impl Drop for Admitted {
    fn drop(&mut self) {
        let mut users = self.users.borrow_mut();
        match users.get_mut(&self.uid) {
            Some(used) if *used > 1 => *used -= 1,
            Some(_) | None => drop(users.remove(&self.uid)),
        }
    }
}

fn is_operator(uid: u32) -> bool {
    uid == 0 || uid == rustix::process::geteuid().as_raw()
}

/// The connected socket of a peer, for its groups (`SO_PEERCRED` and `SO_PEERGROUPS`, see
/// unix(7)). They are those that the peer had when it connected.
struct Peer<'a>(&'a UnixStream);

impl AsFd for Peer<'_> {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.0.as_fd()
    }
}

impl UnixSocket for Peer<'_> {}

/// The groups of a peer; none if they cannot be read, as when it has ended already.
async fn groups(stream: &UnixStream) -> BTreeSet<u32> {
    // It is a system call, and never waits.
    match Peer(stream).fetch_peer_credentials().await {
        Ok(credentials) => {
            let others = credentials.unix_supplementary_group_ids().iter().copied();
            let all = others.chain([credentials.unix_primary_group_id()]);
            all.map(rustix::fs::Gid::as_raw).collect()
        }
        Err(error) => {
            tracing::debug!(%error, "cannot get the groups of a control connection's peer");
            BTreeSet::new()
        }
    }
}

/// Sends one error without a request, and closes. The error fits into the socket's empty buffer, so
/// sending fails only if the peer has disconnected.
pub(super) fn refuse(stream: &UnixStream, refusal: &Refusal) {
    match serde_json::to_vec(refusal) {
        Ok(mut message) => {
            message.push(0);
            match rustix::net::send(stream, &message, rustix::net::SendFlags::NOSIGNAL) {
                Ok(_) => {}
                Err(error) => tracing::debug!(%error, "the refused peer has disconnected"),
            }
        }
        Err(error) => tracing::error!(%error, "cannot encode a refusal"),
    }
}
