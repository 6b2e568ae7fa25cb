//! The uplink: an interface of the host by which others reach addresses of tenants that are in its network.
//!
//! The host answers for each such address while its tenant is there (proxy ARP and NDP): an entry in the kernel's table
//! of proxies, with a protocol number as a mark. The kernel sends no message about these entries, and removes them when
//! the interface is set down or, for IPv4, loses its last address: those are told, and the entries made again.

use std::net::IpAddr;

use futures_util::{StreamExt, TryStreamExt};
use nix::sys::socket::LinkAddr;
use rtnetlink::Handle;
use rtnetlink::packet_core::{
    NLM_F_ACK, NLM_F_CREATE, NLM_F_REPLACE, NLM_F_REQUEST, NetlinkMessage, NetlinkPayload,
};
use rtnetlink::packet_route::RouteNetlinkMessage;
use rtnetlink::packet_route::neighbour::{
    NeighbourAttribute, NeighbourFlags, NeighbourMessage, NeighbourState,
};
use rtnetlink::packet_route::route::RouteType;

use tenantd_core::plan::derive;
use tenantd_core::plan::model::{LinkPlan, MacAddr, NetworkPlan, UplinkPlan};
use tenantd_core::stage::{Failure, Stage};

use super::announce::send;
use super::family::{neighbour, neighbour_address};
use super::link::{Found, Links, outgoing};
use super::probe::{self, On, packet_address};
use super::provision::Provisioner;
use super::refusal::{answered, broken, errno, refused};
use super::subnet::PROTOCOL;
use crate::uplink::lacking;

/// The uplink, as it was found.
#[derive(Debug, Clone, Copy)]
pub(super) struct Uplink {
    index: u32,
    mac: MacAddr,
    /// Where frames are sent and received.
    packets: LinkAddr,
    /// Whether its settings are set, for IPv4 and IPv6.
    settled: [bool; 2],
}

/// What an entry is called in messages.
fn entry(address: IpAddr, uplink: &UplinkPlan) -> String {
    format!("{address} on {} (its proxy entry)", uplink.name)
}

/// Names the entry for an address.
fn proxy(index: u32, address: IpAddr) -> NeighbourMessage {
    let mut message = neighbour(index, address);
    message.header.flags = NeighbourFlags::Proxy;
    message
}

/// Whether there is an entry for an address.
pub(crate) async fn is_answered(
    handle: &Handle,
    index: u32,
    address: IpAddr,
) -> Result<bool, rtnetlink::Error> {
    let question = RouteNetlinkMessage::GetNeighbour(proxy(index, address));
    let mut request = NetlinkMessage::from(question);
    request.header.flags = NLM_F_REQUEST;
    let mut answers = handle.clone().request(request)?;
    let mut found = false;
    while let Some(answer) = answers.next().await {
        match answer.payload {
            NetlinkPayload::InnerMessage(RouteNetlinkMessage::NewNeighbour(_)) => found = true,
            NetlinkPayload::Error(answer) if answer.raw_code() == -libc::ENOENT => {}
            NetlinkPayload::Error(answer) if answer.code.is_some() => {
                return Err(rtnetlink::Error::NetlinkError(answer));
            }
            _ => {}
        }
    }
    Ok(found)
}

impl Links {
    async fn set_proxy(
        &self,
        index: u32,
        address: IpAddr,
        uplink: &UplinkPlan,
    ) -> Result<(), Failure> {
        let mut message = proxy(index, address);
        // From Linux 6.13 on, it stays when the interface loses its carrier.
        message.header.state = NeighbourState::Permanent;
        let mark = NeighbourAttribute::Protocol(PROTOCOL);
        message.attributes.push(mark);
        let mut request = NetlinkMessage::from(RouteNetlinkMessage::NewNeighbour(message));
        request.header.flags = NLM_F_REQUEST | NLM_F_ACK | NLM_F_CREATE | NLM_F_REPLACE;
        let object = entry(address, uplink);
        let answers = self.handle().request(request);
        let mut answers = answers.map_err(|error| refused(Stage::Route, object.as_str(), error))?;
        while let Some(answer) = answers.next().await {
            if let NetlinkPayload::Error(answer) = answer.payload
                && answer.code.is_some()
            {
                return Err(answered(Stage::Route, object, &answer));
            }
        }
        Ok(())
    }

    async fn remove_proxy(&self, index: u32, address: IpAddr) -> Result<(), Failure> {
        let removed = self.handle().neighbours().del(proxy(index, address));
        match self.done(removed.execute().await) {
            Err(error) if !matches!(errno(&error), Some(libc::ENOENT | libc::ENODEV)) => {
                let object = format!("{address} (its proxy entry)");
                Err(refused(Stage::Release, object, error))
            }
            Ok(()) | Err(_) => Ok(()),
        }
    }

    /// Removes the entries with our mark for addresses that no tenant has now: no route leads to a link of one; and those
    /// of tenants of `network` on another interface. Lists the entries of the host.
    pub(super) async fn sweep_proxies(&self, network: Option<&NetworkPlan>) -> Result<(), Failure> {
        let fail = |error| refused(Stage::Release, "(proxy entries)", error);
        let request = self.handle().neighbours().get().proxies();
        let all: Vec<NeighbourMessage> = request.execute().try_collect().await.map_err(fail)?;
        let ours = all.iter().filter(|it| is_ours(it));
        for (found, address) in ours.filter_map(|it| Some((it, neighbour_address(it)?))) {
            let route = self.way_to(address).await?;
            let route = route.filter(|it| it.header.kind == RouteType::Unicast);
            let link = match route.as_ref().and_then(outgoing) {
                Some(index) => self.find_index(index).await?,
                None => None,
            };
            // One that has lost its alias is still found by its name.
            let is_end =
                |it: &Found| it.is_marked() || derive::is_derived(derive::HOST_END, &it.name);
            let owner = link.filter(is_end);
            let is_moved = match (&owner, network) {
                (Some(owner), Some(network)) => {
                    let first = format!("{}/", network.mark);
                    let is_own = owner
                        .alias
                        .as_ref()
                        .is_some_and(|it| it.starts_with(&first));
                    is_own && self.uplink_index(network).await? != Some(found.header.ifindex)
                }
                _ => false,
            };
            if owner.is_none() || is_moved {
                self.remove_proxy(found.header.ifindex, address).await?;
            }
        }
        Ok(())
    }

    async fn uplink_index(&self, network: &NetworkPlan) -> Result<Option<u32>, Failure> {
        match &network.uplink {
            Some(uplink) => Ok(self.find(&uplink.name).await?.map(|found| found.index)),
            None => Ok(None),
        }
    }
}

fn is_ours(found: &NeighbourMessage) -> bool {
    let mark = |part: &NeighbourAttribute| matches!(part, NeighbourAttribute::Protocol(it) if *it == PROTOCOL);
    found.attributes.iter().any(mark)
}

impl Provisioner {
    /// Finds the uplink.
    ///
    /// # Errors
    /// [`Stage::Route`] if there is none now.
    async fn uplink(&self, plan: &UplinkPlan) -> Result<Uplink, Failure> {
        let name = plan.name.as_str();
        let Some(found) = self.links.find(name).await? else {
            let why = "the host has no such interface: `uplink` names it";
            return Err(Failure::errno(Stage::Route, name, libc::ENODEV).with(why));
        };
        let mac = <[u8; 6]>::try_from(found.mac.as_slice()).map(MacAddr);
        let Ok(mac) = mac else {
            let why = "the interface has no MAC address, so nothing in its network asks for one";
            return Err(Failure::errno(Stage::Route, name, libc::EOPNOTSUPP).with(why));
        };
        let known = self.uplink.get();
        if let Some(known) = known.filter(|it| it.index == found.index) {
            return Ok(Uplink { mac, ..known });
        }
        // Once for each uplink: it reads the addresses of all links.
        let packets = packet_address(name).map_err(|error| broken(Stage::Route, name, &error))?;
        let uplink = Uplink {
            index: found.index,
            mac,
            packets,
            settled: [false; 2],
        };
        if let Some(firewall) = &self.firewall {
            firewall.answer_at_once(plan)?;
        }
        self.uplink.set(Some(uplink));
        Ok(uplink)
    }

    /// Those of these addresses that others reach by the uplink.
    fn by_uplink(
        &self,
        addresses: impl IntoIterator<Item = IpAddr>,
    ) -> Option<(&UplinkPlan, Vec<IpAddr>)> {
        let plan = self.network.uplink.as_ref()?;
        let addresses = addresses.into_iter();
        let all: Vec<IpAddr> = addresses
            .filter(|address| self.network.is_by_uplink(*address))
            .collect();
        (!all.is_empty()).then_some((plan, all))
    }

    /// Fails if another machine in the uplink's network has one of these addresses. Takes 0.3 s if there are some in it.
    pub(super) async fn probe_by_uplink(
        &self,
        addresses: impl IntoIterator<Item = IpAddr>,
    ) -> Result<(), Failure> {
        let Some((plan, addresses)) = self.by_uplink(addresses) else {
            return Ok(());
        };
        let uplink = self.uplink(plan).await?;
        probe::refuse_taken(On::Link(uplink.packets), uplink.mac, addresses).await
    }

    /// Lets others reach these addresses by the uplink, and tells them.
    pub(super) async fn answer_for(
        &self,
        addresses: impl IntoIterator<Item = IpAddr>,
    ) -> Result<(), Failure> {
        let Some((plan, addresses)) = self.by_uplink(addresses) else {
            return Ok(());
        };
        let uplink = self.uplink(plan).await?;
        self.settle(plan, &uplink, &addresses)?;
        for address in &addresses {
            self.links.set_proxy(uplink.index, *address, plan).await?;
        }
        send(uplink.packets, uplink.mac, addresses.into_iter())
            .map_err(|error| broken(Stage::Address, "(its announcement)", &error))
    }

    /// Sets the settings of the uplink, if the plan says so.
    fn settle(
        &self,
        plan: &UplinkPlan,
        uplink: &Uplink,
        addresses: &[IpAddr],
    ) -> Result<(), Failure> {
        if !plan.set {
            return Ok(());
        }
        let has = |four: bool| addresses.iter().any(|it| it.is_ipv4() == four);
        let needed = [has(true), has(false)];
        // Once: with many tenants, a look into /proc/sys/net takes long.
        let due = [0, 1].map(|at| needed[at] && !uplink.settled[at]);
        for setting in lacking(&plan.name, due[0], due[1]) {
            let set = self.sysctls.set(&setting.path, setting.value);
            set.map_err(|error| {
                let errno = error.raw_os_error().unwrap_or(libc::EIO);
                let object = format!("{} (sysctl {})", plan.name, setting.path);
                Failure::errno(Stage::Route, object, errno).with("`set_uplink` needs it")
            })?;
            tracing::info!("{} is {} now, for the uplink", setting.path, setting.value);
        }
        let settled = [0, 1].map(|at| needed[at] || uplink.settled[at]);
        self.uplink.set(Some(Uplink { settled, ..*uplink }));
        Ok(())
    }

    /// Makes the entries that are missing. Returns what was missing.
    pub(super) async fn mend_proxies(&self, link: &LinkPlan) -> Result<Vec<String>, Failure> {
        let Some((plan, addresses)) = self.by_uplink(link.addresses.iter()) else {
            return Ok(Vec::new());
        };
        let uplink = self.uplink(plan).await?;
        let unsettled = Uplink {
            settled: [false; 2],
            ..uplink
        };
        self.settle(plan, &unsettled, &addresses)?;
        let mut mended = Vec::new();
        for address in addresses {
            let found = is_answered(&self.links.handle(), uplink.index, address).await;
            if !found.map_err(|error| refused(Stage::Route, entry(address, plan), error))? {
                self.links.set_proxy(uplink.index, address, plan).await?;
                mended.push(format!("the proxy entry of {address} on {}", plan.name));
            }
        }
        Ok(mended)
    }

    /// Nobody is answered for these addresses any longer, unless another tenant has one.
    pub(super) async fn answer_no_longer(
        &self,
        link: &LinkPlan,
        addresses: impl IntoIterator<Item = IpAddr>,
    ) -> Result<(), Failure> {
        let Some((_, addresses)) = self.by_uplink(addresses) else {
            return Ok(());
        };
        let Some(index) = self.links.uplink_index(&self.network).await? else {
            // They went with it.
            return Ok(());
        };
        for address in addresses {
            if !self.is_held_by_another(link, address) {
                self.links.remove_proxy(index, address).await?;
            }
        }
        Ok(())
    }
}
