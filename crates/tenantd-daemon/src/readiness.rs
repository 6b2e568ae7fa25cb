//! Readiness: finds out when the program of a launch is ready, as its tenant's policy says: its port
//! answers, or the program says so itself. The supervisor decides what follows from it.
//!
//! A tenant is watched from the moment at which its program is known to run until it is ready or is
//! to end. A quick program may say that it is ready before its start is known: that counts for the
//! launch that is being started, and for no other.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::io;
use std::net::SocketAddr;

use tokio::sync::mpsc;
use tokio::task::{AbortHandle, spawn_local};

use tenantd_core::name::TenantName;
use tenantd_core::plan::model::{Readiness as Policy, TenantPlan};
use tenantd_core::supervisor::event::{Event, LaunchId};
use tenantd_core::supervisor::view::{StateWord, View};
use tenantd_core::supervisor::{Supervisor, Transition};

use crate::executor::inventory::Inventory;
use crate::input::Input;
use crate::ready;
use crate::ready::notice::{Notice, Notify};

/// Who is watched, and what was heard.
pub(super) struct Readiness {
    notices: Notify,
    /// What waits for a port to answer.
    watches: BTreeMap<TenantName, Watch>,
    answering: mpsc::UnboundedSender<LaunchId>,
    answered: mpsc::UnboundedReceiver<LaunchId>,
    /// Whose program has spoken before it was known to run.
    early: BTreeSet<TenantName>,
    ready: VecDeque<LaunchId>,
}

/// A sign that a program may be ready.
pub(super) enum Sign {
    /// The port of this launch answers.
    Answers(LaunchId),
    /// Some process said something.
    Notice(Notice),
}

/// A task that ends with this.
struct Watch(AbortHandle);

impl Drop for Watch {
    fn drop(&mut self) {
        self.0.abort();
    }
}

impl Readiness {
    /// Of programs that speak to this socket.
    pub(super) fn new(notices: Notify) -> Self {
        let (answering, answered) = mpsc::unbounded_channel();
        Self {
            notices,
            watches: BTreeMap::new(),
            answering,
            answered,
            early: BTreeSet::new(),
            ready: VecDeque::new(),
        }
    }

    /// The next sign. Nothing is lost when it is cancelled.
    ///
    /// # Errors
    /// See [`Notify::next`].
    pub(super) async fn next(&mut self) -> io::Result<Sign> {
        tokio::select! {
            Some(launch) = self.answered.recv() => Ok(Sign::Answers(launch)),
            notice = self.notices.next() => Ok(Sign::Notice(notice?)),
        }
    }

    /// Takes a sign for what it means.
    pub(super) fn on_sign(&mut self, sign: Sign, inventory: &Inventory, supervisor: &Supervisor) {
        match sign {
            Sign::Answers(launch) => self.ready.push_back(launch),
            Sign::Notice(notice) => self.on_notice(&notice, inventory, supervisor),
        }
    }

    /// A program said something about itself. Only a tenant that is to say when it is ready is
    /// listened to.
    fn on_notice(&mut self, notice: &Notice, inventory: &Inventory, supervisor: &Supervisor) {
        let Some(tenant) = inventory.tenant_of_netns(notice.netns_inode) else {
            tracing::debug!(pid = notice.pid, "a notice from a stranger is ignored");
            return;
        };
        if let Some(status) = &notice.status {
            tracing::debug!(%tenant, "its program says: {status}");
        }
        let asked = |plan: &TenantPlan| matches!(plan.policy.ready, Policy::Notify);
        if !(notice.ready && inventory.plan(tenant).is_some_and(|plan| asked(plan))) {
            return;
        }
        let Some(view) = supervisor.tenant(tenant) else {
            return;
        };
        match view.state {
            StateWord::Up => self.ready.extend(view.launch),
            // A quick program speaks before the report of its start is read, or even before that
            // of its birth.
            StateWord::Launching => {
                self.early.insert(tenant.clone());
            }
            StateWord::Down
            | StateWord::Provisioning
            | StateWord::Stopping
            | StateWord::Waiting
            | StateWord::Failed
            | StateWord::Releasing
            | StateWord::Stuck => {}
        }
    }

    /// A tenant changed its state: it is watched from now on, or no longer.
    pub(super) fn on_transition(
        &mut self,
        transition: &Transition,
        view: Option<&View>,
        plan: Option<&TenantPlan>,
    ) {
        let tenant = &transition.tenant;
        let ready_early = self.early.remove(tenant);
        self.watches.remove(tenant);
        let (StateWord::Up, Some(launch), Some(plan)) = (transition.to, transition.launch, plan)
        else {
            return;
        };
        if view.is_some_and(|view| view.ready == Some(true)) {
            return;
        }
        match plan.policy.ready {
            Policy::Tcp(port) => {
                let watch = self.watch(SocketAddr::new(plan.link.addresses.first(), port), launch);
                self.watches.insert(tenant.clone(), watch);
            }
            Policy::Notify if ready_early => self.ready.push_back(launch),
            // The supervisor counts by itself, or a notice will come.
            Policy::Started | Policy::Lived(_) | Policy::Notify => {}
        }
    }

    /// Watches for the moment at which a launch's port accepts.
    fn watch(&self, address: SocketAddr, launch: LaunchId) -> Watch {
        let answering = self.answering.clone();
        let watch = spawn_local(async move {
            ready::tcp(address).await;
            // The loop stops listening only when it ends, and then nothing is news.
            let _ended = answering.send(launch);
        });
        Watch(watch.abort_handle())
    }

    /// What is to be applied next.
    pub(super) fn poll(&mut self) -> Option<Input> {
        let launch = self.ready.pop_front()?;
        Some(Input::Event(Event::Ready { launch }))
    }
}
