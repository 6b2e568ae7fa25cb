//! The network of an application: the hub, and a namespace with a link for each tenant.
//!
//! All of it is done by one thread, named `net`, which owns the netlink socket and has a runtime
//! of its own: the kernel does its work inside sendto(2), so whoever sends is blocked for that
//! long. The thread lives in the namespace of the one that called [`Network::open`] and never
//! enters another. With nothing to do it sleeps, and no timer wakes it.
//!
//! ```text
//!            host                          tenant
//!   hub: gateway's address
//!     (bridge: controller of)
//!   host end, marked by its alias  ═════  eth0: the tenant's address
//!     (routed: address/32 → host end)       default via the gateway
//! ```
//!
//! No step lists links, routes or neighbours, so a tenant costs the same however many there are.
//! Links without our mark are never touched. Nothing here does IPv6, address translation or
//! published ports yet; their place is beside `provision` and the tenant's batch.

mod hub;
mod link;
mod proof;
mod provision;
mod refusal;
pub mod residue;
mod tenant;

use std::cell::RefCell;
use std::collections::BTreeSet;
use std::io;
use std::sync::Arc;
use std::thread;

use futures_util::StreamExt;
use futures_util::stream::FuturesUnordered;
use rtnetlink::packet_route::RouteNetlinkMessage;
use rtnetlink::proto::Connection;
use rtnetlink::sys::AsyncSocket;
use tokio::sync::{Semaphore, mpsc, oneshot};

use crate::netns::{ClosedNetns, Netns};
use tenantd_core::name::IfName;
use tenantd_core::plan::model::{LinkPlan, NetworkPlan};
use tenantd_core::stage::{Failure, Stage};

use link::Links;
use provision::Provisioner;
use refusal::broken;

pub use proof::Way;

/// Requests that wait for the thread; past that a caller waits to ask.
const QUEUE_MAX: usize = 64;

/// Provisions under way at a time. Each holds two descriptors, and more would only queue up
/// before the kernel's one lock for all links.
const PROVISIONS_MAX: usize = 4;

enum Request {
    Provision(Box<LinkPlan>, oneshot::Sender<Result<Netns, Failure>>),
    Release(
        Box<LinkPlan>,
        ClosedNetns,
        oneshot::Sender<Result<(), Failure>>,
    ),
    Way(
        Box<LinkPlan>,
        Arc<Netns>,
        oneshot::Sender<Result<Way, Failure>>,
    ),
    Close(oneshot::Sender<Result<(), Failure>>),
}

/// A way to ask the net thread. When the last clone is dropped without [`Network::close`], the
/// thread ends and everything that it made stays: the next supervisor finds it.
#[derive(Debug, Clone)]
pub struct Network {
    requests: mpsc::Sender<Request>,
}

impl Network {
    /// Starts the net thread in the caller's network namespace, and makes the hub or takes over
    /// the one that a supervisor before this one left.
    ///
    /// # Errors
    /// [`Stage::Link`] or [`Stage::Address`] where the hub's name or the gateway's address belong
    /// to somebody else, or the kernel refuses; nothing was changed then.
    pub async fn open(plan: NetworkPlan) -> Result<Network, Failure> {
        let (requests, queue) = mpsc::channel(QUEUE_MAX);
        let (opened, outcome) = oneshot::channel();
        thread::Builder::new()
            .name("net".into())
            .spawn(move || run(plan, queue, opened))
            .map_err(|error| broken(Stage::Link, "(the net thread)", &error))?;
        outcome.await.map_err(|_| ended())??;
        Ok(Network { requests })
    }

    /// Makes a tenant's namespace, link, address and routes. Any number may be asked for at the
    /// same time.
    ///
    /// # Errors
    /// The stage that failed ([`Stage::Netns`], [`Stage::Link`], [`Stage::Address`],
    /// [`Stage::Route`]), its object and the errno. What was made before it is gone again.
    pub async fn provision(&self, link: LinkPlan) -> Result<Netns, Failure> {
        let (reply, outcome) = oneshot::channel();
        self.request(Request::Provision(Box::new(link), reply))
            .await?;
        outcome.await.map_err(|_| ended())?
    }

    /// Proves that a tenant's namespace is gone, and with it link, address and routes. It takes a
    /// namespace that was closed ([`Netns::close`]), for as long as this process holds it open it
    /// cannot go. Succeeds at once if the link is gone already; a failure can be followed by
    /// another try with the same arguments.
    ///
    /// # Errors
    /// [`Stage::Release`] if it is still there after two seconds, with the processes in it.
    pub async fn release(&self, link: LinkPlan, closed: ClosedNetns) -> Result<(), Failure> {
        let (reply, outcome) = oneshot::channel();
        self.request(Request::Release(Box::new(link), closed, reply))
            .await?;
        outcome.await.map_err(|_| ended())?
    }

    /// Where a tenant's link leads, seen from a network namespace that is held. Changes nothing.
    ///
    /// # Errors
    /// [`Stage::Link`], [`Stage::Netns`] or [`Stage::Address`] where the kernel does not say.
    pub async fn way(&self, link: LinkPlan, netns: Arc<Netns>) -> Result<Way, Failure> {
        let (reply, outcome) = oneshot::channel();
        self.request(Request::Way(Box::new(link), netns, reply))
            .await?;
        outcome.await.map_err(|_| ended())?
    }

    /// Waits for what is under way, removes the hub if it is ours and no tenant that this handle
    /// or its clones provisioned is left (nor, in mode bridge, any port that is up), and ends the
    /// thread.
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

    async fn request(&self, request: Request) -> Result<(), Failure> {
        self.requests.send(request).await.map_err(|_| ended())
    }
}

fn ended() -> Failure {
    Failure::detail(Stage::Link, "", "the net thread has ended")
}

/// The net thread, from its first step to its last.
fn run(
    plan: NetworkPlan,
    queue: mpsc::Receiver<Request>,
    opened: oneshot::Sender<Result<(), Failure>>,
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
        match start(plan).await {
            Ok(provisioner) => {
                let _gone = opened.send(Ok(()));
                serve(&provisioner, queue).await
            }
            Err(why) => {
                let _gone = opened.send(Err(why));
                None
            }
        }
    });
    // The socket is closed before anybody hears that it is.
    drop(runtime);
    if let Some((reply, outcome)) = closed {
        let _gone = reply.send(outcome);
    }
}

async fn start(network: NetworkPlan) -> Result<Provisioner, Failure> {
    let (connection, links) = connect().map_err(|error| broken(Stage::Link, "", &error))?;
    tokio::spawn(connection);
    let hub = hub::ensure(&links, &network).await?;
    Ok(Provisioner {
        links,
        network,
        hub,
        sysctls: RefCell::default(),
    })
}

fn connect() -> io::Result<(Connection<RouteNetlinkMessage>, Links)> {
    let (mut connection, handle, _) = rtnetlink::new_connection_with_strict_check()?;
    let socket = connection.socket_mut().socket_mut();
    // A refusal then comes with the kernel's own sentence, see netlink(7).
    socket.set_cap_ack(true)?;
    socket.set_ext_ack(true)?;
    Ok((connection, Links(handle)))
}

type Closing = (oneshot::Sender<Result<(), Failure>>, Result<(), Failure>);

/// Answers requests until the last handle is dropped or one asks to close; then finishes what is
/// under way.
async fn serve(provisioner: &Provisioner, mut queue: mpsc::Receiver<Request>) -> Option<Closing> {
    let room = Semaphore::new(PROVISIONS_MAX);
    let mut under_way = FuturesUnordered::new();
    // By the names of their host ends: a tenant of an earlier supervisor may be released here.
    let mut tenants = BTreeSet::new();
    let close = loop {
        tokio::select! {
            request = queue.recv() => match request {
                Some(Request::Close(reply)) => break Some(reply),
                Some(request) => under_way.push(answer(provisioner, &room, request)),
                None => break None,
            },
            Some(change) = under_way.next() => change.note(&mut tenants),
        }
    };
    queue.close();
    while let Some(change) = under_way.next().await {
        change.note(&mut tenants);
    }
    let reply = close?;
    let removed = if tenants.is_empty() {
        hub::remove(&provisioner.links, &provisioner.network).await
    } else {
        Ok(())
    };
    Some((reply, removed))
}

/// What a request changed.
enum Change {
    Provisioned(IfName),
    Released(IfName),
    Nothing,
}

impl Change {
    fn note(self, tenants: &mut BTreeSet<IfName>) {
        match self {
            Change::Provisioned(name) => {
                tenants.insert(name);
            }
            Change::Released(name) => {
                tenants.remove(&name);
            }
            Change::Nothing => {}
        }
    }
}

/// Carries out one request.
async fn answer(provisioner: &Provisioner, room: &Semaphore, request: Request) -> Change {
    match request {
        Request::Provision(link, reply) => {
            let _permit = room.acquire().await;
            let made = provisioner.provision(&link).await;
            let whole = made.is_ok();
            // Where the caller has gone, the namespace goes with the answer.
            if reply.send(made).is_ok() && whole {
                return Change::Provisioned(link.host.name);
            }
        }
        Request::Release(link, closed, reply) => {
            let released = provisioner.release(&link, closed).await;
            let gone = released.is_ok();
            let _gone = reply.send(released);
            if gone {
                return Change::Released(link.host.name);
            }
        }
        Request::Way(link, netns, reply) => {
            let way = provisioner.way(&link, &netns).await;
            // Held no longer than it is asked about.
            drop(netns);
            let _gone = reply.send(way);
        }
        Request::Close(reply) => {
            let _gone = reply.send(Ok(()));
        }
    }
    Change::Nothing
}
