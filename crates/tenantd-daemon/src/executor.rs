//! The executor: carries out the supervisor's actions on the host, and keeps the inventory of what
//! exists there. It decides nothing.
//!
//! The loop passes it one [`Action`] after the other. The executor does a short action at once: a
//! signal is one system call. It starts a task for an action that takes time: a provision, a launch
//! or a release. The loop continues meanwhile. A task sends its result as a [`Report`]. The loop
//! passes the report to the executor, which updates the [`Inventory`] and returns the event that
//! the supervisor decides about next.
//!
//! ```text
//!   perform(action) ──▶ task on the host ──▶ report ──▶ on_report ──▶ inventory
//!                                                          │
//!   supervisor ◀── the loop applies ◀── poll: Input::Event ┘
//! ```
//!
//! A provision makes what all launches of a tenant use: cgroup leaf, datastore, output pipes,
//! network namespace and link, in this order. If a step fails, the provision removes what it has
//! made. A launch starts the program in these resources. A release removes all of them except the
//! datastore, after it has proved that no process of the tenant is left.
//!
//! The inventory has an entry for each tenant: the plan of its resources, the resources, and the
//! launch whose processes may be alive. Only the executor changes it; other owners read it.
//!
//! The executor returns events one at a time. The end of a launch's first process is recorded
//! before the executor returns the end of the launch. So a supervisor that dies between the two
//! leaves a record from which the next one can continue.
//!
//! Before this process detaches or upgrades, the loop pauses the executor: it then defers all new
//! work, and [`Executor::is_idle`] reports whether the running tasks have ended. If the upgrade
//! fails, [`Executor::resume`] starts the deferred work.

pub(crate) mod blocking;
pub(crate) mod busy;
pub(crate) mod cgroups;
mod claims;
mod emptied;
pub(crate) mod host;
pub(crate) mod inventory;
pub(crate) mod last_counters;
pub(crate) mod launch;
mod limiting;
pub(crate) mod main_process;
mod perform;
mod phases;
pub(crate) mod report;
pub(crate) mod said;
pub(crate) mod steps;
pub(crate) mod store;
pub(crate) mod takeovers;
pub(crate) mod under_way;
pub(crate) mod unwanted;
pub(crate) mod visit;
pub(crate) mod visitors;

use std::collections::VecDeque;
use std::io;
use std::rc::Rc;
use std::sync::Arc;
use std::time::Duration;

use tokio::sync::mpsc;

use tenantd_core::name::TenantName;
use tenantd_core::plan::effect::Effect;
use tenantd_core::plan::model::TenantPlan;
use tenantd_core::plan::phase::Phase;
use tenantd_core::supervisor::action::{Action, Answer};
use tenantd_core::supervisor::checkpoint::Found;
use tenantd_core::supervisor::event::{Event, LaunchId, TenantRequest};
use tenantd_core::supervisor::view::{StateWord, Want};
use tenantd_core::supervisor::{Cause, Find, Supervisor, Transition};
use tenantd_host::crash;
use tenantd_host::netns::name;

use crate::executor::host::Host;
use crate::executor::inventory::{Inventory, Running};
use crate::executor::report::{Report, ReportKind};
use crate::executor::under_way::UnderWay;
use crate::input::{Input, PlanChange};
use crate::logs::Mark;
use crate::recovery::survivors::Survivor;
use crate::wants::Wants;

pub(super) use perform::exit;

/// How long the tasks on the host may take to end once all tenants have ended.
const ENDED_WITHIN: Duration = Duration::from_secs(5);

/// Carries out actions and keeps the inventory. See the documentation of this module.
pub(super) struct Executor {
    host: Rc<Host>,
    inventory: Inventory,
    reports: mpsc::UnboundedReceiver<Report>,
    /// Tenants whose provision has not begun.
    to_provision: VecDeque<TenantName>,
    /// Provisions under way.
    provisioning: usize,
    /// Whether new work is deferred.
    paused: bool,
    /// The actions that were deferred.
    deferred: Vec<Action>,
    pending: VecDeque<Pending>,
}

/// What [`Executor::poll`] gives next.
enum Pending {
    Input(Input),
    /// The last process of this launch has ended.
    Emptied(TenantName, LaunchId),
}

impl Executor {
    /// An executor for these tenants, without any resources yet. `reports` come from its tasks.
    pub(super) fn new(
        host: Rc<Host>,
        plans: &[Arc<TenantPlan>],
        reports: mpsc::UnboundedReceiver<Report>,
    ) -> Self {
        Self {
            host,
            inventory: Inventory::open(plans),
            reports,
            to_provision: VecDeque::new(),
            provisioning: 0,
            paused: false,
            deferred: Vec::new(),
            pending: VecDeque::new(),
        }
    }

    /// The inventory of what exists on the host.
    pub(super) fn inventory(&self) -> &Inventory {
        &self.inventory
    }

    /// What all tasks on the host need.
    pub(super) fn host(&self) -> &Host {
        &self.host
    }

    /// The next report, of a task or of a changed cgroup. Cancelling this loses nothing.
    ///
    /// # Errors
    /// If the cgroups cannot be watched.
    pub(super) async fn next(&mut self) -> io::Result<Report> {
        let Self { reports, host, .. } = self;
        let cgroup_changed = async {
            match &host.cgroups {
                Some(cgroups) => cgroups.watch.next().await,
                None => std::future::pending().await,
            }
        };
        tokio::select! {
            Some(report) = reports.recv() => Ok(report),
            tenant = cgroup_changed => Ok(Report {
                tenant: tenant?,
                kind: ReportKind::CgroupChanged,
            }),
        }
    }

    /// Enters a change of the plan into the inventory. Returns the event for the supervisor.
    pub(super) fn on_plan(&mut self, change: PlanChange, wants: &Wants) -> Event {
        let planned = |plan: &TenantPlan, found| Event::Planned {
            tenant: plan.name.clone(),
            policy: wants.policy(plan),
            found,
        };
        match change {
            PlanChange::New(plan, survivor) => {
                self.inventory.add(&plan);
                let found = survivor.map(|survivor| self.adopt(&plan.name, *survivor));
                planned(&plan, found)
            }
            PlanChange::Back(plan) => {
                self.inventory.replan(&plan, Effect::Reprovision);
                planned(&plan, None)
            }
            PlanChange::Changed {
                plan,
                effect,
                apply,
            } => {
                self.inventory.replan(&plan, effect);
                let entry = self.inventory.get(&plan.name);
                // Else it is released first.
                let keeps = entry.is_some_and(|it| it.plan.link == plan.link);
                if keeps && entry.is_some_and(|it| it.provisioned.is_some()) {
                    if !self.host.taking_up.replan(&plan) {
                        self.host.logs.pace(&plan.name, plan.log_rate);
                        self.host.collector.adopt(&plan);
                    }
                    self.host.admit(&plan);
                }
                Event::Replanned {
                    tenant: plan.name.clone(),
                    policy: wants.policy(&plan),
                    effect,
                    apply,
                }
            }
            PlanChange::Removed(tenant) => {
                self.inventory.mark_removed(&tenant);
                Event::Removed { tenant }
            }
        }
    }

    fn adopt(&mut self, tenant: &TenantName, survivor: Survivor) -> Box<Found> {
        if let Some(provisioned) = survivor.provisioned {
            self.inventory.set_provisioned(tenant, provisioned);
            // One that is made again by another plan may have other addresses.
            if survivor.found.outdated != Some(Effect::Reprovision) {
                self.host.keep_network(self.inventory.plan(tenant));
            }
        }
        if let Some(entry) = self.inventory.entry(tenant) {
            let running = survivor.running;
            let is_command = |run: &Running| matches!(run.phase, Phase::Init | Phase::Before);
            if running.as_ref().is_some_and(is_command) {
                self.host.logs.listen(tenant);
            }
            entry.running = running;
            if let Some(made) = survivor.made {
                entry.set_made_by(made);
            }
        }
        Box::new(survivor.found)
    }

    /// Marks in a tenant's log that its program ended while no supervisor was running, or was killed.
    pub(super) fn on_transition(&self, Transition { tenant, cause, .. }: &Transition) {
        if let Cause::Found(Find::Died(exit)) = cause {
            self.host.logs.mark(tenant, Mark::EndedUnwatched(*exit));
        }
        if let Cause::LeftOthers(_) = cause {
            self.host.logs.mark(tenant, Mark::LeftOthers);
        }
        if let Cause::Killed(forced) = cause {
            self.host.logs.mark(tenant, Mark::Killed(forced.clone()));
        }
    }

    /// Switches each tenant that these actions provision or launch to its newest plan. The loop
    /// calls this before it writes the records and performs the actions.
    pub(super) fn use_next_plan(&mut self, actions: &[Action]) {
        for action in actions {
            if let Action::Launch { tenant, .. } | Action::Provision { tenant } = action
                && let Some(entry) = self.inventory.entry(tenant)
            {
                entry.use_next_plan();
            }
        }
    }

    /// Why a request to stop is refused, before the supervisor gets it: a launch runs that an earlier
    /// supervisor started and this one could not adopt. So a refusal changes nothing.
    pub(super) fn refusal(
        &self,
        TenantRequest { tenant, verb }: &TenantRequest,
        supervisor: &Supervisor,
    ) -> Option<Answer> {
        let reason = match verb.want() {
            Want::Up => None,
            Want::Down => self.unproved(tenant, supervisor),
        };
        reason.map(|reason| Answer::Refused { reason })
    }

    /// Why a tenant without resources is not proved down: a launch runs that an earlier supervisor
    /// started and this one could not adopt.
    pub(super) fn unproved(&self, tenant: &TenantName, supervisor: &Supervisor) -> Option<String> {
        let entry = self.inventory.get(tenant)?;
        // A release that is under way proves it.
        let is_releasing = supervisor.tenant(tenant)?.state == StateWord::Releasing;
        if entry.provisioned.is_some() || is_releasing {
            return None;
        }
        self.host.not_adopted(&entry.plan)
    }

    /// Completes the adoption of the launches that an earlier supervisor left: requests are answered now.
    pub(super) fn take_up(&self) {
        self.host.take_up();
    }

    /// All tenants are about to be stopped and released.
    pub(super) fn end_all(&self) {
        self.host.admission.abandon();
        self.host.taking_up.calm.end();
    }

    /// Defers all new work from now on.
    pub(super) fn pause(&mut self) {
        self.paused = true;
        self.host.taking_up.calm.end();
    }

    /// Starts the deferred work, and defers no more.
    pub(super) fn resume(&mut self) {
        self.paused = false;
        for action in std::mem::take(&mut self.deferred) {
            self.perform(action);
        }
        self.provision_next();
    }

    /// Whether no task is running and the program of each launch has been executed.
    pub(super) fn is_idle(&self) -> bool {
        self.host.under_way.is_none() && self.inventory.all_executed()
    }

    /// The tasks on the host.
    pub(super) fn under_way(&self) -> UnderWay {
        self.host.under_way.clone()
    }

    /// Ends without removing anything. Writes the tenants' output that was already read.
    pub(super) async fn detach(self) {
        if self.host.under_way.is_none() {
            self.host.logs.end().await;
        } else {
            tracing::warn!("exiting although a task on the host has not ended");
        }
    }

    /// Removes what an earlier supervisor left of tenants that are not provisioned now. Returns
    /// what could not be removed.
    pub(super) async fn remove_residue(&self) -> Vec<anyhow::Error> {
        let mut left = Vec::new();
        for plan in self.inventory.unprovisioned() {
            if let Err(why) = self.host.remove_tenant_residue(plan).await {
                left.push(anyhow::anyhow!("{}: {why}", plan.name));
            }
        }
        left
    }

    /// Removes what all tenants shared. `left` contains what could not be removed before, and
    /// receives what cannot be removed now.
    pub(super) async fn end(self, left: &mut Vec<anyhow::Error>) {
        let host = self.host;
        // What an adoption leaves to do may have begun right before the end.
        if !host.under_way.none_within(ENDED_WITHIN).await {
            left.push(anyhow::anyhow!("a task on the host has not ended"));
            return;
        }
        // Processes that are still alive need the hub to reach the host, so it stays.
        if left.is_empty()
            && let Err(failures) = host.network.close().await
        {
            left.extend(failures.into_iter().map(anyhow::Error::from));
        }
        crash::point("finish: hub gone", "");
        if let Some(cgroups) = &host.cgroups {
            left.extend(cgroups.tree.remove().err().map(anyhow::Error::from));
        }
        crash::point("finish: cgroups gone", "");
        left.extend(name::remove_folder().err().map(anyhow::Error::from));
        left.extend(host.collector.end().await.err().map(anyhow::Error::from));
        crash::point("finish: collector gone", "");
        store::unstore_namespaces();
        host.logs.end().await;
    }
}
