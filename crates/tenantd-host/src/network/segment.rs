//! The segment that tenants are machines of: that of the host's interface which their links belong to. Another machine on
//! it is asked for before a tenant takes an address.

use std::cell::Cell;
use std::net::IpAddr;

use nix::sys::socket::LinkAddr;

use tenantd_core::plan::model::{Interface, LinkPlan, MacAddr};
use tenantd_core::stage::{Failure, Stage};

use super::link::Found;
use super::macvlan::usable;
use super::probe::{On, packet_address, refuse_taken};
use super::provision::Provisioner;
use super::refusal::broken;

/// Where frames of an interface are sent and received, and its index.
#[derive(Debug, Default)]
pub(super) struct Segment(Cell<Option<(u32, LinkAddr)>>);

impl Segment {
    /// Found once for each interface: it reads the addresses of all links.
    fn packets(&self, found: &Found) -> Result<LinkAddr, Failure> {
        if let Some((_, known)) = self.0.get().filter(|(index, _)| *index == found.index) {
            return Ok(known);
        }
        let packets = packet_address(&found.name)
            .map_err(|error| broken(Stage::Link, found.name.as_str(), &error))?;
        self.0.set(Some((found.index, packets)));
        Ok(packets)
    }
}

impl Provisioner {
    /// Fails if another machine has one of these addresses of a tenant. Takes 0.3 s where there can be one.
    pub(super) async fn probe(&self, link: &LinkPlan, new: &[IpAddr]) -> Result<(), Failure> {
        match &link.parent {
            Some(parent) if !new.is_empty() => self.probe_beside(link, parent, new).await,
            Some(_) => Ok(()),
            None => self.probe_by_uplink(new.iter().copied()).await,
        }
    }

    /// Asks from the host's own interface, so that the tenant needs no link yet.
    async fn probe_beside(
        &self,
        link: &LinkPlan,
        parent: &Interface,
        new: &[IpAddr],
    ) -> Result<(), Failure> {
        for address in new {
            self.links.refuse_own_address(*address, None).await?;
        }
        // A tenant that is about to lose the address would answer.
        self.until_free(link, new).await?;
        let found = usable(&self.links, &self.network, parent).await?;
        let mac = <[u8; 6]>::try_from(found.mac.as_slice()).map(MacAddr);
        let Ok(mac) = mac else {
            let why = "the interface has no MAC address, so nothing in its network asks for one";
            let name = parent.as_str();
            return Err(Failure::errno(Stage::Link, name, libc::EOPNOTSUPP).with(why));
        };
        let on = On::Link(self.segment.packets(&found)?);
        refuse_taken(on, mac, new.iter().copied()).await
    }
}
