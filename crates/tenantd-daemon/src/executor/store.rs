//! The store: the service manager keeps a copy of what a tenant has between two launches, its
//! network namespace and its pipes, and gives it to the next supervisor, see sd_pid_notify_with_fds(3).
//!
//! Where there is no store, nothing is kept: a namespace that nobody is in goes with its supervisor,
//! and is made anew by the next one. The store has room for a number of descriptors that the unit
//! says; what does not fit is not kept, and nothing else follows from that.

use std::os::fd::BorrowedFd;
use std::path::Path;

use tenantd_core::name::TenantName;
use tenantd_host::fifo::{self, Outlets};
use tenantd_host::inherited;
use tenantd_host::netns::{self, Netns};

use crate::recovery::Recovery;

/// What a tenant has in the store.
const KINDS: [&str; 3] = ["netns", "stdout", "stderr"];

/// The name under which one of [`KINDS`] of a tenant is kept and handed down.
pub(crate) fn name(kind: &str, tenant: &TenantName) -> String {
    format!("{kind}-{tenant}")
}

/// Has a descriptor kept.
fn store(name: &str, fd: BorrowedFd<'_>) {
    if let Err(error) = inherited::notify_store(&format!("FDSTORE=1\nFDNAME={name}\n"), &[fd]) {
        tracing::debug!(%error, "{name}: is not kept by the service manager");
    }
}

/// Has it kept no longer.
fn unstore(name: &str) {
    if let Err(error) = inherited::notify_store(&format!("FDSTOREREMOVE=1\nFDNAME={name}\n"), &[]) {
        tracing::debug!(%error, "{name}: is perhaps still kept by the service manager");
    }
}

/// Has the network namespace of a tenant kept.
pub(crate) fn store_netns(tenant: &TenantName, netns: BorrowedFd<'_>) {
    store(&name("netns", tenant), netns);
}

/// Has the pipes of a tenant kept, and with them what is in them.
pub(crate) fn store_pipes(tenant: &TenantName, outlets: &Outlets) {
    for (kind, fd) in outlets.named() {
        store(&name(kind, tenant), fd);
    }
}

/// Has the network namespace of a tenant kept no longer: a release is about to prove it gone.
pub(crate) fn unstore_netns(tenant: &TenantName) {
    unstore(&name("netns", tenant));
}

/// Has the pipes of a tenant kept no longer.
pub(crate) fn unstore_pipes(tenant: &TenantName) {
    for kind in &KINDS[1..] {
        unstore(&name(kind, tenant));
    }
}

impl Recovery {
    /// The network namespace of a tenant, if it was handed down.
    pub(crate) fn inherited_netns(&self, tenant: &TenantName, inode: u64) -> Option<Netns> {
        let mut inherited = self.inherited.borrow_mut();
        let fd = inherited.claim(&name("netns", tenant), |fd| netns::is_one(fd, inode))?;
        Netns::from_fd(fd).ok()
    }

    /// Sees to it that the pipes of a tenant are kept. Those that were handed down are: what is in
    /// them stays there as long as anybody has them open, as `outlets` are.
    pub(crate) fn inherit_pipes(&self, tenant: &TenantName, outlets: &Outlets) {
        let mut inherited = self.inherited.borrow_mut();
        for (kind, fd) in outlets.named() {
            let path = fifo::folder(&self.host.app, tenant).join(kind);
            let name = name(kind, tenant);
            if inherited.claim(&name, |fd| is_at(fd, &path)).is_none() {
                store(&name, fd);
            }
        }
    }

    /// Closes what was handed down and nobody needs, and has it kept no longer.
    pub(crate) fn close_unclaimed(&self) {
        let left = self.inherited.borrow_mut().close();
        for name in left {
            if KINDS.iter().any(|kind| name.starts_with(kind)) {
                tracing::debug!("{name}: was handed down and is of no use");
                unstore(&name);
            }
        }
    }
}

fn is_at(fd: BorrowedFd<'_>, path: &Path) -> bool {
    tenantd_host::inherited::is_file(fd, path).unwrap_or(false)
}
