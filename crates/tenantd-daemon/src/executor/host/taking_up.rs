//! The end of an adoption, after requests are answered: the output of running programs is read on, and their ends are
//! awaited.
//!
//! Recovery has proved each of these launches, watches its cgroup and keeps its network namespace. The log collector
//! holds its pipes, since an earlier supervisor: nothing in them is lost meanwhile. With thousands of tenants the rest
//! takes longer than the proof. Until a tenant is taken up, no end of its program is reported. So none is started again
//! before its output is read.

use std::cell::{Cell, RefCell};
use std::collections::BTreeMap;
use std::io;
use std::rc::Rc;
use std::sync::Arc;
use std::time::Duration;

use tokio::sync::Notify;
use tokio::task::yield_now;
use tokio::time::sleep;

use tenantd_core::name::TenantName;
use tenantd_core::plan::model::TenantPlan;
use tenantd_core::stage::Failure;
use tenantd_core::supervisor::event::LaunchId;
use tenantd_host::{crash, fifo, timeline, want};

use super::Host;
use super::calm::Calm;
use super::claiming::Claiming;
use super::gate::Gate;
use crate::executor::inventory::Process;
use crate::executor::launch::await_end;
use crate::executor::report::ReportKind;
use crate::recovery::HELD_MAX;

/// When to try again what the host lacked something for.
const AGAIN: Duration = Duration::from_secs(1);

/// A launch that is adopted, and to be taken up.
#[derive(Debug)]
struct Adopted {
    plan: Arc<TenantPlan>,
    launch: LaunchId,
    /// Its first process.
    process: Rc<Process>,
    /// Whether its cgroup has changed meanwhile.
    has_changed: bool,
    /// Whether the host lacked something for it.
    has_failed: bool,
}

/// The launches that are to be taken up.
#[derive(Debug, Default)]
pub(crate) struct TakingUp {
    waiting: RefCell<BTreeMap<TenantName, Adopted>>,
    /// Those for which the host lacked something.
    failed: RefCell<BTreeMap<TenantName, Adopted>>,
    /// Whether each was tried once.
    was_tried: Cell<bool>,
    over: Notify,
    /// Whether it waits for answers.
    pub(crate) calm: Rc<Calm>,
    /// Residue of earlier supervisors is being removed.
    pub(crate) clearing: Rc<Gate>,
    pub(crate) claiming: Claiming,
}

impl TakingUp {
    /// A launch is taken up once requests are answered.
    pub(crate) fn postpone(&self, plan: &Arc<TenantPlan>, launch: LaunchId, process: &Rc<Process>) {
        let adopted = Adopted {
            plan: Arc::clone(plan),
            launch,
            process: Rc::clone(process),
            has_changed: false,
            has_failed: false,
        };
        let tenant = plan.name.clone();
        self.waiting.borrow_mut().insert(tenant, adopted);
    }

    /// A launch is not adopted.
    pub(crate) fn forget(&self, tenant: &TenantName) {
        self.waiting.borrow_mut().remove(tenant);
    }

    /// The plan of a tenant has changed. Returns whether it is to be taken up, which then uses the new plan.
    pub(crate) fn replan(&self, plan: &Arc<TenantPlan>) -> bool {
        self.change(&plan.name, |adopted| adopted.plan = Arc::clone(plan))
    }

    /// The cgroup of a tenant has changed. Returns whether the tenant is to be taken up, which then reports it again.
    pub(crate) fn cgroup_changed(&self, tenant: &TenantName) -> bool {
        self.change(tenant, |adopted| adopted.has_changed = true)
    }

    fn change(&self, tenant: &TenantName, change: impl FnOnce(&mut Adopted)) -> bool {
        let (mut waiting, mut failed) = (self.waiting.borrow_mut(), self.failed.borrow_mut());
        let found = waiting.get_mut(tenant).or_else(|| failed.get_mut(tenant));
        found.map(change).is_some()
    }

    /// Waits until requests are answered and each launch was tried once: what is not as urgent comes after that.
    pub(crate) async fn is_over(&self) {
        loop {
            let over = self.over.notified();
            if self.was_tried.get() {
                return;
            }
            over.await;
        }
    }

    /// Has those that have failed taken up again. Returns whether there are any.
    fn again(&self) -> bool {
        let mut waiting = self.waiting.borrow_mut();
        waiting.append(&mut self.failed.borrow_mut());
        !waiting.is_empty()
    }

    fn next(&self) -> Option<Adopted> {
        let next = self.waiting.borrow_mut().pop_first();
        next.map(|(_, adopted)| adopted)
    }
}

impl Host {
    /// Takes up all launches that wait for it. Requests are answered from now on.
    pub(crate) fn take_up(self: &Rc<Self>) {
        self.taking_up.calm.answers();
        let (host, task) = (Rc::clone(self), self.under_way.begin());
        self.spawn(async move {
            host.taking_up.calm.wait().await;
            let wait = timeline::wait("recovery: take up", "");
            host.take_up_all().await;
            host.taking_up.was_tried.set(true);
            host.taking_up.over.notify_waiters();
            // The others are taken up by the next program, if this one executes it.
            drop((wait, task));
            while host.taking_up.again() {
                sleep(AGAIN).await;
                host.take_up_all().await;
            }
        });
    }

    async fn take_up_all(&self) {
        let mut count: usize = 0;
        while let Some(adopted) = self.taking_up.next() {
            if let Some(failed) = self.take_up_one(adopted) {
                let tenant = failed.plan.name.clone();
                self.taking_up.failed.borrow_mut().insert(tenant, failed);
            }
            count += 1;
            // Until then, this process has two more descriptors for each.
            match count.is_multiple_of(HELD_MAX) {
                true => self.collector.settle(HELD_MAX).await,
                false => yield_now().await,
            }
        }
    }

    /// Takes up one launch. Returns it if the host lacks something for now.
    fn take_up_one(&self, mut adopted: Adopted) -> Option<Adopted> {
        let tenant = &adopted.plan.name;
        let _span = timeline::span("recovery: take up one", tenant.as_str());
        if let Err(error) = self.continue_reading(&adopted.plan) {
            if passes(&error) {
                if !std::mem::replace(&mut adopted.has_failed, true) {
                    tracing::warn!(%tenant, "{tenant}: cannot read its output for now, trying again every second: {error}");
                }
                return Some(adopted);
            }
            tracing::error!(%tenant, "{tenant}: its program runs on, but its output is not read: {error}");
        }
        self.give_name(tenant);
        crash::point("adopt: taken up", tenant.as_str());
        let process = Rc::clone(&adopted.process);
        await_end(&self.reporter, tenant, adopted.launch, process);
        if adopted.has_changed {
            self.report(tenant, ReportKind::CgroupChanged);
        }
        None
    }

    /// Continues to read a tenant's pipes where the earlier supervisor stopped.
    pub(crate) fn continue_reading(&self, plan: &TenantPlan) -> io::Result<()> {
        let tenant = &plan.name;
        let made = fifo::make(&self.app, tenant, plan.launch.identity.uid);
        self.logs.add(tenant, made.map_err(io::Error::other)?)?;
        self.logs.pace(tenant, plan.log_rate);
        self.collector.adopt(plan);
        Ok(())
    }
}

/// Whether the host only lacks something for now.
pub(crate) fn passes(error: &io::Error) -> bool {
    let failure = error.get_ref();
    match failure.and_then(|it| it.downcast_ref::<Failure>()) {
        Some(failure) => want::error_passes(&io::Error::from_raw_os_error(failure.errno)),
        None => want::error_passes(error),
    }
}
