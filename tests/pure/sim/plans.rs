//! What is planned of each tenant, and by which plan it stands and runs. Kept from outside, as
//! the daemon would: a plan is taken up when a provision or a launch begins.

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
    /// Changes with all that reprovisions a tenant.
    pub(crate) network: u64,
    /// Changes with all that relaunches it.
    pub(crate) launch: u64,
}

impl Paper {
    /// What has to be made anew for the second to hold where the first one does.
    pub(crate) fn outdated(made: Option<Self>, planned: Option<Self>) -> Option<Effect> {
        match (made, planned) {
            (Some(made), Some(planned)) if made.network == planned.network => {
                (made.launch != planned.launch).then_some(Effect::Relaunch)
            }
            (made, planned) => (made != planned).then_some(Effect::Reprovision),
        }
    }
}

/// All papers.
#[derive(Debug, Default)]
pub(crate) struct Plans {
    pub(crate) planned: BTreeMap<TenantName, Paper>,
    /// By which paper a tenant was provisioned, until it is released.
    provisioned_by: BTreeMap<TenantName, Paper>,
    /// By which paper it was launched last.
    ran: BTreeMap<TenantName, Paper>,
    /// By which paper the daemon believes that it stands and runs.
    made: BTreeMap<TenantName, Paper>,
}

impl Plans {
    /// Who holds an address, beside this tenant.
    pub(crate) fn holders(&self, address: u64, taker: &TenantName) -> Vec<TenantName> {
        let holders = self.provisioned_by.iter();
        let holders = holders.filter(|(name, paper)| paper.address == address && *name != taker);
        holders.map(|(name, _)| name.clone()).collect()
    }

    /// What a daemon would write down of what a tenant is made by.
    pub(crate) fn made_by(&self, tenant: &TenantName) -> Option<Paper> {
        self.made.get(tenant).copied()
    }

    /// The next daemon takes all tenants to be made by what is planned now. The networks of those
    /// that do not live went with their supervisor.
    pub(crate) fn begin(&mut self, lives: impl Fn(&TenantName) -> bool) {
        self.provisioned_by.retain(|tenant, _| lives(tenant));
        self.made = self.planned.clone();
    }

    /// What the world says of what stands.
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

    /// The world has become fair and quiet.
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
