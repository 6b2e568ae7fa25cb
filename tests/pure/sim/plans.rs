//! The plan of each tenant, and the plans by which it was provisioned and launched. A plan takes
//! effect when a provision or a launch begins, as in the daemon.

use std::collections::BTreeMap;

use tenantd_core::name::TenantName;
use tenantd_core::plan::effect::Effect;
use tenantd_core::supervisor::action::Action;
use tenantd_core::supervisor::event::Event;
use tenantd_core::supervisor::view::{StateWord, View};

use super::law::{Broken, Law, check};

/// The plan of one tenant, as far as it matters who holds what and what is outdated.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Paper {
    pub(crate) address: u64,
    /// A version that changes with each reprovision.
    pub(crate) network: u64,
    /// A version that changes with each relaunch.
    pub(crate) launch: u64,
}

impl Paper {
    /// What a change from the first to the second plan requires.
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
    pub(crate) planned: BTreeMap<TenantName, Paper>,
    /// The plan by which a tenant was provisioned, until it is released.
    provisioned_by: BTreeMap<TenantName, Paper>,
    /// The plan by which it was last launched.
    ran: BTreeMap<TenantName, Paper>,
    /// The plan that the daemon believes to be in effect.
    made: BTreeMap<TenantName, Paper>,
}

impl Plans {
    /// Which other tenants hold an address.
    pub(crate) fn holders(&self, address: u64, taker: &TenantName) -> Vec<TenantName> {
        let holders = self.provisioned_by.iter();
        let holders = holders.filter(|(name, paper)| paper.address == address && *name != taker);
        holders.map(|(name, _)| name.clone()).collect()
    }

    /// The fingerprints that a daemon would record.
    pub(crate) fn made_by(&self, tenant: &TenantName) -> Option<Paper> {
        self.made.get(tenant).copied()
    }

    /// The next daemon assumes that all tenants match the current plan. The networks of tenants
    /// without processes ended with their supervisor.
    pub(crate) fn begin(&mut self, lives: impl Fn(&TenantName) -> bool) {
        self.provisioned_by.retain(|tenant, _| lives(tenant));
        self.made = self.planned.clone();
    }

    /// The host reports what was provisioned or released.
    pub(crate) fn event(&mut self, event: &Event, unfit: bool) {
        if let (Event::Released { tenant } | Event::ProvisionFailed { tenant, .. }, false) =
            (event, unfit)
        {
            self.provisioned_by.remove(tenant);
        }
    }

    /// What the supervisor asks for.
    pub(crate) fn action(&mut self, action: &Action) -> Result<(), Broken> {
        match action {
            Action::Provision { tenant } => {
                let paper = self.planned.get(tenant).copied();
                // A provision in vain of one that is about to be forgotten takes up nothing new.
                let Some(paper) = paper.or_else(|| self.ran.get(tenant).copied()) else {
                    return check(false, Law::AsPlanned, || {
                        format!("{tenant} was never planned")
                    });
                };
                let holders = self.holders(paper.address, tenant);
                check(holders.is_empty(), Law::OneHolder, || {
                    format!("{tenant} takes what {holders:?} hold")
                })?;
                self.provisioned_by.insert(tenant.clone(), paper);
                self.made.insert(tenant.clone(), paper);
                Ok(())
            }
            Action::Launch { tenant, .. } => {
                let provisioned_by = self.provisioned_by.get(tenant).map(|paper| paper.network);
                let planned = self.planned.get(tenant).copied();
                let fits = planned.is_some_and(|paper| provisioned_by == Some(paper.network));
                check(fits, Law::AsPlanned, || {
                    format!("{tenant} stands by {provisioned_by:?}, is planned as {planned:?}")
                })?;
                self.ran
                    .extend(planned.map(|paper| (tenant.clone(), paper)));
                self.made
                    .extend(planned.map(|paper| (tenant.clone(), paper)));
                Ok(())
            }
            Action::Remove { tenant } => {
                let planned = self.planned.contains_key(tenant);
                let provisioned_by = self.provisioned_by.contains_key(tenant);
                self.made.remove(tenant);
                check(!planned && !provisioned_by, Law::Forgotten, || {
                    format!("{tenant} is forgotten: planned {planned}, stands {provisioned_by}")
                })
            }
            Action::Apply { .. }
            | Action::Terminate { .. }
            | Action::Kill { .. }
            | Action::Release { .. } => Ok(()),
        }
    }

    /// Faults and edits have ended.
    pub(crate) fn end(&self, views: &[View]) -> Result<(), Broken> {
        for view in views {
            let planned = self.planned.get(&view.name);
            let kept = planned.is_some() || view.state == StateWord::Stuck;
            check(kept, Law::Forgotten, || format!("{view:?}"))?;
            let runs = self.ran.get(&view.name);
            let good = view.state != StateWord::Up || runs == planned;
            check(good, Law::AsPlanned, || {
                format!("{view:?} runs by {runs:?}, is planned as {planned:?}")
            })?;
        }
        for name in self.planned.keys() {
            let shown = views.iter().any(|view| view.name == *name);
            check(shown, Law::Forgotten, || format!("{name} is planned"))?;
        }
        Ok(())
    }
}
