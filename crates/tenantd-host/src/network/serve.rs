//! Serves the requests of the net thread: one after the other begins, several are under way.

use std::collections::BTreeSet;

use futures_util::StreamExt;
use futures_util::stream::FuturesUnordered;
use tokio::sync::{Semaphore, mpsc, oneshot, watch as latest};

use super::exchange::{NoExchange, Waiting, Wanted, exchange, remove};
use super::link::{Found, index_of};
use super::provision::Provisioner;
use super::request::Question;
use super::watch::tables::TablesWatch;
use super::watch::{Note, Watch};
use super::{PROVISIONS_MAX, Request};
use crate::netns::Netns;
use tenantd_core::name::IfName;
use tenantd_core::plan::model::LinkPlan;
use tenantd_core::stage::Failure;

pub(super) type Closing = (oneshot::Sender<Result<(), Failure>>, Result<(), Failure>);

/// Serves requests until the last handle is dropped or the thread is asked to close, then completes
/// pending requests.
pub(super) async fn serve(
    first: Provisioner,
    mut queue: mpsc::Receiver<Request>,
    mut wanted: latest::Receiver<Wanted>,
    notes: mpsc::UnboundedSender<Note>,
) -> Option<Closing> {
    let mut provisioner = first;
    let mut waiting = Waiting::new(wanted.borrow().0);
    loop {
        match one(
            &provisioner,
            &mut queue,
            (&mut wanted, &mut waiting),
            &notes,
        )
        .await
        {
            Until::Closed(closing) => return closing,
            Until::Released => {
                let (generation, plan) = wanted.borrow_and_update().clone();
                provisioner = match exchange(provisioner, plan).await {
                    Ok(exchanged) => {
                        waiting.exchanged(generation);
                        exchanged
                    }
                    Err(NoExchange { why, again }) => {
                        waiting.refuse(generation, &why);
                        again?
                    }
                };
            }
        }
    }
}

/// Why one network is not served any longer.
enum Until {
    /// The thread ends.
    Closed(Option<Closing>),
    /// All tenants are released, and another network is wanted.
    Released,
}

/// Serves requests for one network.
async fn one(
    provisioner: &Provisioner,
    queue: &mut mpsc::Receiver<Request>,
    (wanted, waiting): (&mut latest::Receiver<Wanted>, &mut Waiting),
    notes: &mpsc::UnboundedSender<Note>,
) -> Until {
    let mut watch = Watch::new(provisioner, notes.clone());
    let tables = TablesWatch::open(provisioner);
    let room = Semaphore::new(PROVISIONS_MAX);
    let mut under_way = FuturesUnordered::new();
    let mut tenants = Tenants::default();
    let mut begun = waiting.take();
    let close = loop {
        // What was asked for before another network was wanted is for this one.
        let is_exchange = waiting.is_for_another(wanted.borrow().0);
        while let Some(request) = begun.pop() {
            under_way.push(answer(provisioner, &room, request));
        }
        if is_exchange
            && waiting.is_due()
            && tenants.are_none()
            && under_way.is_empty()
            && queue.is_empty()
        {
            return Until::Released;
        }
        tokio::select! {
            request = queue.recv() => match request {
                Some(Request::Close(reply)) => break Some(reply),
                Some(Request::Forget(link, reply)) => {
                    watch.forget(&link);
                    let _gone = reply.send(());
                }
                Some(Request::Adopt(links, reply)) => drop(reply.send(tenants.adopt(provisioner, &links))),
                Some(Request::Restore(reply)) => {
                    let restored = watch.restore(provisioner).await;
                    let _gone = reply.send(restored);
                }
                Some(request) => {
                    tell(&mut watch, &request);
                    begun.extend(waiting.unless_for_another(request));
                }
                None => break None,
            },
            Some(change) = under_way.next() => change.note(&mut tenants, &mut watch),
            () = tables.changed() => watch.restore_tables(provisioner),
            part = watch.next() => watch.mend(provisioner, part).await,
            Ok(()) = wanted.changed() => {
                tracing::info!("the network is exchanged once all tenants are released");
            }
        }
    };
    queue.close();
    while let Some(change) = under_way.next().await {
        change.note(&mut tenants, &mut watch);
    }
    let Some(reply) = close else {
        return Until::Closed(None);
    };
    let removed = match tenants.provisioned.is_empty() {
        true => remove(provisioner).await,
        false => Ok(()),
    };
    Until::Closed(Some((reply, removed)))
}

/// Tells the watch what a request is about to change.
fn tell(watch: &mut Watch, request: &Request) {
    match request {
        Request::Release(link, ..) => watch.forget(link),
        Request::Admit(link, netns, _) => {
            watch.planned(link);
            if netns.is_some() {
                watch.narrow(link);
            }
        }
        _ => {}
    }
}

/// The tenants with links, by host end.
#[derive(Default)]
struct Tenants {
    /// Those that this thread has provisioned. One of an earlier supervisor may be released here too.
    provisioned: BTreeSet<IfName>,
    /// Those that an earlier supervisor has.
    adopted: BTreeSet<IfName>,
}

impl Tenants {
    /// Notes tenants of an earlier supervisor. Returns of each whether it has what its plan says.
    fn adopt(&mut self, provisioner: &Provisioner, links: &[LinkPlan]) -> Vec<bool> {
        let ends = links.iter().map(|link| link.host.name.clone());
        self.adopted.extend(ends);
        let links = links.iter();
        links.map(|link| provisioner.is_as_planned(link)).collect()
    }

    fn are_none(&self) -> bool {
        self.provisioned.is_empty() && self.adopted.is_empty()
    }
}

/// What a request changed.
enum Change {
    Provisioned(Box<LinkPlan>),
    Released(IfName),
    /// The traffic of a tenant, or why it could not be changed.
    Admitted(Box<LinkPlan>, Option<Failure>),
    /// A link of an earlier supervisor, with its index.
    Found(Box<LinkPlan>, Option<u32>),
    Nothing,
}

impl Change {
    fn note(self, tenants: &mut Tenants, watch: &mut Watch) {
        match self {
            Change::Provisioned(link) => {
                tenants.provisioned.insert(link.host.name.clone());
                match index_of(link.host.name.as_str()) {
                    Ok(index) => watch.keep(*link, index, true),
                    Err(_) => watch.missing(&link),
                }
            }
            Change::Found(link, Some(index)) => {
                tenants.adopted.insert(link.host.name.clone());
                watch.keep(*link, index, false);
            }
            Change::Found(link, None) => watch.missing(&link),
            Change::Released(name) => {
                tenants.provisioned.remove(&name);
                tenants.adopted.remove(&name);
            }
            Change::Admitted(link, why) => watch.admitted(&link, why),
            Change::Nothing => {}
        }
    }
}

async fn provision(
    provisioner: &Provisioner,
    room: &Semaphore,
    (link, question): (&LinkPlan, Question),
) -> Result<Netns, Failure> {
    // Before a place is taken: it waits, and others need not.
    let addresses: Vec<_> = link.addresses.iter().collect();
    if question == Question::Ask {
        provisioner.probe(link, &addresses).await?;
    }
    let _permit = room.acquire().await;
    provisioner.provision(link).await
}

/// Carries out one request.
async fn answer(provisioner: &Provisioner, room: &Semaphore, request: Request) -> Change {
    match request {
        Request::Provision(link, (_, question), reply) => {
            let made = provision(provisioner, room, (&link, question)).await;
            let whole = made.is_ok();
            // If the caller no longer waits, dropping the answer closes the namespace.
            if reply.send(made).is_ok() && whole {
                return Change::Provisioned(link);
            }
            provisioner.let_go(&link);
        }
        Request::Release(link, closed, reply) => {
            let released = provisioner.release(&link, closed).await;
            let gone = released.is_ok();
            let _gone = reply.send(released);
            if gone {
                provisioner.let_go(&link);
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
        Request::Admit(link, netns, reply) => {
            let outcome = provisioner.admit(&link, netns.as_ref()).await;
            // Do not keep the namespace alive any longer.
            drop(netns);
            let why = outcome.as_ref().err().cloned();
            let _gone = reply.send(outcome);
            return Change::Admitted(link, why);
        }
        Request::Repair(link, netns, reply) => {
            let _gone = reply.send(provisioner.repair(&link, &netns).await);
        }
        Request::Retain(marks, reply) => {
            let _gone = reply.send(provisioner.retain(&marks));
        }
        // The caller of this function has answered these.
        Request::Adopt(..) | Request::Forget(..) | Request::Restore(_) | Request::Close(_) => {}
    }
    Change::Nothing
}
