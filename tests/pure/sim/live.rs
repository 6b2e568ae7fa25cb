//! Live changes: which version of what needs no relaunch is planned of each tenant, which one its
//! processes have, and what may be said of that.

use std::collections::BTreeMap;

use tenantd_core::name::TenantName;
use tenantd_core::supervisor::Step;
use tenantd_core::supervisor::action::Action;
use tenantd_core::supervisor::event::{Event, LaunchId};
use tenantd_core::supervisor::view::{StateWord, Unapplied, View};

use super::law::{Broken, Law, check};
use super::laws::{Heard, Laws};
use super::truth::Truth;

/// Which version of what can change live is where.
#[derive(Debug, Default)]
pub(crate) struct Lives {
    /// In the manifest.
    pub(crate) written: BTreeMap<TenantName, u64>,
    /// In the plan that the supervisor was told of.
    told: BTreeMap<TenantName, u64>,
    /// With which a launch was ordered, or is being changed to.
    ordered: BTreeMap<LaunchId, u64>,
    /// In the processes of a launch.
    real: BTreeMap<LaunchId, u64>,
}

impl Lives {
    fn written(&self, tenant: &TenantName) -> u64 {
        self.written.get(tenant).copied().unwrap_or_default()
    }

    fn told(&self, tenant: &TenantName) -> u64 {
        self.told.get(tenant).copied().unwrap_or_default()
    }

    /// The manifest says something else.
    pub(crate) fn edit(&mut self, tenant: &TenantName, version: u64) {
        self.written.insert(tenant.clone(), version);
    }

    /// Whether a reload finds something that has to be applied.
    pub(crate) fn is_changed(&self, tenant: &TenantName) -> bool {
        self.written(tenant) != self.told(tenant)
    }

    /// The supervisor is told what is planned.
    pub(crate) fn event(&mut self, event: &Event) {
        if let Event::Planned { tenant, .. } | Event::Replanned { tenant, .. } = event {
            let version = self.written(tenant);
            self.told.insert(tenant.clone(), version);
        }
    }

    /// The host begins to do something: by the plan as it is now.
    pub(crate) fn begins(&mut self, action: &Action) {
        if let Action::Launch { tenant, launch } | Action::Apply { tenant, launch } = action {
            let version = self.told(tenant);
            self.ordered.insert(*launch, version);
        }
    }

    /// The host has done it.
    pub(crate) fn done(&mut self, launch: LaunchId) {
        let version = self.ordered.get(&launch).copied();
        self.real.extend(version.map(|version| (launch, version)));
    }

    /// The next supervisor looks whether a launch is as the manifest says.
    pub(crate) fn is_real(&self, tenant: &TenantName, launch: LaunchId) -> bool {
        self.real.get(&launch) == Some(&self.written(tenant))
    }

    /// What is called applied is what the processes have.
    pub(crate) fn shows(&self, views: &[View]) -> Result<(), Broken> {
        for view in views {
            let (Some(launch), StateWord::Up, None) = (view.launch, view.state, &view.unapplied)
            else {
                continue;
            };
            let (real, told) = (self.real.get(&launch), self.told(&view.name));
            check(real == Some(&told), Law::AppliedIsConfirmed, || {
                format!("{view:?} has {real:?}, is planned with {told}")
            })?;
        }
        Ok(())
    }

    /// The world is fair and quiet, and the manifest was read again: all is applied.
    pub(crate) fn end(views: &[View]) -> Result<(), Broken> {
        let pending = views.iter().find(|view| view.unapplied.is_some());
        check(pending.is_none(), Law::ApplyAgain, || {
            format!("{pending:?}")
        })
    }
}

impl Truth {
    /// What is said of a live change is so.
    pub(super) fn shows(&self, view: &View) -> Result<(), Broken> {
        let fits = match &view.unapplied {
            None => self.applying.is_none() || view.state != StateWord::Up,
            Some(Unapplied::Underway) => view.launch.is_some() && self.applying == view.launch,
            Some(Unapplied::Refused(_)) => self.applying.is_none(),
        };
        let runs = view.unapplied.is_none() || view.state == StateWord::Up;
        check(fits && runs, Law::AppliedIsConfirmed, || {
            format!("{view:?}, {self:?}")
        })
    }
}

impl Laws {
    pub(super) fn is_applying(&self, launch: LaunchId) -> bool {
        let applying = |truth: &Truth| truth.applying == Some(launch);
        self.tenants.values().any(applying)
    }

    /// The host answers an apply. Whether one was asked for.
    pub(super) fn is_answered(&mut self, launch: LaunchId) -> bool {
        let mut truths = self.tenants.values_mut();
        let truth = truths.find(|truth| truth.applying == Some(launch));
        truth.map(|truth| truth.applying = None).is_some()
    }

    pub(super) fn apply(&mut self, tenant: &TenantName, launch: LaunchId) -> Result<(), Broken> {
        let truth = self.tenants.get_mut(tenant).unwrap();
        let runs = truth
            .live
            .is_some_and(|live| live.launched && live.id == launch);
        let fits = runs && truth.applying.is_none();
        check(fits, Law::ApplyToTheRunning, || {
            format!("{launch:?} for {truth:?}")
        })?;
        truth.applying = Some(launch);
        Ok(())
    }

    /// All that was refused is tried again when the manifest is read again.
    pub(crate) fn reloaded(heard: &Heard, before: &[View], step: &Step) -> Result<(), Broken> {
        let refused = |view: &&View| matches!(view.unapplied, Some(Unapplied::Refused(_)));
        let tried = |view: &View| {
            let name = &view.name;
            step.actions
                .iter()
                .any(|action| matches!(action, Action::Apply { tenant, .. } if tenant == name))
        };
        let left = before.iter().filter(refused).find(|view| !tried(view));
        check(!heard.reloaded || left.is_none(), Law::ApplyAgain, || {
            format!("{left:?}")
        })
    }
}
