//! What a changed manifest allows: the effects of an edit count as requested.

use std::sync::Arc;

use tenantd_core::name::TenantName;
use tenantd_core::plan::effect::Effect;
use tenantd_core::plan::model::Policy;
use tenantd_core::supervisor::checkpoint::Fate;
use tenantd_core::supervisor::event::Event;
use tenantd_core::supervisor::time::Moment;

use super::laws::Laws;
use super::truth::{Network, Truth};

impl Laws {
    /// The manifest changes.
    pub(super) fn plan(&mut self, now: Moment, event: &Event) {
        if let Event::Planned {
            tenant,
            policy,
            found,
        } = event
        {
            let lives = found.as_ref().map(|found| found.fate == Fate::Lives);
            match lives {
                None => self.requested_up(tenant, policy),
                Some(lives) => self.found(now, tenant, lives),
            }
            self.tenants.entry(tenant.clone()).or_insert(Truth {
                policy: policy.clone(),
                network: Network::None,
                live: None,
                free: true,
                trying: false,
                tried_at: now,
                asked_end: false,
                strikes: 0,
                unseen: false,
                awaits: false,
                applying: None,
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
                (Effect::Live, Some(truth)) => truth.policy = policy.clone(),
                (Effect::Relaunch | Effect::Reprovision, _) => self.requested_up(tenant, policy),
                (Effect::Live, None) => {}
            }
        }
        if let Event::Removed { tenant } = event
            && let Some(truth) = self.tenants.get_mut(tenant)
        {
            truth.asked_end = true;
        }
        if let Event::Awaits { tenant, others } = event
            && let Some(truth) = self.tenants.get_mut(tenant)
        {
            truth.awaits |= !others.is_empty();
        }
    }

    /// What the tenant does next was requested by an edit.
    fn requested_up(&mut self, tenant: &TenantName, policy: &Arc<Policy>) {
        if let Some(truth) = self.tenants.get_mut(tenant) {
            truth.policy = policy.clone();
            truth.asked_end = true;
            truth.free = true;
            truth.strikes = 0;
        }
    }

    /// A supervisor has found a tenant and the fate of its launch.
    fn found(&mut self, now: Moment, tenant: &TenantName, lives: bool) {
        let Some(truth) = self.tenants.get_mut(tenant) else {
            return;
        };
        if let Some(live) = truth.live.as_mut().filter(|_| lives) {
            live.known = true;
        }
        if std::mem::take(&mut truth.unseen) {
            truth.ended(now);
        }
    }
}
