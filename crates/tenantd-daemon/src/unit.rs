//! The unit: notifies the service manager while the loop runs: that the supervisor is ready and
//! alive, and how many tenants are in which state. Without a service manager this does nothing and
//! runs no timer; see [`notify`](crate::notify).

use tokio::time::{Instant, Interval, MissedTickBehavior, interval_at};

use crate::notify;
use crate::transitions::state_counts::StateCounts;

/// The supervisor's unit: the status text sent last, and the timer of the watchdog.
pub(super) struct Unit {
    watchdog: Option<Interval>,
    said: String,
}

impl Unit {
    /// A unit to which no notification was sent yet.
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

    /// Waits until the next watchdog notification is due; for ever if the unit has no watchdog.
    pub(super) async fn next(&mut self) {
        match &mut self.watchdog {
            Some(ticks) => {
                ticks.tick().await;
            }
            None => std::future::pending().await,
        }
    }

    /// Sends `READY=1`.
    pub(super) fn ready(&self) {
        if let Err(error) = notify::ready() {
            tracing::warn!(%error, "cannot notify the service manager (READY=1)");
        }
    }

    /// Sends `WATCHDOG=1`.
    pub(super) fn alive(&self) {
        if let Err(error) = notify::watchdog() {
            tracing::warn!(%error, "cannot notify the service manager (WATCHDOG=1)");
        }
    }

    /// Sends the state counts as the status text, if they have changed.
    pub(super) fn status(&mut self, state_counts: &StateCounts) {
        let status = state_counts.to_string();
        if status != self.said {
            if let Err(error) = notify::status(&status) {
                tracing::debug!(%error, "cannot notify the service manager (STATUS=)");
            }
            self.said = status;
        }
    }
}
