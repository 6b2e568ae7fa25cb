//! Judges where the process lives that uses a control connection. No process inside a tenant gives orders or
//! reads the state, whatever its user is.
//!
//! It is judged when it connects and with everything that it sends, because it may have moved. What it
//! sends counts only if it comes from the process that connected: a connection can be passed to
//! a process inside a tenant, and by one. What is refused, here or later, goes to the audit log.

use std::os::fd::AsFd;
use std::sync::Arc;

use tokio::net::UnixStream;
use tokio::net::unix::UCred;

use crate::audit::{Audit, Outcome, Who};
use tenantd_api::wire::varlink::Refusal;
use tenantd_core::name::TenantName;
use tenantd_host::peer::{Peer, Place};

/// The judge of one connection.
#[derive(Debug, Clone)]
pub(super) struct Judge(Arc<Judged>);

#[derive(Debug)]
struct Judged {
    peer: Peer,
    uid: u32,
    gid: u32,
    audit: Audit,
}

impl Judge {
    /// Holds the process that connected.
    ///
    /// # Errors
    /// The refusal, if it cannot be held or is not on the host.
    pub(super) fn of(stream: &UnixStream, peer: &UCred, audit: &Audit) -> Result<Self, Refusal> {
        let (uid, gid) = (peer.uid(), peer.gid());
        // The number is 0 if this process cannot see the other.
        let pid = peer.pid().filter(|pid| *pid > 0);
        let held = pid.ok_or_else(|| "the process is in another pid namespace".to_owned());
        let held = held.and_then(|pid| {
            Peer::of(stream.as_fd(), pid)
                .map_err(|error| format!("process {pid} cannot be looked at: {error}"))
        });
        let peer = held.map_err(|reason| {
            let pid = pid.unwrap_or_default();
            let who = || Who {
                pid,
                uid,
                gid,
                ..Who::default()
            };
            refused((audit, uid), who, ("connect", &[]), &reason);
            Refusal::WrongPlace { reason }
        })?;
        let audit = audit.clone();
        let judge = Self(Arc::new(Judged {
            peer,
            uid,
            gid,
            audit,
        }));
        judge.on_host("connect").map(|()| judge)
    }

    /// Judges what was just received from this process.
    ///
    /// # Errors
    /// The refusal.
    pub(super) fn received(&self, sender: Option<i32>) -> Result<(), Refusal> {
        let own = self.0.peer.pid;
        let reason = match sender {
            // The one that connected lives, see below: no other process has its number.
            Some(sender) if sender == own => return self.on_host("send"),
            Some(sender) => format!(
                "process {sender} sent on the connection of process {own}: each process connects itself"
            ),
            None => "the kernel does not say which process sent it".to_owned(),
        };
        self.refused("send", &[], &reason);
        Err(Refusal::WrongPlace { reason })
    }

    fn on_host(&self, verb: &str) -> Result<(), Refusal> {
        let pid = self.0.peer.pid;
        let Some(reason) = self.0.peer.place().refusal(pid) else {
            return Ok(());
        };
        self.refused(verb, &[], &reason);
        Err(Refusal::WrongPlace { reason })
    }

    /// Notes a refused request.
    pub(super) fn refused(&self, verb: &str, tenants: &[TenantName], reason: &str) {
        let of = (&self.0.audit, self.0.uid);
        refused(of, || self.who(), (verb, tenants), reason);
    }

    /// Waits until a request of its user may be carried out.
    pub(super) async fn turn(&self) {
        self.0.audit.turn(self.0.uid).await;
    }

    /// Notes what became of a request.
    pub(super) fn note(
        &self,
        about: (&str, &[TenantName]),
        (outcome, detail): (Outcome, Option<&str>),
    ) {
        if self.0.audit.has_room(outcome, self.0.uid) {
            self.0.audit.write(&self.who(), about, (outcome, detail));
        }
    }

    fn who(&self) -> Who {
        let Judged { peer, uid, gid, .. } = &*self.0;
        let (comm, exe) = peer.program();
        let inside = match peer.place() {
            Place::Tenant(tenant) => Some(tenant.to_string()),
            Place::OtherNetwork => Some("another network namespace".to_owned()),
            Place::Host | Place::Gone | Place::Unknown(_) => None,
        };
        Who {
            pid: peer.pid,
            uid: *uid,
            gid: *gid,
            comm,
            exe,
            inside,
        }
    }
}

fn refused(
    (audit, uid): (&Audit, u32),
    who: impl FnOnce() -> Who,
    about: (&str, &[TenantName]),
    reason: &str,
) {
    let who = audit.has_room(Outcome::Refused, uid).then(who);
    if let Some(who) = who {
        audit.write(&who, about, (Outcome::Refused, Some(reason)));
    }
}
