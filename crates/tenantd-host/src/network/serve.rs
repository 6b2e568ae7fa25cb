//! Serves the requests of the net thread: one after the other begins, several are under way.

use std::collections::BTreeSet;

use futures_util::StreamExt;
use futures_util::stream::FuturesUnordered;
use tokio::sync::{Semaphore, mpsc, oneshot};

use super::link::{Found, index_of};
use super::provision::Provisioner;
use super::watch::{Note, Watch};
use super::{PROVISIONS_MAX, Request, hub};
use tenantd_core::name::IfName;
use tenantd_core::plan::model::LinkPlan;
use tenantd_core::stage::Failure;

pub(super) type Closing = (oneshot::Sender<Result<(), Failure>>, Result<(), Failure>);

/// Serves requests until the last handle is dropped or the thread is asked to close, then completes
/// pending requests.
pub(super) async fn serve(
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
                Some(Request::Restore(reply)) => {
                    let restored = watch.restore(provisioner).await;
                    let _gone = reply.send(restored);
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
        let hub = hub::remove(&provisioner.links, &provisioner.network).await;
        match (&provisioner.firewall, hub) {
            // A tenant that an earlier supervisor provisioned may be left.
            (Some(firewall), Ok(())) if firewall.marks().is_empty() => firewall.remove(),
            (_, outcome) => outcome,
        }
    } else {
        Ok(())
    };
    Some((reply, removed))
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
            Change::Admitted(link, why) => watch.admitted(&link, why),
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
        Request::Admit(link, reply) => {
            let outcome = provisioner.admit(&link).await;
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
        Request::Forget(..) | Request::Restore(_) | Request::Close(_) => {}
    }
    Change::Nothing
}
