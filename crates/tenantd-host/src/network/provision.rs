//! Makes the network of one tenant, completely or not at all, and waits until it is destroyed.

use std::cell::{Cell, RefCell};
use std::collections::BTreeSet;
use std::net::IpAddr;
use std::rc::Rc;
use std::time::Duration;

use rustix::io::Errno;
use tokio::time::{Instant, sleep};

use crate::crash;
use crate::netns::{self, ClosedNetns, Maker, Netns, Sysctls};
use tenantd_core::plan::derive;
use tenantd_core::plan::model::{LinkPlan, Mode, NetworkPlan};
use tenantd_core::stage::{Failure, Stage};

use super::announce::announce;
use super::dismissals::Dismissals;
use super::firewall::{Firewall, Gone, exposed};
use super::ipv6;
use super::leaving::Leaving;
use super::link::{Found, Links, index_of};
use super::live::Held;
use super::mend::differences;
use super::rate;
use super::refusal::{broken, errno, refused};
use super::segment::Segment;
use super::tenant::TenantSocket;
use super::uplink::Uplink;

/// The time limit for the kernel to notice that a link has a carrier. It takes at most a second,
/// see
/// `net/core/link_watch.c`, unless the host is under load.
const CARRIES_WITHIN: Duration = Duration::from_secs(5);

/// The shortest and the longest pause between two checks of a link that is about to change.
const LOOK_AGAIN: (Duration, Duration) = (Duration::from_millis(4), Duration::from_millis(200));

/// How often residue with the name of the new link is removed before giving up.
const RESIDUE_MAX: u32 = 3;

/// The state that all provisions and releases share.
pub(super) struct Provisioner {
    pub(super) links: Links,
    pub(super) network: NetworkPlan,
    /// The interface index of the hub.
    pub(super) hub: Cell<u32>,
    /// The uplink, as it was found last.
    pub(super) uplink: Cell<Option<Uplink>>,
    /// Where tenants are machines of the network of an interface of the host.
    pub(super) segment: Segment,
    /// What makes the tenants' namespaces.
    pub(super) namespaces: Maker,
    /// Access to the sysctls of the host's namespace.
    pub(super) sysctls: Sysctls,
    /// Access to the settings of IPv6 of the host's links.
    pub(super) ipv6: ipv6::Settings,
    /// The firewall, unless the manifest has none.
    pub(super) firewall: Option<Firewall>,
    /// The addresses of the tenants.
    pub(super) held: RefCell<Held>,
    /// Links that the kernel is about to remove.
    pub(super) leaving: Rc<Leaving>,
    /// Tenants whose links are gone, and that the firewall still has.
    pub(super) dismissals: Dismissals,
}

/// Limits what a tenant receives and sends, if its plan does.
fn limit(netns: &Netns, link: &LinkPlan) -> Result<(), Failure> {
    if link.rate.inward.is_some() {
        rate::limit_inward(link)?;
    }
    match link.rate.outward {
        Some(_) => rate::limit_outward(netns, link),
        None => Ok(()),
    }
}

/// Has the ports that a tenant exposes translated. The rest of it is made with the tenant's end.
fn expose(netns: &Netns, link: &LinkPlan) -> Result<(), Failure> {
    if link.traffic.exposed.is_empty() {
        return Ok(());
    }
    let translated = netns::visit(netns, || Ok(exposed::translate_all(link)));
    translated.map_err(|error| broken(Stage::Firewall, "(in the tenant)", &error))?
}

impl Provisioner {
    /// Makes the tenant's namespace, link, addresses and routes.
    pub(super) async fn provision(&self, link: &LinkPlan) -> Result<Netns, Failure> {
        for address in link.addresses.iter() {
            if self.network.gateway_of(address).is_none() {
                let why = "the application has no IPv6 subnet";
                return Err(Failure::detail(Stage::Address, address.to_string(), why));
            }
            self.links.refuse_own_address(address, None).await?;
        }
        let all: Vec<IpAddr> = link.addresses.iter().collect();
        self.until_free(link, &all).await?;
        self.hold(link);
        let made = self
            .namespaces
            .make(&link.sysctls, TenantSocket::opener(link));
        let (netns, socket) = made.await?;
        crash::point("network: namespace made", &link.mark);
        let made = self.create_pair(link, &netns).await?;
        crash::point("network: link made", &link.mark);
        // Before the link takes what is for loopback addresses.
        let made_up = match (expose(&netns, link), &link.parent) {
            (Err(why), _) => Err(why),
            (Ok(()), None) => self.set_up(link, &made, socket).await,
            (Ok(()), Some(parent)) if link.is_port() => {
                let link = (link, parent);
                self.set_up_port(link, &made, &netns, socket).await
            }
            (Ok(()), Some(parent)) => {
                let link = (link, parent);
                self.set_up_macvlan(link, &made, &netns, socket).await
            }
        };
        let made_up = made_up.and_then(|()| limit(&netns, link));
        let told = made_up.and_then(|()| match self.network.mode {
            Mode::Bridge | Mode::Macvlan | Mode::Port => {
                announce(&netns, link, link.addresses.iter())
            }
            Mode::Routed => Ok(()),
        });
        match told {
            Ok(()) => Ok(netns),
            Err(why) => {
                let left = self.undo(link, &made, netns.close()).await;
                Err(match left {
                    Ok(()) => why,
                    Err(left) => {
                        let both = format!("{} (and {left})", why.detail);
                        why.with(both)
                    }
                })
            }
        }
    }

    /// Waits until the kernel has destroyed a closed namespace, which it shows by removing the host
    /// end of its link.
    pub(super) async fn release(
        &self,
        link: &LinkPlan,
        closed: ClosedNetns,
    ) -> Result<(), Failure> {
        self.unroute(link).await?;
        let Some(left) = self.left_of(link).await? else {
            return self.dismiss(link).await;
        };
        if self.vanishes(&left, link).await? {
            return self.dismiss(link).await;
        }
        let holders = closed.holders();
        let pids: Vec<String> = holders.iter().map(u32::to_string).collect();
        let holders = if pids.is_empty() {
            "no process is in it, but a descriptor or a mount keeps it alive".to_owned()
        } else {
            format!(
                "a process outside the tenant's cgroup is still in it: pid {}",
                pids.join(", ")
            )
        };
        Err(Failure::detail(Stage::Release, link.mark.as_str(), holders))
    }

    /// The host end of a tenant whose namespace is closed, or a link of another owner with its name: which one it is, is
    /// looked at if it does not vanish. A look costs the more, the more namespaces there are.
    async fn left_of(&self, link: &LinkPlan) -> Result<Option<Found>, Failure> {
        let name = link.host.name.as_str();
        if !link.is_macvlan() {
            return match index_of(name) {
                Ok(index) => Ok(Some(Found::at(index, name))),
                Err(Errno::NODEV) => Ok(None),
                Err(_) => self.links.find(name).await,
            };
        }
        let found = self.links.find(name).await?;
        let found = found.filter(|found| found.is_ours(&link.mark, link.host.mac));
        if let Some(found) = &found {
            self.links.delete_macvlan(found, link).await?;
        }
        Ok(found)
    }

    /// Makes the pair. Removes a link with the same name if it bears the tenant's mark, and fails
    /// if it does not.
    async fn create_pair(&self, link: &LinkPlan, netns: &Netns) -> Result<Found, Failure> {
        let name = link.host.name.as_str();
        let controller = (self.network.mode == Mode::Bridge).then_some(self.hub.get());
        let mut residue = 0;
        loop {
            let network = &self.network;
            let made = self.links.create_pair(network, link, controller, netns);
            match made.await {
                Ok(()) => break,
                Err(error) if errno(&error) != Some(libc::EEXIST) || residue == RESIDUE_MAX => {
                    return Err(refused(Stage::Link, name, error));
                }
                Err(_) => residue += 1,
            }
            match self.links.find(name).await? {
                Some(found) if found.is_ours(&link.mark, link.host.mac) => {
                    self.links.delete(&found).await?;
                }
                Some(stranger) => return Err(stranger.in_the_way(name, &link.mark)),
                // The link was removed meanwhile.
                None => {}
            }
        }
        match index_of(name) {
            Ok(index) => Ok(Found::at(index, name)),
            Err(Errno::NODEV) => Err(Failure::errno(Stage::Link, name, libc::ENODEV)
                .with("the link was removed at once")),
            Err(errno) => Err(Failure::errno(Stage::Link, name, errno.raw_os_error())),
        }
    }

    /// Sets up the host's side first, so that everything is in place when the tenant end comes up.
    async fn set_up(
        &self,
        link: &LinkPlan,
        made: &Found,
        socket: TenantSocket,
    ) -> Result<(), Failure> {
        let network = &self.network;
        let port = network.mode == Mode::Bridge;
        // While it is down, the kernel has no route by it yet.
        self.ipv6.settle_host_end(network, link)?;
        let raised = self.links.raise_host_end(made.index, network, link, port);
        raised.await?;
        crash::point("network: host end up", &link.mark);
        if let Some(firewall) = &self.firewall {
            firewall.admit(link, made.index)?;
            crash::point("network: admitted", &link.mark);
        }
        let through = self.way(made.index);
        for address in link.addresses.iter() {
            let routed = self.links.route_to(through, network, address, &link.tenant);
            routed.await?;
        }
        self.ensure_way_from_loopback(link, made.index).await?;
        crash::point("network: routed", &link.mark);
        socket.set_up(network, link).await?;
        crash::point("network: tenant end up", &link.mark);
        self.carries(made.index).await?;
        if port {
            self.carries(self.hub.get()).await?;
        }
        self.answer_for(link.addresses.iter()).await?;
        crash::point("network: answered for", &link.mark);
        Ok(())
    }

    /// Waits until the kernel has set a link with a carrier operational. It does so with a delay,
    /// and drops packets until then: the first connection to a tenant would wait a second for a
    /// retransmission. Since Linux 6.8, the query itself triggers it.
    pub(super) async fn carries(&self, index: u32) -> Result<(), Failure> {
        let start = Instant::now();
        loop {
            let name = match self.links.find_index(index).await? {
                Some(found) if found.operational => return Ok(()),
                Some(found) => found.name,
                None => format!("number {index}"),
            };
            if start.elapsed() >= CARRIES_WITHIN {
                let why = "the link has not become operational";
                return Err(Failure::errno(Stage::Link, name, libc::ETIMEDOUT).with(why));
            }
            sleep((start.elapsed() / 2).clamp(LOOK_AGAIN.0, LOOK_AGAIN.1)).await;
        }
    }

    /// Waits until a half-made link is destroyed with its namespace, else deletes it. Its routes
    /// and neighbour entries are removed with it.
    async fn undo(&self, link: &LinkPlan, made: &Found, _: ClosedNetns) -> Result<(), Failure> {
        self.unroute(link).await?;
        if !self.vanishes(made, link).await? {
            self.links.delete(made).await?;
        }
        self.dismiss(link).await
    }

    /// Gives a tenant that has its link the addresses of its plan, and lets it have the traffic of that, and no other.
    /// Does nothing without a link: then a provision does it.
    pub(super) async fn admit(
        &self,
        link: &LinkPlan,
        netns: Option<&Netns>,
    ) -> Result<(), Failure> {
        let Some(found) = self.links.find(link.host.name.as_str()).await? else {
            return Ok(());
        };
        if !found.is_marked_as(&link.mark) {
            return Ok(());
        }
        if link.parent.is_some() {
            if link.is_port() {
                self.ipv6.settle_host_end(&self.network, link)?;
                rate::limit_inward(link)?;
            }
            // What it has of the plan is in its namespace.
            return match netns {
                Some(netns) => self.readdress_macvlan(link, netns).await,
                None => Ok(()),
            };
        }
        rate::limit_inward(link)?;
        if ipv6::has_ipv6(link) {
            self.ipv6.settle_host_end(&self.network, link)?;
        }
        // A change that changes nothing is told to all who listen, too.
        if !self.is_raised(&found, link) {
            let port = self.network.mode == Mode::Bridge;
            let raised = self
                .links
                .raise_host_end(found.index, &self.network, link, port);
            raised.await?;
        }
        self.ensure_way_from_loopback(link, found.index).await?;
        let admit = |link: &LinkPlan| match &self.firewall {
            Some(firewall) => firewall.admit(link, found.index),
            None => Ok(()),
        };
        match netns {
            Some(netns) => {
                self.readdress(link, &found, netns, admit).await?;
                self.expose(link, netns).await?;
            }
            None => admit(link)?,
        }
        match ipv6::has_ipv6(link) {
            true => Ok(()),
            // Not before its addresses of IPv6 are gone.
            false => self.ipv6.settle_host_end(&self.network, link),
        }
    }

    /// Whether a host end has already what [`Links::raise_host_end`] sets.
    fn is_raised(&self, found: &Found, link: &LinkPlan) -> bool {
        let is_published = !link.traffic.publish.is_empty();
        let controller = self.controller();
        differences(found, link, controller, self.network.group()).is_empty()
            && found.arrival.is_set(&self.network, is_published)
    }

    /// Whether the firewall has exactly what the plan of a tenant says, so that there is nothing to admit. False if that
    /// cannot be told without a look into its namespace.
    pub(super) fn is_as_planned(&self, link: &LinkPlan) -> bool {
        let is_elsewhere = link.parent.is_some() || !link.traffic.exposed.is_empty();
        if is_elsewhere || !link.traffic.publish.is_empty() {
            return false;
        }
        let Ok(index) = index_of(link.host.name.as_str()) else {
            return false;
        };
        let firewall = self.firewall.as_ref();
        firewall.is_none_or(|firewall| firewall.has(link, index))
    }

    /// Whether the ports that a tenant publishes are free for it. Looks for nothing else.
    pub(super) fn is_admissible(&self, link: &LinkPlan) -> bool {
        let firewall = self.firewall.as_ref();
        firewall.is_none_or(|firewall| firewall.has_free_ports(link))
    }

    /// Removes what the firewall has of tenants other than those with these marks.
    pub(super) fn retain(&self, used: &BTreeSet<String>) -> Result<(), Failure> {
        let Some(firewall) = &self.firewall else {
            return Ok(());
        };
        let marks = firewall.marks().into_iter();
        let unused = marks.filter(|mark| !used.contains(mark));
        let unused = unused.filter_map(|mark| {
            let (app, tenant) = derive::of_link_mark(&mark)?;
            let end = derive::host_end(derive::tenant_hash(&app, &tenant));
            let device = end.name.as_str().to_owned();
            Some(Gone { mark, device })
        });
        let unused: Vec<Gone> = unused.collect();
        firewall.dismiss(&unused).into_iter().collect()
    }
}
