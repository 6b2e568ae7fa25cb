//! What a supervisor remembers of a tenant for its successor, and what the successor found of it.
//!
//! A [`Checkpoint`] is written down with each change, before anything follows from it. It says what a
//! supervisor meant; what has become of that is the host's to say ([`Found`]).
//!
//! All of it is public and plain, for whoever writes it down and reads it. The form on the disk is
//! not decided here, so that what is decided by can change its shape without any record becoming
//! unreadable.

use crate::name::TenantName;
use crate::plan::effect::Effect;

use super::Supervisor;
use super::event::{Exit, LaunchId};
use super::time::Moment;
use super::view::{StateWord, Want};

pub use super::backoff::FailureCount;
pub use super::tenant::{After, Ending, Left, Live, Making, Readying, RestartScope, State};

/// A tenant as its supervisor saw it last.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Checkpoint {
    /// What was wanted of it.
    pub want: Want,
    /// Whether that is something else than its policy's `autostart` said: an operator asked for
    /// it, or it ended as it should.
    pub requested: bool,
    /// The state it was in.
    pub state: State,
    /// When it entered that state.
    pub since: Moment,
    /// How often it was launched again because it had ended unasked.
    pub restarts: u32,
    /// What its next failure is judged by.
    pub strikes: FailureCount,
    /// When the host's budget of restarts is full again, as far as was known then.
    pub budget: Moment,
}

impl Checkpoint {
    /// Of a tenant that nothing is remembered of: it was down, as its policy says.
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
        }
    }

    /// Of a launch of which nothing more is remembered than this.
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

    /// The same, but whatever is wanted of it was asked for.
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
        self.state.word()
    }

    /// The launch that ran, was being started or was being ended.
    #[must_use]
    pub fn launch(&self) -> Option<LaunchId> {
        self.state.launch()
    }

    /// Whether it was ready.
    #[must_use]
    pub fn is_ready(&self) -> bool {
        self.state.is_ready()
    }

    /// Whether a successor that knows nothing of it does the same.
    #[must_use]
    pub fn is_nothing(&self) -> bool {
        matches!(self.state, State::Down) && !self.requested && self.restarts == 0
    }

    /// Leaves out what goes beyond so many characters of each text, for a place that is too small
    /// for all.
    pub fn shorten(&mut self, characters: usize) {
        if let Some(failure) = self.state.failure_mut() {
            for text in [&mut failure.object, &mut failure.detail] {
                if let Some((end, _)) = text.char_indices().nth(characters) {
                    text.truncate(end);
                    text.push('…');
                }
            }
        }
    }
}

/// What stands of a tenant on the host: its network and all that is provisioned with it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Resources {
    /// Nothing.
    None,
    /// Some of it, of no use: it is taken away by a release, or by the next provision.
    Partial,
    /// All of it: a launch can follow.
    Full,
}

/// What a supervisor found of a tenant that an earlier one had.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Found {
    /// What the earlier one remembered.
    pub checkpoint: Checkpoint,
    /// What became of its launch, if there was one.
    pub fate: Fate,
    /// What stands of it.
    pub resources: Resources,
    /// What has to be made anew because it was made by another plan than today's.
    pub outdated: Option<Effect>,
    /// Whether all that a live change can set is proved to be set on its launch as it is planned
    /// today. Where that is not proved, it is applied again.
    pub applied: bool,
}

/// What became of the launch of an earlier supervisor.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Fate {
    /// Some of its processes live, and all that was provisioned for it stands.
    Lives,
    /// None of its processes is left; and how the first of them ended.
    Over(Exit),
}

impl Supervisor {
    /// What is to be remembered of this tenant.
    #[must_use]
    pub fn checkpoint(&self, name: &TenantName) -> Option<Checkpoint> {
        let index = self.names.get(name)?;
        let slot = self.tenants.get(index)?;
        let mut checkpoint = slot.tenant.checkpoint();
        checkpoint.budget = self.agenda.budget_full_at();
        Some(checkpoint)
    }

    /// Says what is wanted of a tenant when a supervisor begins that remembers nothing of it. It
    /// takes the place of what the tenant's policy says.
    pub fn set_autostart(&mut self, name: &TenantName, autostart: bool) {
        let slot = self.names.get(name).and_then(|i| self.tenants.get_mut(i));
        if let Some(slot) = slot {
            slot.tenant.set_autostart(autostart);
        }
    }

    /// Goes on where an earlier supervisor stopped, before any tenant is planned: with the numbers
    /// of launches after `last`, and with what is left of the budget by these memories.
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
