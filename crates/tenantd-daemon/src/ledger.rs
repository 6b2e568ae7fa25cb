//! The ledger: what exists on the host, tenant by tenant, and the [`file`] that outlives the
//! supervisor.
//!
//! The supervisor knows what should be; the ledger knows by which descriptors, folders and process
//! numbers it is. Per tenant it holds two descriptors: its network namespace, and its first
//! process. Only the loop reads and writes it.

pub(super) mod disk;
pub(super) mod file;
#[cfg(test)]
mod tests;

use std::collections::{BTreeMap, HashMap};
use std::rc::Rc;
use std::sync::Arc;

use tenantd_core::name::TenantName;
use tenantd_core::plan::effect::Effect;
use tenantd_core::plan::model::TenantPlan;
use tenantd_core::supervisor::event::LaunchId;
use tenantd_host::cgroup::Leaf;
use tenantd_host::launch::ready_fd::ReadyFd;
use tenantd_host::netns::Netns;
use tenantd_host::program::ProgramFile;

use super::record::Made;

/// What exists, tenant by tenant.
#[derive(Default)]
pub(super) struct Ledger {
    entries: BTreeMap<TenantName, Entry>,
    /// Whose network namespace has this inode: by it a notice is known.
    by_netns: HashMap<u64, TenantName>,
}

/// What exists of one tenant.
pub(super) struct Entry {
    /// What it is made by: what stands and runs.
    pub(super) plan: Arc<TenantPlan>,
    /// What it is to be made by, where that is something else: taken up by its next provision or
    /// launch.
    pub(super) next: Option<Arc<TenantPlan>>,
    /// By what it was made, where an earlier supervisor did that by another plan: of that plan no
    /// more is known than this, and `plan` is today's with what it holds.
    pub(super) made: Option<Made>,
    /// Whether it is in the manifest no more.
    pub(super) leaving: bool,
    /// What its provision made.
    pub(super) standing: Option<Standing>,
    /// Its launch, while any of its processes may live.
    pub(super) running: Option<Running>,
}

/// What a provision made and a release takes.
#[derive(Debug, Clone)]
pub(super) struct Standing {
    /// The inode of its network namespace.
    pub(super) inode: u64,
    /// The namespace itself; none once a release has let go of it.
    pub(super) netns: Option<Arc<Netns>>,
    /// Its cgroup, where cgroups are used.
    pub(super) leaf: Option<Leaf>,
    /// Whether a launch has been in the cgroup, and may have been killed in it.
    pub(super) used: bool,
}

/// The first process of a launch.
#[derive(Debug)]
pub(super) struct Process {
    /// Its number.
    pub(super) pid: i32,
    /// When it started, see [`Mark`](super::record::Mark).
    pub(super) start_ticks: u64,
    /// It itself.
    pub(super) fd: ReadyFd,
}

/// A launch that lives.
pub(super) struct Running {
    /// Which.
    pub(super) launch: LaunchId,
    /// Its first process; none once that has ended.
    pub(super) process: Option<Rc<Process>>,
    /// The file of its program, where that is known.
    pub(super) program: Option<ProgramFile>,
    /// Whether the supervisor knows that its program runs.
    pub(super) executed: bool,
}

impl Entry {
    fn new(plan: &Arc<TenantPlan>) -> Self {
        Self {
            plan: Arc::clone(plan),
            next: None,
            made: None,
            leaving: false,
            standing: None,
            running: None,
        }
    }

    /// What it was planned as last.
    pub(super) fn planned(&self) -> &Arc<TenantPlan> {
        self.next.as_ref().unwrap_or(&self.plan)
    }

    /// A provision or launch begins: by what was planned last.
    pub(super) fn take_up(&mut self) {
        if let Some(next) = self.next.take() {
            self.plan = next;
            self.made = None;
        }
    }

    /// What stands was made by another plan: today's is taken up by the next provision or launch.
    pub(super) fn stands_by(&mut self, made: Made) {
        let today = Arc::clone(&self.plan);
        if let Some(holds) = made.holds.clone() {
            self.plan = Arc::new(holds.instead_of(&today));
        }
        self.next = Some(today);
        self.made = Some(made);
    }
}

impl Ledger {
    /// An entry for each tenant of a plan, with nothing standing yet.
    pub(super) fn open(plans: &[Arc<TenantPlan>]) -> Self {
        let entries = plans.iter().map(|plan| {
            let entry = Entry::new(plan);
            (entry.plan.name.clone(), entry)
        });
        Self {
            entries: entries.collect(),
            by_netns: HashMap::new(),
        }
    }

    /// Enters a tenant of which nothing stands, unless it is here.
    pub(super) fn add(&mut self, plan: &Arc<TenantPlan>) {
        let entry = || Entry::new(plan);
        self.entries.entry(plan.name.clone()).or_insert_with(entry);
    }

    /// Strikes out a tenant that was removed, and of which nothing stands.
    pub(super) fn forget(&mut self, tenant: &TenantName) -> Option<Entry> {
        self.entries.remove(tenant)
    }

    /// What each tenant of the manifest was planned as last.
    pub(super) fn planned(&self) -> impl Iterator<Item = &TenantPlan> {
        let staying = self.entries.values().filter(|entry| !entry.leaving);
        staying.map(|entry| entry.planned().as_ref())
    }

    /// What each tenant is made by, also those that were removed and are not gone.
    pub(super) fn standing(&self) -> impl Iterator<Item = &TenantPlan> {
        self.entries.values().map(|entry| entry.plan.as_ref())
    }

    /// Notes that a tenant is planned otherwise.
    pub(super) fn replan(&mut self, plan: &Arc<TenantPlan>, effect: Effect) {
        let Some(entry) = self.entries.get_mut(&plan.name) else {
            return;
        };
        entry.leaving = false;
        match (&entry.next, effect) {
            (None, Effect::Live) => entry.plan = Arc::clone(plan),
            (Some(_), Effect::Live) | (_, Effect::Relaunch | Effect::Renew) => {
                entry.next = Some(Arc::clone(plan));
            }
        }
    }

    /// Notes that a tenant is in the manifest no more.
    pub(super) fn remove(&mut self, tenant: &TenantName) {
        if let Some(entry) = self.entries.get_mut(tenant) {
            entry.leaving = true;
        }
    }

    /// What the tenants of which nothing stands would be made by.
    pub(super) fn fallen(&self) -> impl Iterator<Item = &Arc<TenantPlan>> {
        let fallen = self.entries.values().filter(|e| e.standing.is_none());
        fallen.map(|entry| &entry.plan)
    }

    /// Everything about a tenant.
    pub(super) fn get(&self, tenant: &TenantName) -> Option<&Entry> {
        self.entries.get(tenant)
    }

    /// Everything about a tenant, to be changed.
    pub(super) fn entry(&mut self, tenant: &TenantName) -> Option<&mut Entry> {
        self.entries.get_mut(tenant)
    }

    /// What a tenant is made by.
    pub(super) fn plan(&self, tenant: &TenantName) -> Option<&Arc<TenantPlan>> {
        self.entries.get(tenant).map(|entry| &entry.plan)
    }

    /// Writes down what a provision made, or what a release left.
    pub(super) fn stands(&mut self, tenant: &TenantName, standing: Standing) {
        if let Some(entry) = self.entries.get_mut(tenant) {
            // What a release let go of may be gone, and its number given to another namespace.
            if standing.netns.is_some() {
                self.by_netns.insert(standing.inode, tenant.clone());
            }
            entry.standing = Some(standing);
        }
    }

    /// Strikes out what a release is about to take.
    pub(super) fn falls(&mut self, tenant: &TenantName) -> Option<Standing> {
        let standing = self.entries.get_mut(tenant)?.standing.take()?;
        if standing.netns.is_some() {
            self.by_netns.remove(&standing.inode);
        }
        Some(standing)
    }

    /// The tenant whose network namespace has this inode.
    pub(super) fn whose(&self, netns_inode: u64) -> Option<&TenantName> {
        self.by_netns.get(&netns_inode)
    }

    /// The network namespaces that are held.
    pub(super) fn namespaces(&self) -> impl Iterator<Item = (&TenantName, &Netns)> {
        let entries = self.entries.iter();
        entries.filter_map(|(tenant, entry)| {
            Some((tenant, entry.standing.as_ref()?.netns.as_deref()?))
        })
    }

    /// Whether the program of each launch is known to run.
    pub(super) fn all_executed(&self) -> bool {
        let mut running = self.entries.values().filter_map(|e| e.running.as_ref());
        running.all(|running| running.executed)
    }

    /// The entry of a tenant and its live launch, if it is this one.
    pub(super) fn running(
        &mut self,
        tenant: &TenantName,
        launch: LaunchId,
    ) -> Option<&mut Running> {
        let running = self.entries.get_mut(tenant)?.running.as_mut()?;
        (running.launch == launch).then_some(running)
    }
}
