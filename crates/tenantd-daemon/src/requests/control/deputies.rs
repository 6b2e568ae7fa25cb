//! The deputies that run: how many, and for how long. A deputy ends when its client does, or when a reload takes
//! the right away for which it was started. It outlives a supervisor that is upgraded, detached or killed.

use std::collections::BTreeMap;
use std::io;
use std::os::fd::OwnedFd;
use std::os::unix::net::UnixStream;
use std::sync::{Arc, Mutex, PoisonError};

use rustix::net::{AddressFamily, SocketFlags, SocketType, socketpair};
use tokio::task::{spawn_blocking, spawn_local};

use crate::deputy::{Order, What};
use crate::requests::queue::Client;
use tenantd_api::wire::Deputy;
use tenantd_api::wire::varlink::Refusal;
use tenantd_core::name::{AppName, TenantName};
use tenantd_core::rights::Right;
use tenantd_host::children::Spawned;

/// How many deputies there are at most, and of one user. Each is a process with some megabytes.
const ALL: u32 = 32;
const PER_USER: u32 = 8;

/// Those that run. Clones count the same.
#[derive(Debug, Clone, Default)]
pub(super) struct Deputies {
    users: Arc<Mutex<BTreeMap<u32, u32>>>,
}

/// The place of one, until it is dropped.
#[derive(Debug)]
struct Place {
    of: Deputies,
    uid: u32,
}

/// For whom and by what right one works.
pub(super) struct Mandate {
    /// The client, unless it is root.
    pub(super) client: Option<Client>,
    pub(super) right: Right,
    pub(super) tenants: Vec<TenantName>,
}

impl Deputies {
    fn take(&self, uid: u32) -> Result<Place, String> {
        let mut users = self.users.lock().unwrap_or_else(PoisonError::into_inner);
        let used = users.get(&uid).copied().unwrap_or(0);
        if used >= PER_USER {
            return Err(format!(
                "{used} commands and logs of this user are open, the maximum: end one, then try again"
            ));
        }
        if users.values().sum::<u32>() >= ALL {
            return Err(format!(
                "{ALL} commands and logs are open, the maximum: try again later"
            ));
        }
        users.insert(uid, used + 1);
        Ok(Place {
            of: self.clone(),
            uid,
        })
    }

    /// Starts a deputy. Returns it, and the client's end of the sockets.
    ///
    /// # Errors
    /// The refusal.
    pub(super) async fn send(
        &self,
        (app, what): (AppName, What),
        mandate: Mandate,
    ) -> Result<(Deputy, OwnedFd), Refusal> {
        let refused = |reason| Refusal::NoDeputy { reason };
        let uid = mandate.client.as_ref().map_or(0, |client| client.uid);
        let place = self.take(uid).map_err(refused)?;
        let failed = |error: io::Error| refused(format!("cannot start a process: {error}"));
        let (ours, end) = ends(&what).map_err(failed)?;
        let order = Order { app, what };
        let spawned = spawn_blocking(move || order.spawn(end)).await;
        let spawned = spawned.map_err(io::Error::from).and_then(|it| it);
        let spawned = spawned.map_err(failed)?;
        let pid = spawned.pid();
        spawn_local(attend(spawned, place, mandate));
        Ok((Deputy { pid }, ours))
    }
}

/// The two ends: for the client and for the deputy.
fn ends(what: &What) -> io::Result<(OwnedFd, OwnedFd)> {
    match what {
        What::Logs(_) | What::History(_) => {
            UnixStream::pair().map(|(ours, theirs)| (ours.into(), theirs.into()))
        }
        What::Exec(_) => {
            let (unix, kind) = (AddressFamily::UNIX, SocketType::SEQPACKET);
            Ok(socketpair(unix, kind, SocketFlags::CLOEXEC, None)?)
        }
    }
}

/// Waits for the end of a deputy, and ends it if its client may not have it any more.
async fn attend(spawned: Spawned, _place: Place, mandate: Mandate) {
    let ended = tokio::select! {
        ended = spawned.ended() => ended,
        () = mandate.revoked() => {
            spawned.terminate();
            spawned.ended().await
        }
    };
    if let Err(error) = ended {
        tracing::warn!(%error, "cannot wait for a process of an operator");
    }
}

impl Mandate {
    async fn revoked(&self) {
        let Some(client) = &self.client else {
            return std::future::pending().await;
        };
        let is_missing = |now: &super::grants::Grants| {
            let grants = now.of(&client.groups);
            grants.check(self.right, &mut self.tenants.clone()).is_err()
        };
        // An error means that the supervisor is ending: the deputy continues.
        let mut grants = client.grants.clone();
        let gone = grants.wait_for(is_missing).await.is_err();
        if gone {
            std::future::pending::<()>().await;
        }
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        let mut users = self.of.users.lock().unwrap_or_else(PoisonError::into_inner);
        match users.get_mut(&self.uid) {
            Some(used) if *used > 1 => *used -= 1,
            Some(_) | None => drop(users.remove(&self.uid)),
        }
    }
}
