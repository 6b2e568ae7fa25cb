//! Ends the network of a tenant: the connections that its processes have left, then its network namespace and link.
//!
//! What each step costs hardly depends on how many tenants take it together: the kernel waits for all of them at once.
//! So those that wait for a step take the next one together.

use std::cell::{Cell, RefCell};
use std::io;
use std::rc::Rc;
use std::sync::Arc;

use tokio::sync::{Semaphore, oneshot};
use tokio::task::{spawn_blocking, spawn_local};

use tenantd_core::name::TenantName;
use tenantd_core::plan::model::TenantPlan;
use tenantd_core::stage::{Failure, Stage};
use tenantd_host::crash;
use tenantd_host::netns::{self, ClosedNetns, Netns, NetnsMounts};

use super::{Host, broken};
use crate::executor::inventory::Provisioned;

/// The most network namespaces that the kernel destroys at a time. It has the lock on all links of the host meanwhile:
/// half a millisecond for each.
static CLOSING: Semaphore = Semaphore::const_new(512);

/// The most tenants whose connections are ended by one thread, one after the other.
const TOGETHER_MAX: usize = 32;

/// How many such threads there are at a time. Launches need the other blocking threads.
const THREADS_MAX: usize = 2;

/// Tenants whose connections are about to be ended.
#[derive(Debug, Default)]
pub(crate) struct Leavers {
    waiting: RefCell<Vec<Waiting>>,
    threads: Cell<usize>,
}

type Waiting = (TenantName, oneshot::Sender<io::Result<usize>>);

impl Leavers {
    /// Ends the connections that the processes of a tenant have left. Returns how many.
    async fn end(
        self: &Rc<Self>,
        namespaces: &Arc<NetnsMounts>,
        tenant: &TenantName,
    ) -> io::Result<usize> {
        let (reply, ended) = oneshot::channel();
        self.waiting.borrow_mut().push((tenant.clone(), reply));
        if self.threads.get() < THREADS_MAX {
            self.threads.update(|threads| threads + 1);
            // It begins once those have been added that are ready now, too.
            spawn_local(Rc::clone(self).serve(Arc::clone(namespaces)));
        }
        let gone = |_| Err(io::Error::other("the thread for it has ended"));
        ended.await.unwrap_or_else(gone)
    }

    async fn serve(self: Rc<Self>, namespaces: Arc<NetnsMounts>) {
        while let Some(some) = self.some() {
            let namespaces = Arc::clone(&namespaces);
            // If it panics, those that wait are told.
            let _ended = spawn_blocking(move || end_each(&namespaces, some)).await;
        }
        self.threads.update(|threads| threads - 1);
    }

    fn some(&self) -> Option<Vec<Waiting>> {
        let mut waiting = self.waiting.borrow_mut();
        let count = waiting.len().min(TOGETHER_MAX);
        let some: Vec<Waiting> = waiting.drain(..count).collect();
        (count > 0).then_some(some)
    }
}

/// Ends the connections of these tenants.
fn end_each(namespaces: &NetnsMounts, all: Vec<Waiting>) {
    let mut replies = Vec::with_capacity(all.len());
    let mut opened: Vec<Netns> = Vec::with_capacity(all.len());
    for (tenant, reply) in all {
        let outcome = match namespaces.open(&tenant) {
            Ok(Some(netns)) => {
                opened.push(netns);
                replies.push(reply);
                continue;
            }
            Ok(None) => Ok(0),
            Err(error) => Err(error),
        };
        // If nobody waits any more, nobody needs to know.
        let _gone = reply.send(outcome);
    }
    if opened.is_empty() {
        return;
    }
    let outcomes = netns::end_connections(&opened);
    // Before the replies: who gets one closes the namespace next.
    drop(opened);
    for (reply, outcome) in replies.into_iter().zip(outcomes) {
        let _gone = reply.send(outcome);
    }
}

impl Host {
    /// Removes the network namespace and the link of a tenant.
    pub(super) async fn close_network(
        &self,
        plan: &TenantPlan,
        provisioned: &mut Provisioned,
    ) -> Result<(), Failure> {
        let _permit = CLOSING.acquire().await;
        self.admission.forgo(&plan.name).await;
        self.leave(plan).await?;
        provisioned.has_netns = false;
        crash::point("release: namespace let go", plan.name.as_str());
        let closed = ClosedNetns::from_inode(provisioned.inode);
        self.network.release(plan.link.clone(), closed).await
    }

    /// Keeps the network namespace of a tenant alive no longer. The kernel destroys it, and with it the
    /// link, once no process is in it and nobody has it open.
    pub(super) async fn let_go(&self, plan: &TenantPlan) -> Result<(), Failure> {
        self.admission.wait().await;
        self.leave(plan).await
    }

    /// The same, whatever is being admitted.
    async fn leave(&self, plan: &TenantPlan) -> Result<(), Failure> {
        self.end_connections(plan).await;
        // Its end is no loss.
        self.network.forget(plan.link.clone()).await?;
        let removed = self.netns.remove(&plan.name).await;
        removed.map_err(|error| broken(Stage::Release, &plan.name, &error))
    }

    /// Ends the connections that the processes of a tenant have left: they would keep its namespace alive as long as a
    /// peer that is gone does not answer. A failure is logged: then the release takes that long.
    async fn end_connections(&self, plan: &TenantPlan) {
        let tenant = &plan.name;
        match self.leavers.end(&self.netns, tenant).await {
            Ok(0) => {}
            Ok(ended) => {
                tracing::info!(%tenant, "{tenant}: ended {ended} connections that its program left");
            }
            Err(error) => {
                tracing::warn!(%tenant, "{tenant}: cannot end connections that its program left: {error}");
            }
        }
    }
}
