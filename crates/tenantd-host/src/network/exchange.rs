//! Exchanges the network of an application for another one, once all of its tenants are released: the hub, the route of
//! the subnet and the firewall.
//!
//! Both networks have a hub and tables of the same names, so they cannot be there at the same time. What is provisioned for
//! the next one waits.

use tokio::sync::oneshot;

use super::provision::Provisioner;
use super::{Request, hub, start, subnet};
use crate::crash;
use tenantd_core::plan::model::NetworkPlan;
use tenantd_core::stage::Failure;

/// Which of the networks that one thread has one after the other.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, PartialOrd, Ord)]
pub struct Generation(u64);

impl Generation {
    pub(super) fn next(self) -> Self {
        Self(self.0 + 1)
    }
}

/// The network that is wanted.
pub(super) type Wanted = (Generation, NetworkPlan);

/// Why a network was not exchanged, and the former one, if that could be made again.
pub(super) struct NoExchange {
    pub(super) why: Failure,
    pub(super) again: Option<Provisioner>,
}

/// Provisions that wait for the next network.
pub(super) struct Waiting {
    /// The network that is served.
    present: Generation,
    /// The network that could not be made.
    refused: Option<Generation>,
    wanted: Generation,
    requests: Vec<Request>,
}

impl Waiting {
    pub(super) fn new(present: Generation) -> Self {
        Self {
            present,
            refused: None,
            wanted: present,
            requests: Vec::new(),
        }
    }

    /// Notes which network is wanted. Returns whether it is another one than the present.
    pub(super) fn is_for_another(&mut self, wanted: Generation) -> bool {
        self.wanted = wanted;
        wanted != self.present
    }

    /// Whether there is a reason to make the network that is wanted now: one that could not be made is tried again only if
    /// a tenant needs it.
    pub(super) fn is_due(&self) -> bool {
        self.refused != Some(self.wanted) || !self.requests.is_empty()
    }

    /// Returns a request, unless it has to wait for another network.
    pub(super) fn unless_for_another(&mut self, request: Request) -> Option<Request> {
        match request {
            Request::Provision(link, asked, reply) if asked.0 > self.present => {
                let request = Request::Provision(link, asked, reply);
                self.requests.push(request);
                None
            }
            Request::Provision(link, asked, reply) if asked.0 < self.present => {
                let why = "the network of the application was changed meanwhile";
                let stage = tenantd_core::stage::Stage::Link;
                let failure = Failure::detail(stage, link.host.name.as_str(), why);
                let _gone = reply.send(Err(failure));
                None
            }
            other => Some(other),
        }
    }

    /// The requests that waited, now that there is another network. Those for a later one still wait.
    pub(super) fn take(&mut self) -> Vec<Request> {
        let requests = std::mem::take(&mut self.requests);
        let now = requests.into_iter().rev();
        now.filter_map(|request| self.unless_for_another(request))
            .collect()
    }

    /// This network is there now.
    pub(super) fn exchanged(&mut self, present: Generation) {
        (self.present, self.wanted, self.refused) = (present, present, None);
    }

    /// Answers all that waited: the network could not be made.
    pub(super) fn refuse(&mut self, generation: Generation, why: &Failure) {
        self.refused = Some(generation);
        for request in self.requests.drain(..) {
            if let Request::Provision(_, _, reply) = request {
                fail(reply, why);
            }
        }
    }
}

fn fail<T>(reply: oneshot::Sender<Result<T, Failure>>, why: &Failure) {
    let _gone = reply.send(Err(why.clone()));
}

/// Removes the hub, the route of its subnet and the firewall. Those that tenants of an earlier supervisor need stay.
pub(super) async fn remove(provisioner: &Provisioner) -> Result<(), Failure> {
    let hub = hub::remove(&provisioner.links, &provisioner.network).await;
    match (&provisioner.firewall, hub) {
        (Some(firewall), Ok(())) if firewall.marks().is_empty() => firewall.remove(),
        (_, outcome) => outcome,
    }
}

async fn remove_routes(former: &Provisioner) -> Result<(), Failure> {
    if former.network.parent.is_some() {
        return Ok(());
    }
    for subnet in former.network.subnets() {
        subnet::remove(&former.links, subnet).await?;
    }
    Ok(())
}

/// Removes a network without tenants, and makes the next one.
pub(super) async fn exchange(
    former: Provisioner,
    plan: NetworkPlan,
) -> Result<Provisioner, NoExchange> {
    let before = former.network.clone();
    crash::point("exchange: begun", &before.mark);
    let removed = remove(&former).await;
    // It stays if a port of the hub is not ours; its subnet does not.
    let removed = match removed {
        Ok(()) => remove_routes(&former).await,
        Err(why) => Err(why),
    };
    if let Err(why) = removed {
        let again = Some(former);
        return Err(NoExchange { why, again });
    }
    drop(former);
    crash::point("exchange: removed", &before.mark);
    let why = match start(plan).await {
        Ok((exchanged, _)) => {
            crash::point("exchange: made", &before.mark);
            tracing::info!("the network was exchanged");
            return Ok(exchanged);
        }
        Err(why) => why,
    };
    tracing::error!("the network cannot be exchanged: {why}");
    match start(before).await {
        Ok((again, _)) => Err(NoExchange {
            why,
            again: Some(again),
        }),
        Err(left) => {
            tracing::error!(
                "the former network cannot be made again: {left}; restart the supervisor"
            );
            Err(NoExchange { why, again: None })
        }
    }
}
