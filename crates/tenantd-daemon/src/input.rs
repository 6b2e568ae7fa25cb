//! What an owner hands the loop, which applies one after the other.

use std::sync::Arc;

use tenantd_core::name::TenantName;
use tenantd_core::plan::effect::Effect;
use tenantd_core::plan::model::TenantPlan;
use tenantd_core::supervisor::event::{Event, TenantRequest};

use crate::recovery::survivors::Survivor;

/// Something that the loop has to apply.
pub(super) enum Input {
    /// Something happened: the supervisor decides what follows.
    Event(Event),
    /// An operator asks for something: the supervisor decides, and the answer goes to the requests.
    TenantRequest(TenantRequest),
    /// A tenant is planned.
    Plan(PlanChange),
    /// Whether a tenant is started by a supervisor that remembers nothing of it.
    Autostart {
        /// Which tenant.
        tenant: TenantName,
        /// Whether it is.
        autostart: bool,
        /// Whether an operator's permanent want changed, which those who watch are told.
        changed: bool,
    },
    /// The record of a tenant is to be written, although nothing was decided.
    Record(TenantName),
    /// From now on nothing is begun, and no connection is accepted.
    Drain,
    /// What [`Input::Drain`] stopped goes on.
    Resume,
}

/// What the plan says of one tenant.
pub(super) enum PlanChange {
    /// It is new to this supervisor; an earlier one may have left something of it.
    New(Arc<TenantPlan>, Option<Box<Survivor>>),
    /// It was removed, is not gone yet, and is back.
    Back(Arc<TenantPlan>),
    /// It is planned otherwise.
    Changed {
        /// What it is planned as now.
        plan: Arc<TenantPlan>,
        /// What that takes.
        effect: Effect,
        /// Whether something is to be set on what runs.
        apply: bool,
    },
    /// It was removed.
    Removed(TenantName),
}

impl PlanChange {
    /// Which tenant.
    pub(super) fn tenant(&self) -> &TenantName {
        match self {
            Self::New(plan, _) | Self::Back(plan) | Self::Changed { plan, .. } => &plan.name,
            Self::Removed(tenant) => tenant,
        }
    }
}
