//! Leaving: the supervisor ends and its tenants go on. Nothing of theirs is taken away; the next
//! supervisor finds it and takes it over, as after a death, but nothing is cut off halfway.

use std::time::Duration;

use tenantd_host::crash;

use super::desk::Closed;
use super::{Daemon, clock, notify};
use tenantd_core::supervisor::time::Moment;

/// How long what is under way may take to end: a provision, a launch, a release. What takes longer
/// is found half-made by the next supervisor, which finishes or undoes it.
const PATIENCE: Duration = Duration::from_secs(3);

/// The loop is about to end, with all tenants going on.
pub(super) struct Going {
    pub(super) whither: Whither,
    /// How long it waits for what is under way.
    pub(super) until: Moment,
}

/// What comes after the loop.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Whither {
    /// The end of this process.
    Leave,
    /// Another program in it.
    Upgrade,
}

impl Daemon {
    /// From now on nothing is begun. Once what is under way has ended, so does the loop.
    pub(super) fn begin_to_leave(&mut self) -> Result<(), Closed> {
        let whither = self.going.as_ref().map(|going| going.whither);
        if self.stopping || whither == Some(Whither::Upgrade) {
            return Err(Closed);
        }
        if whither.is_none() {
            tracing::info!("leaving: the tenants go on, and the next supervisor takes them over");
            if let Err(error) = notify::stopping() {
                tracing::warn!(%error, "cannot tell the service manager that we end");
            }
            self.go(Whither::Leave, PATIENCE);
            crash::point("leave: begun", "");
        }
        Ok(())
    }

    /// Whether this process ends and its tenants go on.
    pub(super) fn is_leaving(&self) -> bool {
        let whither = self.going.as_ref().map(|going| going.whither);
        whither == Some(Whither::Leave)
    }

    /// Whether the loop may end with all that stands left standing.
    pub(super) fn may_go(&self) -> bool {
        self.going
            .as_ref()
            .is_some_and(|going| self.is_quiet() || clock::now() >= going.until)
    }

    /// Whether everybody has been answered, and nothing is being made or taken away: no task is under
    /// way, and each program that is being started runs.
    fn is_quiet(&self) -> bool {
        self.control.listener().is_some()
            && self.site.under_way.is_none()
            && self.ledger.all_executed()
    }

    /// Ends with everything standing: hands on the output that was read, and lets go.
    pub(super) async fn leave(self) {
        // Whoever waits hears the end of it before the socket goes.
        drop(self.waiters);
        drop(self.asks);
        self.control.end().await;
        drop(self.notices);
        crash::point("leave: sockets closed", "");
        if self.site.under_way.is_none() {
            self.site.logs.end().await;
        } else {
            tracing::warn!("left while something was under way on the host");
        }
    }
}
