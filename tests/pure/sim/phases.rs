//! The phases of a start: what is true of each tenant's datastore, and in which order the commands
//! and the program may run.

pub(super) mod proof;

use std::collections::{BTreeMap, BTreeSet};

use tenantd_core::name::TenantName;
use tenantd_core::plan::model::Policy;
use tenantd_core::plan::phase::Phase;
use tenantd_core::supervisor::action::Action;
use tenantd_core::supervisor::event::{Event, Exit, LaunchId};
use tenantd_core::supervisor::time::Moment;

use super::checker::Checker;
use super::invariant::{Invariant, Violation, check};
use super::model::{Live, TenantModel};

/// What the host knows of the phases of all tenants.
#[derive(Debug, Default)]
pub(crate) struct Phases {
    launches: BTreeMap<LaunchId, (TenantName, Phase)>,
    /// Launches whose command has succeeded.
    succeeded: BTreeSet<LaunchId>,
    /// Results that are being recorded.
    concluding: BTreeMap<LaunchId, bool>,
    /// Tenants whose datastores are initialized, by which launch, or have data of their programs.
    initialized: BTreeMap<TenantName, LaunchId>,
    /// Tenants whose command before the program has succeeded since their last launch.
    prepared: BTreeSet<TenantName>,
}

impl Phases {
    /// The supervisor orders a launch, or that a result is recorded.
    pub(crate) fn action(
        &mut self,
        action: &Action,
        policy: Option<&Policy>,
    ) -> Result<(), Violation> {
        match action {
            Action::Launch { tenant, phase, .. } => {
                let prepared = self.prepared.remove(tenant);
                let phases = policy.map(|policy| &policy.phases);
                let has_init = phases.is_some_and(|phases| phases.init.is_some());
                let has_before = phases.is_some_and(|phases| phases.before.is_some());
                let is_initialized = matches!(phase, Phase::Init | Phase::Offline)
                    || !has_init
                    || self.initialized.contains_key(tenant);
                check(is_initialized, Invariant::InitFirst, || {
                    format!("{tenant}: {phase}")
                })?;
                let is_prepared = *phase != Phase::Main || !has_before || prepared;
                check(is_prepared, Invariant::BeforeEachStart, || {
                    tenant.to_string()
                })
            }
            Action::Conclude {
                tenant,
                launch,
                success: true,
            } => {
                // The next supervisor may record it again.
                let by = self.initialized.get(tenant);
                let once = by.is_none_or(|by| by == launch);
                check(
                    once && self.succeeded.contains(launch),
                    Invariant::InitOnce,
                    || format!("{tenant}: {launch:?}, first {once}"),
                )
            }
            Action::Conclude { .. }
            | Action::Abandon { .. }
            | Action::Provision { .. }
            | Action::Apply { .. }
            | Action::Terminate { .. }
            | Action::Kill { .. }
            | Action::Release { .. }
            | Action::Remove { .. } => Ok(()),
        }
    }

    /// The end of a command is reported.
    pub(crate) fn event(&mut self, event: &Event, stale: bool) {
        if let (Event::Exited { launch, exit, .. }, false) = (event, stale)
            && exit.is_success()
            && !self.succeeded.contains(launch)
            && let Some((tenant, phase)) = self.launches.get(launch)
        {
            self.succeeded.insert(*launch);
            if *phase == Phase::Before {
                self.prepared.insert(tenant.clone());
            }
        }
    }

    /// The host begins a launch. Returns whether it is not necessary.
    pub(super) fn on_launch(
        &mut self,
        tenant: &TenantName,
        launch: LaunchId,
        phase: Phase,
    ) -> bool {
        self.launches.insert(launch, (tenant.clone(), phase));
        self.succeeded.remove(&launch);
        phase == Phase::Init && self.initialized.contains_key(tenant)
    }

    /// A program or command was executed.
    pub(super) fn executed(&mut self, launch: LaunchId) {
        if let Some((tenant, Phase::Main)) = self.launches.get(&launch) {
            self.initialized.entry(tenant.clone()).or_insert(launch);
        }
    }

    pub(super) fn is_command(&self, launch: LaunchId) -> bool {
        let found = self.launches.get(&launch);
        found.is_some_and(|(_, phase)| *phase != Phase::Main)
    }

    pub(super) fn is_offline(&self, launch: LaunchId) -> bool {
        let found = self.launches.get(&launch);
        found.is_some_and(|(_, phase)| *phase == Phase::Offline)
    }

    pub(super) fn on_conclude(&mut self, launch: LaunchId, success: bool) {
        self.concluding.insert(launch, success);
    }

    /// The result of a launch is recorded.
    pub(super) fn concluded(&mut self, launch: LaunchId) {
        if let (Some(true), Some((tenant, _))) =
            (self.concluding.remove(&launch), self.launches.get(&launch))
        {
            self.initialized.insert(tenant.clone(), launch);
        }
    }
}

impl Checker {
    /// The policy of the tenant of an action.
    pub(super) fn policy_of(&self, action: &Action) -> Option<&Policy> {
        match action {
            Action::Provision { tenant }
            | Action::Launch { tenant, .. }
            | Action::Abandon { tenant, .. }
            | Action::Conclude { tenant, .. }
            | Action::Apply { tenant, .. }
            | Action::Terminate { tenant, .. }
            | Action::Kill { tenant, .. }
            | Action::Release { tenant }
            | Action::Remove { tenant } => self.policy(tenant),
        }
    }

    fn model(&mut self, launch: LaunchId) -> Option<&mut TenantModel> {
        let name = self.launches.get(&launch)?;
        self.tenants.get_mut(name)
    }

    fn live(&self, launch: LaunchId) -> Option<Live> {
        self.tenants.get(self.launches.get(&launch)?)?.live
    }

    /// Whether this launch has begun and its command was not executed.
    pub(super) fn is_launching(&self, launch: LaunchId, phase: Phase) -> bool {
        let live = self.live(launch);
        live.is_some_and(|live| live.phase == phase && !live.launched && !live.over)
    }

    pub(super) fn is_concluding(&self, launch: LaunchId) -> bool {
        self.live(launch).is_some_and(|live| live.concluding)
    }

    /// A program or command was executed. Returns whether that fits.
    pub(super) fn launched(&mut self, launch: LaunchId) -> bool {
        let model = self
            .launches
            .get(&launch)
            .and_then(|name| self.tenants.get_mut(name));
        model
            .and_then(|model| model.live.as_mut())
            .map(|live| {
                live.launched = true;
                live.known = true;
            })
            .is_some()
    }

    /// A launch was not necessary. Returns whether that fits.
    pub(super) fn skipped(&mut self, launch: LaunchId) -> bool {
        if !self.is_launching(launch, Phase::Init) {
            return false;
        }
        if let Some(model) = self.model(launch) {
            model.live = None;
            model.continuing = true;
        }
        self.launches.remove(&launch).is_some()
    }

    /// The first process of a launch has exited. Returns whether that fits.
    pub(super) fn exited(&mut self, launch: LaunchId, exit: Exit) -> bool {
        let model = self.model(launch);
        let Some(live) = model.and_then(|model| model.live.as_mut()) else {
            return false;
        };
        live.exit.get_or_insert(exit);
        true
    }

    /// The last process of a command has ended. Returns `None` for a program, and otherwise whether
    /// that fits.
    pub(super) fn end_phase(&mut self, launch: LaunchId) -> Option<bool> {
        let live = self.live(launch)?;
        let succeeded = live.exit.is_some_and(Exit::is_success);
        let model = self.model(launch)?;
        match live.phase {
            Phase::Main | Phase::Offline => None,
            Phase::Before if succeeded => {
                model.live = None;
                model.continuing = true;
                self.launches.remove(&launch);
                Some(true)
            }
            Phase::Before => None,
            Phase::Init if live.over => Some(false),
            Phase::Init => {
                model.live = Some(Live { over: true, ..live });
                Some(true)
            }
        }
    }

    /// The supervisor orders that a result is recorded.
    pub(super) fn conclude(
        &mut self,
        tenant: &TenantName,
        launch: LaunchId,
        success: bool,
    ) -> Result<(), Violation> {
        let model = self.tenants.get_mut(tenant).unwrap();
        // A launch of an earlier supervisor may be over already.
        let live = model.live.get_or_insert(Live {
            id: launch,
            launched: true,
            known: true,
            phase: Phase::Init,
            exit: None,
            over: true,
            concluding: false,
        });
        let fits = live.id == launch && live.over && live.phase == Phase::Init && !live.concluding;
        live.concluding = true;
        live.exit = success.then_some(Exit::Status(0));
        check(fits, Invariant::ConcludedOnce, || format!("{model:?}"))?;
        self.launches.insert(launch, tenant.clone());
        Ok(())
    }

    /// A result is recorded, or could not be. Returns whether that fits.
    pub(super) fn concluded(&mut self, now: Moment, launch: LaunchId, done: bool) -> bool {
        if !self.is_concluding(launch) {
            return false;
        }
        let Some(model) = self.model(launch) else {
            return false;
        };
        let exit = model.live.take().and_then(|live| live.exit);
        model.applying = None;
        match done && exit.is_some_and(Exit::is_success) {
            true => model.continuing = true,
            false => model.count_strike(now),
        }
        self.launches.remove(&launch).is_some()
    }
}
