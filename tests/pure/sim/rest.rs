//! Laws about coming to rest: deadlines are handled, and tenants reach what is wanted.

use tenantd_core::supervisor::time::Moment;
use tenantd_core::supervisor::view::{StateWord, View, Want};

use super::law::{Broken, Law, check};
use super::laws::Laws;

impl Laws {
    /// All deadlines up to now have been handled.
    pub(crate) fn done(now: Moment, next: Option<Moment>) -> Result<(), Broken> {
        let late = next.is_some_and(|next| next <= now);
        check(!late, Law::DueIsDone, || format!("{next:?} at {now:?}"))
    }

    /// The world has become fair and quiet. Whether all was asked for again since it is fair
    /// says whether something may still be stuck.
    pub(crate) fn end(views: &[View], asked_again: bool) -> Result<(), Broken> {
        let stuck = |view: &View| view.state == StateWord::Stuck && view.until.is_none();
        let stuck = !asked_again && views.iter().any(stuck);
        for view in views {
            let good = match (view.want, view.state) {
                (Want::Up, StateWord::Up) => view.ready == Some(true),
                (Want::Up, StateWord::Failed) | (Want::Down, StateWord::Down) => true,
                (_, StateWord::Stuck) => !asked_again && view.until.is_none(),
                // It takes what is stuck.
                (Want::Up, StateWord::Provisioning) => stuck,
                _ => false,
            };
            check(good, Law::EndAsWanted, || format!("{view:?}"))?;
        }
        Ok(())
    }

    /// Without faults and edits, a shutdown completes.
    pub(crate) fn finishes(shutdown: bool, finished: bool) -> Result<(), Broken> {
        check(shutdown == finished, Law::Finish, || {
            format!("{shutdown} {finished}")
        })
    }

    /// The world came to rest within the limit of events.
    pub(crate) fn rests(events: u32) -> Result<(), Broken> {
        check(events < 20_000, Law::Rest, || format!("{events} events"))
    }
}
