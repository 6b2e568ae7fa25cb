//! Recovery: finds out, before anything is started, what an earlier supervisor left on the host.
//!
//! Tenants that are no longer in the plan are ended, and what belongs to none of its tenants is taken
//! away. For each tenant in the plan, its record (or, where there is none, what the kernel shows)
//! says what is provisioned and which launch lives. The supervisor is told, and goes on from there.
//! Recovery is over when the loop begins.

pub(crate) mod orphans;
pub(crate) mod survivors;
mod unrecorded;

use std::cell::RefCell;
use std::collections::{BTreeSet, HashMap};
use std::rc::Rc;
use std::sync::Arc;

use tenantd_core::name::TenantName;
use tenantd_core::plan::effect::Effect;
use tenantd_core::plan::holders::{Holders, Holding};
use tenantd_core::plan::model::{Plan, TenantPlan};
use tenantd_core::supervisor::Supervisor;
use tenantd_core::supervisor::checkpoint::Resources;
use tenantd_core::supervisor::event::{Event, LaunchId};
use tenantd_host::crash;
use tenantd_host::inherited::Inherited;

use crate::executor::host::Host;
use crate::input::{Input, PlanChange};
use crate::recovery::survivors::Survivor;
use crate::recovery::unrecorded::UnrecordedLaunch;
use crate::state_file::StateFile;
use crate::state_file::record::Record;
use crate::state_file::slots::{Previous, Slot};
use crate::wants::Wants;

/// What an earlier supervisor left, as long as that is looked at.
pub(super) struct Recovery {
    pub(super) host: Rc<Host>,
    /// What was handed down to this supervisor, until all tenants are planned.
    pub(super) inherited: RefCell<Inherited>,
}

type Known = Vec<(Arc<TenantPlan>, Option<Record>)>;
type Findings = Vec<(Arc<TenantPlan>, Option<Survivor>)>;

impl Recovery {
    /// On a host, with what was handed down.
    pub(super) fn new(host: Rc<Host>, inherited: Inherited) -> Self {
        let inherited = RefCell::new(inherited);
        Self { host, inherited }
    }

    /// Ends and takes away what belongs to no tenant of the plan, before anything is started.
    pub(super) async fn remove_unplanned(&self, plan: &Plan, previous: &Previous) {
        let names = plan.tenants.iter().map(|tenant| tenant.name.clone());
        let planned: BTreeSet<TenantName> = names.collect();
        self.end_orphans(previous, plan).await;
        crash::point("begin: orphans ended", "");
        self.remove_residue(|tenant| planned.contains(tenant)).await;
        crash::point("begin: residue removed", "");
    }

    /// What the supervisor is to be told of these tenants, with what an earlier one left of each. It
    /// goes on with that, and starts what else is wanted up.
    pub(super) async fn recover(
        &self,
        plans: Vec<Arc<TenantPlan>>,
        previous: Previous,
        (supervisor, file, wants): (&mut Supervisor, &mut StateFile, &mut Wants),
    ) -> Vec<Input> {
        previous.log_damage(&self.host.app);
        let mut records: HashMap<TenantName, (Slot, Record)> = previous
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
            let checkpoint = std::iter::once(&record.checkpoint);
            supervisor.resume(LaunchId(0), checkpoint);
            file.erase(&record.tenant, slot);
        }
        wants.retain(|tenant| planned.contains(tenant));
        let checkpoints = found
            .iter()
            .filter_map(|(_, survivor)| Some(&survivor.as_ref()?.found.checkpoint));
        supervisor.resume(LaunchId(0), checkpoints);
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

    /// What the host has of each tenant, by its record or by what proves it.
    async fn found(&self, known: Known, wants: &Wants) -> Findings {
        let records = known.iter().filter_map(|(_, record)| record.as_ref());
        let launches = records.filter_map(|record| record.checkpoint.launch());
        let LaunchId(mut last) = launches.max().unwrap_or(LaunchId(0));
        let mut found = Vec::with_capacity(known.len());
        for (plan, record) in known {
            let survivor = match record {
                Some(record) => self.survivor(&plan, Some(record)),
                None => {
                    last += 1;
                    let unrecorded = UnrecordedLaunch {
                        launch: LaunchId(last),
                        wanted: wants.of(&plan.name).is_none(),
                    };
                    self.adopt_unrecorded(&plan, unrecorded).await
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
    let has_resources = survivor.found.resources != Resources::None;
    let moves = has_resources && survivor.found.outdated == Some(Effect::Reprovision);
    survivor.made.as_ref().filter(|_| moves)?.holds.as_ref()
}

/// The tenants that take what others hold, and those others.
fn awaited(found: &[(Arc<TenantPlan>, Option<Survivor>)]) -> Vec<(TenantName, Vec<TenantName>)> {
    let provisioned = found.iter().filter_map(|(plan, survivor)| {
        let holds = moves(survivor.as_ref())?;
        Some(holds.clone().instead_of(plan))
    });
    let provisioned: Vec<TenantPlan> = provisioned.collect();
    let holders = Holders::new(&provisioned);
    let takers = found
        .iter()
        .map(|(plan, _)| (plan.name.clone(), holders.of(plan)));
    takers.filter(|(_, others)| !others.is_empty()).collect()
}
