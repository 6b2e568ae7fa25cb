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

use super::law::Broken;
use super::laws::Laws;
use super::live::Lives;
use super::plans::{Paper, Plans};
use super::random::Random;

/// How long faults occur, in milliseconds.
const UNFAIR_FOR: u64 = 200_000;

/// What happens in the world at some moment.
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
    /// The last process of a launch ends.
    Empty(LaunchId),
    /// It is ready.
    Ready(LaunchId),
    /// Somebody edits the manifest and reloads.
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
pub(super) struct Written {
    pub(super) checkpoint: Checkpoint,
    pub(super) paper: Option<Paper>,
}

/// The result of a history.
#[derive(Debug, Default)]
pub(crate) struct Outcome {
    pub(crate) events: u32,
    pub(crate) launches: u32,
    pub(crate) deaths: u32,
    pub(crate) reloads: u32,
    /// Deaths during a reload.
    pub(crate) cut_short: u32,
    /// Edits between two supervisors.
    pub(crate) silent: u32,
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
    pub(super) fair: bool,
    pub(super) shutdown: bool,
    pub(super) supervisor: Supervisor,
    /// The records of the supervisor, as the next one reads them.
    pub(super) written: BTreeMap<TenantName, Written>,
    /// How many more supervisors may die.
    pub(super) deaths: u64,
    pub(super) laws: Laws,
    pub(super) plans: Plans,
    pub(super) lives: Lives,
    versions: u64,
    pub(super) names: Vec<TenantName>,
    pub(super) occurrences: BTreeMap<(Moment, u64), Occurrence>,
    sequence: u64,
    pub(super) programs: BTreeMap<LaunchId, Program>,
    /// Tenants that were removed from the manifest.
    pub(super) left: BTreeSet<TenantName>,
    /// A tenant whose change was reported and is not yet recorded.
    pub(super) half_told: Option<TenantName>,
    /// Past events, to be repeated when they are stale.
    pub(super) told: Vec<Event>,
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
            fair: false,
            shutdown: false,
            supervisor: Supervisor::new(limits),
            written: BTreeMap::new(),
            deaths: 0,
            laws: Laws::new(limits),
            plans: Plans::default(),
            lives: Lives::default(),
            versions: 0,
            names,
            occurrences: BTreeMap::new(),
            sequence: 0,
            programs: BTreeMap::new(),
            left: BTreeSet::new(),
            half_told: None,
            told: Vec::new(),
            tracing,
            outcome: Outcome::default(),
        }
    }

    /// Runs one history.
    pub(crate) fn run(mut self) -> (Outcome, Result<(), Broken>) {
        let result = self.history();
        (self.outcome, result)
    }

    fn history(&mut self) -> Result<(), Broken> {
        let fair_at = self.now + Duration::from_millis(UNFAIR_FOR);
        for (address, tenant) in (0..).zip(self.names.clone()) {
            let paper = Paper {
                address,
                network: 0,
                launch: 0,
            };
            self.plans.planned.insert(tenant.clone(), paper);
            self.plan(tenant)?;
        }
        self.schedule_operators();
        while self.advance(fair_at)? {}
        self.now = self.now.max(fair_at);
        self.fair = true;
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
            self.tell(Event::Shutdown)?;
        }
        while self.advance(Moment(u64::MAX))? {}
        self.tell(Event::Reloaded)?;
        while self.advance(Moment(u64::MAX))? {}
        let views: Vec<View> = self.supervisor.tenants().collect();
        let planned = |view: &View| self.plans.planned.contains_key(&view.name);
        // A start that came after the shutdown was refused, and tried nothing again; and so was
        // that of a tenant that was removed and is stuck.
        let asked_again = match finale {
            Finale::Nothing => false,
            Finale::StartAll => !self.shutdown && views.iter().all(planned),
            Finale::StopAll | Finale::Shutdown => true,
        };
        Laws::end(&views, asked_again)?;
        self.plans.end(&views)?;
        Lives::end(&views)?;
        Laws::finishes(self.shutdown, self.supervisor.is_finished())
    }

    /// Runs the next event, if it is before `limit`.
    fn advance(&mut self, limit: Moment) -> Result<bool, Broken> {
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
        Laws::rests(self.outcome.events)?;
        if deadline.is_some_and(|deadline| deadline <= self.now) {
            let step = self.supervisor.handle_deadline(self.now);
            self.laws.step(self.now, &Laws::nothing_heard(), &step)?;
            Laws::done(self.now, self.supervisor.next_deadline())?;
            self.apply_step(None, &step)?;
        } else if let Some((_, occurrence)) = self.occurrences.pop_first() {
            self.occur(occurrence)?;
            if self.random.chance(20) {
                self.repeat()?;
            }
        }
        Ok(true)
    }

    pub(super) fn plan(&mut self, tenant: TenantName) -> Result<(), Broken> {
        let policy = self.policy().into();
        self.tell(Event::Planned {
            tenant,
            policy,
            found: None,
        })
    }

    pub(super) fn next_version(&mut self) -> u64 {
        self.versions += 1;
        self.versions
    }

    pub(super) fn request(&mut self, request: TenantRequest) -> Result<(), Broken> {
        let (answer, step) = self.supervisor.handle_request(self.now, &request);
        self.laws.answered(&request, &answer, &step)?;
        self.laws.step(self.now, &Laws::nothing_heard(), &step)?;
        self.apply_step(Some(&(request, answer)), &step)
    }

    pub(super) fn tell(&mut self, event: Event) -> Result<(), Broken> {
        self.shutdown |= event == Event::Shutdown;
        match &event {
            Event::Removed { tenant } => drop(self.left.insert(tenant.clone())),
            Event::Planned { tenant, .. } => drop(self.left.remove(tenant)),
            _ => {}
        }
        let heard = self.laws.event(self.now, &event);
        self.plans.event(&event, heard.unfit);
        self.lives.event(&event);
        let before: Vec<View> = self.supervisor.tenants().collect();
        let traced = self.tracing.then(|| event.clone());
        if self.random.chance(20) {
            self.told.push(event.clone());
        }
        let step = self.supervisor.handle(self.now, event);
        self.laws.step(self.now, &heard, &step)?;
        Laws::reloaded(&heard, &before, &step)?;
        self.laws
            .changed(&heard, &before, self.supervisor.tenants())?;
        self.apply_step(traced.as_ref().map(|event| event as &dyn Debug), &step)
    }

    /// Carries out a step, and checks it against its event.
    fn apply_step(&mut self, from: Option<&dyn Debug>, step: &Step) -> Result<(), Broken> {
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
        self.write_down(&step.changed);
        let dies = self.dies_before(step.actions.len());
        for action in &step.actions[..dies.unwrap_or(step.actions.len())] {
            self.plans.action(action)?;
            self.lives.begins(action);
            if let Action::Remove { tenant } = action {
                self.written.remove(tenant);
                self.left.remove(tenant);
            }
            self.act(action);
        }
        if dies.is_some() {
            return self.die();
        }
        self.lives.shows(&views)?;
        self.laws.shows(&views, self.supervisor.next_deadline())
    }

    /// Schedules an event within this many milliseconds.
    pub(super) fn later(&mut self, most: u64, occurrence: Occurrence) {
        let at = self.now + self.random.millis(most);
        self.sequence += 1;
        self.occurrences.insert((at, self.sequence), occurrence);
    }

    /// Makes a random request, sometimes for an unknown tenant.
    pub(super) fn request_within(&mut self, most: u64) {
        let verb = *self.random.pick(&[Verb::Start, Verb::Stop, Verb::Restart]);
        let tenant = if self.random.chance(5) {
            "stranger".parse().unwrap()
        } else {
            self.random.pick(&self.names).clone()
        };
        self.later(most, Occurrence::Request(TenantRequest { tenant, verb }));
    }

    fn schedule_operators(&mut self) {
        for _ in 0..self.random.below(20) {
            self.request_within(UNFAIR_FOR);
        }
        if self.random.chance(60) {
            self.deaths = 1 + self.random.below(6);
            for _ in 0..self.random.below(4) {
                self.later(UNFAIR_FOR, Occurrence::Death);
            }
        }
        if self.random.chance(60) {
            for _ in 0..self.random.below(5) {
                self.later(UNFAIR_FOR, Occurrence::Reload);
            }
        }
        if self.random.chance(20) {
            self.later(UNFAIR_FOR, Occurrence::Event(Event::Shutdown));
        }
        if self.random.chance(15) {
            self.later(UNFAIR_FOR, Occurrence::Event(Event::Hurry));
        }
    }

    /// Repeats a past event, if it must change nothing by now.
    fn repeat(&mut self) -> Result<(), Broken> {
        if self.told.is_empty() {
            return Ok(());
        }
        let event = self.random.pick(&self.told).clone();
        if self.laws.is_stale(&event) {
            self.outcome.events += 1;
            self.tell(event)?;
        }
        Ok(())
    }
}
