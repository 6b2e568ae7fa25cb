//! The unit: what the service manager is told of it while the loop runs: that this supervisor is
//! alive, and how many tenants are in which state. Without a service manager nothing is said and no
//! timer runs; see [`notify`](crate::notify).

use tokio::time::{Instant, Interval, MissedTickBehavior, interval_at};

use crate::notify;
use crate::transitions::state_counts::StateCounts;

/// The unit of a supervisor: what the service manager was told last, and when it wants to hear that we live.
pub(super) struct Unit {
    watchdog: Option<Interval>,
    said: String,
}

impl Unit {
    /// One that has been told nothing yet.
    ///
    /// # Panics
    /// Outside a tokio runtime.
    pub(super) fn new() -> Self {
        let watchdog = notify::watchdog_interval().map(|every| {
            let mut ticks = interval_at(Instant::now() + every, every);
            ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
            ticks
        });
        let said = String::new();
        Self { watchdog, said }
    }

    /// Waits until it is to be told that we live; for ever, where it does not want to hear it.
    pub(super) async fn next(&mut self) {
        match &mut self.watchdog {
            Some(ticks) => {
                ticks.tick().await;
            }
            None => std::future::pending().await,
        }
    }

    /// Tells it that all is ready.
    pub(super) fn ready(&self) {
        if let Err(error) = notify::ready() {
            tracing::warn!(%error, "cannot tell the service manager that all is ready");
        }
    }

    /// Tells it that we live.
    pub(super) fn alive(&self) {
        if let Err(error) = notify::watchdog() {
            tracing::warn!(%error, "cannot tell the service manager that we live");
        }
    }

    /// Tells it how the tenants are, if that is new.
    pub(super) fn status(&mut self, state_counts: &StateCounts) {
        let status = state_counts.to_string();
        if status != self.said {
            if let Err(error) = notify::status(&status) {
                tracing::debug!(%error, "cannot tell the service manager our status");
            }
            self.said = status;
        }
    }
}
