//! The time of the rounds: a timer of the kernel, see timerfd_create(2), which wakes the process up once for each. That of
//! tokio wakes up several times for a long wait, at the borders of its wheels.

use std::io;
use std::os::fd::OwnedFd;
use std::time::Duration;

use rustix::io::Errno;
use rustix::time::{
    Itimerspec, TimerfdClockId, TimerfdFlags, TimerfdTimerFlags, Timespec, timerfd_create,
    timerfd_settime,
};
use tokio::io::Interest;
use tokio::io::unix::AsyncFd;

/// The timer. The first tick is one interval after its begin.
pub(crate) struct Ticks(AsyncFd<OwnedFd>);

impl Ticks {
    /// Begins to count. Only in a tokio runtime.
    pub(crate) fn begin(interval: Duration) -> io::Result<Self> {
        let flags = TimerfdFlags::CLOEXEC | TimerfdFlags::NONBLOCK;
        let timer = timerfd_create(TimerfdClockId::Monotonic, flags)?;
        let time = Timespec {
            tv_sec: i64::try_from(interval.as_secs()).unwrap_or(i64::MAX),
            // A timer of zero is none.
            tv_nsec: match interval.is_zero() {
                true => 1,
                false => interval.subsec_nanos().into(),
            },
        };
        let each = Itimerspec {
            it_interval: time,
            it_value: time,
        };
        timerfd_settime(&timer, TimerfdTimerFlags::empty(), &each)?;
        #[expect(
            deprecated,
            reason = "its successor is unsafe for the sake of types that may change their \
                      descriptor; an OwnedFd keeps its own open until it is dropped"
        )]
        let timer = AsyncFd::with_interest(timer, Interest::READABLE)?;
        Ok(Self(timer))
    }

    /// Waits for the next tick. Those that have passed meanwhile are one.
    pub(crate) async fn next(&mut self) -> io::Result<()> {
        loop {
            let mut ready = self.0.readable_mut().await?;
            match rustix::io::read(ready.get_inner(), &mut [0; 8]) {
                Ok(_) => {
                    // The next one is an event of its own.
                    ready.clear_ready();
                    return Ok(());
                }
                Err(Errno::INTR) => {}
                Err(Errno::AGAIN) => ready.clear_ready(),
                Err(errno) => return Err(errno.into()),
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use std::time::Instant;

    use super::*;

    #[tokio::test(flavor = "current_thread")]
    async fn a_round_that_is_late_does_not_let_others_follow_at_once() {
        let interval = Duration::from_millis(40);
        let (begun, mut ticks) = (Instant::now(), Ticks::begin(interval).unwrap());
        for _ in 0..2 {
            ticks.next().await.unwrap();
        }
        assert!(begun.elapsed() >= 2 * interval);
        // A round that takes as long as three.
        while begun.elapsed() < 5 * interval {}
        ticks.next().await.unwrap();
        ticks.next().await.unwrap();
        assert!(begun.elapsed() >= 6 * interval);
    }
}
