//! The agenda: the deadlines of tenants, and the queue of restarts.

use std::collections::BTreeSet;

use super::budget::{Budget, Limits};
use super::time::Moment;

/// The number of a tenant, in the order in which tenants were planned.
pub(super) type Index = u32;

/// The entry of a tenant in the agenda. A tenant has at most one.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Entry {
    /// None: the tenant has no deadline.
    None,
    /// A deadline.
    Alarm(Moment),
    /// Its restart delay ended at this time, and it waits for a token of the budget.
    Queued(Moment),
}

/// All entries, sorted by time. Every change costs O(log n).
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

    /// Replaces a tenant's entry.
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

    /// Returns a tenant whose deadline has passed.
    pub(super) fn due(&self, now: Moment) -> Option<Index> {
        let &(at, index) = self.alarms.first()?;
        (at <= now).then_some(index)
    }

    /// Takes a token for the tenant that has waited longest, and returns that tenant.
    pub(super) fn restart(&mut self, now: Moment) -> Option<Index> {
        let &(_, index) = self.queue.first()?;
        self.budget.take(now).then_some(index)
    }

    /// When the budget is full again.
    pub(super) fn budget_full_at(&self) -> Moment {
        self.budget.full_at()
    }

    /// Sets the earliest time at which the budget is full.
    pub(super) fn spent_until(&mut self, full_at: Moment) {
        self.budget.spent_until(full_at);
    }

    /// The next deadline.
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
