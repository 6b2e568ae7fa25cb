//! The network of an application: the hub, and a namespace with a link for each tenant.
//! One thread, named `net`, does all of this. It owns the netlink socket and has a runtime of its
//! own, because the kernel does the work inside sendto(2) and blocks the sender for that long. The thread stays in the network
//! namespace in which [`Network::open`] was called. It sleeps while there is no request and no other program changes what it
//! made: that is noticed and mended (`watch`, `mend`).
//!
//! ```text
//!            host                          tenant
//!   hub: gateway's addresses
//!     (bridge: controller of)
//!   host end, marked by its alias  ═════  eth0: the tenant's addresses
//!     (each address → host end, bridge: → hub) default via the gateway
//!   the rest of the subnets → unreachable
//! ```
//!
//! No step lists links, routes or neighbours, so the cost of a tenant does not depend on the number
//! of tenants. Links without the application's mark are never changed. The firewall lets each tenant
//! have the traffic of its plan. Packets pass at most at its rates (`rate`).
//!
//! Addresses of IPv6 are as those of IPv4: both ends have permanent neighbour entries, so neither ARP nor neighbour
//! discovery is used, and no link has a link-local address. In mode bridge tenants have /128 addresses too, and reach
//! each other through the hub.
//!
//! In mode routed, tenants can have addresses of the network of an interface of the host too: the host answers for
//! them there (`uplink`).

mod announce;
mod arrival;
mod connection;
mod dismissals;
mod exchange;
mod family;
mod firewall;
mod frame;
mod hub;
mod index;
mod ipv6;
mod leaving;
mod link;
mod listed;
mod live;
mod loopback;
mod macvlan;
mod mend;
mod port;
pub mod probe;
mod proof;
mod provision;
pub mod published;
pub(crate) mod rate;
mod refusal;
mod repair;
mod request;
pub mod residue;
mod segment;
mod serve;
mod subnet;
mod tenant;
pub(crate) mod uplink;
mod watch;

use std::cell::{Cell, RefCell};
use std::collections::BTreeSet;
use std::rc::Rc;
use std::sync::Arc;
use std::thread;

use tokio::sync::{mpsc, oneshot, watch as latest};

use crate::crash;
use crate::launch::memory::keep_stack_from_children;
use crate::netns::{ClosedNetns, Maker, Netns, Sysctls};
use tenantd_core::plan::model::{self, LinkPlan, NetworkPlan};
use tenantd_core::stage::{Failure, Stage};

use dismissals::Dismissals;
use exchange::Wanted;
use firewall::Firewall;
use hub::Opened;
use link::Links;
use provision::Provisioner;
use refusal::broken;
use request::Request;
use segment::Segment;
use serve::serve;

pub use exchange::Generation;
pub(crate) use family::link_local;
pub(crate) use firewall::exposed::difference as exposed_difference;
pub(crate) use firewall::inner::differences as differences_inside;
pub(crate) use firewall::is_plain;
pub(crate) use firewall::survey::{Difference, Tables};
pub(crate) use loopback::is_reached_from_loopback;
pub use proof::LinkTarget;
pub use rate::limit_outward;
pub use request::Question;
pub use watch::{News, Note};

/// The maximum number of queued requests. A caller waits while the queue is full.
const QUEUE_MAX: usize = 64;

/// The most concurrent provisions. Each holds two descriptors, and more would wait for the kernel's lock on all links.
const PROVISIONS_MAX: usize = 4;

/// A handle to the net thread. If the last clone is dropped without [`Network::close`], the thread
/// ends and everything that it made is kept for the next supervisor.
#[derive(Debug, Clone)]
pub struct Network {
    requests: mpsc::Sender<Request>,
    /// What [`Network::open`] did with the hub.
    opened: Opened,
    /// The network that is wanted now.
    wanted: Arc<latest::Sender<Wanted>>,
}

impl Network {
    /// Starts the net thread in the caller's network namespace, and makes the hub or takes over the
    /// one of an earlier supervisor.
    ///
    /// # Errors
    /// [`Stage::Link`] or [`Stage::Address`] if the hub's name or the gateway's address is in use
    /// by another link, or the kernel refuses. Nothing was changed then.
    pub async fn open(plan: NetworkPlan) -> Result<Network, Failure> {
        Self::open_noting(plan, mpsc::unbounded_channel().0).await
    }

    /// As [`Network::open`], and sends a note for all that happens to what this thread and earlier
    /// supervisors made, see [`Network::keep`].
    ///
    /// # Errors
    /// Those of [`Network::open`].
    pub async fn open_noting(
        plan: NetworkPlan,
        notes: mpsc::UnboundedSender<Note>,
    ) -> Result<Network, Failure> {
        let (requests, queue) = mpsc::channel(QUEUE_MAX);
        let (opened, outcome) = oneshot::channel();
        let (wanted, seen) = latest::channel((Generation::default(), plan));
        thread::Builder::new()
            .name("net".into())
            .spawn(move || {
                keep_stack_from_children();
                run(seen, queue, notes, opened);
            })
            .map_err(|error| broken(Stage::Link, "(the net thread)", &error))?;
        let opened = outcome.await.map_err(|_| ended())??;
        Ok(Network {
            requests,
            opened,
            wanted: Arc::new(wanted),
        })
    }

    /// Whether the hub that [`Network::open`] has found was that of another network, with the gateway's address of
    /// another plan, and was replaced. Tenants that an earlier supervisor has provisioned have links that fit that one.
    #[must_use]
    pub fn is_another(&self) -> bool {
        self.opened == Opened::Changed
    }

    /// Exchanges the network for one with this plan, once all tenants of the present one are released. Tenants that are
    /// provisioned from now on wait for it. If it cannot be made, they fail, and each later one tries again.
    pub fn exchange(&self, plan: NetworkPlan) {
        self.wanted.send_modify(|(generation, wanted)| {
            *generation = generation.next();
            *wanted = plan;
        });
    }

    /// The network that is wanted now.
    #[must_use]
    pub fn generation(&self) -> Generation {
        self.wanted.borrow().0
    }

    /// Makes a tenant's namespace, link, address and routes. May be called concurrently.
    ///
    /// # Errors
    /// The stage that failed ([`Stage::Netns`], [`Stage::Link`], [`Stage::Address`],
    /// [`Stage::Route`]), its object and the errno. Everything made before it was removed again.
    pub async fn provision(&self, link: LinkPlan) -> Result<Netns, Failure> {
        let asked = (self.generation(), Question::Ask);
        self.provision_in(link, asked).await
    }

    /// Waits until the kernel has destroyed a tenant's namespace, and with it the link, address and
    /// routes. The namespace must be closed ([`Netns::close`]): an open descriptor keeps it alive.
    /// Succeeds at once if the link does not exist. After a failure it can be called again with the
    /// same arguments.
    ///
    /// # Errors
    /// [`Stage::Release`] with the processes in the namespace if it still exists after two seconds.
    pub async fn release(&self, link: LinkPlan, closed: ClosedNetns) -> Result<(), Failure> {
        let (reply, outcome) = oneshot::channel();
        self.request(Request::Release(Box::new(link), closed, reply))
            .await?;
        outcome.await.map_err(|_| ended())?
    }

    /// Watches a tenant that an earlier supervisor has provisioned, and mends at once what is different.
    ///
    /// # Errors
    /// If the net thread has ended.
    pub async fn keep(&self, link: LinkPlan) -> Result<(), Failure> {
        self.request(Request::Keep(Box::new(link))).await
    }

    /// Watches a tenant no longer: its namespace is about to be closed.
    ///
    /// # Errors
    /// If the net thread has ended.
    pub async fn forget(&self, link: LinkPlan) -> Result<(), Failure> {
        let (reply, done) = oneshot::channel();
        let request = Request::Forget(Box::new(link), reply);
        self.request(request).await?;
        done.await.map_err(|_| ended())
    }

    /// Gives a provisioned tenant the addresses of this plan, in its namespace, and lets it have the traffic of this
    /// plan, and no other, from now on. Connections that are established continue. An address that another tenant has
    /// is waited for.
    ///
    /// # Errors
    /// [`Stage::Firewall`], [`Stage::Link`], [`Stage::Address`] or [`Stage::Route`]. The tenant has the traffic that it
    /// had then.
    pub async fn admit(&self, link: LinkPlan, netns: Option<Netns>) -> Result<(), Failure> {
        let (reply, outcome) = oneshot::channel();
        let request = Request::Admit(Box::new(link), netns, reply);
        self.request(request).await?;
        outcome.await.map_err(|_| ended())?
    }

    /// Makes what all tenants share as planned, and what the firewall has of each: whatever another process has made of
    /// it.
    ///
    /// # Errors
    /// What could not be mended.
    pub async fn restore(&self) -> Result<(), Failure> {
        let (reply, outcome) = oneshot::channel();
        self.request(Request::Restore(reply)).await?;
        outcome.await.map_err(|_| ended())?
    }

    /// Makes both sides of a provisioned tenant's link as planned.
    ///
    /// # Errors
    /// What could not be mended.
    pub async fn repair(&self, link: LinkPlan, netns: Netns) -> Result<(), Failure> {
        let (reply, outcome) = oneshot::channel();
        let request = Request::Repair(Box::new(link), netns, reply);
        self.request(request).await?;
        outcome.await.map_err(|_| ended())?
    }

    /// Removes what the firewall has of tenants of the application whose links have none of these marks.
    ///
    /// # Errors
    /// [`Stage::Release`].
    pub async fn retain(&self, marks: BTreeSet<String>) -> Result<(), Failure> {
        let (reply, outcome) = oneshot::channel();
        self.request(Request::Retain(marks, reply)).await?;
        outcome.await.map_err(|_| ended())?
    }

    /// Finds out whether a tenant's link leads into this network namespace. Changes nothing.
    ///
    /// # Errors
    /// [`Stage::Link`], [`Stage::Netns`] or [`Stage::Address`] if the kernel refuses the query.
    pub async fn link_target(
        &self,
        link: LinkPlan,
        netns: Arc<Netns>,
    ) -> Result<LinkTarget, Failure> {
        let (reply, outcome) = oneshot::channel();
        self.request(Request::LinkTarget(Box::new(link), netns, reply))
            .await?;
        outcome.await.map_err(|_| ended())?
    }

    /// Completes pending requests, removes the hub and ends the thread. The hub is kept if it does
    /// not bear our mark, if a tenant provisioned by this thread is left, or if, in mode bridge, a
    /// port is up.
    ///
    /// # Errors
    /// Why the hub could not be removed.
    pub async fn close(&self) -> Result<(), Vec<Failure>> {
        let (reply, outcome) = oneshot::channel();
        let closed = async {
            self.request(Request::Close(reply)).await?;
            outcome.await.map_err(|_| ended())?
        };
        closed.await.map_err(|failure| vec![failure])
    }

    /// Ends the thread after a start of the supervisor that failed, and removes the hub if [`Network::open`]
    /// has made it: another may be in use.
    ///
    /// # Errors
    /// Why the hub could not be removed.
    pub async fn abandon(self) -> Result<(), Vec<Failure>> {
        match self.opened {
            Opened::Made => self.close().await,
            Opened::Found | Opened::Changed => Ok(()),
        }
    }

    async fn request(&self, request: Request) -> Result<(), Failure> {
        self.requests.send(request).await.map_err(|_| ended())
    }
}

fn ended() -> Failure {
    Failure::detail(Stage::Link, "", "the net thread has ended")
}

/// The main function of the net thread.
fn run(
    wanted: latest::Receiver<Wanted>,
    queue: mpsc::Receiver<Request>,
    notes: mpsc::UnboundedSender<Note>,
    opened: oneshot::Sender<Result<Opened, Failure>>,
) {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build();
    let runtime = match runtime {
        Ok(runtime) => runtime,
        Err(error) => {
            let _gone = opened.send(Err(broken(Stage::Link, "(the net thread)", &error)));
            return;
        }
    };
    let closed = runtime.block_on(async {
        let plan = wanted.borrow().1.clone();
        match start(plan).await {
            Ok((provisioner, how)) => {
                let _gone = opened.send(Ok(how));
                serve(provisioner, queue, wanted, notes).await
            }
            Err(why) => {
                let _gone = opened.send(Err(why));
                None
            }
        }
    });
    // Close the socket before the caller gets the reply.
    drop(runtime);
    if let Some((reply, outcome)) = closed {
        let _gone = reply.send(outcome);
    }
}

/// Also returns whether the hub was made.
async fn start(network: NetworkPlan) -> Result<(Provisioner, Opened), Failure> {
    let links = Links::connect().map_err(|error| broken(Stage::Link, "", &error))?;
    links.sweep_proxies(Some(&network)).await?;
    let sysctls =
        Sysctls::of_host().map_err(|(one, error)| broken(Stage::Netns, one.name(), &error))?;
    let namespaces = Maker::start(sysctls).map_err(|error| broken(Stage::Netns, "", &error))?;
    // First the firewall, because the hub takes packets from tenants.
    let firewall = match (network.firewall, &network.parent) {
        (model::Firewall::On, None) => Some(Firewall::open(&network)?),
        // What macvlans send does not pass the host.
        (model::Firewall::Off, _) | (model::Firewall::On, Some(_)) => {
            // Those of a supervisor whose manifest had one.
            firewall::residue::remove_all(&network)?;
            None
        }
    };
    crash::point("firewall: made", &network.mark);
    let (hub, opened) = match hub::ensure(&links, &network).await {
        Ok(hub) => hub,
        Err(why) => {
            // One that has tenants is in use.
            let unused = firewall.filter(|firewall| firewall.marks().is_empty());
            return Err(match unused.map_or(Ok(()), |firewall| firewall.remove()) {
                Ok(()) => why,
                Err(left) => {
                    let both = format!("{} (and {left})", why.detail);
                    why.with(both)
                }
            });
        }
    };
    let provisioner = Provisioner {
        links,
        network,
        hub: Cell::new(hub),
        uplink: Cell::default(),
        segment: Segment::default(),
        namespaces,
        sysctls: Sysctls::default(),
        ipv6: ipv6::Settings::open()?,
        firewall,
        held: RefCell::default(),
        leaving: Rc::default(),
        dismissals: Dismissals::default(),
    };
    Ok((provisioner, opened))
}
