//! Programs that say that they are stopping.

use std::time::Duration;

use tenantd_core::supervisor::Step;
use tenantd_core::supervisor::event::Event;
use tenantd_core::supervisor::view::{StateWord, View};

use super::checker::Checker;
use super::invariant::{Invariant, Violation, check};

impl Checker {
    /// What the events of programs that run do.
    pub(crate) fn check_programs(
        &self,
        event: &Event,
        before: &[View],
        after: impl Iterator<Item = View>,
        step: &Step,
    ) -> Result<(), Violation> {
        let after: Vec<View> = after.collect();
        Self::check_alive(event, before, after.iter().cloned())?;
        self.check_stopping(event, before, &after, step)
    }

    /// A program that runs and says that it is stopping is shown so, and gets no signal for that.
    fn check_stopping(
        &self,
        event: &Event,
        before: &[View],
        after: &[View],
        step: &Step,
    ) -> Result<(), Violation> {
        let Event::SaysStopping { launch } = event else {
            return Ok(());
        };
        let of_launch = |view: &&View| view.launch == Some(*launch);
        let Some(was) = before.iter().find(of_launch) else {
            return Ok(());
        };
        let grace = self.policy(&was.name).map_or(Duration::ZERO, |it| it.grace);
        let is = after.iter().find(of_launch);
        let shown = is.is_some_and(|is| match was.state {
            StateWord::Up if !grace.is_zero() => {
                is.state == StateWord::Stopping && is.why.is_none()
            }
            _ => is == was,
        });
        check(
            shown && step.actions.is_empty(),
            Invariant::StopsByItself,
            || format!("{was:?}, {is:?}: {step:?}"),
        )
    }
}
