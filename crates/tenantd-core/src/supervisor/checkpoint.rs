//! Checkpoints: what a supervisor saves of a tenant for its successor.
//!
//! A [`Checkpoint`] is written on each change, before any action is carried out. It says what the
//! supervisor intended. [`Found`] adds what its successor found on the host.
//!
//! The fields are public so that the daemon can write and read them. The format of the state file
//! is defined there, so these types can change without making older records unreadable.

use crate::name::TenantName;
use crate::plan::effect::Effect;
use crate::plan::phase::Phase;

use super::Supervisor;
use super::event::{Exit, LaunchId};
use super::forced::ForcedKill;
use super::offline::Repair;
use super::time::Moment;
use super::view::{StateWord, Want, Why};

pub use super::backoff::FailureCount;
pub use super::tenant::{After, Ending, Left, Live, Making, Readying, RestartScope, State};

/// The last known condition of a tenant.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Checkpoint {
    /// What was wanted of it.
    pub want: Want,
    /// Whether that differs from the `autostart` of its policy: an operator requested it, or the
    /// program exited and is not to be restarted.
    pub requested: bool,
    /// The state it was in.
    pub state: State,
    /// When it entered that state.
    pub since: Moment,
    /// The number of automatic restarts.
    pub restarts: u32,
    /// Its strikes.
    pub strikes: FailureCount,
    /// When the restart budget is full again, as of this checkpoint.
    pub budget: Moment,
    /// How its program ended, if it ended by itself and is not restarted. Then `want` is down, so
    /// that a version without this field leaves it so.
    pub exited: Option<Exit>,
    /// Whether its first process did so and left others running.
    pub left_others: bool,
    /// The forced kill at the end of its last launch, if there was one.
    pub forced: Option<ForcedKill>,
    /// Its launch, if that had not become ready.
    pub unready: Option<LaunchId>,
    /// Why its last start failed, while it is being started again.
    pub last_failure: Option<Why>,
    /// The command of `exec --offline` that ran in it, if one did.
    pub repair: Option<Repair>,
}

impl Checkpoint {
    /// The checkpoint of a tenant without a record: it was down, as its policy says.
    #[must_use]
    pub fn none(now: Moment) -> Self {
        Self {
            want: Want::Down,
            requested: false,
            state: State::Down,
            since: now,
            restarts: 0,
            strikes: FailureCount::default(),
            budget: Moment::ZERO,
            exited: None,
            left_others: false,
            forced: None,
            unready: None,
            last_failure: None,
            repair: None,
        }
    }

    /// The checkpoint of a running launch of which only this is known.
    #[must_use]
    pub fn of_launch(launch: LaunchId, started_at: Moment, ready: bool, restarts: u32) -> Self {
        Self {
            want: Want::Up,
            state: State::was_up(launch, started_at, ready),
            since: started_at,
            restarts,
            ..Self::none(started_at)
        }
    }

    /// The same, with `requested` set.
    #[must_use]
    pub fn requested(self) -> Self {
        Self {
            requested: true,
            ..self
        }
    }

    /// The state it was in.
    #[must_use]
    pub fn state(&self) -> StateWord {
        match (&self.state, self.exited) {
            (State::Down, Some(_)) => StateWord::Exited,
            (state, _) => state.word(),
        }
    }

    /// Its launch: running, being started or being ended.
    #[must_use]
    pub fn launch(&self) -> Option<LaunchId> {
        self.state.launch()
    }

    /// What its launch executes.
    #[must_use]
    pub fn phase(&self) -> Phase {
        self.state.live().map_or(Phase::Main, |live| live.phase)
    }

    /// Whether it was ready.
    #[must_use]
    pub fn is_ready(&self) -> bool {
        self.state.is_ready()
    }

    /// Whether a successor behaves the same without this checkpoint.
    #[must_use]
    pub fn is_nothing(&self) -> bool {
        let is_down = matches!(self.state, State::Down) && self.exited.is_none();
        is_down && !self.requested && self.restarts == 0
    }

    /// Truncates the texts of failures, and of the command of `exec --offline`, to this many characters, for
    /// storage of limited size.
    pub fn shorten(&mut self, characters: usize) {
        let (command, before) = match &mut self.repair {
            Some(repair) => (Some(&mut repair.offline.command), repair.failed.as_mut()),
            None => (None, None),
        };
        let others = self.last_failure.iter_mut().chain(before);
        let others = others.filter_map(|why| match why {
            Why::Failure(failure) => Some(failure),
            Why::Exit(_) => None,
        });
        let failures = self.state.failure_mut().into_iter().chain(others);
        let texts = failures.flat_map(|it| [&mut it.object, &mut it.detail]);
        for text in texts.chain(command) {
            if let Some((end, _)) = text.char_indices().nth(characters) {
                text.truncate(end);
                text.push('…');
            }
        }
    }
}

/// How much of what a provision creates exists on the host.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Resources {
    /// Nothing.
    None,
    /// Part of it. It is unusable, and is removed by a release or by the next provision.
    Partial,
    /// All of it: the tenant can be launched.
    Full,
}

/// What a supervisor found of a tenant of an earlier one.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Found {
    /// The checkpoint of the earlier supervisor.
    pub checkpoint: Checkpoint,
    /// The fate of its launch, if there was one.
    pub fate: Fate,
    /// What exists on the host.
    pub resources: Resources,
    /// What the difference between its plan and the current one requires.
    pub outdated: Option<Effect>,
    /// Whether the launch is known to have all current live settings. If not, they are applied
    /// again.
    pub applied: bool,
}

/// The fate of a launch of an earlier supervisor.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Fate {
    /// Its processes are running, and everything that was provisioned for it exists.
    Lives,
    /// All of its processes have exited. This is how the first one ended.
    Over(Exit),
}

impl Supervisor {
    /// The checkpoint of a tenant.
    #[must_use]
    pub fn checkpoint(&self, name: &TenantName) -> Option<Checkpoint> {
        let index = self.names.get(name)?;
        let slot = self.tenants.get(index)?;
        let mut checkpoint = slot.tenant.checkpoint();
        checkpoint.budget = self.agenda.budget_full_at();
        Some(checkpoint)
    }

    /// Overrides the `autostart` of a tenant's policy, which applies when a supervisor starts
    /// without a checkpoint of the tenant.
    pub fn set_autostart(&mut self, name: &TenantName, autostart: bool) {
        let slot = self.names.get(name).and_then(|i| self.tenants.get_mut(i));
        if let Some(slot) = slot {
            slot.tenant.set_autostart(autostart);
        }
    }

    /// Resumes the counters of an earlier supervisor, before any tenant is planned: launch numbers
    /// continue after `last`, and the restart budget is as in `checkpoints`.
    pub fn resume<'a>(
        &mut self,
        last: LaunchId,
        checkpoints: impl Iterator<Item = &'a Checkpoint>,
    ) {
        self.next_launch = self.next_launch.max(last.0 + 1);
        for checkpoint in checkpoints {
            if let Some(launch) = checkpoint.launch() {
                self.next_launch = self.next_launch.max(launch.0 + 1);
            }
            self.agenda.spent_until(checkpoint.budget);
        }
    }
}
