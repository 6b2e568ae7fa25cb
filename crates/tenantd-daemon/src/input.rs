//! Inputs: what the owners return to the loop. The loop applies them one after the other.

use std::sync::Arc;

use tenantd_core::name::TenantName;
use tenantd_core::plan::effect::Effect;
use tenantd_core::plan::model::{ControlPlan, NetworkPlan, TenantPlan};
use tenantd_core::supervisor::event::{Event, TenantRequest};
use tenantd_core::supervisor::offline::Offline;

use crate::recovery::survivors::Survivor;

/// One input of the loop.
pub(super) enum Input {
    /// An event for the supervisor.
    Event(Event),
    /// A request of an operator: the supervisor decides, and
    /// [`Requests`](crate::requests::Requests) gets its answer.
    TenantRequest(TenantRequest),
    /// A command of `exec --offline` in this tenant.
    Offline(TenantName, Offline),
    /// The plan of a tenant is new, changed or gone.
    Plan(PlanChange),
    /// Whether a supervisor without a record of this tenant starts it.
    Autostart {
        /// Which tenant.
        tenant: TenantName,
        /// The new value.
        autostart: bool,
        /// Whether the permanent want changed; if so, the subscribers get an event.
        changed: bool,
    },
    /// Write the record of a tenant, although the supervisor decided nothing about it.
    Record(TenantName),
    /// Something of a tenant changed that subscribers see and that is in no record.
    Changed(TenantName),
    /// Who may use the control socket, besides root.
    Control(ControlPlan),
    /// The network that all tenants share is to be exchanged for this one.
    Network(Box<NetworkPlan>),
    /// Begin to drain: start no new work and accept no connection.
    Drain,
    /// Cancel [`Input::Drain`].
    Resume,
}

/// A change of the plan of one tenant.
pub(super) enum PlanChange {
    /// The tenant is new to this supervisor. If an earlier supervisor left resources or a launch of
    /// it, they are in the survivor.
    New(Arc<TenantPlan>, Option<Box<Survivor>>),
    /// The tenant was removed, is not released yet, and is in the manifest again.
    Back(Arc<TenantPlan>),
    /// The plan of the tenant changed.
    Changed {
        /// The new plan.
        plan: Arc<TenantPlan>,
        /// What the change takes: live, relaunch or reprovision.
        effect: Effect,
        /// Whether the executor has to apply something to the running launch.
        apply: bool,
    },
    /// The tenant is not in the manifest any more.
    Removed(TenantName),
}

impl PlanChange {
    /// The tenant.
    pub(super) fn tenant(&self) -> &TenantName {
        match self {
            Self::New(plan, _) | Self::Back(plan) | Self::Changed { plan, .. } => &plan.name,
            Self::Removed(tenant) => tenant,
        }
    }
}
