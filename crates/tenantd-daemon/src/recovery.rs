//! Recovery: finds out, before anything is started, what an earlier supervisor left on the host.
//!
//! Tenants that are no longer in the plan are ended, and what belongs to none of its tenants is taken
//! away. For each tenant in the plan, its record (or, where there is none, what the kernel shows)
//! says what is provisioned and which launch lives. The supervisor is told, and goes on from there.
//! Recovery is over when the loop begins.

use std::cell::RefCell;
use std::collections::{BTreeSet, HashMap};
use std::rc::Rc;
use std::sync::Arc;

use tenantd_core::name::TenantName;
use tenantd_core::plan::effect::Effect;
use tenantd_core::plan::holders::{Holders, Holding};
use tenantd_core::plan::model::{Plan, TenantPlan};
use tenantd_core::supervisor::Supervisor;
use tenantd_core::supervisor::event::{Event, LaunchId};
use tenantd_core::supervisor::memory::Footing;
use tenantd_host::crash;
use tenantd_host::heritage::Heritage;

use super::evidence::Assumed;
use super::input::{Input, PlanChange};
use super::ledger::file::{Legacy, Slot};
use super::record::Record;
use super::site::Site;
use super::state_file::StateFile;
use super::survivors::Survivor;
use super::wants::Wants;

/// What an earlier supervisor left, as long as that is looked at.
pub(super) struct Recovery {
    pub(super) site: Rc<Site>,
    /// What was handed down to this supervisor, until all tenants are planned.
    pub(super) heritage: RefCell<Heritage>,
}

type Known = Vec<(Arc<TenantPlan>, Option<Record>)>;
type Findings = Vec<(Arc<TenantPlan>, Option<Survivor>)>;

impl Recovery {
    /// On a host, with what was handed down.
    pub(super) fn new(site: Rc<Site>, heritage: Heritage) -> Self {
        let heritage = RefCell::new(heritage);
        Self { site, heritage }
    }

    /// Ends and takes away what belongs to no tenant of the plan, before anything is started.
    pub(super) async fn take_unplanned(&self, plan: &Plan, legacy: &Legacy) {
        let names = plan.tenants.iter().map(|tenant| tenant.name.clone());
        let planned: BTreeSet<TenantName> = names.collect();
        self.end_strays(legacy, plan).await;
        crash::point("begin: strays ended", "");
        self.take_leftovers(|tenant| planned.contains(tenant)).await;
        crash::point("begin: leftovers taken", "");
    }

    /// What the supervisor is to be told of these tenants, with what an earlier one left of each. It
    /// goes on with that, and starts what else is wanted up.
    pub(super) async fn recover(
        &self,
        plans: Vec<Arc<TenantPlan>>,
        legacy: Legacy,
        (supervisor, file, wants): (&mut Supervisor, &mut StateFile, &mut Wants),
    ) -> Vec<Input> {
        legacy.say_damage(&self.site.app);
        let mut records: HashMap<TenantName, (Slot, Record)> = legacy
            .records
            .into_iter()
            .map(|(slot, record)| (record.tenant.clone(), (slot, record)))
            .collect();
        let planned: BTreeSet<TenantName> = plans.iter().map(|plan| plan.name.clone()).collect();
        let mut known = Vec::with_capacity(plans.len());
        for plan in plans {
            let (slot, record) = records.remove(&plan.name).unzip();
            if let Some(slot) = slot {
                file.take_over(&plan.name, slot);
            }
            known.push((plan, record));
        }
        let found = self.found(known, wants).await;
        for (slot, record) in records.into_values() {
            // What it has spent of the budget is spent.
            let memory = std::iter::once(&record.memory);
            supervisor.resume(LaunchId(0), memory);
            file.strike_out(&record.tenant, slot);
        }
        wants.retain(|tenant| planned.contains(tenant));
        let memories = found
            .iter()
            .filter_map(|(_, survivor)| Some(&survivor.as_ref()?.found.memory));
        supervisor.resume(LaunchId(0), memories);
        let awaits = awaited(&found)
            .into_iter()
            .map(|(tenant, others)| Input::Event(Event::Awaits { tenant, others }));
        let mut inputs: Vec<Input> = awaits.collect();
        inputs.extend(found.into_iter().map(|(plan, survivor)| {
            let change = PlanChange::New(plan, survivor.map(Box::new));
            Input::Plan(change)
        }));
        inputs
    }

    /// What the host has of each tenant, by its record or by evidence.
    async fn found(&self, known: Known, wants: &Wants) -> Findings {
        let records = known.iter().filter_map(|(_, record)| record.as_ref());
        let launches = records.filter_map(|record| record.memory.launch());
        let LaunchId(mut last) = launches.max().unwrap_or(LaunchId(0));
        let mut found = Vec::with_capacity(known.len());
        for (plan, record) in known {
            let survivor = match record {
                Some(record) => self.survivor(&plan, Some(record)),
                None => {
                    last += 1;
                    let assumed = Assumed {
                        launch: LaunchId(last),
                        wanted: wants.of(&plan.name).is_none(),
                    };
                    self.unrecorded(&plan, assumed).await
                }
            };
            found.push((plan, survivor));
        }
        found
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
