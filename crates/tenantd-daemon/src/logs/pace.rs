//! How fast the lines of a tenant are read: so many bytes a second on average (`log_rate` of the manifest), and those of
//! some seconds at once.
//!
//! Reading, and what journald(8) or the disk does with the lines, costs processor time that the limits of the tenant's
//! cgroup do not count. What is not read stays in the pipe, socket or file, and is lost nowhere: a program that writes
//! faster waits. See `docs/decisions/0105-log-rate.md`.

use std::time::{Duration, Instant};

/// The bytes of how long are read at once.
const BURST: Duration = Duration::from_secs(4);

/// A shorter line counts as so many bytes: it costs as much.
const LINE_MIN: usize = 64;

/// The pace of one tenant.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Pace {
    /// Bytes a second; `None`: as fast as possible.
    rate: Option<u64>,
    /// When what was read would have been read at this rate.
    paid: Instant,
}

impl Pace {
    /// Nothing was read before.
    pub(crate) fn new(rate: Option<u64>) -> Self {
        Self {
            rate,
            paid: Instant::now(),
        }
    }

    /// Has another rate from now on.
    pub(crate) fn set(&mut self, rate: u64) {
        if self.rate != Some(rate) {
            *self = Self::new(Some(rate));
        }
    }

    /// Counts bytes that were read, with so many lines. Returns when to read on, unless at once.
    pub(crate) fn read(&mut self, (bytes, lines): (usize, usize), now: Instant) -> Option<Instant> {
        let rate = u128::from(self.rate?.max(1));
        let bytes = bytes.max(lines.saturating_mul(LINE_MIN));
        let nanoseconds = bytes as u128 * 1_000_000_000 / rate;
        let cost = Duration::from_nanos(u64::try_from(nanoseconds).unwrap_or(u64::MAX));
        self.paid = self.paid.max(now).checked_add(cost)?;
        let at = self.paid.checked_sub(BURST)?;
        (at > now).then_some(at)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SECOND: Duration = Duration::from_secs(1);

    #[test]
    fn the_bytes_of_some_seconds_are_read_at_once_and_more_at_the_rate() {
        let mut pace = Pace::new(Some(1000));
        let begun = pace.paid;
        assert_eq!(pace.read((4000, 1), begun), None);
        assert_eq!(pace.read((500, 1), begun), Some(begun + SECOND / 2));
        assert_eq!(pace.read((1000, 1), begun), Some(begun + SECOND * 3 / 2));
        // What was not used in a pause of any length is not more than a burst.
        let later = begun + 3600 * SECOND;
        assert_eq!(pace.read((10, 4000 / LINE_MIN), later), None);
        assert!(pace.read((100, 1), later).is_some());
    }

    #[test]
    fn in_the_long_run_exactly_the_rate_is_read() {
        let mut pace = Pace::new(Some(1 << 20));
        let begun = pace.paid;
        let (mut now, mut sum) = (begun, 0);
        while now < begun + 100 * SECOND {
            sum += 50_000;
            now = pace.read((50_000, 1), now).unwrap_or(now);
        }
        let wanted = 104 * (1 << 20);
        assert!((wanted - 50_000..=wanted + 100_000).contains(&sum), "{sum}");
    }

    #[test]
    fn another_rate_holds_at_once() {
        let mut pace = Pace::new(Some(1));
        let begun = pace.paid;
        assert!(pace.read((1_000_000, 1), begun).unwrap() > begun + 900_000 * SECOND);
        pace.set(1 << 20);
        assert_eq!(pace.read((1 << 20, 1), Instant::now()), None);
        assert_eq!(Pace::new(None).read((usize::MAX, 1), begun), None);
    }
}
