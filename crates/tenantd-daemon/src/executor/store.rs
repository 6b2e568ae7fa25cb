//! The descriptor store: the service manager keeps a descriptor of the mount namespace that has the tenants'
//! network namespaces, and passes it to the next supervisor, see sd_pid_notify_with_fds(3).
//!
//! Without a store, a network namespace without processes ends with its supervisor, and the next supervisor
//! makes a new one. Earlier versions had three descriptors of each tenant in the store, and passed them to the
//! next program. They are used once, and leave the store.

use std::collections::BTreeSet;
use std::io;
use std::os::fd::BorrowedFd;
use std::os::unix::net::UnixDatagram;
use std::path::Path;
use std::sync::Arc;

use anyhow::Context;

use tenantd_core::layout;
use tenantd_core::name::{AppName, TenantName};
use tenantd_core::supervisor::event::LaunchId;
use tenantd_host::fifo;
use tenantd_host::inbox::Inbox;
use tenantd_host::inherited::{self, Inherited};
use tenantd_host::netns::{self, Netns, NetnsMounts};
use tenantd_host::notify;

use crate::recovery::Recovery;

/// The name of the descriptor of the mount namespace.
pub(crate) const NAMESPACES: &str = "namespaces";

/// The kinds of descriptors that earlier versions have in the store for each tenant.
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

/// Takes over the mount namespace of an earlier supervisor, or makes one, and stores it.
///
/// # Errors
/// If none can be made.
pub(crate) fn open_netns(
    app: &AppName,
    inherited: &mut Inherited,
) -> anyhow::Result<Arc<NetnsMounts>> {
    let passed = inherited.claim(NAMESPACES, |_| true);
    let taken = passed.and_then(|namespace| match NetnsMounts::from_fd(app, namespace) {
        Ok(taken) => Some(taken),
        Err(error) => {
            tracing::warn!(%error, "cannot use the inherited network namespaces");
            unstore(NAMESPACES);
            None
        }
    });
    let opened = match taken {
        Some(taken) => taken,
        None => NetnsMounts::new(app, &layout::folder(app))
            .context("cannot make a mount namespace for the tenants' networks")?,
    };
    // One that is in the store already is not stored twice.
    store(NAMESPACES, opened.namespace());
    Ok(Arc::new(opened))
}

/// Removes the mount namespace from the store: all tenants are released.
pub(crate) fn unstore_namespaces() {
    unstore(NAMESPACES);
}

impl Recovery {
    /// Whether the network namespace of a tenant is kept: since an earlier supervisor, or from now on,
    /// because it was inherited.
    ///
    /// # Errors
    /// If it was inherited and cannot be kept.
    pub(crate) fn inherited_netns(&self, tenant: &TenantName, inode: u64) -> io::Result<bool> {
        let kept = self.host.netns.open(tenant)?;
        if kept.is_some_and(|netns| netns.inode() == inode) {
            return Ok(true);
        }
        let name = name("netns", tenant);
        let mut inherited = self.inherited.borrow_mut();
        let Some(fd) = inherited.claim(&name, |fd| netns::is_one(fd, inode)) else {
            return Ok(false);
        };
        let netns = Netns::from_fd(fd)?;
        if let Err(error) = self.host.netns.keep_now(tenant, &netns) {
            inherited.give_back(name, netns.into());
            return Err(error);
        }
        unstore(&name);
        Ok(true)
    }

    /// Ends the network namespaces that an earlier supervisor kept and no tenant uses.
    pub(crate) async fn end_unused(&self, used: &BTreeSet<TenantName>) {
        let kept = match self.host.netns.tenants() {
            Ok(kept) => kept,
            Err(error) => return tracing::warn!(%error, "cannot read which namespaces are kept"),
        };
        for tenant in kept.iter().filter(|tenant| !used.contains(*tenant)) {
            if let Err(error) = self.host.netns.remove(tenant).await {
                tracing::warn!(%tenant, %error, "{tenant}: cannot end its unused network namespace");
            }
        }
    }

    /// Closes inherited descriptors of a tenant's pipes, which are read now. The output in a pipe stays as long
    /// as one is open.
    pub(crate) fn inherit_pipes(&self, tenant: &TenantName) {
        let mut inherited = self.inherited.borrow_mut();
        for kind in &KINDS[1..] {
            let path = fifo::folder(&self.host.app, tenant).join(kind);
            let name = name(kind, tenant);
            if inherited.claim(&name, |fd| is_at(fd, &path)).is_some() {
                unstore(&name);
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

    /// Closes inherited descriptors that no tenant uses, and removes them from the store, which has room for the
    /// mount namespace then.
    pub(crate) fn close_unclaimed(&self) {
        let left = self.inherited.borrow_mut().close();
        for name in left {
            if KINDS.iter().any(|kind| name.starts_with(kind)) {
                tracing::debug!("{name}: closing an inherited descriptor that no tenant uses");
                unstore(&name);
            }
        }
        // The descriptors of an earlier version may have filled the store, and then it refused this one.
        store(NAMESPACES, self.host.netns.namespace());
    }
}

fn is_at(fd: BorrowedFd<'_>, path: &Path) -> bool {
    tenantd_host::inherited::is_file(fd, path).unwrap_or(false)
}
