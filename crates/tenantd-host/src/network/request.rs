//! What the net thread is asked for.

use std::collections::BTreeSet;
use std::sync::Arc;

use tokio::sync::oneshot;

use super::{Generation, LinkTarget};
use crate::netns::{ClosedNetns, Netns};
use tenantd_core::plan::model::LinkPlan;
use tenantd_core::stage::Failure;

pub(super) enum Request {
    Provision(
        Box<LinkPlan>,
        Generation,
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
