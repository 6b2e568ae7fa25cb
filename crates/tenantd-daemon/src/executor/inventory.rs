//! The inventory: what exists on the host, tenant by tenant.
//!
//! The supervisor knows what should be; the inventory knows by which descriptors, folders and process
//! numbers it is. Per tenant it holds two descriptors: its network namespace, and its first
//! process. Only the loop reads and writes it.

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

use crate::state_file::record::Made;

/// What exists, tenant by tenant.
#[derive(Default)]
pub(crate) struct Inventory {
    entries: BTreeMap<TenantName, Entry>,
    /// Whose network namespace has this inode: by it a notice is known.
    by_netns: HashMap<u64, TenantName>,
}

/// What exists of one tenant.
pub(crate) struct Entry {
    /// What it is made by: what stands and runs.
    pub(crate) plan: Arc<TenantPlan>,
    /// What it is to be made by, where that is something else: taken up by its next provision or
    /// launch.
    pub(crate) next: Option<Arc<TenantPlan>>,
    /// By what it was made, where an earlier supervisor did that by another plan: of that plan no
    /// more is known than this, and `plan` is today's with what it holds.
    pub(crate) made: Option<Made>,
    /// Whether it is in the manifest no more.
    pub(crate) removed: bool,
    /// What its provision made.
    pub(crate) provisioned: Option<Provisioned>,
    /// Its launch, while any of its processes may live.
    pub(crate) running: Option<Running>,
}

/// What a provision made and a release takes.
#[derive(Debug, Clone)]
pub(crate) struct Provisioned {
    /// The inode of its network namespace.
    pub(crate) inode: u64,
    /// The namespace itself; none once a release has let go of it.
    pub(crate) netns: Option<Arc<Netns>>,
    /// Its cgroup, where cgroups are used.
    pub(crate) leaf: Option<Leaf>,
    /// Whether a launch has been in the cgroup, and may have been killed in it.
    pub(crate) used: bool,
}

/// The first process of a launch.
#[derive(Debug)]
pub(crate) struct Process {
    /// Its number.
    pub(crate) pid: i32,
    /// When it started, see [`ProcessKey`](crate::state_file::record::ProcessKey).
    pub(crate) start_ticks: u64,
    /// It itself.
    pub(crate) fd: ReadyFd,
}

/// A launch that lives.
pub(crate) struct Running {
    /// Which.
    pub(crate) launch: LaunchId,
    /// Its first process; none once that has ended.
    pub(crate) process: Option<Rc<Process>>,
    /// The file of its program, where that is known.
    pub(crate) program: Option<ProgramFile>,
    /// Whether the supervisor knows that its program runs.
    pub(crate) executed: bool,
}

impl Entry {
    fn new(plan: &Arc<TenantPlan>) -> Self {
        Self {
            plan: Arc::clone(plan),
            next: None,
            made: None,
            removed: false,
            provisioned: None,
            running: None,
        }
    }

    /// What it was planned as last.
    pub(crate) fn planned(&self) -> &Arc<TenantPlan> {
        self.next.as_ref().unwrap_or(&self.plan)
    }

    /// A provision or launch begins: by what was planned last.
    pub(crate) fn use_next_plan(&mut self) {
        if let Some(next) = self.next.take() {
            self.plan = next;
            self.made = None;
        }
    }

    /// What stands was made by another plan: today's is taken up by the next provision or launch.
    pub(crate) fn set_made_by(&mut self, made: Made) {
        let today = Arc::clone(&self.plan);
        if let Some(holds) = made.holds.clone() {
            self.plan = Arc::new(holds.instead_of(&today));
        }
        self.next = Some(today);
        self.made = Some(made);
    }
}

impl Inventory {
    /// An entry for each tenant of a plan, with nothing standing yet.
    pub(crate) fn open(plans: &[Arc<TenantPlan>]) -> Self {
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
    pub(crate) fn add(&mut self, plan: &Arc<TenantPlan>) {
        let entry = || Entry::new(plan);
        self.entries.entry(plan.name.clone()).or_insert_with(entry);
    }

    /// Strikes out a tenant that was removed, and of which nothing stands.
    pub(crate) fn remove(&mut self, tenant: &TenantName) -> Option<Entry> {
        self.entries.remove(tenant)
    }

    /// What each tenant of the manifest was planned as last.
    pub(crate) fn planned(&self) -> impl Iterator<Item = &TenantPlan> {
        let staying = self.entries.values().filter(|entry| !entry.removed);
        staying.map(|entry| entry.planned().as_ref())
    }

    /// What each tenant is made by, also those that were removed and are not gone.
    pub(crate) fn current_plans(&self) -> impl Iterator<Item = &TenantPlan> {
        self.entries.values().map(|entry| entry.plan.as_ref())
    }

    /// Notes that a tenant is planned otherwise.
    pub(crate) fn replan(&mut self, plan: &Arc<TenantPlan>, effect: Effect) {
        let Some(entry) = self.entries.get_mut(&plan.name) else {
            return;
        };
        entry.removed = false;
        match (&entry.next, effect) {
            (None, Effect::Live) => entry.plan = Arc::clone(plan),
            (Some(_), Effect::Live) | (_, Effect::Relaunch | Effect::Reprovision) => {
                entry.next = Some(Arc::clone(plan));
            }
        }
    }

    /// Notes that a tenant is in the manifest no more.
    pub(crate) fn mark_removed(&mut self, tenant: &TenantName) {
        if let Some(entry) = self.entries.get_mut(tenant) {
            entry.removed = true;
        }
    }

    /// What the tenants of which nothing stands would be made by.
    pub(crate) fn unprovisioned(&self) -> impl Iterator<Item = &Arc<TenantPlan>> {
        let unprovisioned = self.entries.values().filter(|e| e.provisioned.is_none());
        unprovisioned.map(|entry| &entry.plan)
    }

    /// Everything about a tenant.
    pub(crate) fn get(&self, tenant: &TenantName) -> Option<&Entry> {
        self.entries.get(tenant)
    }

    /// Everything about a tenant, to be changed.
    pub(crate) fn entry(&mut self, tenant: &TenantName) -> Option<&mut Entry> {
        self.entries.get_mut(tenant)
    }

    /// What a tenant is made by.
    pub(crate) fn plan(&self, tenant: &TenantName) -> Option<&Arc<TenantPlan>> {
        self.entries.get(tenant).map(|entry| &entry.plan)
    }

    /// Writes down what a provision made, or what a release left.
    pub(crate) fn set_provisioned(&mut self, tenant: &TenantName, provisioned: Provisioned) {
        if let Some(entry) = self.entries.get_mut(tenant) {
            // What a release let go of may be gone, and its number given to another namespace.
            if provisioned.netns.is_some() {
                self.by_netns.insert(provisioned.inode, tenant.clone());
            }
            entry.provisioned = Some(provisioned);
        }
    }

    /// Strikes out what a release is about to take.
    pub(crate) fn take_provisioned(&mut self, tenant: &TenantName) -> Option<Provisioned> {
        let provisioned = self.entries.get_mut(tenant)?.provisioned.take()?;
        if provisioned.netns.is_some() {
            self.by_netns.remove(&provisioned.inode);
        }
        Some(provisioned)
    }

    /// The tenant whose network namespace has this inode.
    pub(crate) fn tenant_of_netns(&self, netns_inode: u64) -> Option<&TenantName> {
        self.by_netns.get(&netns_inode)
    }

    /// The network namespaces that are held.
    pub(crate) fn namespaces(&self) -> impl Iterator<Item = (&TenantName, &Netns)> {
        let entries = self.entries.iter();
        entries.filter_map(|(tenant, entry)| {
            Some((tenant, entry.provisioned.as_ref()?.netns.as_deref()?))
        })
    }

    /// Whether the program of each launch is known to run.
    pub(crate) fn all_executed(&self) -> bool {
        let mut running = self.entries.values().filter_map(|e| e.running.as_ref());
        running.all(|running| running.executed)
    }

    /// The entry of a tenant and its live launch, if it is this one.
    pub(crate) fn running(
        &mut self,
        tenant: &TenantName,
        launch: LaunchId,
    ) -> Option<&mut Running> {
        let running = self.entries.get_mut(tenant)?.running.as_mut()?;
        (running.launch == launch).then_some(running)
    }
}
