//! Adoption: the plan is handed to the supervisor, with what an earlier one left of each tenant.

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;

use tenantd_core::name::TenantName;
use tenantd_core::plan::effect::Effect;
use tenantd_core::plan::holders::{Holders, Holding};
use tenantd_core::plan::model::{Plan, Policy, TenantPlan};
use tenantd_core::supervisor::event::{Event, LaunchId};
use tenantd_core::supervisor::memory::{Fate, Footing};
use tenantd_host::crash;

use super::Daemon;
use super::evidence::Assumed;
use super::ledger::Ledger;
use super::ledger::file::{Legacy, Slot};
use super::record::Record;
use super::survivors::Survivor;

impl Daemon {
    /// Hands the whole plan to the supervisor, with what an earlier one left of it. It goes on
    /// with that, and starts what else is wanted up.
    pub(super) async fn plan(
        &mut self,
        plan: Plan,
        legacy: Legacy,
        mut wants: BTreeMap<TenantName, bool>,
    ) {
        let plans: Vec<_> = plan.tenants.into_iter().map(Arc::new).collect();
        self.ledger = Ledger::open(&plans);
        legacy.say_damage(&self.site.app);
        let mut records: HashMap<TenantName, (Slot, Record)> = legacy
            .records
            .into_iter()
            .map(|(slot, record)| (record.tenant.clone(), (slot, record)))
            .collect();
        let mut known = Vec::with_capacity(plans.len());
        for plan in plans {
            let (slot, record) = records.remove(&plan.name).unzip();
            if let Some(entry) = self.ledger.entry(&plan.name) {
                entry.slot = slot;
                entry.permanent = wants.remove(&plan.name);
            }
            let record = record.or_else(|| self.site.first_record(&plan.name));
            known.push((plan, record));
        }
        let found = self.found(known).await;
        for (slot, record) in records.into_values() {
            // What it has spent of the budget is spent.
            let memory = std::iter::once(&record.memory);
            self.supervisor.resume(LaunchId(0), memory);
            if let Err(error) = self.file.strike_out(slot) {
                let tenant = record.tenant;
                tracing::warn!(%tenant, %error, "{tenant}: its record cannot be struck out");
            }
        }
        self.forget_wants(wants.into_keys());
        let memories = found
            .iter()
            .filter_map(|(_, survivor)| Some(&survivor.as_ref()?.found.memory));
        self.supervisor.resume(LaunchId(0), memories);
        for (tenant, others) in awaited(&found) {
            self.happen(Event::Awaits { tenant, others });
        }
        for (plan, survivor) in found {
            self.plan_one(&plan, survivor);
        }
    }

    /// What the host has of each tenant, by its record or by evidence.
    async fn found(
        &mut self,
        known: Vec<(Arc<TenantPlan>, Option<Record>)>,
    ) -> Vec<(Arc<TenantPlan>, Option<Survivor>)> {
        let records = known.iter().filter_map(|(_, record)| record.as_ref());
        let launches = records.filter_map(|record| record.memory.launch());
        let LaunchId(mut last) = launches.max().unwrap_or(LaunchId(0));
        let mut found = Vec::with_capacity(known.len());
        for (plan, record) in known {
            let survivor = match record {
                Some(record) => self.site.survivor(&plan, Some(record)),
                None => {
                    last += 1;
                    let permanent = self.ledger.entry(&plan.name).and_then(|e| e.permanent);
                    let assumed = Assumed {
                        launch: LaunchId(last),
                        wanted: permanent.is_none(),
                    };
                    self.site.unrecorded(&plan, assumed).await
                }
            };
            found.push((plan, survivor));
        }
        found
    }

    /// What is decided by of a tenant: the manifest's policy, with what an operator wants for good.
    pub(super) fn policy(&mut self, plan: &TenantPlan) -> Arc<Policy> {
        let mut policy = Arc::clone(&plan.policy);
        if let Some(permanent) = self.ledger.entry(&plan.name).and_then(|e| e.permanent) {
            Arc::make_mut(&mut policy).autostart = permanent;
        }
        policy
    }

    pub(super) fn plan_one(&mut self, plan: &TenantPlan, survivor: Option<Survivor>) {
        let tenant = plan.name.clone();
        let mut found = None;
        let mut unready = None;
        let policy = self.policy(plan);
        if let Some(survivor) = survivor {
            if let Some(standing) = survivor.standing {
                self.ledger.stands(&tenant, standing);
            }
            if let Some(entry) = self.ledger.entry(&tenant) {
                entry.running = survivor.running;
                if let Some(made) = survivor.made {
                    entry.stands_by(made);
                }
            }
            let memory = &survivor.found.memory;
            unready = memory
                .launch()
                .filter(|_| survivor.found.fate == Fate::Lives && !memory.is_ready());
            found = Some(Box::new(survivor.found));
        }
        self.happen(Event::Planned {
            tenant: tenant.clone(),
            policy,
            found,
        });
        crash::point("plan: tenant handed over", tenant.as_str());
        if let Some(launch) = unready {
            self.watch_readiness(&tenant, launch);
        }
    }
}

/// What a tenant holds and is about to let go of.
fn moves(survivor: Option<&Survivor>) -> Option<&Holding> {
    let survivor = survivor?;
    let stands = survivor.found.footing != Footing::Nothing;
    let moves = stands && survivor.found.outdated == Some(Effect::Renew);
    survivor.made.as_ref().filter(|_| moves)?.holds.as_ref()
}

/// The tenants that take what others hold, and those others.
fn awaited(found: &[(Arc<TenantPlan>, Option<Survivor>)]) -> Vec<(TenantName, Vec<TenantName>)> {
    let standing = found.iter().filter_map(|(plan, survivor)| {
        let holds = moves(survivor.as_ref())?;
        Some(holds.clone().instead_of(plan))
    });
    let standing: Vec<TenantPlan> = standing.collect();
    let holders = Holders::new(&standing);
    let takers = found
        .iter()
        .map(|(plan, _)| (plan.name.clone(), holders.of(plan)));
    takers.filter(|(_, others)| !others.is_empty()).collect()
}
