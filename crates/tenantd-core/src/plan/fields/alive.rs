//! The fields of the probe of a program that is ready. A change applies to the running program.

use super::Later;
use super::field::{See, decides};
use super::words::Span;
use crate::plan::alive::Alive;

/// Visits the probe, if there is one.
pub(super) fn alive(alive: Option<&Alive>, see: See<'_>) {
    let Some(alive) = alive else {
        return;
    };
    let Alive {
        probe,
        interval,
        timeout,
        failures,
    } = alive;
    let (interval, timeout) = (Span(*interval), Span(*timeout));
    let asked = format!("{probe}, every {interval}, at most {timeout}, {failures} failures");
    see(decides(Later("alive"), "alive", &asked, false));
}
