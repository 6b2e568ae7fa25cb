//! The budget of automatic restarts of all tenants: a token bucket, stored as one moment.
//!
//! It uses the generic cell rate algorithm (ITU-T I.371, appendix): it stores the moment at which
//! the bucket will be full again, instead of a number of tokens, so no timer has to refill it.

use std::num::NonZeroU32;

use super::time::Moment;

/// The limit on automatic restarts of all tenants together.
///
/// A broken upgrade of the program makes all tenants fail at the same time. The restart delay slows
/// down each of them; this limit prevents a fork storm of all of them.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Limits {
    /// Automatic restarts per second in the long run. The default is 50: a launch costs about half
    /// a millisecond of CPU time before the program runs, so 50 per second leave the CPUs to the
    /// healthy tenants, and 1,000 crashed tenants return within 20 seconds.
    pub restarts_per_second: NonZeroU32,
    /// Restarts that are allowed at once after a quiet period. The default is 100: with at most
    /// that many tenants, there is no additional delay when all of them crash once.
    pub burst: NonZeroU32,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            restarts_per_second: NonZeroU32::new(50).unwrap_or(NonZeroU32::MIN),
            burst: NonZeroU32::new(100).unwrap_or(NonZeroU32::MIN),
        }
    }
}

/// The current state of the token bucket.
#[derive(Debug, Clone)]
pub(super) struct Budget {
    /// Nanoseconds per token.
    interval: u64,
    /// Nanoseconds to fill an empty bucket.
    capacity: u64,
    /// When the bucket is full again.
    full_at: u64,
}

impl Budget {
    pub(super) fn new(limits: Limits) -> Self {
        let interval = (1_000_000_000 / u64::from(limits.restarts_per_second.get())).max(1);
        Self {
            interval,
            capacity: interval.saturating_mul(u64::from(limits.burst.get())),
            full_at: 0,
        }
    }

    /// Takes a token, if one is available.
    pub(super) fn take(&mut self, now: Moment) -> bool {
        if self.token_at() > now {
            return false;
        }
        self.full_at = self.full_at.max(now.0).saturating_add(self.interval);
        true
    }

    /// When it is full again; may be in the past.
    pub(super) fn full_at(&self) -> Moment {
        Moment(self.full_at)
    }

    /// Sets the earliest time at which it is full.
    pub(super) fn spent_until(&mut self, full_at: Moment) {
        self.full_at = self.full_at.max(full_at.0);
    }

    /// When the next token is available; may be in the past.
    pub(super) fn token_at(&self) -> Moment {
        let full_after = self.full_at.saturating_add(self.interval);
        Moment(full_after.saturating_sub(self.capacity))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::time::Duration;

    fn budget(rate: u32, burst: u32) -> Budget {
        Budget::new(Limits {
            restarts_per_second: rate.try_into().unwrap(),
            burst: burst.try_into().unwrap(),
        })
    }

    #[test]
    fn a_burst_is_followed_by_the_rate() {
        let mut budget = budget(10, 3);
        let start = Moment::ZERO + Duration::from_secs(5);
        let taken = |budget: &mut Budget, now| (0..10).filter(|_| budget.take(now)).count();
        assert_eq!(taken(&mut budget, start), 3);
        let next = budget.token_at();
        assert_eq!(next, start + Duration::from_millis(100));
        assert_eq!(taken(&mut budget, Moment(next.0 - 1)), 0);
        assert_eq!(taken(&mut budget, next), 1);
        assert_eq!(taken(&mut budget, next + Duration::from_millis(250)), 2);
        assert_eq!(taken(&mut budget, next + Duration::from_secs(60)), 3);
    }

    #[test]
    fn no_window_exceeds_burst_and_rate() {
        let mut budget = budget(7, 2);
        let mut taken = Vec::new();
        for millis in 0..5_000u64 {
            let now = Moment::ZERO + Duration::from_millis(millis * millis % 9_973 / 5 + millis);
            if budget.take(now) {
                taken.push(now);
            }
        }
        taken.sort_unstable();
        for (first, a) in taken.iter().enumerate() {
            for (last, b) in taken.iter().enumerate().skip(first) {
                let most = 2.0 + 7.0 * b.since(*a).as_secs_f64();
                assert!((last - first + 1) as f64 <= most + 1e-6, "{a:?} to {b:?}");
            }
        }
        assert!(taken.len() > 30, "{} taken", taken.len());
    }

    #[test]
    fn extreme_values_do_not_overflow() {
        let mut budget = budget(u32::MAX, u32::MAX);
        assert!(budget.take(Moment(u64::MAX)));
        assert!(budget.take(Moment(u64::MAX)));
    }
}
