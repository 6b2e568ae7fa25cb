//! Postpones what an adoption leaves to do until the first requests for the status are answered.
//!
//! A client that finds out whether the tenants survived asks at once. With thousands of tenants the rest of an adoption
//! takes seconds of processor time, and an answer that shares the processors with it takes twice as long. So the
//! rest waits while such requests arrive, but not longer than [`LIMIT`] in all, and not at all once a tenant is to be
//! provisioned or this process is to be replaced.

use std::cell::Cell;
use std::time::Duration;

use tokio::sync::Notify;
use tokio::time::{Instant, sleep_until};

/// How long no request must have arrived. The next part of an answer is asked for within a few milliseconds.
const QUIET: Duration = Duration::from_millis(30);

/// How long the rest is postponed at most.
const LIMIT: Duration = Duration::from_secs(2);

/// Whether the rest of an adoption is postponed.
#[derive(Debug, Default)]
pub(crate) struct Calm {
    phase: Cell<Phase>,
    changed: Notify,
}

#[derive(Debug, Clone, Copy, Default)]
enum Phase {
    /// Nothing is postponed.
    #[default]
    Over,
    /// Requests are not answered yet.
    Recovering,
    /// Requests are answered since the one moment, and the last one arrived at the other.
    Answering(Instant, Instant),
}

impl Calm {
    /// An adoption begins.
    pub(crate) fn begin(&self) {
        self.phase.set(Phase::Recovering);
    }

    /// Requests are answered from now on.
    pub(crate) fn answers(&self) {
        if matches!(self.phase.get(), Phase::Recovering) {
            let now = Instant::now();
            self.enter(Phase::Answering(now, now));
        }
    }

    /// A client asks for the status.
    pub(crate) fn asked(&self) {
        if let Phase::Answering(since, _) = self.phase.get() {
            self.phase.set(Phase::Answering(since, Instant::now()));
        }
    }

    /// Nothing is postponed any longer.
    pub(crate) fn end(&self) {
        self.enter(Phase::Over);
    }

    fn enter(&self, phase: Phase) {
        self.phase.set(phase);
        self.changed.notify_waiters();
    }

    /// Waits until the rest may be done. Cancel-safe.
    pub(crate) async fn wait(&self) {
        loop {
            let changed = self.changed.notified();
            let until = match self.phase.get() {
                Phase::Over => return,
                Phase::Recovering => None,
                Phase::Answering(since, last) => Some(due(since, last)),
            };
            match until {
                None => changed.await,
                Some(until) if until <= Instant::now() => return self.end(),
                Some(until) => tokio::select! {
                    () = changed => {}
                    () = sleep_until(until) => {}
                },
            }
        }
    }
}

/// Until when the rest waits.
fn due(since: Instant, last: Instant) -> Instant {
    (since + LIMIT).min(last + QUIET)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Whether the rest would be done now.
    async fn is_over(calm: &Calm) -> bool {
        tokio::select! {
            biased;
            () = calm.wait() => true,
            () = std::future::ready(()) => false,
        }
    }

    #[test]
    fn the_rest_waits_for_a_pause_but_not_for_ever() {
        let since = Instant::now();
        let last = since + LIMIT / 2;
        assert_eq!(due(since, last), last + QUIET);
        assert_eq!(due(since, since + LIMIT), since + LIMIT);
    }

    #[tokio::test]
    async fn nothing_is_postponed_without_an_adoption_or_after_its_end() {
        let calm = Calm::default();
        assert!(is_over(&calm).await);
        calm.begin();
        assert!(!is_over(&calm).await, "no request is answered yet");
        let answers = async {
            calm.answers();
            calm.asked();
        };
        tokio::join!(calm.wait(), answers);
        // It is not postponed again.
        calm.asked();
        assert!(is_over(&calm).await);
    }

    #[tokio::test]
    async fn what_waits_continues_when_it_is_ended() {
        let calm = Calm::default();
        calm.begin();
        let ends = async { calm.end() };
        tokio::join!(calm.wait(), ends);
    }
}
