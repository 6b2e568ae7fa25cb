//! The agenda: which tenant is to be looked at when, and whose restart comes next.

use std::collections::BTreeSet;

use super::budget::{Budget, Limits};
use super::time::Moment;

/// A tenant by the order in which it was planned.
pub(super) type Index = u32;

/// Where a tenant stands in the agenda; at most in one place.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Entry {
    /// Nowhere: nothing will happen to it by time alone.
    None,
    /// It is to be looked at then.
    Alarm(Moment),
    /// Its wait ended then; it wants a token of the budget.
    Queued(Moment),
}

/// All entries, by their moments. Every change costs O(log n).
#[derive(Debug)]
pub(super) struct Agenda {
    alarms: BTreeSet<(Moment, Index)>,
    queue: BTreeSet<(Moment, Index)>,
    budget: Budget,
}

impl Agenda {
    pub(super) fn new(limits: Limits) -> Self {
        Self {
            alarms: BTreeSet::new(),
            queue: BTreeSet::new(),
            budget: Budget::new(limits),
        }
    }

    /// Takes a tenant from where it stands to where it belongs.
    pub(super) fn enter(&mut self, index: Index, old: Entry, new: Entry) {
        match old {
            Entry::None => {}
            Entry::Alarm(at) => drop(self.alarms.remove(&(at, index))),
            Entry::Queued(at) => drop(self.queue.remove(&(at, index))),
        }
        match new {
            Entry::None => {}
            Entry::Alarm(at) => drop(self.alarms.insert((at, index))),
            Entry::Queued(at) => drop(self.queue.insert((at, index))),
        }
    }

    /// A tenant whose alarm is due.
    pub(super) fn due(&self, now: Moment) -> Option<Index> {
        let &(at, index) = self.alarms.first()?;
        (at <= now).then_some(index)
    }

    /// The tenant that has waited longest, if there is a token for its restart, which is spent.
    pub(super) fn restart(&mut self, now: Moment) -> Option<Index> {
        let &(_, index) = self.queue.first()?;
        self.budget.take(now).then_some(index)
    }

    /// When the budget is full again.
    pub(super) fn budget_full_at(&self) -> Moment {
        self.budget.full_at()
    }

    /// The budget is full no earlier than then.
    pub(super) fn spent_until(&mut self, full_at: Moment) {
        self.budget.spent_until(full_at);
    }

    /// When there is something to do next.
    pub(super) fn next(&self) -> Option<Moment> {
        let alarm = self.alarms.first().map(|&(at, _)| at);
        let token = self.queue.first().map(|_| self.budget.token_at());
        match (alarm, token) {
            (Some(alarm), Some(token)) => Some(alarm.min(token)),
            (Some(moment), None) | (None, Some(moment)) => Some(moment),
            (None, None) => None,
        }
    }
}
