//! Mode macvlan: each tenant has a link of its own in the network that an interface of the host, the parent, is in.
//!
//! ```text
//!            host                          tenant
//!   parent, with addresses of the host ═══ eth0, a macvlan: the tenant's MAC and IP addresses
//!     (never changed)                        default via the router of the network
//!   host end, down, with the mark ──────── tenantd0, down, without an address
//! ```
//!
//! A macvlan in another namespace can neither be named nor found from the host. So each tenant has a veth pair besides,
//! which carries nothing: its host end bears the mark, shows by its peer which namespace the tenant has, and by its end
//! that the kernel has destroyed it, together with the macvlan.

use std::collections::BTreeSet;
use std::net::IpAddr;
use std::os::fd::{AsFd, AsRawFd};

use rtnetlink::packet_route::link::{LinkAttribute, MacVlanMode};
use rtnetlink::{LinkMacVlan, LinkUnspec};

use crate::crash;
use crate::netns::{self, Netns};
use tenantd_core::plan::derive;
use tenantd_core::plan::model::{Firewall, Interface, LinkPlan, Mode, NetworkPlan};
use tenantd_core::stage::{Failure, Stage};

use super::announce::announce;
use super::firewall::inner;
use super::hub::Opened;
use super::link::{Found, Links, index_of};
use super::mend::{Outcome, differences};
use super::port::no_bridge;
use super::provision::Provisioner;
use super::refusal::{broken, errno, refused};
use super::subnet;
use super::tenant::TenantSocket;

/// The index of no link.
const NO_LINK: u32 = 0;

/// Looks the parent up in place of a hub. Removes the hub of a former network in another mode.
pub(super) async fn open(
    links: &Links,
    network: &NetworkPlan,
    parent: &Interface,
) -> Result<(u32, Opened), Failure> {
    // Without it, tenants of an earlier supervisor are adopted, and no other is provisioned.
    let found = links.find(parent.as_str()).await?;
    let index = found.map_or(NO_LINK, |found| found.index);
    let hub = links.find(network.hub.name.as_str()).await?;
    let Some(hub) = hub.filter(|hub| hub.is_ours(&network.mark, network.hub.mac)) else {
        return Ok((index, Opened::Found));
    };
    subnet::remove_of_hub(links, hub.index, &[]).await?;
    links.delete(&hub).await?;
    Ok((index, Opened::Changed))
}

/// Finds out whether the parent can carry what tenants send. It is not ours, so nothing of it is mended.
pub(super) async fn look(
    links: &Links,
    network: &NetworkPlan,
    parent: &Interface,
) -> Result<(u32, Vec<String>), Failure> {
    let found = usable(links, network, parent).await?;
    Ok((found.index, Vec::new()))
}

/// The parent, if it can carry what tenants send.
pub(super) async fn usable(
    links: &Links,
    network: &NetworkPlan,
    parent: &Interface,
) -> Result<Found, Failure> {
    let name = parent.as_str();
    let Some(found) = links.find(name).await? else {
        return Err(
            Failure::errno(Stage::Link, format!("on {name}"), libc::ENODEV)
                .with("the host has no such interface"),
        );
    };
    let is_port = network.mode == Mode::Port;
    if let Some(why) = no_bridge(&found).filter(|_| is_port) {
        return Err(Failure::detail(Stage::Link, format!("on {name}"), why));
    }
    let why = match (found.up, found.carrier) {
        // A bridge has no carrier before its first port has one, which may be a tenant's.
        (true, true) => return Ok(found),
        (true, false) if is_port => return Ok(found),
        (false, _) => format!("it is down, so no tenant is reached: `ip link set {name} up`"),
        (true, false) => "it has no carrier, so no tenant is reached: look at its cable".to_owned(),
    };
    Err(Failure::detail(Stage::Link, format!("on {name}"), why))
}

/// Makes the firewall of a tenant, unless the manifest has none.
pub(super) fn guard(network: &NetworkPlan, link: &LinkPlan, netns: &Netns) -> Result<(), Failure> {
    if network.firewall == Firewall::Off {
        return Ok(());
    }
    let made = netns::visit(netns, || Ok(inner::make(network, link)));
    made.map_err(|error| broken(Stage::Firewall, "(in the tenant)", &error))?
}

impl Links {
    /// Marks the end on the host, which stays down.
    pub(super) async fn mark(&self, index: u32, link: &LinkPlan) -> Result<(), Failure> {
        let name = link.host.name.as_str();
        let end = LinkUnspec::new_with_index(index).down().name(name);
        let end = end
            .address(link.host.mac.0.to_vec())
            .alias(link.mark.as_str());
        let set = self.handle().link().change(end.build()).execute().await;
        self.done(set)
            .map_err(|error| refused(Stage::Link, name, error))
    }

    /// Makes the macvlan, in the tenant's namespace from the start. It is private: it gets no frame of another macvlan of
    /// the same parent.
    async fn create_macvlan(
        &self,
        network: &NetworkPlan,
        (link, parent): (&LinkPlan, &Interface),
        netns: &Netns,
    ) -> Result<(), Failure> {
        let name = parent.as_str();
        let object = format!("on {name}");
        let fail = |number| Failure::errno(Stage::Link, object.as_str(), number);
        let index = index_of(name).map_err(|error| fail(error.raw_os_error()))?;
        let macvlan = LinkMacVlan::new(link.tenant.name.as_str(), index, MacVlanMode::Private)
            .address(link.tenant.mac.0.to_vec())
            .mtu(network.mtu)
            .setns_by_fd(netns.as_fd().as_raw_fd());
        let made = self.handle().link().add(macvlan.build()).execute().await;
        self.done(made).map_err(|error| {
            let why = match errno(&error) {
                Some(libc::EBUSY) => {
                    "it is a port of a bridge or a bond, or has ipvlans: it can have no macvlan"
                }
                Some(libc::EOPNOTSUPP) => "the kernel has no macvlan: load the module",
                Some(libc::EINVAL) => "the kernel makes no macvlan of it, or none with this MTU",
                _ => return refused(Stage::Link, object.as_str(), error),
            };
            refused(Stage::Link, object.as_str(), error).with(why)
        })
    }

    /// Deletes the macvlan of a tenant whose host end this is. What waits there for a neighbour that does not answer would
    /// keep the namespace for some seconds.
    pub(super) async fn delete_macvlan(
        &self,
        found: &Found,
        link: &LinkPlan,
    ) -> Result<(), Failure> {
        let Some(number) = found.peer else {
            return Ok(());
        };
        let name = link.tenant.name.as_str();
        let mut message = LinkUnspec::new_with_name(name).build();
        message.attributes.push(LinkAttribute::IfNetnsId(number));
        let mut request = self.handle().link().del(0);
        *request.message_mut() = message;
        match self.done(request.execute().await) {
            // The namespace, or the link in it, is gone.
            Err(error) if !matches!(errno(&error), Some(libc::ENODEV | libc::EINVAL)) => {
                Err(refused(Stage::Release, name, error))
            }
            Ok(()) | Err(_) => Ok(()),
        }
    }
}

impl Provisioner {
    /// Makes the tenant's own link, beside the pair that bears its mark.
    pub(super) async fn set_up_macvlan(
        &self,
        (link, parent): (&LinkPlan, &Interface),
        made: &Found,
        netns: &Netns,
        socket: TenantSocket,
    ) -> Result<(), Failure> {
        let network = &self.network;
        self.links.mark(made.index, link).await?;
        crash::point("network: host end up", &link.mark);
        usable(&self.links, network, parent).await?;
        self.links
            .create_macvlan(network, (link, parent), netns)
            .await?;
        guard(network, link, netns)?;
        crash::point("network: admitted", &link.mark);
        socket.raise(network, link).map_err(|why| match why.errno {
            libc::EADDRINUSE => {
                let mac = link.tenant.mac;
                why.with(format!(
                    "another link of {parent} has the MAC address {mac}"
                ))
            }
            _ => why,
        })?;
        socket.set_up(network, link).await?;
        crash::point("network: tenant end up", &link.mark);
        Ok(())
    }

    /// Compares what the host has of a tenant with its plan.
    pub(super) async fn mend_macvlan(
        &self,
        found: &Found,
        link: &LinkPlan,
    ) -> Result<Outcome, Failure> {
        let lost = |what: &str, why: &str| {
            let why = Failure::detail(Stage::Linked, what, why);
            Ok(Outcome::Lost(why))
        };
        let Some(number) = found.peer else {
            return lost(link.host.name.as_str(), "its other end is gone");
        };
        // A question about the link would make the kernel number the host's own namespace.
        if self.links.all_addresses_in(number).await?.is_empty() {
            let name = link.tenant.name.as_str();
            return lost(name, "it was deleted, perhaps with its parent on the host");
        }
        let different = differences(found, link, None, self.network.group());
        if !different.is_empty() {
            self.links.mark(found.index, link).await?;
        }
        for address in link.addresses.iter() {
            self.links.refuse_own_address(address, None).await?;
        }
        let host = &link.host.name;
        let mended = different.iter().map(|what| format!("the {what} of {host}"));
        Ok(Outcome::Whole(mended.collect()))
    }

    /// Gives a tenant the addresses and the firewall of its plan, and takes what an earlier one had away.
    pub(super) async fn readdress_macvlan(
        &self,
        link: &LinkPlan,
        netns: &Netns,
    ) -> Result<(), Failure> {
        let planned: BTreeSet<IpAddr> = link.addresses.iter().collect();
        let Some(number) = self.links.number_of(netns.as_fd()).await? else {
            return Ok(());
        };
        let present = self.links.all_addresses_in(number).await?;
        let is_ours = |it: &IpAddr| self.network.subnets().any(|subnet| subnet.contains(*it));
        let present: BTreeSet<IpAddr> = present.into_iter().filter(is_ours).collect();
        let gone: Vec<IpAddr> = present.difference(&planned).copied().collect();
        let new: Vec<IpAddr> = planned.difference(&present).copied().collect();
        self.change_inside(link, netns, &gone, &[]).await?;
        self.keep_of(link, &gone);
        self.until_free(link, &new).await?;
        self.probe(link, &new).await?;
        guard(&self.network, link, netns)?;
        self.hold(link);
        if new.is_empty() {
            return Ok(());
        }
        self.change_inside(link, netns, &[], &new).await?;
        announce(netns, link, new.into_iter())
    }

    /// Makes the firewall of a tenant again.
    pub(super) fn guard_again(&self, link: &LinkPlan, netns: &Netns) -> Result<(), Failure> {
        match link.parent {
            Some(_) => guard(&self.network, link, netns),
            None => Ok(()),
        }
    }
}

/// Whether the mark of a link is on the kind of link that the plan has.
pub(super) fn is_planned(found: &Found, link: &LinkPlan) -> bool {
    let kind = |mac: &[u8]| (derive::is_marker(mac), derive::is_port(mac));
    kind(&found.mac) == kind(&link.host.mac.0)
}
