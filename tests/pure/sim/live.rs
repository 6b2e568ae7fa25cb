//! Live changes: which version of the live settings is planned for each tenant, which one its
//! processes have, and what the supervisor may report about it.

use std::collections::BTreeMap;

use tenantd_core::name::TenantName;
use tenantd_core::supervisor::Step;
use tenantd_core::supervisor::action::Action;
use tenantd_core::supervisor::event::{Event, LaunchId};
use tenantd_core::supervisor::view::{StateWord, Unapplied, View};

use super::law::{Broken, Law, check};
use super::laws::{Heard, Laws};
use super::truth::Truth;

/// The versions of a tenant's live settings.
#[derive(Debug, Default)]
pub(crate) struct Lives {
    /// In the manifest.
    pub(crate) written: BTreeMap<TenantName, u64>,
    /// In the plan that the supervisor knows.
    told: BTreeMap<TenantName, u64>,
    /// That of the launch when it was ordered, or that which is being applied.
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

    /// The manifest changed.
    pub(crate) fn edit(&mut self, tenant: &TenantName, version: u64) {
        self.written.insert(tenant.clone(), version);
    }

    /// Whether a reload finds a live change.
    pub(crate) fn is_changed(&self, tenant: &TenantName) -> bool {
        self.written(tenant) != self.told(tenant)
    }

    /// The supervisor gets the plan.
    pub(crate) fn event(&mut self, event: &Event) {
        if let Event::Planned { tenant, .. } | Event::Replanned { tenant, .. } = event {
            let version = self.written(tenant);
            self.told.insert(tenant.clone(), version);
        }
    }

    /// The host begins an action, by the current plan.
    pub(crate) fn begins(&mut self, action: &Action) {
        if let Action::Launch { tenant, launch } | Action::Apply { tenant, launch } = action {
            let version = self.told(tenant);
            self.ordered.insert(*launch, version);
        }
    }

    /// The host has completed it.
    pub(crate) fn done(&mut self, launch: LaunchId) {
        let version = self.ordered.get(&launch).copied();
        self.real.extend(version.map(|version| (launch, version)));
    }

    /// The next supervisor compares a launch with the manifest.
    pub(crate) fn is_real(&self, tenant: &TenantName, launch: LaunchId) -> bool {
        self.real.get(&launch) == Some(&self.written(tenant))
    }

    /// What is reported as applied is what the processes have.
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

    /// Without faults and after a reload, everything is applied.
    pub(crate) fn end(views: &[View]) -> Result<(), Broken> {
        let pending = views.iter().find(|view| view.unapplied.is_some());
        check(pending.is_none(), Law::ApplyAgain, || {
            format!("{pending:?}")
        })
    }
}

impl Truth {
    /// The report on a live change is true.
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

    /// The host answers an `Apply`. Returns whether one was in progress.
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

    /// All refused changes are retried on a reload.
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
