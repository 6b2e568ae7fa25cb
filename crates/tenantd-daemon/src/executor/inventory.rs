//! The inventory: what exists on the host, tenant by tenant.
//!
//! The supervisor has the state of each tenant; the inventory has the descriptors, folders and process numbers. It holds
//! one descriptor per tenant: the first process of its launch. Only the loop's thread uses it.

#[cfg(test)]
mod tests;

use std::collections::BTreeMap;
use std::rc::Rc;
use std::sync::Arc;

use tokio::sync::Notify;

use tenantd_core::cgroup::by_hand::ByHand;
use tenantd_core::name::TenantName;
use tenantd_core::plan::effect::Effect;
use tenantd_core::plan::holders::keeps_network;
use tenantd_core::plan::model::TenantPlan;
use tenantd_core::plan::phase::Phase;
use tenantd_core::supervisor::event::LaunchId;
use tenantd_host::cgroup::Leaf;
use tenantd_host::children::Known;
use tenantd_host::launch::LaunchView;
use tenantd_host::launch::ready_fd::ReadyFd;
use tenantd_host::program::ProgramFile;

use crate::executor::main_process::MainBy;
use crate::executor::said::Recorded;
use crate::executor::steps::Steps;
use crate::ready::notice::Statement;
use crate::state_file::record::{Made, ProcessKey};

/// The entries of all tenants.
#[derive(Default)]
pub(crate) struct Inventory {
    entries: BTreeMap<TenantName, Entry>,
    /// How many tenants in the manifest have each user.
    users: BTreeMap<u32, usize>,
}

/// What exists of one tenant, and its plans.
pub(crate) struct Entry {
    /// The plan of its present resources and launch.
    pub(crate) plan: Arc<TenantPlan>,
    /// The newest plan, if it is another one. The next provision or launch uses it.
    pub(crate) next: Option<Arc<TenantPlan>>,
    /// What is known of the plan of its resources, if an earlier supervisor made them from a plan
    /// that this one does not have. `plan` is then today's plan with the address and datastore that
    /// the tenant still holds.
    pub(crate) made: Option<Made>,
    /// Whether it was removed from the manifest.
    pub(crate) removed: bool,
    /// Its resources.
    pub(crate) provisioned: Option<Provisioned>,
    /// Its launch, while any process of it may be alive.
    pub(crate) running: Option<Running>,
    /// Whether its cgroup is frozen.
    pub(crate) frozen: bool,
    /// How many launches, and ends of launches, have begun.
    pub(crate) steps: Steps,
    /// The limits that were set by hand.
    pub(crate) by_hand: ByHand,
    /// The client whose command of `exec --offline` the next launch is for.
    pub(crate) client: Option<u32>,
}

/// The resources that a provision makes and a release removes.
#[derive(Debug, Clone)]
pub(crate) struct Provisioned {
    /// The inode of its network namespace.
    pub(crate) inode: u64,
    /// Whether this supervisor keeps that alive. A release ends that.
    pub(crate) has_netns: bool,
    /// Its cgroup leaf, if cgroups are used.
    pub(crate) leaf: Option<Leaf>,
    /// Whether a launch has used the cgroup leaf, so that the next one needs a new leaf.
    pub(crate) used: bool,
}

/// The first process of a launch.
#[derive(Debug)]
pub(crate) struct Process {
    /// Its process number.
    pub(crate) pid: i32,
    /// When it started, see [`ProcessKey`](crate::state_file::record::ProcessKey).
    pub(crate) start_ticks: u64,
    /// Its pidfd.
    pub(crate) fd: ReadyFd,
    /// Its registration as a child, which keeps its exit status.
    pub(crate) known: Known,
    /// Another one is the main process of its launch.
    pub(crate) replaced: Notify,
}

impl Process {
    /// What identifies it.
    pub(crate) fn key(&self) -> ProcessKey {
        ProcessKey {
            pid: self.pid,
            start_ticks: self.start_ticks,
        }
    }
}

/// A launch with processes that may be alive.
pub(crate) struct Running {
    /// The number of the launch.
    pub(crate) launch: LaunchId,
    /// Its first process; None once that has ended.
    pub(crate) process: Option<Rc<Process>>,
    /// The file of its program, if that is known.
    pub(crate) program: Option<ProgramFile>,
    /// What is known of its mounts; None if an earlier version started it, or it has no record.
    pub(crate) view: Option<LaunchView>,
    /// Whether its program is known to have been executed.
    pub(crate) executed: bool,
    /// What it executes.
    pub(crate) phase: Phase,
    /// Its main process.
    pub(crate) main: Main,
    /// What the program says of itself.
    pub(crate) statement: Statement,
    /// When that was last recorded.
    pub(crate) recorded: Recorded,
}

/// The process whose end is the end of the launch.
#[derive(Debug, Clone)]
pub(crate) enum Main {
    /// The first one; if that has left others, the last one.
    First,
    /// Another one.
    Found(Rc<Process>, MainBy),
    /// The one with this number has ended, which will be reported.
    Gone(i32),
    /// It has ended.
    Over,
}

impl Running {
    /// The process whose end will be reported: the first one, or else the main one. Without it, the
    /// launch ends with its last process.
    pub(crate) fn watched(&self) -> Option<&Rc<Process>> {
        let main = self.found_main().map(|(main, _)| main);
        self.process.as_ref().or(main)
    }

    /// The process that is asked to stop first; None if all are. A guess may be wrong.
    pub(crate) fn stopped_first(&self) -> Option<&Rc<Process>> {
        match &self.main {
            Main::First => self.process.as_ref(),
            Main::Found(main, MainBy::PidFile | MainBy::Notice) => Some(main),
            Main::Found(_, MainBy::Guess) | Main::Gone(_) | Main::Over => None,
        }
    }

    /// Its main process, and how that is known.
    pub(crate) fn found_main(&self) -> Option<(&Rc<Process>, MainBy)> {
        match &self.main {
            Main::Found(main, by) => Some((main, *by)),
            Main::First | Main::Gone(_) | Main::Over => None,
        }
    }

    /// The process of the program: the main process, or else the first one. The command before it is not the program.
    pub(crate) fn of_program(&self) -> Option<&Rc<Process>> {
        let main = self.found_main().map(|(main, _)| main);
        let process = main.or(self.process.as_ref());
        process.filter(|_| self.phase == Phase::Main)
    }
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
            frozen: false,
            steps: Steps::default(),
            by_hand: ByHand::default(),
            client: None,
        }
    }

    /// The newest plan.
    pub(crate) fn planned(&self) -> &Arc<TenantPlan> {
        self.next.as_ref().unwrap_or(&self.plan)
    }

    /// Its user in the manifest; None if it was removed from that.
    fn user(&self) -> Option<u32> {
        (!self.removed).then(|| self.planned().launch.identity.uid)
    }

    /// A provision or launch begins: it uses the newest plan.
    pub(crate) fn use_next_plan(&mut self) {
        if let Some(next) = self.next.take() {
            self.plan = next;
            self.made = None;
        }
    }

    /// The resources were made from another plan. The next provision or launch uses today's.
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
    /// An inventory with an entry for each tenant, without resources.
    pub(crate) fn open(plans: &[Arc<TenantPlan>]) -> Self {
        let entries = plans
            .iter()
            .map(|plan| (plan.name.clone(), Entry::new(plan)));
        let mut inventory = Self {
            // Made as a whole, it has no room to spare.
            entries: entries.collect(),
            ..Self::default()
        };
        for plan in plans {
            let user = inventory.entries.get(&plan.name).and_then(Entry::user);
            inventory.count(user, None);
        }
        inventory
    }

    /// Whether this user is root or that of several tenants.
    pub(crate) fn is_shared_user(&self, uid: u32) -> bool {
        uid == 0 || self.users.get(&uid).is_some_and(|count| *count > 1)
    }

    /// Changes what is planned of a tenant, and with it the counts of users.
    fn plan_change(&mut self, tenant: &TenantName, change: impl FnOnce(&mut Entry)) {
        let Some(entry) = self.entries.get_mut(tenant) else {
            return;
        };
        let before = entry.user();
        change(entry);
        let after = entry.user();
        self.count(after, before);
    }

    fn count(&mut self, more: Option<u32>, fewer: Option<u32>) {
        if let Some(uid) = more {
            *self.users.entry(uid).or_default() += 1;
        }
        if let Some(uid) = fewer
            && let Some(count) = self.users.get_mut(&uid)
        {
            *count -= 1;
            if *count == 0 {
                self.users.remove(&uid);
            }
        }
    }

    /// Enters a tenant without resources, unless it has an entry.
    pub(crate) fn add(&mut self, plan: &Arc<TenantPlan>) {
        if !self.entries.contains_key(&plan.name) {
            let entry = Entry::new(plan);
            self.count(entry.user(), None);
            self.entries.insert(plan.name.clone(), entry);
        }
    }

    /// Removes the entry of a tenant without resources.
    pub(crate) fn remove(&mut self, tenant: &TenantName) -> Option<Entry> {
        let removed = self.entries.remove(tenant)?;
        self.count(None, removed.user());
        Some(removed)
    }

    /// The newest plan of each tenant in the manifest.
    pub(crate) fn planned(&self) -> impl Iterator<Item = &Arc<TenantPlan>> {
        let staying = self.entries.values().filter(|entry| !entry.removed);
        staying.map(Entry::planned)
    }

    /// The newest plan of each tenant in the manifest that waits for a provision or launch.
    pub(crate) fn waiting(&self) -> impl Iterator<Item = &Arc<TenantPlan>> {
        let staying = self.entries.values().filter(|entry| !entry.removed);
        staying.filter_map(|entry| entry.next.as_ref())
    }

    /// The plan of the present resources of each tenant, with the newest plan unless it was removed.
    pub(crate) fn present(&self) -> impl Iterator<Item = (&TenantPlan, Option<&TenantPlan>)> {
        self.entries.values().map(|entry| {
            let planned = (!entry.removed).then(|| entry.planned().as_ref());
            (entry.plan.as_ref(), planned)
        })
    }

    /// The plan of the present resources of each tenant, including removed ones that are not released.
    pub(crate) fn current_plans(&self) -> impl Iterator<Item = &TenantPlan> {
        self.entries.values().map(|entry| entry.plan.as_ref())
    }

    /// Enters the new plan of a tenant.
    pub(crate) fn replan(&mut self, plan: &Arc<TenantPlan>, effect: Effect) {
        self.plan_change(&plan.name, |entry| {
            entry.removed = false;
            if effect != Effect::Reprovision
                && entry.plan.link != plan.link
                && keeps_network(&entry.plan, plan)
            {
                // It changes at once, whatever else waits for a launch.
                Arc::make_mut(&mut entry.plan).link = plan.link.clone();
            }
            match (&entry.next, effect) {
                (None, Effect::Live) => entry.plan = Arc::clone(plan),
                (Some(_), Effect::Live) | (_, Effect::Relaunch | Effect::Reprovision) => {
                    entry.next = Some(Arc::clone(plan));
                }
            }
        });
    }

    /// Notes that a tenant was removed from the manifest.
    pub(crate) fn mark_removed(&mut self, tenant: &TenantName) {
        self.plan_change(tenant, |entry| entry.removed = true);
    }

    /// The plans of all tenants without resources.
    pub(crate) fn unprovisioned(&self) -> impl Iterator<Item = &Arc<TenantPlan>> {
        let unprovisioned = self.entries.values().filter(|e| e.provisioned.is_none());
        unprovisioned.map(|entry| &entry.plan)
    }

    /// The tenants whose program is executed.
    pub(crate) fn executed(&self) -> impl Iterator<Item = &TenantName> {
        let entries = self.entries.iter();
        let running = |entry: &Entry| entry.running.as_ref().is_some_and(|it| it.executed);
        entries
            .filter(move |(_, entry)| running(entry))
            .map(|(tenant, _)| tenant)
    }

    /// The entry of a tenant.
    pub(crate) fn get(&self, tenant: &TenantName) -> Option<&Entry> {
        self.entries.get(tenant)
    }

    /// The entry of a tenant, mutable.
    pub(crate) fn entry(&mut self, tenant: &TenantName) -> Option<&mut Entry> {
        self.entries.get_mut(tenant)
    }

    /// The plan of the present resources of a tenant.
    pub(crate) fn plan(&self, tenant: &TenantName) -> Option<&Arc<TenantPlan>> {
        self.entries.get(tenant).map(|entry| &entry.plan)
    }

    /// Enters the resources that a provision made, or that a failed release left.
    pub(crate) fn set_provisioned(&mut self, tenant: &TenantName, provisioned: Provisioned) {
        if let Some(entry) = self.entries.get_mut(tenant) {
            entry.frozen = provisioned.leaf.as_ref().is_some_and(Leaf::is_frozen);
            let by_hand = provisioned.leaf.as_ref().map(Leaf::by_hand);
            // What cannot be read is not shown: the launch, which needs it, fails and says so.
            entry.by_hand = by_hand.and_then(Result::ok).unwrap_or_default();
            entry.provisioned = Some(provisioned);
        }
    }

    /// Takes the resources out of the entry, for a release.
    pub(crate) fn take_provisioned(&mut self, tenant: &TenantName) -> Option<Provisioned> {
        self.entries.get_mut(tenant)?.provisioned.take()
    }

    /// Whether the program of each launch is known to have been executed.
    pub(crate) fn all_executed(&self) -> bool {
        let mut running = self.entries.values().filter_map(|e| e.running.as_ref());
        running.all(|running| running.executed)
    }

    /// The launches of all tenants.
    pub(crate) fn all_running(&mut self) -> impl Iterator<Item = (&TenantName, &mut Running)> {
        let entries = self.entries.iter_mut();
        entries.filter_map(|(tenant, entry)| Some((tenant, entry.running.as_mut()?)))
    }

    /// The launch of a tenant, if it is this one.
    pub(crate) fn running(
        &mut self,
        tenant: &TenantName,
        launch: LaunchId,
    ) -> Option<&mut Running> {
        let running = self.entries.get_mut(tenant)?.running.as_mut()?;
        (running.launch == launch).then_some(running)
    }
}
