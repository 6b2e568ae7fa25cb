//! The effects that a changed manifest may have: those of an edit count as requested.

use std::sync::Arc;

use tenantd_core::name::TenantName;
use tenantd_core::plan::effect::Effect;
use tenantd_core::plan::model::Policy;
use tenantd_core::supervisor::checkpoint::Fate;
use tenantd_core::supervisor::event::Event;
use tenantd_core::supervisor::time::Moment;

use super::checker::Checker;
use super::model::{Network, TenantModel};

impl Checker {
    /// The manifest changes.
    pub(super) fn plan(&mut self, now: Moment, event: &Event) {
        if let Event::Planned {
            tenant,
            policy,
            found,
        } = event
        {
            let alive = found.as_ref().map(|found| found.fate == Fate::Lives);
            match alive {
                None => self.requested_up(tenant, policy),
                Some(alive) => self.found(now, tenant, alive),
            }
            self.tenants.entry(tenant.clone()).or_insert(TenantModel {
                policy: policy.clone(),
                network: Network::None,
                live: None,
                requested: true,
                trying: false,
                continuing: false,
                tried_at: now,
                end_requested: false,
                strikes: 0,
                end_unnoticed: false,
                awaits: false,
                ending: None,
                killed: false,
                forced: false,
                applying: None,
                repairing: false,
            });
        }
        if let Event::Replanned {
            tenant,
            policy,
            effect,
            apply: _,
        } = event
        {
            match (effect, self.tenants.get_mut(tenant)) {
                (Effect::Live, Some(model)) => {
                    // A command that failed may be tried again.
                    if model.policy.phases.any() || policy.phases.any() {
                        model.requested = true;
                        model.strikes = 0;
                    }
                    model.policy = policy.clone();
                }
                (Effect::Relaunch | Effect::Reprovision, _) => self.requested_up(tenant, policy),
                (Effect::Live, None) => {}
            }
        }
        if let Event::Removed { tenant } = event
            && let Some(model) = self.tenants.get_mut(tenant)
        {
            model.end_requested = true;
        }
        if let Event::Awaits { tenant, others } = event
            && let Some(model) = self.tenants.get_mut(tenant)
        {
            model.awaits |= !others.is_empty();
        }
    }

    /// The next action for the tenant was requested by an edit.
    pub(super) fn requested_up(&mut self, tenant: &TenantName, policy: &Arc<Policy>) {
        if let Some(model) = self.tenants.get_mut(tenant) {
            model.policy = policy.clone();
            model.end_requested = true;
            model.requested = true;
            model.strikes = 0;
        }
    }

    /// A supervisor has found a tenant and the fate of its launch.
    fn found(&mut self, now: Moment, tenant: &TenantName, alive: bool) {
        let Some(model) = self.tenants.get_mut(tenant) else {
            return;
        };
        if let Some(live) = model.live.as_mut().filter(|_| alive) {
            live.known = true;
        }
        if std::mem::take(&mut model.end_unnoticed) {
            model.count_strike(now);
        }
    }
}
