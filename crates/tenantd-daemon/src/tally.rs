//! How many tenants are in which state: kept with each transition, so that saying it costs the
//! same however many there are.

use std::collections::BTreeMap;
use std::fmt;

use tenantd_core::supervisor::Transition;
use tenantd_core::supervisor::view::StateWord;

/// Tenants by state.
#[derive(Debug, Default, Clone, PartialEq, Eq)]
pub(super) struct Tally {
    counts: BTreeMap<StateWord, usize>,
    total: usize,
}

impl Tally {
    /// Counts a tenant that was just planned, and is down.
    pub(super) fn begin(&mut self) {
        self.total += 1;
        self.add(StateWord::Down);
    }

    /// Strikes out a tenant that was removed, and is down.
    pub(super) fn end(&mut self) {
        self.total = self.total.saturating_sub(1);
        if let Some(count) = self.counts.get_mut(&StateWord::Down) {
            *count = count.saturating_sub(1);
        }
    }

    /// Follows a tenant from one state to the next.
    pub(super) fn note(&mut self, transition: &Transition) {
        if let Some(count) = self.counts.get_mut(&transition.from) {
            *count = count.saturating_sub(1);
        }
        self.add(transition.to);
    }

    fn add(&mut self, state: StateWord) {
        *self.counts.entry(state).or_default() += 1;
    }
}

impl fmt::Display for Tally {
    /// Such as `3 tenants: 2 up, 1 held`.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let plural = if self.total == 1 { "" } else { "s" };
        write!(f, "{} tenant{plural}", self.total)?;
        let mut sign = ": ";
        for (state, count) in self.counts.iter().filter(|(_, count)| **count > 0) {
            write!(f, "{sign}{count} {state}")?;
            sign = ", ";
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use tenantd_core::supervisor::Cause;

    fn turn(from: StateWord, to: StateWord) -> Transition {
        Transition {
            tenant: "acme".parse().unwrap(),
            from,
            to,
            launch: None,
            cause: Cause::Planned,
        }
    }

    #[test]
    fn counts_each_tenant_in_its_state() {
        let mut tally = Tally::default();
        assert_eq!(tally.to_string(), "0 tenants");
        tally.begin();
        assert_eq!(tally.to_string(), "1 tenant: 1 down");
        tally.begin();
        tally.note(&turn(StateWord::Down, StateWord::Provisioning));
        assert_eq!(tally.to_string(), "2 tenants: 1 down, 1 provisioning");
        // It was up and became ready.
        tally.note(&turn(StateWord::Provisioning, StateWord::Up));
        tally.note(&turn(StateWord::Up, StateWord::Up));
        assert_eq!(tally.to_string(), "2 tenants: 1 down, 1 up");
        tally.end();
        assert_eq!(tally.to_string(), "1 tenant: 1 up");
    }
}
