//! The two clocks: the supervisor uses the boot clock; people read the wall clock.

use std::time::Duration;

use jiff::Timestamp;
use rustix::time::{ClockId, clock_gettime};

use tenantd_core::supervisor::time::Moment;

/// Nanoseconds per second.
const NANOS: u128 = 1_000_000_000;

/// The current time of the boot clock.
#[must_use]
pub fn now() -> Moment {
    let time = clock_gettime(ClockId::Boottime);
    let (Ok(seconds), Ok(nanos)) = (u64::try_from(time.tv_sec), u32::try_from(time.tv_nsec)) else {
        // The boot clock counts from zero, see clock_gettime(2).
        return Moment::ZERO;
    };
    Moment::ZERO + Duration::new(seconds, nanos)
}

/// The moment at which a process started, from its start time in clock ticks since boot (field 22
/// of proc_pid_stat(5)).
#[must_use]
pub fn at_ticks(ticks: u64) -> Moment {
    let a_second = rustix::param::clock_ticks_per_second().max(1);
    Moment(u64::try_from(u128::from(ticks) * NANOS / u128::from(a_second)).unwrap_or(u64::MAX))
}

/// Converts a moment to a date, by the current difference between the two clocks. The result is
/// in whole milliseconds, because finer digits would differ from one call to the next.
#[must_use]
pub fn date(moment: Moment) -> Timestamp {
    let now = now();
    let wall = Timestamp::now();
    let date = if moment >= now {
        wall.checked_add(moment.since(now))
    } else {
        wall.checked_sub(now.since(moment))
    };
    let date = date.unwrap_or(wall);
    date.round(jiff::Unit::Millisecond).unwrap_or(date)
}

/// Waits for this long, or for ever.
pub(crate) async fn pause(wait: Option<Duration>) {
    match wait {
        Some(wait) => tokio::time::sleep(wait).await,
        None => std::future::pending().await,
    }
}
