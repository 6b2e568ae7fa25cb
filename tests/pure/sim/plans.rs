//! The plan of each tenant, and the plans by which it was provisioned and launched. A plan takes
//! effect when a provision or a launch begins, as in the daemon.

use std::collections::BTreeMap;

use tenantd_core::name::TenantName;
use tenantd_core::plan::effect::Effect;
use tenantd_core::supervisor::action::Action;
use tenantd_core::supervisor::event::Event;
use tenantd_core::supervisor::view::{StateWord, View};

use super::invariant::{Invariant, Violation, check};

/// The revision of a tenant's plan: its address, and versions that show what is outdated.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Revision {
    pub(crate) address: u64,
    /// A version that changes with each reprovision.
    pub(crate) network: u64,
    /// A version that changes with each relaunch.
    pub(crate) launch: u64,
}

impl Revision {
    /// The effect of a change from the first to the second revision.
    pub(crate) fn outdated(made: Option<Self>, planned: Option<Self>) -> Option<Effect> {
        match (made, planned) {
            (Some(made), Some(planned)) if made.network == planned.network => {
                (made.launch != planned.launch).then_some(Effect::Relaunch)
            }
            (made, planned) => (made != planned).then_some(Effect::Reprovision),
        }
    }
}

/// The plans of all tenants.
#[derive(Debug, Default)]
pub(crate) struct Plans {
    pub(crate) planned: BTreeMap<TenantName, Revision>,
    /// The plan by which a tenant was provisioned, until it is released.
    provisioned_by: BTreeMap<TenantName, Revision>,
    /// The plan by which it was last launched.
    launched_by: BTreeMap<TenantName, Revision>,
    /// The plan that the daemon believes to be in effect.
    in_effect: BTreeMap<TenantName, Revision>,
}

impl Plans {
    /// The other tenants that hold an address.
    pub(crate) fn holders(&self, address: u64, taker: &TenantName) -> Vec<TenantName> {
        let holders = self.provisioned_by.iter();
        let holders =
            holders.filter(|(name, revision)| revision.address == address && *name != taker);
        holders.map(|(name, _)| name.clone()).collect()
    }

    /// The fingerprints that the daemon would record.
    pub(crate) fn made_by(&self, tenant: &TenantName) -> Option<Revision> {
        self.in_effect.get(tenant).copied()
    }

    /// The next daemon assumes that all tenants match the current plan. The networks of tenants
    /// without processes ended with their supervisor.
    pub(crate) fn on_new_supervisor(&mut self, alive: impl Fn(&TenantName) -> bool) {
        self.provisioned_by.retain(|tenant, _| alive(tenant));
        self.in_effect = self.planned.clone();
    }

    /// The host reports what was provisioned or released.
    pub(crate) fn event(&mut self, event: &Event, stale: bool) {
        if let (Event::Released { tenant } | Event::ProvisionFailed { tenant, .. }, false) =
            (event, stale)
        {
            self.provisioned_by.remove(tenant);
        }
    }

    /// An action of the supervisor.
    pub(crate) fn action(&mut self, action: &Action) -> Result<(), Violation> {
        match action {
            Action::Provision { tenant } => {
                let revision = self.planned.get(tenant).copied();
                // A provision of a tenant that is about to be removed uses no new plan.
                let Some(revision) = revision.or_else(|| self.launched_by.get(tenant).copied())
                else {
                    return check(false, Invariant::AsPlanned, || {
                        format!("{tenant} was never planned")
                    });
                };
                let holders = self.holders(revision.address, tenant);
                check(holders.is_empty(), Invariant::OneHolder, || {
                    format!("{tenant} takes the address of {holders:?}")
                })?;
                self.provisioned_by.insert(tenant.clone(), revision);
                self.in_effect.insert(tenant.clone(), revision);
                Ok(())
            }
            Action::Launch { tenant, .. } => {
                let provisioned_by = self
                    .provisioned_by
                    .get(tenant)
                    .map(|revision| revision.network);
                let planned = self.planned.get(tenant).copied();
                let fits = planned.is_some_and(|revision| provisioned_by == Some(revision.network));
                check(fits, Invariant::AsPlanned, || {
                    format!("{tenant} is provisioned by {provisioned_by:?}, planned as {planned:?}")
                })?;
                self.launched_by
                    .extend(planned.map(|revision| (tenant.clone(), revision)));
                self.in_effect
                    .extend(planned.map(|revision| (tenant.clone(), revision)));
                Ok(())
            }
            Action::Remove { tenant } => {
                let planned = self.planned.contains_key(tenant);
                let provisioned_by = self.provisioned_by.contains_key(tenant);
                self.in_effect.remove(tenant);
                check(
                    !planned && !provisioned_by,
                    Invariant::RemovedAfterRelease,
                    || {
                        format!(
                            "{tenant} is removed: planned {planned}, provisioned {provisioned_by}"
                        )
                    },
                )
            }
            Action::Apply { .. }
            | Action::Abandon { .. }
            | Action::Conclude { .. }
            | Action::Terminate { .. }
            | Action::Kill { .. }
            | Action::Release { .. } => Ok(()),
        }
    }

    /// Faults and edits have ended.
    pub(crate) fn end(&self, views: &[View]) -> Result<(), Violation> {
        for view in views {
            let planned = self.planned.get(&view.name);
            let kept = planned.is_some() || view.state == StateWord::Stuck;
            check(kept, Invariant::RemovedAfterRelease, || format!("{view:?}"))?;
            let runs = self.launched_by.get(&view.name);
            let good = view.state != StateWord::Up || runs == planned;
            check(good, Invariant::AsPlanned, || {
                format!("{view:?} was launched by {runs:?}, planned as {planned:?}")
            })?;
        }
        for name in self.planned.keys() {
            let shown = views.iter().any(|view| view.name == *name);
            check(shown, Invariant::RemovedAfterRelease, || {
                format!("{name} is planned")
            })?;
        }
        Ok(())
    }
}
