//! Finds out which network namespace a tenant's link leads into.
//!
//! The kernel numbers the namespaces that the host has links to. It reports this number both for
//! the other end of a link and for an open namespace (`RTM_GETNSID`, see rtnetlink(7)). A process
//! in the tenant's namespace can change neither. The queries cover one link, one namespace and the
//! addresses in it.

use std::net::IpAddr;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd};

use futures_util::{StreamExt, TryStreamExt};
use rtnetlink::packet_core::{NLM_F_REQUEST, NetlinkMessage, NetlinkPayload};
use rtnetlink::packet_route::address::AddressAttribute;
use rtnetlink::packet_route::nsid::{NsidAttribute, NsidMessage};
use rtnetlink::packet_route::{AddressFamily, RouteNetlinkMessage};

use crate::netns::Netns;
use tenantd_core::plan::address::Addresses;
use tenantd_core::plan::model::LinkPlan;
use tenantd_core::stage::{Failure, Stage};

use super::family::local;
use super::link::Links;
use super::macvlan;
use super::provision::Provisioner;
use super::refusal::{answered, refused};

/// Where a tenant's link leads.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum LinkTarget {
    /// No link bears the tenant's mark.
    NoLink,
    /// Into another network namespace.
    Elsewhere,
    /// Into the given network namespace.
    Here {
        /// The tenant's addresses there, at most as many as are planned: first the planned ones
        /// that exist, then others. `None` if there are none.
        addresses: Option<Addresses>,
    },
}

impl Provisioner {
    /// Whether the tenant's link leads into this network namespace.
    pub(super) async fn link_target(
        &self,
        link: &LinkPlan,
        netns: &Netns,
    ) -> Result<LinkTarget, Failure> {
        let found = self.links.find(link.host.name.as_str()).await?;
        let Some(found) = found.filter(|found| found.is_marked_as(&link.mark)) else {
            return Ok(LinkTarget::NoLink);
        };
        // It was provisioned for a network in another mode.
        if !macvlan::is_planned(&found, link) {
            return Ok(LinkTarget::Elsewhere);
        }
        let number = self.links.number_of(netns.as_fd()).await?;
        // A negative number is none, see `NETNSA_NSID_NOT_ASSIGNED`.
        match number.filter(|number| *number >= 0) {
            Some(number) if found.peer == Some(number) => Ok(LinkTarget::Here {
                addresses: self.links.addresses_in(number, &link.addresses).await?,
            }),
            Some(_) | None => Ok(LinkTarget::Elsewhere),
        }
    }
}

impl Links {
    /// The number that the kernel has given to a network namespace.
    pub(super) async fn number_of(&self, netns: BorrowedFd<'_>) -> Result<Option<i32>, Failure> {
        let mut message = NsidMessage::default();
        let fd = u32::try_from(netns.as_raw_fd()).unwrap_or(u32::MAX);
        message.attributes.push(NsidAttribute::Fd(fd));
        let mut request = NetlinkMessage::from(RouteNetlinkMessage::GetNsId(message));
        request.header.flags = NLM_F_REQUEST;
        let refused = |error| refused(Stage::Netns, "(its number)", error);
        let mut answers = self.handle().request(request).map_err(refused)?;
        let mut number = None;
        while let Some(answer) = answers.next().await {
            match answer.payload {
                NetlinkPayload::InnerMessage(RouteNetlinkMessage::NewNsId(found)) => {
                    number = found.attributes.into_iter().find_map(|part| match part {
                        NsidAttribute::Id(number) => Some(number),
                        _ => None,
                    });
                }
                NetlinkPayload::Error(answer) if answer.code.is_some() => {
                    return Err(answered(Stage::Netns, "(its number)", &answer));
                }
                _ => {}
            }
        }
        Ok(number)
    }

    /// The addresses in the network namespace with this number: first the wanted ones that exist
    /// there, then others, at most as many as are wanted.
    async fn addresses_in(
        &self,
        number: i32,
        wanted: &Addresses,
    ) -> Result<Option<Addresses>, Failure> {
        let found = self.all_addresses_in(number).await?;
        let planned = wanted.iter().filter(|address| found.contains(address));
        let is_other = |address: &&IpAddr| wanted.iter().all(|wanted| wanted != **address);
        let others = found.iter().filter(is_other).copied();
        Ok(Addresses::of(planned.chain(others).take(wanted.count())))
    }

    /// All addresses in the network namespace with this number, except loopback and link-local ones.
    pub(super) async fn all_addresses_in(&self, number: i32) -> Result<Vec<IpAddr>, Failure> {
        let mut found: Vec<IpAddr> = Vec::new();
        for family in [AddressFamily::Inet, AddressFamily::Inet6] {
            let mut request = self.handle().address().get();
            let message = request.message_mut();
            message.header.family = family;
            let target = AddressAttribute::TargetNetNsId(number);
            message.attributes.push(target);
            let all: Result<Vec<_>, _> = request.execute().try_collect().await;
            let all = all.map_err(|error| refused(Stage::Address, "(in a tenant)", error))?;
            let all = all.iter().filter_map(local);
            found.extend(all.filter(|address| !address.is_loopback() && !is_link_local(*address)));
        }
        Ok(found)
    }
}

fn is_link_local(address: IpAddr) -> bool {
    matches!(address, IpAddr::V6(address) if address.is_unicast_link_local())
}
