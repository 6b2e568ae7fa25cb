//! Leaving: the supervisor ends and its tenants go on. Nothing of theirs is taken away; the next
//! supervisor finds it and takes it over, as after a death, but nothing is cut off halfway.

use std::rc::Rc;
use std::time::Duration;

use tokio::task::JoinHandle;

use crate::crash;

use super::desk::Closed;
use super::{Daemon, clock, notify};

/// How long what is under way may take to end: a provision, a launch, a release. What takes longer
/// is found half-made by the next supervisor, which finishes or undoes it.
const PATIENCE: Duration = Duration::from_secs(3);

impl Daemon {
    /// From now on nothing is begun. Once what is under way has ended, so does the loop.
    pub(super) fn begin_to_leave(&mut self) -> Result<(), Closed> {
        if self.stopping {
            return Err(Closed);
        }
        if self.leaving.is_none() {
            tracing::info!("leaving: the tenants go on, and the next supervisor takes them over");
            if let Err(error) = notify::stopping() {
                tracing::warn!(%error, "cannot tell the service manager that we end");
            }
            self.leaving = Some(clock::now() + PATIENCE);
            crash::point("leave: begun", "");
        }
        Ok(())
    }

    /// Whether the loop may end with all that stands left standing.
    pub(super) fn may_leave(&self) -> bool {
        self.leaving
            .is_some_and(|until| self.is_quiet() || clock::now() >= until)
    }

    /// Whether nothing is being made or taken away: each task that does has the site, and a program
    /// that is being started has a launch without an execution.
    fn is_quiet(&self) -> bool {
        Rc::strong_count(&self.site) == 1 && self.ledger.all_executed()
    }

    /// Ends with everything standing: hands on the output that was read, and lets go.
    pub(super) async fn leave(self, control: JoinHandle<()>) {
        // Whoever waits hears the end of it before the socket goes.
        drop(self.waiters);
        drop(self.asks);
        control.abort();
        // An aborted task is dropped, and its socket removed, once it has been waited for.
        let _aborted = control.await;
        drop(self.notices);
        crash::point("leave: sockets closed", "");
        match Rc::into_inner(self.site) {
            Some(site) => site.logs.end().await,
            None => tracing::warn!("left while something was under way on the host"),
        }
    }
}
