//! Keeps a network namespace for a caller that may block.

use std::io;
use std::os::fd::AsFd;
use std::sync::mpsc::{self, Receiver};

use super::{NetnsMounts, Reply, Work, ended};
use crate::netns::Netns;
use tenantd_core::name::TenantName;

impl NetnsMounts {
    /// [`NetnsMounts::keep`] for a caller that may block.
    ///
    /// # Errors
    /// The same.
    pub fn keep_now(&self, tenant: &TenantName, netns: &Netns) -> io::Result<()> {
        self.begin_keep(tenant, netns)?.finish()
    }

    /// [`NetnsMounts::keep`] for a caller that has other work to do meanwhile.
    ///
    /// # Errors
    /// The same.
    pub fn begin_keep(&self, tenant: &TenantName, netns: &Netns) -> io::Result<Keeping> {
        let netns = netns.as_fd().try_clone_to_owned()?;
        let (reply, done) = mpsc::sync_channel(1);
        let reply: Reply = Box::new(move |outcome| {
            // Otherwise an earlier step has failed.
            let _waits = reply.send(outcome);
        });
        self.request(tenant, Work::Keep(netns), reply)?;
        Ok(Keeping(done))
    }
}

/// The network namespace of a tenant is about to be kept.
#[derive(Debug)]
#[must_use = "it may fail"]
pub struct Keeping(Receiver<io::Result<()>>);

impl Keeping {
    /// Waits until it is kept. Blocks.
    ///
    /// # Errors
    /// Those of [`NetnsMounts::keep`].
    pub fn finish(self) -> io::Result<()> {
        self.0.recv().map_err(|_| ended())?
    }
}
