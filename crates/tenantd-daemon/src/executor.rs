//! The executor: has the supervisor's actions carried out on the host, and knows what exists there.
//!
//! It decides nothing. The loop hands it one [`Action`] after the other. Each is either a single
//! system call, done at once (a signal), or it takes time: then a task does it (provisioning,
//! launching, releasing), and the loop goes on meanwhile. A task ends by sending one [`Report`]. The
//! loop gives the report back to the executor, which notes in the [`Inventory`] what exists now and
//! turns the report into the event that the supervisor is to decide about next.
//!
//! ```text
//!   perform(action) ──▶ task on the host ──▶ report ──▶ on_report ──▶ state file
//!                                                          │
//!   supervisor ◀── the loop applies ◀── poll: Input::Event ┘
//! ```
//!
//! A tenant's provision makes what all of its launches use: cgroup, datastore, output pipes,
//! network namespace and link, in that order, and undoes what it has made when a step fails. A
//! launch starts the program in them. A release takes all of it away but the datastore, once it is
//! proved that no process is left. The state file has an entry for each tenant: the plan that it was
//! made by, what is provisioned, and the launch whose processes may live. Only the executor changes
//! it; others look at it.
//!
//! Events come out one at a time: the end of a first process is recorded before the end of its
//! launch is even made, so that a supervisor which dies in between leaves a record of where it was.
//!
//! Before this process ends and its tenants go on, the executor is paused: what would begin
//! something new is put off, and [`Executor::is_idle`] says when what is under way has ended. If the
//! process goes on after all, [`Executor::resume`] begins what was put off.

pub(crate) mod host;
pub(crate) mod inventory;
pub(crate) mod launch;
mod perform;
pub(crate) mod report;
pub(crate) mod store;
pub(crate) mod under_way;

use std::collections::VecDeque;
use std::io;
use std::rc::Rc;
use std::sync::Arc;

use tokio::sync::mpsc;

use tenantd_core::name::TenantName;
use tenantd_core::plan::effect::Effect;
use tenantd_core::plan::model::TenantPlan;
use tenantd_core::supervisor::action::{Action, Answer};
use tenantd_core::supervisor::checkpoint::Found;
use tenantd_core::supervisor::event::{Event, LaunchId, TenantRequest};
use tenantd_core::supervisor::view::Want;
use tenantd_host::crash;
use tenantd_host::netns::name;

use crate::executor::host::{Cgroups, Host};
use crate::executor::inventory::Inventory;
use crate::executor::report::{Report, ReportKind};
use crate::input::{Input, PlanChange};
use crate::recovery::survivors::Survivor;
use crate::wants::Wants;

pub(super) use perform::exit;

/// Has actions carried out, and knows what exists. See the head of this module.
pub(super) struct Executor {
    host: Rc<Host>,
    inventory: Inventory,
    reports: mpsc::UnboundedReceiver<Report>,
    /// Tenants whose provision has not begun.
    to_provision: VecDeque<TenantName>,
    /// Provisions under way.
    provisioning: usize,
    /// Whether nothing is begun.
    paused: bool,
    /// What is not begun since then.
    deferred: Vec<Action>,
    pending: VecDeque<Pending>,
}

/// What [`Executor::poll`] gives next.
enum Pending {
    Input(Input),
    /// No process of this launch is left.
    Emptied(TenantName, LaunchId),
}

impl Executor {
    /// For these tenants, of which nothing exists yet; `reports` come from the tasks of the site.
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

    /// What exists.
    pub(super) fn inventory(&self) -> &Inventory {
        &self.inventory
    }

    /// What all work on the host needs.
    pub(super) fn host(&self) -> &Host {
        &self.host
    }

    /// The next report, of a task or of a cgroup that changed. Nothing is lost when it is cancelled.
    ///
    /// # Errors
    /// When the cgroups cannot be watched.
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

    /// Notes what the plan says of a tenant, and gives the event that tells the supervisor.
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
        }
        if let Some(entry) = self.inventory.entry(tenant) {
            entry.running = survivor.running;
            if let Some(made) = survivor.made {
                entry.set_made_by(made);
            }
        }
        Box::new(survivor.found)
    }

    /// These actions are about to be performed, by what was planned last: that is noted first, so that
    /// it is on record.
    pub(super) fn use_next_plan(&mut self, actions: &[Action]) {
        for action in actions {
            if let Action::Launch { tenant, .. } | Action::Provision { tenant } = action
                && let Some(entry) = self.inventory.entry(tenant)
            {
                entry.use_next_plan();
            }
        }
    }

    /// The answer to a request, unless it is a stop that cannot be proved: no stop succeeds while a
    /// launch lives that an earlier supervisor made and this one could not adopt.
    pub(super) fn proved(
        &self,
        TenantRequest { tenant, verb }: &TenantRequest,
        answer: Answer,
    ) -> Answer {
        if verb.want() == Want::Up {
            return answer;
        }
        let unprovisioned = self
            .inventory
            .get(tenant)
            .filter(|e| e.provisioned.is_none());
        match unprovisioned.and_then(|entry| self.host.not_adopted(&entry.plan)) {
            None => answer,
            Some(reason) => Answer::Refused { reason },
        }
    }

    /// From now on nothing is begun.
    pub(super) fn pause(&mut self) {
        self.paused = true;
    }

    /// Begins what was put off, and what comes from now on.
    pub(super) fn resume(&mut self) {
        self.paused = false;
        for action in std::mem::take(&mut self.deferred) {
            self.perform(action);
        }
        self.provision_next();
    }

    /// Whether nothing is being made or taken away: no task is under way, and each program that is
    /// being started runs.
    pub(super) fn is_idle(&self) -> bool {
        self.host.under_way.is_none() && self.inventory.all_executed()
    }

    /// Ends without taking anything away: writes on what was read of the tenants' output.
    pub(super) async fn detach(self) {
        if self.host.under_way.is_none() {
            self.host.logs.end().await;
        } else {
            tracing::warn!("left while something was under way on the host");
        }
    }

    /// Takes away what an earlier supervisor left of tenants that are not provisioned now. Returns
    /// what could not be taken away.
    pub(super) async fn remove_residue(&self) -> Vec<anyhow::Error> {
        let mut left = Vec::new();
        for plan in self.inventory.unprovisioned() {
            if let Err(why) = self.host.remove_tenant_residue(plan).await {
                left.push(anyhow::anyhow!("{}: {why}", plan.name));
            }
        }
        left
    }

    /// Takes away what all tenants shared. `left` holds what could not be taken away before, and
    /// receives what cannot be taken away now.
    pub(super) async fn end(self, left: &mut Vec<anyhow::Error>) {
        let host = self.host;
        if !host.under_way.is_none() {
            left.push(anyhow::anyhow!("a task on the host has not ended"));
            return;
        }
        // Whoever lives on reaches the host by way of the hub, which then stays.
        if left.is_empty()
            && let Err(failures) = host.network.close().await
        {
            left.extend(failures.into_iter().map(anyhow::Error::from));
        }
        crash::point("finish: hub gone", "");
        if let Some(Cgroups { tree, .. }) = &host.cgroups {
            left.extend(tree.remove().err().map(anyhow::Error::from));
        }
        crash::point("finish: cgroups gone", "");
        left.extend(name::remove_folder().err().map(anyhow::Error::from));
        host.logs.end().await;
    }
}
