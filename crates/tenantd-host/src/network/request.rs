//! What the net thread is asked for.

use std::collections::BTreeSet;
use std::sync::Arc;

use tokio::sync::oneshot;

use super::{Generation, LinkTarget, Network, ended};
use crate::netns::{ClosedNetns, Netns};
use tenantd_core::plan::model::LinkPlan;
use tenantd_core::stage::Failure;

/// Whether other machines are asked for a tenant's addresses before it takes them.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Question {
    /// It takes 0.3 s where there can be others.
    Ask,
    /// The tenant had the addresses a moment ago, on a host that has proved its end.
    Spare,
}

impl Network {
    /// As [`Network::provision`], with the network for which the link was planned.
    ///
    /// # Errors
    /// Those of [`Network::provision`], and why the network could not be exchanged.
    pub async fn provision_in(
        &self,
        link: LinkPlan,
        asked: (Generation, Question),
    ) -> Result<Netns, Failure> {
        let (reply, outcome) = oneshot::channel();
        let request = Request::Provision(Box::new(link), asked, reply);
        self.request(request).await?;
        outcome.await.map_err(|_| ended())?
    }

    /// Notes that an earlier supervisor has provisioned these tenants: the network is not exchanged before they are
    /// released. Returns of each whether the firewall lets it have what its plan says, so that [`Network::admit`] only
    /// compares. Asks the kernel for nothing but the indices of their links.
    ///
    /// # Errors
    /// If the net thread has ended.
    pub async fn adopt(&self, links: Vec<LinkPlan>) -> Result<Vec<bool>, Failure> {
        let (reply, outcome) = oneshot::channel();
        self.request(Request::Adopt(links, reply)).await?;
        outcome.await.map_err(|_| ended())
    }
}

pub(super) enum Request {
    Provision(
        Box<LinkPlan>,
        (Generation, Question),
        oneshot::Sender<Result<Netns, Failure>>,
    ),
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
    Adopt(Vec<LinkPlan>, oneshot::Sender<Vec<bool>>),
    Keep(Box<LinkPlan>),
    Forget(Box<LinkPlan>, oneshot::Sender<()>),
    Admit(
        Box<LinkPlan>,
        Option<Netns>,
        oneshot::Sender<Result<(), Failure>>,
    ),
    Restore(oneshot::Sender<Result<(), Failure>>),
    Repair(Box<LinkPlan>, Netns, oneshot::Sender<Result<(), Failure>>),
    Retain(BTreeSet<String>, oneshot::Sender<Result<(), Failure>>),
    Close(oneshot::Sender<Result<(), Failure>>),
}
