//! A simulated host: delays, faults, misbehaving programs and random requests of operators,
//! generated from one seed on a virtual clock.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::{Debug, Write};
use std::time::Duration;

use tenantd_core::name::TenantName;
use tenantd_core::supervisor::action::Action;
use tenantd_core::supervisor::checkpoint::Checkpoint;
use tenantd_core::supervisor::event::{Event, Exit, LaunchId, TenantRequest, Verb};
use tenantd_core::supervisor::time::Moment;
use tenantd_core::supervisor::view::View;
use tenantd_core::supervisor::{Limits, Step, Supervisor};

use super::checker::Checker;
use super::invariant::Violation;
use super::live::LiveSettings;
use super::phases::Phases;
use super::plans::{Plans, Revision};
use super::random::Random;

/// How long faults occur, in milliseconds.
pub(super) const FAULTS_FOR: u64 = 200_000;

/// An occurrence in the world.
#[derive(Debug)]
pub(super) enum Occurrence {
    /// An event for the supervisor.
    Event(Event),
    /// A request of an operator.
    Request(TenantRequest),
    /// The first process of a launch ends.
    Exit {
        launch: LaunchId,
        exit: Exit,
        others: bool,
    },
    /// The main process of a launch ends, which is not its first one.
    MainExit {
        launch: LaunchId,
        exit: Exit,
        others: bool,
    },
    /// The last process of a launch ends.
    Empty(LaunchId),
    /// The program of a launch is ready.
    Ready(LaunchId),
    /// An operator runs a command in a tenant that is not up.
    Offline(TenantName),
    /// The manifest is edited and reloaded.
    Reload,
    /// The supervisor is killed.
    Death,
}

/// How a history ends after the faults have ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Finale {
    Nothing,
    StartAll,
    StopAll,
    Shutdown,
}

/// A running program, and whether its first process runs.
#[derive(Debug)]
pub(super) struct Program {
    pub(super) first: bool,
}

/// The record of a tenant: its checkpoint and its fingerprints.
#[derive(Debug, Clone)]
pub(super) struct Record {
    pub(super) checkpoint: Checkpoint,
    pub(super) revision: Option<Revision>,
}

/// The result of a history.
#[derive(Debug, Default)]
pub(crate) struct Outcome {
    pub(crate) events: u32,
    pub(crate) launches: u32,
    pub(crate) deaths: u32,
    pub(crate) reloads: u32,
    /// Deaths during a reload.
    pub(crate) interrupted: u32,
    /// Edits between two supervisors.
    pub(crate) offline_edits: u32,
    /// Live changes that the host applied, and those that it refused.
    pub(crate) applied: (u32, u32),
    /// How often each state was seen after an event.
    pub(crate) states: BTreeMap<String, u32>,
    /// Each event and its step, if a trace was requested.
    pub(crate) trace: String,
}

/// One world and its supervisor.
#[derive(Debug)]
pub(crate) struct World {
    pub(super) random: Random,
    pub(super) now: Moment,
    pub(super) faults_over: bool,
    pub(super) shutdown: bool,
    pub(super) supervisor: Supervisor,
    /// The records of the supervisor, as the next one reads them.
    pub(super) records: BTreeMap<TenantName, Record>,
    /// How many more supervisors may die.
    pub(super) deaths: u64,
    pub(super) checker: Checker,
    pub(super) plans: Plans,
    pub(super) live_settings: LiveSettings,
    pub(super) phases: Phases,
    versions: u64,
    pub(super) names: Vec<TenantName>,
    pub(super) occurrences: BTreeMap<(Moment, u64), Occurrence>,
    sequence: u64,
    pub(super) programs: BTreeMap<LaunchId, Program>,
    /// Tenants that were removed from the manifest.
    pub(super) removed: BTreeSet<TenantName>,
    /// A tenant whose change was reported and is not yet recorded.
    pub(super) unrecorded_change: Option<TenantName>,
    /// Past events, to be repeated when they are stale.
    pub(super) past_events: Vec<Event>,
    tracing: bool,
    pub(super) outcome: Outcome,
}

impl World {
    /// Creates a world from a seed.
    pub(crate) fn new(seed: u64, tracing: bool) -> Self {
        let mut random = Random::new(seed);
        let number = |n: u64| u32::try_from(n).unwrap().try_into().unwrap();
        let limits = Limits {
            restarts_per_second: number(1 + random.below(5)),
            burst: number(1 + random.below(4)),
        };
        let names = (0..=random.below(5))
            .map(|n| format!("t{n}").parse().unwrap())
            .collect();
        Self {
            random,
            now: Moment::ZERO + Duration::from_secs(1_000),
            faults_over: false,
            shutdown: false,
            supervisor: Supervisor::new(limits),
            records: BTreeMap::new(),
            deaths: 0,
            checker: Checker::new(limits),
            plans: Plans::default(),
            live_settings: LiveSettings::default(),
            phases: Phases::default(),
            versions: 0,
            names,
            occurrences: BTreeMap::new(),
            sequence: 0,
            programs: BTreeMap::new(),
            removed: BTreeSet::new(),
            unrecorded_change: None,
            past_events: Vec::new(),
            tracing,
            outcome: Outcome::default(),
        }
    }

    /// Runs one history.
    pub(crate) fn run(mut self) -> (Outcome, Result<(), Violation>) {
        let result = self.history();
        (self.outcome, result)
    }

    fn history(&mut self) -> Result<(), Violation> {
        let faults_end = self.now + Duration::from_millis(FAULTS_FOR);
        for (address, tenant) in (0..).zip(self.names.clone()) {
            let revision = Revision {
                address,
                network: 0,
                launch: 0,
            };
            self.plans.planned.insert(tenant.clone(), revision);
            self.plan(tenant)?;
        }
        self.schedule_operators();
        while self.advance(faults_end)? {}
        self.now = self.now.max(faults_end);
        self.faults_over = true;
        let finale = *self.random.pick(&[
            Finale::Nothing,
            Finale::StartAll,
            Finale::StopAll,
            Finale::Shutdown,
        ]);
        for tenant in self.names.clone() {
            match finale {
                Finale::StartAll => {
                    let verb = Verb::Start;
                    self.request(TenantRequest { tenant, verb })?;
                }
                Finale::StopAll => {
                    let verb = Verb::Stop;
                    self.request(TenantRequest { tenant, verb })?;
                }
                Finale::Nothing | Finale::Shutdown => {}
            }
        }
        if finale == Finale::Shutdown {
            self.shutdown = true;
            self.handle_event(Event::Shutdown)?;
        }
        while self.advance(Moment(u64::MAX))? {}
        self.handle_event(Event::Reloaded)?;
        while self.advance(Moment(u64::MAX))? {}
        let views: Vec<View> = self.supervisor.tenants().collect();
        let planned = |view: &View| self.plans.planned.contains_key(&view.name);
        // A start after the shutdown was refused and retried nothing, and so was the start of a
        // removed tenant that is stuck.
        let requested_again = match finale {
            Finale::Nothing => false,
            Finale::StartAll => !self.shutdown && views.iter().all(planned),
            Finale::StopAll | Finale::Shutdown => true,
        };
        Checker::end(&views, requested_again)?;
        self.plans.end(&views)?;
        LiveSettings::end(&views)?;
        Checker::check_finished(self.shutdown, self.supervisor.is_finished())
    }

    /// Runs the next event, if it is before `limit`.
    fn advance(&mut self, limit: Moment) -> Result<bool, Violation> {
        let occurrence = self.occurrences.keys().next().copied();
        let deadline = self.supervisor.next_deadline();
        let next = match (occurrence, deadline) {
            (Some((at, _)), Some(deadline)) => at.min(deadline),
            (Some((at, _)), None) => at,
            (None, Some(deadline)) => deadline,
            (None, None) => return Ok(false),
        };
        if next >= limit {
            return Ok(false);
        }
        self.now = self.now.max(next);
        self.outcome.events += 1;
        Checker::check_rest(self.outcome.events)?;
        if deadline.is_some_and(|deadline| deadline <= self.now) {
            let step = self.supervisor.handle_deadline(self.now);
            self.checker
                .step(self.now, &Checker::for_deadline(), &step)?;
            Checker::check_deadlines(self.now, self.supervisor.next_deadline())?;
            self.apply_step(None, &step)?;
        } else if let Some((_, occurrence)) = self.occurrences.pop_first() {
            self.run_occurrence(occurrence)?;
            if self.random.chance(20) {
                self.repeat()?;
            }
        }
        Ok(true)
    }

    pub(super) fn plan(&mut self, tenant: TenantName) -> Result<(), Violation> {
        let policy = self.policy().into();
        self.handle_event(Event::Planned {
            tenant,
            policy,
            found: None,
        })
    }

    pub(super) fn next_version(&mut self) -> u64 {
        self.versions += 1;
        self.versions
    }

    pub(super) fn request(&mut self, request: TenantRequest) -> Result<(), Violation> {
        let before = self.supervisor.tenant(&request.tenant);
        let (answer, step) = self.supervisor.handle_request(self.now, &request);
        let after = self.supervisor.tenant(&request.tenant);
        Checker::check_refused(&answer, before.as_ref(), after.as_ref())?;
        self.checker.on_answer(&request, &answer, &step)?;
        self.checker
            .step(self.now, &Checker::for_deadline(), &step)?;
        self.apply_step(Some(&(request, answer)), &step)
    }

    pub(super) fn handle_event(&mut self, event: Event) -> Result<(), Violation> {
        self.shutdown |= event == Event::Shutdown;
        match &event {
            Event::Removed { tenant } => drop(self.removed.insert(tenant.clone())),
            Event::Planned { tenant, .. } => drop(self.removed.remove(tenant)),
            _ => {}
        }
        let expected = self.checker.event(self.now, &event);
        self.note_retry(&event);
        self.plans.event(&event, expected.stale);
        self.live_settings.event(&event);
        self.phases.event(&event, expected.stale);
        let before: Vec<View> = self.supervisor.tenants().collect();
        let limits = self.limits(&event);
        let traced = self.tracing.then(|| event.clone());
        if self.random.chance(20) {
            self.past_events.push(event.clone());
        }
        let given = event.clone();
        let step = self.supervisor.handle(self.now, event);
        Checker::check_want(&given, &before, self.supervisor.tenants(), &step)?;
        let is = self.supervisor.tenants();
        self.checker.check_programs(&given, &before, is, &step)?;
        limits.check(self.now, &self.limits(&given))?;
        self.checker.step(self.now, &expected, &step)?;
        Checker::check_reloaded(&expected, &before, &step)?;
        self.checker
            .check_unchanged(&expected, &before, self.supervisor.tenants())?;
        self.apply_step(traced.as_ref().map(|event| event as &dyn Debug), &step)
    }

    /// Carries out a step, and checks it against its event.
    pub(super) fn apply_step(
        &mut self,
        from: Option<&dyn Debug>,
        step: &Step,
    ) -> Result<(), Violation> {
        if self.tracing {
            writeln!(self.outcome.trace, "{:?} {from:?} -> {step:?}", self.now).unwrap();
        }
        let views: Vec<View> = self.supervisor.tenants().collect();
        for view in &views {
            *self
                .outcome
                .states
                .entry(view.state.to_string())
                .or_default() += 1;
        }
        self.record(&step.changed);
        let dies = self.dies_before(step.actions.len());
        self.checker.note_offline(&views);
        for action in &step.actions[..dies.unwrap_or(step.actions.len())] {
            self.plans.action(action)?;
            self.checker.check_offline(action)?;
            let policy = self.checker.policy_of(action);
            self.phases.action(action, policy)?;
            self.live_settings.on_action(action);
            if let Action::Remove { tenant } = action {
                self.records.remove(tenant);
                self.removed.remove(tenant);
            }
            self.act(action);
        }
        if dies.is_some() {
            return self.die();
        }
        self.live_settings.check_views(&views)?;
        self.checker
            .check_views(&views, self.supervisor.next_deadline())
    }

    /// Schedules an event within this many milliseconds.
    pub(super) fn schedule(&mut self, most: u64, occurrence: Occurrence) {
        let at = self.now + self.random.millis(most);
        self.sequence += 1;
        self.occurrences.insert((at, self.sequence), occurrence);
    }

    fn schedule_operators(&mut self) {
        for _ in 0..self.random.below(20) {
            self.schedule_request(FAULTS_FOR);
        }
        self.schedule_offline();
        if self.random.chance(60) {
            self.deaths = 1 + self.random.below(6);
            for _ in 0..self.random.below(4) {
                self.schedule(FAULTS_FOR, Occurrence::Death);
            }
        }
        if self.random.chance(60) {
            for _ in 0..self.random.below(5) {
                self.schedule(FAULTS_FOR, Occurrence::Reload);
            }
        }
        if self.random.chance(20) {
            self.schedule(FAULTS_FOR, Occurrence::Event(Event::Shutdown));
        }
        if self.random.chance(15) {
            self.schedule(FAULTS_FOR, Occurrence::Event(Event::Hurry));
        }
    }

    /// Repeats a past event, if it must change nothing by now.
    fn repeat(&mut self) -> Result<(), Violation> {
        if self.past_events.is_empty() {
            return Ok(());
        }
        let event = self.random.pick(&self.past_events).clone();
        if self.checker.is_stale(&event) {
            self.outcome.events += 1;
            self.handle_event(event)?;
        }
        Ok(())
    }
}
