//! The network of an application: the hub, and a namespace with a link for each tenant.
//!
//! One thread, named `net`, does all of this. It owns the netlink socket and has a runtime of its
//! own, because the kernel does the work inside sendto(2) and blocks the sender for that long. The
//! thread stays in the network namespace in which [`Network::open`] was called. It sleeps while
//! there is no request and no other program changes what it made: that is noticed and mended (`watch`,
//! `mend`).
//!
//! ```text
//!            host                          tenant
//!   hub: gateway's address
//!     (bridge: controller of)
//!   host end, marked by its alias  ═════  eth0: the tenant's address
//!     (address/32 → host end, bridge: → hub) default via the gateway
//!   the rest of the subnet → unreachable
//! ```
//!
//! No step lists links, routes or neighbours, so the cost of a tenant does not depend on the number
//! of tenants. Links without the application's mark are never changed. IPv6, address translation
//! and published ports are not implemented; they belong beside `provision` and the tenant's batch.

mod announce;
mod connection;
mod hub;
mod link;
mod mend;
mod proof;
mod provision;
mod refusal;
pub mod residue;
mod subnet;
mod tenant;
mod watch;

use std::cell::{Cell, RefCell};
use std::collections::BTreeSet;
use std::sync::Arc;
use std::thread;

use futures_util::StreamExt;
use futures_util::stream::FuturesUnordered;
use tokio::sync::{Semaphore, mpsc, oneshot};

use crate::netns::{ClosedNetns, Netns, Sysctls};
use tenantd_core::name::IfName;
use tenantd_core::plan::model::{LinkPlan, NetworkPlan};
use tenantd_core::stage::{Failure, Stage};

use link::{Found, Links, index_of};
use provision::Provisioner;
use refusal::broken;
use watch::Watch;

pub use proof::LinkTarget;
pub use watch::{News, Note};

/// The maximum number of queued requests. A caller waits while the queue is full.
const QUEUE_MAX: usize = 64;

/// The maximum number of concurrent provisions. Each holds two descriptors, and more would only
/// wait for the kernel's lock on all links.
const PROVISIONS_MAX: usize = 4;

enum Request {
    Provision(Box<LinkPlan>, oneshot::Sender<Result<Netns, Failure>>),
    Release(
        Box<LinkPlan>,
        ClosedNetns,
        oneshot::Sender<Result<(), Failure>>,
    ),
    LinkTarget(
        Box<LinkPlan>,
        Arc<Netns>,
        oneshot::Sender<Result<LinkTarget, Failure>>,
    ),
    Keep(Box<LinkPlan>),
    Forget(Box<LinkPlan>, oneshot::Sender<()>),
    Close(oneshot::Sender<Result<(), Failure>>),
}

/// A handle to the net thread. If the last clone is dropped without [`Network::close`], the thread
/// ends and everything that it made is kept for the next supervisor.
#[derive(Debug, Clone)]
pub struct Network {
    requests: mpsc::Sender<Request>,
    /// Whether the hub was made by [`Network::open`].
    made_hub: bool,
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
        thread::Builder::new()
            .name("net".into())
            .spawn(move || run(plan, queue, notes, opened))
            .map_err(|error| broken(Stage::Link, "(the net thread)", &error))?;
        let made_hub = outcome.await.map_err(|_| ended())??;
        Ok(Network { requests, made_hub })
    }

    /// Makes a tenant's namespace, link, address and routes. May be called concurrently.
    ///
    /// # Errors
    /// The stage that failed ([`Stage::Netns`], [`Stage::Link`], [`Stage::Address`],
    /// [`Stage::Route`]), its object and the errno. Everything made before it was removed again.
    pub async fn provision(&self, link: LinkPlan) -> Result<Netns, Failure> {
        let (reply, outcome) = oneshot::channel();
        self.request(Request::Provision(Box::new(link), reply))
            .await?;
        outcome.await.map_err(|_| ended())?
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
        match self.made_hub {
            true => self.close().await,
            false => Ok(()),
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
    plan: NetworkPlan,
    queue: mpsc::Receiver<Request>,
    notes: mpsc::UnboundedSender<Note>,
    opened: oneshot::Sender<Result<bool, Failure>>,
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
            Ok((provisioner, made_hub)) => {
                let _gone = opened.send(Ok(made_hub));
                serve(&provisioner, queue, notes).await
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
async fn start(network: NetworkPlan) -> Result<(Provisioner, bool), Failure> {
    let links = Links::connect().map_err(|error| broken(Stage::Link, "", &error))?;
    let sysctls =
        Sysctls::of_host().map_err(|(one, error)| broken(Stage::Netns, one.name(), &error))?;
    let (hub, made_hub) = hub::ensure(&links, &network).await?;
    let provisioner = Provisioner {
        links,
        network,
        hub: Cell::new(hub),
        sysctls: RefCell::new(sysctls),
    };
    Ok((provisioner, made_hub))
}

type Closing = (oneshot::Sender<Result<(), Failure>>, Result<(), Failure>);

/// Serves requests until the last handle is dropped or the thread is asked to close, then completes
/// pending requests.
async fn serve(
    provisioner: &Provisioner,
    mut queue: mpsc::Receiver<Request>,
    notes: mpsc::UnboundedSender<Note>,
) -> Option<Closing> {
    let mut watch = Watch::new(provisioner, notes);
    let room = Semaphore::new(PROVISIONS_MAX);
    let mut under_way = FuturesUnordered::new();
    // By host end, because a tenant of an earlier supervisor may be released here.
    let mut tenants = BTreeSet::new();
    let close = loop {
        tokio::select! {
            request = queue.recv() => match request {
                Some(Request::Close(reply)) => break Some(reply),
                Some(Request::Forget(link, reply)) => {
                    watch.forget(&link);
                    let _gone = reply.send(());
                }
                Some(request) => {
                    if let Request::Release(link, ..) = &request {
                        watch.forget(link);
                    }
                    under_way.push(answer(provisioner, &room, request));
                }
                None => break None,
            },
            Some(change) = under_way.next() => change.note(&mut tenants, &mut watch),
            part = watch.next() => watch.mend(provisioner, part).await,
        }
    };
    queue.close();
    while let Some(change) = under_way.next().await {
        change.note(&mut tenants, &mut watch);
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
    Provisioned(Box<LinkPlan>),
    Released(IfName),
    /// A link of an earlier supervisor, with its index.
    Found(Box<LinkPlan>, Option<u32>),
    Nothing,
}

impl Change {
    fn note(self, tenants: &mut BTreeSet<IfName>, watch: &mut Watch) {
        match self {
            Change::Provisioned(link) => {
                tenants.insert(link.host.name.clone());
                match index_of(link.host.name.as_str()) {
                    Ok(index) => watch.keep(*link, index, true),
                    Err(_) => watch.missing(&link),
                }
            }
            Change::Found(link, Some(index)) => watch.keep(*link, index, false),
            Change::Found(link, None) => watch.missing(&link),
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
            // If the caller no longer waits, dropping the answer closes the namespace.
            if reply.send(made).is_ok() && whole {
                return Change::Provisioned(link);
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
        Request::LinkTarget(link, netns, reply) => {
            let target = provisioner.link_target(&link, &netns).await;
            // Do not keep the namespace alive any longer.
            drop(netns);
            let _gone = reply.send(target);
        }
        Request::Keep(link) => {
            let found = provisioner.links.find(link.host.name.as_str()).await;
            return match found {
                Ok(found) => {
                    let is_ours =
                        |it: &Found| it.mac == link.host.mac.0 || it.is_marked_as(&link.mark);
                    let index = found.filter(is_ours).map(|found| found.index);
                    Change::Found(link, index)
                }
                Err(error) => {
                    tracing::warn!(%error, "cannot watch the link {}", link.host.name);
                    Change::Nothing
                }
            };
        }
        Request::Forget(_, reply) => {
            let _gone = reply.send(());
        }
        Request::Close(reply) => {
            let _gone = reply.send(Ok(()));
        }
    }
    Change::Nothing
}
