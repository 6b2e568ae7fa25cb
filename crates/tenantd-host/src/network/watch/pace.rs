//! How fast something is mended that another program takes away again and again.

use std::time::{Duration, Instant};

/// So many times it is mended at once.
const AT_ONCE: u32 = 5;

/// The first delay after that. It doubles with each time.
const DELAY: Duration = Duration::from_millis(100);

/// The longest delay.
const DELAY_MAX: Duration = Duration::from_secs(10);

/// So long must nothing be taken away before the count begins again.
pub(super) const CALM: Duration = Duration::from_secs(20);

/// How often a request that failed is tried again without a new reason.
const TRIES: u32 = 5;

/// The pace of one part.
#[derive(Debug, Default)]
pub(super) struct Pace {
    mended: u32,
    last: Option<Instant>,
    failed: u32,
}

impl Pace {
    /// When it may be looked at, if there is a reason now.
    pub(super) fn due(&self, now: Instant) -> Instant {
        match self.last {
            Some(last) if self.is_often() && !self.is_calm(now) => {
                now.max(last + delay(self.mended - AT_ONCE))
            }
            Some(_) | None => now,
        }
    }

    /// Notes that something had to be mended.
    pub(super) fn mended(&mut self, now: Instant) {
        if self.is_calm(now) {
            self.mended = 0;
        }
        self.failed = 0;
        self.mended += 1;
        self.last = Some(now);
    }

    /// Notes that it could not be mended. Returns when to try again, if at all.
    pub(super) fn failed(&mut self, now: Instant) -> Option<Instant> {
        self.failed += 1;
        (self.failed <= TRIES).then(|| now + delay(self.failed))
    }

    /// Notes that nothing was different.
    pub(super) fn whole(&mut self) {
        self.failed = 0;
    }

    /// Whether something is taken away again and again.
    pub(super) fn is_often(&self) -> bool {
        self.mended > AT_ONCE
    }

    /// How often it was mended since it was calm last.
    pub(super) fn count(&self) -> u32 {
        self.mended
    }

    /// When it is calm, if nothing is taken away until then.
    pub(super) fn calm_at(&self, now: Instant) -> Instant {
        self.last.map_or(now, |last| last + CALM)
    }

    /// Whether nothing was taken away for long enough.
    pub(super) fn is_calm(&self, now: Instant) -> bool {
        self.last.is_some() && self.calm_at(now) <= now
    }
}

fn delay(times: u32) -> Duration {
    let factor = 1u32
        .checked_shl(times.saturating_sub(1))
        .unwrap_or(u32::MAX);
    DELAY.saturating_mul(factor).min(DELAY_MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_first_losses_are_mended_at_once_and_the_next_ones_ever_later() {
        let mut now = Instant::now();
        let mut pace = Pace::default();
        for _ in 0..AT_ONCE {
            assert_eq!(pace.due(now), now);
            pace.mended(now);
        }
        assert!(!pace.is_often());
        assert_eq!(pace.due(now), now);
        pace.mended(now);
        assert!(pace.is_often());
        let mut before = Duration::ZERO;
        for _ in 0..20 {
            let wait = pace.due(now) - now;
            assert!(wait >= before && wait <= DELAY_MAX, "{wait:?}");
            (before, now) = (wait, now + wait);
            pace.mended(now);
        }
        assert_eq!(before, DELAY_MAX);
        now += CALM;
        assert!(pace.is_calm(now));
        assert_eq!(pace.due(now), now);
        pace.mended(now);
        assert_eq!(pace.count(), 1);
    }

    #[test]
    fn what_fails_is_tried_a_few_times() {
        let now = Instant::now();
        let mut pace = Pace::default();
        let tries: Vec<_> = std::iter::from_fn(|| pace.failed(now)).collect();
        assert_eq!(tries.len(), TRIES as usize);
        assert!(tries.windows(2).all(|pair| pair[0] < pair[1]));
    }
}
