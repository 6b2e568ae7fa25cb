//! Invariants about coming to rest: deadlines are handled, and tenants reach the wanted state.

use tenantd_core::supervisor::time::Moment;
use tenantd_core::supervisor::view::{StateWord, View, Want};

use super::checker::Checker;
use super::invariant::{Invariant, Violation, check};

impl Checker {
    /// All deadlines up to now have been handled.
    pub(crate) fn check_deadlines(now: Moment, next: Option<Moment>) -> Result<(), Violation> {
        let late = next.is_some_and(|next| next <= now);
        check(!late, Invariant::DeadlinesHandled, || {
            format!("{next:?} at {now:?}")
        })
    }

    /// Faults have ended and no event is outstanding. `requested_again` says whether everything was
    /// requested again since the end of the faults; otherwise a tenant may still be stuck.
    pub(crate) fn end(views: &[View], requested_again: bool) -> Result<(), Violation> {
        let stuck = |view: &View| view.state == StateWord::Stuck && view.until.is_none();
        let stuck = !requested_again && views.iter().any(stuck);
        for view in views {
            let good = match (view.want, view.state) {
                (Want::Up, StateWord::Up) => view.ready == Some(true),
                (Want::Up, StateWord::Failed | StateWord::Exited)
                | (Want::Down, StateWord::Down) => true,
                (_, StateWord::Stuck) => !requested_again && view.until.is_none(),
                // It waits for a tenant that is stuck.
                (Want::Up, StateWord::Provisioning) => stuck,
                _ => false,
            };
            check(good, Invariant::WantedStateReached, || format!("{view:?}"))?;
        }
        Ok(())
    }

    /// Without faults and edits, a shutdown completes.
    pub(crate) fn check_finished(shutdown: bool, finished: bool) -> Result<(), Violation> {
        check(shutdown == finished, Invariant::ShutdownCompletes, || {
            format!("{shutdown} {finished}")
        })
    }

    /// The world came to rest within the limit of events.
    pub(crate) fn check_rest(events: u32) -> Result<(), Violation> {
        check(events < 20_000, Invariant::ComesToRest, || {
            format!("{events} events")
        })
    }
}
