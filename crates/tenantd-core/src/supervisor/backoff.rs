//! Strikes: the delay before the next launch, and when a tenant becomes failed.
//!
//! A strike is an exit that was not requested, or a failed stage. The delay doubles with each strike
//! since the last healthy launch. A tenant fails when there are too many strikes within the window.

use std::collections::VecDeque;
use std::time::Duration;

use crate::plan::model::RestartPolicy;

use super::time::Moment;

/// The maximum number of strikes that are stored, 8 bytes each. A policy with a higher number is
/// treated as if it had this one.
pub const STRIKES_MAX: u32 = 64;

/// The strikes of one tenant.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct FailureCount {
    /// Strikes since the last healthy launch or operator's request.
    pub count: u32,
    /// The times of the latest strikes, oldest first; at most as many as the policy allows.
    pub times: VecDeque<Moment>,
}

/// The strikes of a tenant that count now.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Strikes {
    /// How many.
    pub count: u32,
    /// With how many the tenant becomes failed; 0 means never.
    pub most: u32,
    /// When the oldest one counts no longer.
    pub until: Moment,
}

/// The consequence of a strike.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Verdict {
    /// The next launch may start this long after the start of the last one.
    Delay(Duration),
    /// There were too many strikes: the tenant becomes failed.
    GiveUp,
}

impl FailureCount {
    /// Clears all strikes.
    pub(super) fn clear(&mut self) {
        // Most tenants have no further strike, and an empty deque owns no memory.
        *self = Self::default();
    }

    /// Adds a strike. `start` is how long the start took that has failed, zero if it had succeeded:
    /// the window does not run meanwhile. Else a start that fails by a time limit, such as that of
    /// readiness, would be repeated for ever, because few such starts fit into a window.
    pub(super) fn count_failure(
        &mut self,
        now: Moment,
        start: Duration,
        policy: &RestartPolicy,
    ) -> Verdict {
        self.count = self.count.saturating_add(1);
        let give_up_after = policy.strikes.min(STRIKES_MAX);
        if give_up_after > 0 {
            for time in &mut self.times {
                *time = now.min(*time + start);
            }
            self.times.push_back(now);
            while self.times.len() > give_up_after as usize {
                self.times.pop_front();
            }
            let first = self.times.front().copied().unwrap_or(now);
            let enough = self.times.len() == give_up_after as usize;
            if enough && now.since(first) <= policy.window {
                return Verdict::GiveUp;
            }
        }
        Verdict::Delay(delay(policy, self.count))
    }
}

impl FailureCount {
    /// Those within the window, if there are any.
    pub(super) fn within(&self, now: Moment, policy: &RestartPolicy) -> Option<Strikes> {
        let mut counted = self
            .times
            .iter()
            .filter(|time| now.since(**time) <= policy.window);
        let oldest = *counted.next()?;
        let others = u32::try_from(counted.count()).unwrap_or(STRIKES_MAX);
        Some(Strikes {
            count: others.saturating_add(1),
            most: policy.strikes,
            until: oldest + policy.window,
        })
    }
}

/// The delay after this many strikes. It doubles with each strike, up to `delay_max`.
fn delay(policy: &RestartPolicy, strikes: u32) -> Duration {
    let doublings = strikes.saturating_sub(1);
    2u32.checked_pow(doublings)
        .and_then(|factor| policy.delay.checked_mul(factor))
        .unwrap_or(policy.delay_max)
        .min(policy.delay_max)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::plan::model::Policy;

    fn policy(strikes: u32) -> RestartPolicy {
        RestartPolicy {
            delay: Duration::from_secs(1),
            delay_max: Duration::from_secs(30),
            healthy_after: Duration::from_secs(60),
            strikes,
            window: Duration::from_secs(100),
            ..Policy::default().restart
        }
    }

    fn at(secs: u64) -> Moment {
        Moment::ZERO + Duration::from_secs(secs)
    }

    #[test]
    fn delays_double_up_to_the_maximum() {
        let mut strikes = FailureCount::default();
        let delays: Vec<u64> = (0..8)
            .map(
                |n| match strikes.count_failure(at(n), Duration::ZERO, &policy(0)) {
                    Verdict::Delay(delay) => delay.as_secs(),
                    Verdict::GiveUp => panic!("0 strikes never give up"),
                },
            )
            .collect();
        assert_eq!(delays, [1, 2, 4, 8, 16, 30, 30, 30]);
        strikes.clear();
        let first = strikes.count_failure(at(9), Duration::ZERO, &policy(0));
        assert_eq!(first, Verdict::Delay(Duration::from_secs(1)));
    }

    #[test]
    fn delays_do_not_overflow() {
        let long = RestartPolicy {
            delay: Duration::MAX,
            ..policy(0)
        };
        assert_eq!(delay(&long, u32::MAX), long.delay_max);
        assert_eq!(delay(&policy(0), u32::MAX), Duration::from_secs(30));
        let none = RestartPolicy {
            delay: Duration::ZERO,
            ..policy(0)
        };
        assert_eq!(delay(&none, 5), Duration::ZERO);
    }

    #[test]
    fn those_within_the_window_are_counted() {
        let mut strikes = FailureCount::default();
        let policy = policy(3);
        assert_eq!(strikes.within(at(0), &policy), None);
        for second in [10, 70] {
            strikes.count_failure(at(second), Duration::ZERO, &policy);
        }
        let found = |now| strikes.within(at(now), &policy);
        let window = policy.window.as_secs();
        let is = |count, until| {
            Some(Strikes {
                count,
                most: 3,
                until: at(until),
            })
        };
        assert_eq!(found(70), is(2, 10 + window));
        assert_eq!(found(11 + window), is(1, 70 + window));
        assert_eq!(found(71 + window), None);
    }

    #[test]
    fn gives_up_after_too_many_strikes_within_the_window() {
        let mut strikes = FailureCount::default();
        let policy = policy(3);
        assert_ne!(
            strikes.count_failure(at(0), Duration::ZERO, &policy),
            Verdict::GiveUp
        );
        assert_ne!(
            strikes.count_failure(at(60), Duration::ZERO, &policy),
            Verdict::GiveUp
        );
        assert_ne!(
            strikes.count_failure(at(101), Duration::ZERO, &policy),
            Verdict::GiveUp
        );
        assert_eq!(
            strikes.count_failure(at(160), Duration::ZERO, &policy),
            Verdict::GiveUp
        );
    }

    #[test]
    fn the_window_does_not_run_during_a_start_that_fails() {
        let mut strikes = FailureCount::default();
        let start = Duration::from_secs(60);
        let mut failed = |n: u64| strikes.count_failure(at(n * 70), start, &policy(3));
        assert_ne!(failed(1), Verdict::GiveUp);
        assert_ne!(failed(2), Verdict::GiveUp);
        assert_eq!(failed(3), Verdict::GiveUp);
    }

    #[test]
    fn a_limit_of_one_strike_works_and_the_list_is_bounded() {
        assert_eq!(
            FailureCount::default().count_failure(at(0), Duration::ZERO, &policy(1)),
            Verdict::GiveUp
        );
        let mut strikes = FailureCount::default();
        for n in 0..1_000 {
            strikes.count_failure(at(n * 1_000), Duration::ZERO, &policy(u32::MAX));
        }
        assert_eq!(strikes.times.len(), STRIKES_MAX as usize);
    }
}
