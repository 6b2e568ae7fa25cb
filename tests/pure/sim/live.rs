//! Live changes: which version of the live settings is planned for each tenant, which one its
//! processes have, and what the supervisor may report about it.

use std::collections::BTreeMap;

use tenantd_core::name::TenantName;
use tenantd_core::supervisor::Step;
use tenantd_core::supervisor::action::Action;
use tenantd_core::supervisor::event::{Event, LaunchId};
use tenantd_core::supervisor::view::{StateWord, Unapplied, View};

use super::checker::{Checker, Expectation};
use super::invariant::{Invariant, Violation, check};
use super::model::TenantModel;

/// The versions of a tenant's live settings.
#[derive(Debug, Default)]
pub(crate) struct LiveSettings {
    /// In the manifest.
    pub(crate) manifest: BTreeMap<TenantName, u64>,
    /// In the plan that the supervisor knows.
    planned: BTreeMap<TenantName, u64>,
    /// In the action for a launch: its start, or the last live change.
    ordered: BTreeMap<LaunchId, u64>,
    /// In the processes of a launch.
    applied: BTreeMap<LaunchId, u64>,
}

impl LiveSettings {
    fn manifest(&self, tenant: &TenantName) -> u64 {
        self.manifest.get(tenant).copied().unwrap_or_default()
    }

    fn planned(&self, tenant: &TenantName) -> u64 {
        self.planned.get(tenant).copied().unwrap_or_default()
    }

    /// The manifest changed.
    pub(crate) fn edit(&mut self, tenant: &TenantName, version: u64) {
        self.manifest.insert(tenant.clone(), version);
    }

    /// Whether a reload finds a live change.
    pub(crate) fn is_changed(&self, tenant: &TenantName) -> bool {
        self.manifest(tenant) != self.planned(tenant)
    }

    /// The supervisor gets the plan.
    pub(crate) fn event(&mut self, event: &Event) {
        if let Event::Planned { tenant, .. } | Event::Replanned { tenant, .. } = event {
            let version = self.manifest(tenant);
            self.planned.insert(tenant.clone(), version);
        }
    }

    /// The host begins an action with the current plan.
    pub(crate) fn on_action(&mut self, action: &Action) {
        if let Action::Launch { tenant, launch, .. } | Action::Apply { tenant, launch } = action {
            let version = self.planned(tenant);
            self.ordered.insert(*launch, version);
        }
    }

    /// The host has completed the action.
    pub(crate) fn on_done(&mut self, launch: LaunchId) {
        let version = self.ordered.get(&launch).copied();
        self.applied
            .extend(version.map(|version| (launch, version)));
    }

    /// Whether a launch matches the manifest, as the next supervisor finds it.
    pub(crate) fn is_applied(&self, tenant: &TenantName, launch: LaunchId) -> bool {
        self.applied.get(&launch) == Some(&self.manifest(tenant))
    }

    /// Changes that are reported as applied are in effect in the processes.
    pub(crate) fn check_views(&self, views: &[View]) -> Result<(), Violation> {
        for view in views {
            let (Some(launch), StateWord::Up, None) = (view.launch, view.state, &view.unapplied)
            else {
                continue;
            };
            let (applied, planned) = (self.applied.get(&launch), self.planned(&view.name));
            check(
                applied == Some(&planned),
                Invariant::AppliedIfConfirmed,
                || format!("{view:?} has {applied:?}, planned {planned}"),
            )?;
        }
        Ok(())
    }

    /// Without faults and after a reload, everything is applied.
    pub(crate) fn end(views: &[View]) -> Result<(), Violation> {
        let pending = views.iter().find(|view| view.unapplied.is_some());
        check(pending.is_none(), Invariant::RefusedIsRetried, || {
            format!("{pending:?}")
        })
    }
}

impl TenantModel {
    /// The report on a live change is true.
    pub(super) fn check_view(&self, view: &View) -> Result<(), Violation> {
        let fits = match &view.unapplied {
            None => self.applying.is_none() || view.state != StateWord::Up,
            Some(Unapplied::Underway) => view.launch.is_some() && self.applying == view.launch,
            Some(Unapplied::Refused(_)) => self.applying.is_none(),
        };
        let runs = view.unapplied.is_none() || view.state == StateWord::Up;
        check(fits && runs, Invariant::AppliedIfConfirmed, || {
            format!("{view:?}, {self:?}")
        })
    }
}

impl Checker {
    pub(super) fn is_applying(&self, launch: LaunchId) -> bool {
        let applying = |model: &TenantModel| model.applying == Some(launch);
        self.tenants.values().any(applying)
    }

    /// The host answers an `Apply`. Returns whether one was in progress.
    pub(super) fn on_apply_result(&mut self, launch: LaunchId) -> bool {
        let mut models = self.tenants.values_mut();
        let model = models.find(|model| model.applying == Some(launch));
        model.map(|model| model.applying = None).is_some()
    }

    pub(super) fn apply(&mut self, tenant: &TenantName, launch: LaunchId) -> Result<(), Violation> {
        let model = self.tenants.get_mut(tenant).unwrap();
        let runs = model
            .live
            .is_some_and(|live| live.launched && live.id == launch);
        let fits = runs && model.applying.is_none();
        check(fits, Invariant::ApplyToRunningLaunch, || {
            format!("{launch:?} for {model:?}")
        })?;
        model.applying = Some(launch);
        Ok(())
    }

    /// All refused changes are retried on a reload.
    pub(crate) fn check_reloaded(
        expected: &Expectation,
        before: &[View],
        step: &Step,
    ) -> Result<(), Violation> {
        let refused = |view: &&View| matches!(view.unapplied, Some(Unapplied::Refused(_)));
        let tried = |view: &View| {
            let name = &view.name;
            step.actions
                .iter()
                .any(|action| matches!(action, Action::Apply { tenant, .. } if tenant == name))
        };
        let missed = before.iter().filter(refused).find(|view| !tried(view));
        check(
            !expected.reloaded || missed.is_none(),
            Invariant::RefusedIsRetried,
            || format!("{missed:?}"),
        )
    }
}
