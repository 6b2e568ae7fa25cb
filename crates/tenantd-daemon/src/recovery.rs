//! Recovery: finds out what an earlier supervisor left on the host, before the loop starts.
//!
//! First it ends the orphans, the tenants that are not in the plan any more. Then it finds out for each tenant in the plan
//! which resources it has and which launch of it runs: from its record, or without a record from what the kernel shows. The
//! supervisor gets the result and continues from there. Recovery ends when the loop begins; residue is removed after that.

mod adopted_netns;
mod again;
mod exchanged;
pub(crate) mod orphans;
mod processes;
pub(crate) mod survivors;
mod unexecuted;
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
use tenantd_host::inherited::Inherited;
use tenantd_host::netns::Keeping;
use tenantd_host::{crash, timeline};

use crate::executor::host::Host;
use crate::input::{Input, PlanChange};
use crate::recovery::again::TRIES;
use crate::recovery::survivors::Survivor;
use crate::recovery::unrecorded::UnrecordedLaunch;
use crate::state_file::StateFile;
use crate::state_file::record::Record;
use crate::state_file::slots::{Previous, Slot};
use crate::wants::Wants;

/// After how many tenants to wait until the log collector holds the output of those before them. Until then, this process
/// has two more descriptors for each.
pub(crate) const HELD_MAX: usize = 32;

/// The recovery of one application.
pub(super) struct Recovery {
    pub(super) host: Rc<Host>,
    /// The inherited descriptors that no tenant has claimed yet.
    pub(super) inherited: RefCell<Inherited>,
    /// The tenants whose network namespaces are about to be kept, each with its record.
    keeping: RefCell<Vec<(Arc<TenantPlan>, Record, Keeping)>>,
}

type Known = Vec<(Arc<TenantPlan>, Option<Record>)>;
type Findings = Vec<(Arc<TenantPlan>, Option<Survivor>)>;

impl Recovery {
    /// Begins a recovery on this host, with these inherited descriptors: ends orphans, the tenants that are not in
    /// the plan.
    pub(super) async fn begin(
        host: Rc<Host>,
        inherited: Inherited,
        (plan, previous): (&Plan, &Previous),
    ) -> Self {
        let recovery = Self {
            host,
            inherited: RefCell::new(inherited),
            keeping: RefCell::default(),
        };
        let _wait = timeline::wait("recovery: orphans", "");
        recovery.end_orphans(previous, plan).await;
        crash::point("begin: orphans ended", "");
        recovery
    }

    /// Removes residue, what belongs to no tenant of the plan, once requests are answered. No tenant is provisioned
    /// before its end.
    fn remove_unplanned(&self, planned: &BTreeSet<TenantName>) {
        let (host, planned) = (Rc::clone(&self.host), planned.clone());
        let (task, clearing) = (
            self.host.under_way.begin(),
            self.host.taking_up.clearing.begin(),
        );
        self.host.spawn(async move {
            let wait = timeline::wait("recovery: residue", "");
            host.taking_up.calm.wait().await;
            host.remove_residue(planned).await;
            crash::point("begin: residue removed", "");
            drop((wait, task, clearing));
        });
    }

    /// Recovers these tenants. Returns the inputs that plan each of them, with what an earlier
    /// supervisor left of it. From these the supervisor continues, and starts the other tenants
    /// that are wanted up.
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
            let record = records.remove(&plan.name).map(|(slot, record)| {
                file.take_over(slot, &record);
                record
            });
            known.push((plan, record));
        }
        if known.iter().any(|(_, record)| record.is_some()) {
            self.host.taking_up.calm.begin();
        }
        self.remove_unplanned(&planned);
        let mut found = self.found(known, wants).await;
        if self.host.network.is_another() {
            exchanged::reprovision(&mut found);
        }
        let ending = timeline::wait("recovery: end the unused", "");
        self.end_unused(&with_netns(&found)).await;
        drop(ending);
        let admitting = timeline::wait("recovery: admit", "");
        self.admit_found(&found).await;
        drop(admitting);
        for (slot, record) in records.into_values() {
            // Its failures still count towards the budget of restarts.
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

    /// Lets each tenant that keeps its network have the traffic of its plan, and removes what the firewall has of
    /// others.
    async fn admit_found(&self, found: &Findings) {
        let kept = with_netns(found);
        let kept = found.iter().filter(|(plan, _)| kept.contains(&plan.name));
        let adopted = kept.map(|(plan, survivor)| {
            // Addresses change at once, except those of a tenant that is made again.
            let link = match moves(survivor.as_ref()) {
                Some(holds) => holds.clone().instead_of(plan).link,
                None => plan.link.clone(),
            };
            let made = survivor.as_ref().map(|it| &it.made);
            // Equal plans have equal addresses; of another plan they may not be known.
            let has_addresses = match made {
                Some(Some(made)) => made
                    .holds
                    .as_ref()
                    .is_some_and(|holds| holds.addresses == link.addresses),
                Some(None) => true,
                None => false,
            };
            ((Arc::clone(plan), link), has_addresses)
        });
        self.host.admit_adopted(adopted.collect()).await;
    }

    /// What the host has of each tenant, by its record or without one.
    async fn found(&self, known: Known, wants: &Wants) -> Findings {
        let _finding = timeline::wait("recovery: find", "");
        let records = known.iter().filter_map(|(_, record)| record.as_ref());
        let launches = records.filter_map(|record| record.checkpoint.launch());
        let LaunchId(mut last) = launches.max().unwrap_or(LaunchId(0));
        let mut tries = TRIES;
        let mut found = Vec::with_capacity(known.len());
        for (plan, record) in known {
            let survivor = match record {
                Some(record) => self.survivor_in_time(&plan, record, &mut tries).await,
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
            if found.len().is_multiple_of(HELD_MAX) {
                self.kept(&mut found, &mut tries).await;
                self.host.collector.settle(HELD_MAX).await;
            }
        }
        self.kept(&mut found, &mut tries).await;
        found
    }
}

/// The tenants whose network namespace is used again.
fn with_netns(found: &Findings) -> BTreeSet<TenantName> {
    let using = found.iter().filter(|(_, survivor)| {
        let provisioned = survivor.as_ref().and_then(|it| it.provisioned.as_ref());
        provisioned.is_some_and(|provisioned| provisioned.has_netns)
    });
    using.map(|(plan, _)| plan.name.clone()).collect()
}

/// What a tenant holds and releases soon, because it is reprovisioned.
fn moves(survivor: Option<&Survivor>) -> Option<&Holding> {
    let survivor = survivor?;
    let has_resources = survivor.found.resources != Resources::None;
    let moves = has_resources && survivor.found.outdated == Some(Effect::Reprovision);
    survivor.made.as_ref().filter(|_| moves)?.holds.as_ref()
}

/// The tenants that need what others still hold, with those others.
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
