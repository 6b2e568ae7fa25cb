//! The executor: has the supervisor's actions carried out on the host, and knows what exists there.
//!
//! It decides nothing. The loop hands it one [`Action`] after the other. Each is either a single
//! system call, done at once (a signal), or it takes time: then a task does it (provisioning,
//! launching, releasing), and the loop goes on meanwhile. A task ends by sending one [`Report`]. The
//! loop gives the report back to the executor, which notes in the [`Ledger`] what exists now and
//! turns the report into the event that the supervisor is to decide about next.
//!
//! ```text
//!   perform(action) ──▶ task on the host ──▶ report ──▶ on_report ──▶ ledger
//!                                                          │
//!   supervisor ◀── the loop applies ◀── poll: Input::Event ┘
//! ```
//!
//! A tenant's provision makes what all of its launches use: cgroup, datastore, output pipes,
//! network namespace and link, in that order, and undoes what it has made when a step fails. A
//! launch starts the program in them. A release takes all of it away but the datastore, once it is
//! proved that no process is left. The ledger has an entry for each tenant: the plan that it was
//! made by, what is provisioned, and the launch whose processes may live. Only the executor changes
//! it; others look at it.
//!
//! Events come out one at a time: the end of a first process is recorded before the end of its
//! launch is even made, so that a supervisor which dies in between leaves a record of where it was.
//!
//! Before this process ends and its tenants go on, the executor is paused: what would begin
//! something new is put off, and [`Executor::is_idle`] says when what is under way has ended. If the
//! process goes on after all, [`Executor::resume`] begins what was put off.

mod perform;

use std::collections::VecDeque;
use std::io;
use std::rc::Rc;
use std::sync::Arc;

use tokio::sync::mpsc;

use tenantd_core::name::TenantName;
use tenantd_core::plan::effect::Effect;
use tenantd_core::plan::model::TenantPlan;
use tenantd_core::supervisor::action::{Action, Answer};
use tenantd_core::supervisor::event::{Event, LaunchId, Request};
use tenantd_core::supervisor::memory::Found;
use tenantd_core::supervisor::view::Want;
use tenantd_host::crash;
use tenantd_host::netns::name;

use super::input::{Input, PlanChange};
use super::ledger::Ledger;
use super::report::{News, Report};
use super::site::{Cgroups, Site};
use super::survivors::Survivor;
use super::wants::Wants;

pub(super) use perform::exit;

/// Has actions carried out, and knows what exists. See the head of this module.
pub(super) struct Executor {
    site: Rc<Site>,
    ledger: Ledger,
    reports: mpsc::UnboundedReceiver<Report>,
    /// Tenants whose provision has not begun.
    to_provision: VecDeque<TenantName>,
    /// Provisions under way.
    provisioning: usize,
    /// Whether nothing is begun.
    paused: bool,
    /// What is not begun since then.
    put_off: Vec<Action>,
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
        site: Rc<Site>,
        plans: &[Arc<TenantPlan>],
        reports: mpsc::UnboundedReceiver<Report>,
    ) -> Self {
        Self {
            site,
            ledger: Ledger::open(plans),
            reports,
            to_provision: VecDeque::new(),
            provisioning: 0,
            paused: false,
            put_off: Vec::new(),
            pending: VecDeque::new(),
        }
    }

    /// What exists.
    pub(super) fn ledger(&self) -> &Ledger {
        &self.ledger
    }

    /// What all work on the host needs.
    pub(super) fn site(&self) -> &Site {
        &self.site
    }

    /// The next report, of a task or of a cgroup that changed. Nothing is lost when it is cancelled.
    ///
    /// # Errors
    /// When the cgroups cannot be watched.
    pub(super) async fn next(&mut self) -> io::Result<Report> {
        let Self { reports, site, .. } = self;
        let stirred = async {
            match &site.cgroups {
                Some(cgroups) => cgroups.watch.next().await,
                None => std::future::pending().await,
            }
        };
        tokio::select! {
            Some(report) = reports.recv() => Ok(report),
            tenant = stirred => Ok(Report {
                tenant: tenant?,
                news: News::Stirred,
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
                self.ledger.add(&plan);
                let found = survivor.map(|survivor| self.adopt(&plan.name, *survivor));
                planned(&plan, found)
            }
            PlanChange::Back(plan) => {
                self.ledger.replan(&plan, Effect::Renew);
                planned(&plan, None)
            }
            PlanChange::Changed {
                plan,
                effect,
                apply,
            } => {
                self.ledger.replan(&plan, effect);
                Event::Replanned {
                    tenant: plan.name.clone(),
                    policy: wants.policy(&plan),
                    effect,
                    apply,
                }
            }
            PlanChange::Removed(tenant) => {
                self.ledger.remove(&tenant);
                Event::Removed { tenant }
            }
        }
    }

    fn adopt(&mut self, tenant: &TenantName, survivor: Survivor) -> Box<Found> {
        if let Some(standing) = survivor.standing {
            self.ledger.stands(tenant, standing);
        }
        if let Some(entry) = self.ledger.entry(tenant) {
            entry.running = survivor.running;
            if let Some(made) = survivor.made {
                entry.stands_by(made);
            }
        }
        Box::new(survivor.found)
    }

    /// These actions are about to be performed, by what was planned last: that is noted first, so that
    /// it is on record.
    pub(super) fn take_up(&mut self, actions: &[Action]) {
        for action in actions {
            if let Action::Launch { tenant, .. } | Action::Provision { tenant } = action
                && let Some(entry) = self.ledger.entry(tenant)
            {
                entry.take_up();
            }
        }
    }

    /// The answer to a request, unless it is a stop that cannot be proved: no stop succeeds while a
    /// launch lives that an earlier supervisor made and this one could not adopt.
    pub(super) fn proved(&self, Request { tenant, verb }: &Request, answer: Answer) -> Answer {
        if verb.want() == Want::Up {
            return answer;
        }
        let fallen = self.ledger.get(tenant).filter(|e| e.standing.is_none());
        match fallen.and_then(|entry| self.site.not_adopted(&entry.plan)) {
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
        for action in std::mem::take(&mut self.put_off) {
            self.perform(action);
        }
        self.provision_next();
    }

    /// Whether nothing is being made or taken away: no task is under way, and each program that is
    /// being started runs.
    pub(super) fn is_idle(&self) -> bool {
        self.site.under_way.is_none() && self.ledger.all_executed()
    }

    /// Ends without taking anything away: writes on what was read of the tenants' output.
    pub(super) async fn detach(self) {
        if self.site.under_way.is_none() {
            self.site.logs.end().await;
        } else {
            tracing::warn!("left while something was under way on the host");
        }
    }

    /// Takes away what an earlier supervisor left of tenants that are not provisioned now. Returns
    /// what could not be taken away.
    pub(super) async fn take_leftovers(&self) -> Vec<anyhow::Error> {
        let mut left = Vec::new();
        for plan in self.ledger.fallen() {
            if let Err(why) = self.site.take_leftover(plan).await {
                left.push(anyhow::anyhow!("{}: {why}", plan.name));
            }
        }
        left
    }

    /// Takes away what all tenants shared. `left` holds what could not be taken away before, and
    /// receives what cannot be taken away now.
    pub(super) async fn end(self, left: &mut Vec<anyhow::Error>) {
        let site = self.site;
        if !site.under_way.is_none() {
            left.push(anyhow::anyhow!("a task on the host has not ended"));
            return;
        }
        // Whoever lives on reaches the host by way of the hub, which then stays.
        if left.is_empty()
            && let Err(failures) = site.network.close().await
        {
            left.extend(failures.into_iter().map(anyhow::Error::from));
        }
        crash::point("finish: hub gone", "");
        if let Some(Cgroups { tree, .. }) = &site.cgroups {
            left.extend(tree.remove().err().map(anyhow::Error::from));
        }
        crash::point("finish: cgroups gone", "");
        left.extend(name::leave().err().map(anyhow::Error::from));
        site.logs.end().await;
    }
}
