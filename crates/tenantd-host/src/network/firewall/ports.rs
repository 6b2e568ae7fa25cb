//! The ports of the host that tenants publish. A socket holds each, so that no other process of the host takes it
//! and waits for connections that the firewall leads elsewhere.

use std::collections::BTreeMap;
use std::os::fd::OwnedFd;

use tenantd_core::plan::model::LinkPlan;
use tenantd_core::plan::traffic::Publish;
use tenantd_core::stage::Failure;

use crate::network::published::{hold, refused};

/// The sockets of one tenant.
#[derive(Debug, Default)]
pub(super) struct Ports(BTreeMap<Publish, OwnedFd>);

impl Ports {
    /// Opens sockets for the ports that a plan publishes and this does not hold.
    ///
    /// # Errors
    /// [`Stage::Firewall`], if a process has a port, or the host has not the address.
    pub(super) fn added(&self, link: &LinkPlan) -> Result<Ports, Failure> {
        let published = link.traffic.publish.iter();
        let missing = published.filter(|publish| !self.0.contains_key(publish));
        let added = missing.map(|publish| {
            let held = hold(publish).map_err(|errno| refused(publish, errno))?;
            Ok((publish.clone(), held))
        });
        Ok(Ports(added.collect::<Result<_, Failure>>()?))
    }

    /// Whether it holds none.
    pub(super) fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// Whether all ports that a plan publishes are held or could be.
    pub(super) fn are_free(&self, link: &LinkPlan) -> bool {
        let published = link.traffic.publish.iter();
        let mut missing = published.filter(|publish| !self.0.contains_key(publish));
        missing.all(|publish| hold(publish).is_ok())
    }

    /// Holds the added ports too, and no longer those that a plan does not publish.
    pub(super) fn change(&mut self, added: Ports, link: &LinkPlan) {
        self.0.extend(added.0);
        self.0
            .retain(|publish, _| link.traffic.publish.contains(publish));
    }
}
