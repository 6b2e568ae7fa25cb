//! The number of tenants in each state. Each transition updates it, so that reading it does not
//! depend on the number of tenants.

use std::collections::BTreeMap;
use std::fmt;

use tenantd_core::supervisor::Transition;
use tenantd_core::supervisor::view::StateWord;

/// The number of tenants in each state.
#[derive(Debug, Default, Clone, PartialEq, Eq)]
pub(crate) struct StateCounts {
    counts: BTreeMap<StateWord, usize>,
    total: usize,
}

impl StateCounts {
    /// Counts a new tenant, in state down.
    pub(crate) fn begin(&mut self) {
        self.total += 1;
        self.add(StateWord::Down);
    }

    /// Stops counting a removed tenant, in state down.
    pub(crate) fn end(&mut self) {
        self.total = self.total.saturating_sub(1);
        if let Some(count) = self.counts.get_mut(&StateWord::Down) {
            *count = count.saturating_sub(1);
        }
    }

    /// Moves a tenant from one state to the next.
    pub(crate) fn note(&mut self, transition: &Transition) {
        if let Some(count) = self.counts.get_mut(&transition.from) {
            *count = count.saturating_sub(1);
        }
        self.add(transition.to);
    }

    fn add(&mut self, state: StateWord) {
        *self.counts.entry(state).or_default() += 1;
    }
}

impl fmt::Display for StateCounts {
    /// Such as `3 tenants: 2 up, 1 failed`.
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

    fn transition(from: StateWord, to: StateWord) -> Transition {
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
        let mut state_counts = StateCounts::default();
        assert_eq!(state_counts.to_string(), "0 tenants");
        state_counts.begin();
        assert_eq!(state_counts.to_string(), "1 tenant: 1 down");
        state_counts.begin();
        state_counts.note(&transition(StateWord::Down, StateWord::Provisioning));
        assert_eq!(
            state_counts.to_string(),
            "2 tenants: 1 down, 1 provisioning"
        );
        // It was up and became ready.
        state_counts.note(&transition(StateWord::Provisioning, StateWord::Up));
        state_counts.note(&transition(StateWord::Up, StateWord::Up));
        assert_eq!(state_counts.to_string(), "2 tenants: 1 down, 1 up");
        state_counts.end();
        assert_eq!(state_counts.to_string(), "1 tenant: 1 up");
    }
}
