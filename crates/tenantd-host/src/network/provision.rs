//! One tenant's network: made whole or not at all, and proved gone.

use std::cell::RefCell;
use std::net::Ipv4Addr;
use std::time::Duration;

use rustix::io::Errno;
use tokio::time::{Instant, sleep};

use crate::crash;
use crate::netns::{self, ClosedNetns, Netns, Sysctls};
use tenantd_core::plan::model::{LinkPlan, Mode, NetworkPlan};
use tenantd_core::stage::{Failure, Stage};

use super::link::{Found, Links, index_of};
use super::refusal::{errno, refused};
use super::tenant::{TenantSocket, ipv4};

/// How long the kernel may take to destroy a namespace that nobody holds. It takes 15 to 50 ms;
/// on a host under load some hundreds were seen.
const GONE_WITHIN: Duration = Duration::from_secs(2);

/// How long the kernel may take to notice that a link has a carrier: at most a second, see
/// `net/core/link_watch.c`, unless the host is under load.
const CARRIES_WITHIN: Duration = Duration::from_secs(5);

/// The shortest and the longest pause between two looks at a link that is about to change.
const LOOK_AGAIN: (Duration, Duration) = (Duration::from_millis(4), Duration::from_millis(200));

/// How often residue may come back under the name that is wanted.
const RESIDUE_MAX: u32 = 3;

/// What every provision and release works with.
pub(super) struct Provisioner {
    pub(super) links: Links,
    pub(super) network: NetworkPlan,
    /// The hub's index.
    pub(super) hub: u32,
    /// The way to the sysctls of each tenant's namespace.
    pub(super) sysctls: RefCell<Sysctls>,
}

impl Provisioner {
    /// Makes the tenant's namespace, link, addresses and routes.
    pub(super) async fn provision(&self, link: &LinkPlan) -> Result<Netns, Failure> {
        let addresses = ipv4(&link.addresses)?;
        for address in &addresses {
            self.links.refuse_own_address(*address, None).await?;
        }
        let (netns, socket) = netns::make(&mut self.sysctls.borrow_mut(), TenantSocket::open)?;
        crash::point("network: namespace made", &link.mark);
        let made = self.create_pair(link, &netns).await?;
        crash::point("network: link made", &link.mark);
        match self.set_up(link, &addresses, &made, socket).await {
            Ok(()) => Ok(netns),
            Err(why) => {
                let left = self.undo(link, &made, netns.close()).await;
                Err(match left {
                    Ok(()) => why,
                    Err(left) => {
                        let both = format!("{} (and then {left})", why.detail);
                        why.with(both)
                    }
                })
            }
        }
    }

    /// Proves that nobody is left in a namespace that was closed: then the kernel has destroyed
    /// it, and its link's host end has vanished.
    pub(super) async fn release(
        &self,
        link: &LinkPlan,
        closed: ClosedNetns,
    ) -> Result<(), Failure> {
        let Some(found) = self.links.find(link.host.name.as_str()).await? else {
            return Ok(());
        };
        if !found.is_ours(&link.mark, link.host.mac) || self.vanishes(&found, link).await? {
            return Ok(());
        }
        let holders = closed.holders();
        let pids: Vec<String> = holders.iter().map(u32::to_string).collect();
        let holders = if pids.is_empty() {
            "no process is in it, so something holds a descriptor or a mount of it".to_owned()
        } else {
            format!(
                "a process outside the tenant's cgroup still holds it: pid {}",
                pids.join(", ")
            )
        };
        Err(Failure::detail(Stage::Release, link.mark.as_str(), holders))
    }

    /// Makes the pair; takes residue of ours out of the way, and never a stranger.
    async fn create_pair(&self, link: &LinkPlan, netns: &Netns) -> Result<Found, Failure> {
        let name = link.host.name.as_str();
        let controller = (self.network.mode == Mode::Bridge).then_some(self.hub);
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
                // It was about to vanish, and now it has.
                None => {}
            }
        }
        match index_of(name) {
            Ok(index) => Ok(Found::at(index, name)),
            Err(Errno::NODEV) => {
                Err(Failure::errno(Stage::Link, name, libc::ENODEV).with("it vanished at once"))
            }
            Err(errno) => Err(Failure::errno(Stage::Link, name, errno.raw_os_error())),
        }
    }

    /// The host's side first: when the tenant end comes up, everything else is in place.
    async fn set_up(
        &self,
        link: &LinkPlan,
        addresses: &[Ipv4Addr],
        made: &Found,
        socket: TenantSocket,
    ) -> Result<(), Failure> {
        let network = &self.network;
        let port = network.mode == Mode::Bridge;
        let raised = self.links.raise_host_end(made.index, network, link, port);
        raised.await?;
        crash::point("network: host end up", &link.mark);
        if !port {
            for address in addresses {
                let routed =
                    self.links
                        .route_to(made.index, network.gateway, *address, &link.tenant);
                routed.await?;
            }
            crash::point("network: routed", &link.mark);
        }
        socket.set_up(network, link, addresses)?;
        crash::point("network: tenant end up", &link.mark);
        self.carries(made.index).await?;
        if port {
            self.carries(self.hub).await?;
        }
        Ok(())
    }

    /// Waits until the kernel has acted on a carrier. It does so later, and drops packets until
    /// then: the first connection to a tenant would wait a second for its retransmission. From
    /// Linux 6.8 on the look itself makes it act.
    async fn carries(&self, index: u32) -> Result<(), Failure> {
        let start = Instant::now();
        loop {
            let name = match self.links.find_index(index).await? {
                Some(found) if found.operational => return Ok(()),
                Some(found) => found.name,
                None => format!("number {index}"),
            };
            if start.elapsed() >= CARRIES_WITHIN {
                let why = "the kernel does not set it operational";
                return Err(Failure::errno(Stage::Link, name, libc::ETIMEDOUT).with(why));
            }
            sleep((start.elapsed() / 2).clamp(LOOK_AGAIN.0, LOOK_AGAIN.1)).await;
        }
    }

    /// Waits until what was half-made is gone; its route and neighbour entry go with the link.
    async fn undo(&self, link: &LinkPlan, made: &Found, _: ClosedNetns) -> Result<(), Failure> {
        if self.vanishes(made, link).await? {
            return Ok(());
        }
        self.links.delete(made).await
    }

    /// Whether the link vanishes within [`GONE_WITHIN`]. It is looked at again and again: a
    /// subscription would bring every change of every link of the host to this thread.
    async fn vanishes(&self, made: &Found, link: &LinkPlan) -> Result<bool, Failure> {
        let start = Instant::now();
        loop {
            let (shortest, longest) = LOOK_AGAIN;
            sleep((start.elapsed() / 2).clamp(shortest, longest)).await;
            match self.links.find_index(made.index).await? {
                Some(found) if found.is_ours(&link.mark, link.host.mac) => {}
                _ => return Ok(true),
            }
            if start.elapsed() >= GONE_WITHIN {
                return Ok(false);
            }
        }
    }
}
