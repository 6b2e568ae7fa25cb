//! The descriptor store: the service manager keeps a copy of each tenant's network namespace and
//! pipes, and passes them to the next supervisor, see sd_pid_notify_with_fds(3).
//!
//! Without a store, a namespace without processes ends with its supervisor, and the next supervisor
//! makes a new one. The unit limits the number of stored descriptors. A descriptor that does not
//! fit is not stored, with the same effect.

use std::os::fd::BorrowedFd;
use std::os::unix::net::UnixDatagram;
use std::path::Path;

use tenantd_core::name::TenantName;
use tenantd_core::supervisor::event::LaunchId;
use tenantd_host::fifo::{self, ReadEnds};
use tenantd_host::inbox::Inbox;
use tenantd_host::inherited;
use tenantd_host::netns::{self, Netns};
use tenantd_host::notify;

use crate::recovery::Recovery;

/// The kinds of descriptors that a tenant has in the store.
const KINDS: [&str; 3] = ["netns", "stdout", "stderr"];

/// The kind of a notify socket, which is inherited and never in the store: there, nobody would receive
/// from it while no supervisor runs, and the program would wait.
pub(crate) const NOTIFY: &str = "notify";

/// The name of a stored or inherited descriptor: its kind, one of [`KINDS`] or [`NOTIFY`], and its tenant.
pub(crate) fn name(kind: &str, tenant: &TenantName) -> String {
    format!("{kind}-{tenant}")
}

/// Stores a descriptor.
fn store(name: &str, fd: BorrowedFd<'_>) {
    if let Err(error) = inherited::notify_store(&format!("FDSTORE=1\nFDNAME={name}\n"), &[fd]) {
        tracing::debug!(%error, "{name}: cannot store the descriptor in the service manager");
    }
}

/// Removes a descriptor from the store.
fn unstore(name: &str) {
    if let Err(error) = inherited::notify_store(&format!("FDSTOREREMOVE=1\nFDNAME={name}\n"), &[]) {
        tracing::debug!(%error, "{name}: cannot remove the descriptor from the service manager");
    }
}

/// Stores the network namespace of a tenant.
pub(crate) fn store_netns(tenant: &TenantName, netns: BorrowedFd<'_>) {
    store(&name("netns", tenant), netns);
}

/// Stores the pipes of a tenant, and with them the output that is in them.
pub(crate) fn store_pipes(tenant: &TenantName, read_ends: &ReadEnds) {
    for (kind, fd) in read_ends.named() {
        store(&name(kind, tenant), fd);
    }
}

/// Removes the network namespace of a tenant from the store, so that a release can destroy it.
pub(crate) fn unstore_netns(tenant: &TenantName) {
    unstore(&name("netns", tenant));
}

/// Removes the pipes of a tenant from the store.
pub(crate) fn unstore_pipes(tenant: &TenantName) {
    for kind in &KINDS[1..] {
        unstore(&name(kind, tenant));
    }
}

impl Recovery {
    /// The inherited network namespace of a tenant, if there is one.
    pub(crate) fn inherited_netns(&self, tenant: &TenantName, inode: u64) -> Option<Netns> {
        let mut inherited = self.inherited.borrow_mut();
        let fd = inherited.claim(&name("netns", tenant), |fd| netns::is_one(fd, inode))?;
        Netns::from_fd(fd).ok()
    }

    /// Stores the pipes of a tenant, unless they were inherited and so are in the store already.
    /// The output in them stays as long as they are open, and `read_ends` keeps them open.
    pub(crate) fn inherit_pipes(&self, tenant: &TenantName, read_ends: &ReadEnds) {
        let mut inherited = self.inherited.borrow_mut();
        for (kind, fd) in read_ends.named() {
            let path = fifo::folder(&self.host.app, tenant).join(kind);
            let name = name(kind, tenant);
            if inherited.claim(&name, |fd| is_at(fd, &path)).is_none() {
                store(&name, fd);
            }
        }
    }

    /// Receives the notices of a running launch, if its program uses the tenant's notify socket: from the
    /// inherited socket, in which messages wait, or from a new one.
    pub(crate) fn inherit_notices(&self, tenant: &TenantName, launch: LaunchId) {
        let inherited = self
            .inherited
            .borrow_mut()
            .claim(&name(NOTIFY, tenant), |_| true);
        let app = &self.host.app;
        let inbox = match inherited {
            Some(socket) => Ok(Inbox::from(UnixDatagram::from(socket))),
            None if !notify::folder(app, tenant).exists() => return,
            None => notify::bind(app, tenant),
        };
        match inbox {
            Ok(inbox) => self.host.notices.add(tenant, launch, inbox),
            Err(failure) => {
                tracing::error!(%tenant, "{tenant}: cannot make its notify socket: {failure}");
            }
        }
    }

    /// Closes inherited descriptors that no tenant uses, and removes them from the store.
    pub(crate) fn close_unclaimed(&self) {
        let left = self.inherited.borrow_mut().close();
        for name in left {
            if KINDS.iter().any(|kind| name.starts_with(kind)) {
                tracing::debug!("{name}: closing an inherited descriptor that no tenant uses");
                unstore(&name);
            }
        }
    }
}

fn is_at(fd: BorrowedFd<'_>, path: &Path) -> bool {
    tenantd_host::inherited::is_file(fd, path).unwrap_or(false)
}
