//! Laws about programs that end by themselves, and about what is wanted.

use tenantd_core::name::TenantName;
use tenantd_core::supervisor::Step;
use tenantd_core::supervisor::action::Action;
use tenantd_core::supervisor::event::Event;
use tenantd_core::supervisor::view::{StateWord, View};

use super::checker::Checker;
use super::invariant::{Invariant, Violation, check};

impl Checker {
    /// Only requests and the manifest change what is wanted, and start a tenant that exited.
    pub(crate) fn check_want(
        event: &Event,
        before: &[View],
        after: impl Iterator<Item = View>,
        step: &Step,
    ) -> Result<(), Violation> {
        let is_changed = |name: &TenantName| match event {
            Event::Shutdown => true,
            Event::Planned { tenant, .. }
            | Event::Replanned { tenant, .. }
            | Event::Removed { tenant } => tenant == name,
            _ => false,
        };
        let after: Vec<View> = after.collect();
        for was in before.iter().filter(|view| !is_changed(&view.name)) {
            let is = after.iter().find(|view| view.name == was.name);
            let same = is.is_none_or(|is| is.want == was.want);
            check(same, Invariant::WantIsRequested, || {
                format!("{event:?}: {was:?}, {is:?}")
            })?;
            let starts = |action: &Action| {
                matches!(
                    action,
                    Action::Provision { tenant } | Action::Launch { tenant, .. }
                    if *tenant == was.name
                )
            };
            let started = was.state == StateWord::Exited && step.actions.iter().any(starts);
            check(!started, Invariant::ExitedIsOver, || {
                format!("{event:?}: {step:?}")
            })?;
        }
        Ok(())
    }

    /// A ready program that no longer answers is ended, and one that is not ready is left.
    pub(crate) fn check_alive(
        event: &Event,
        before: &[View],
        after: impl Iterator<Item = View>,
    ) -> Result<(), Violation> {
        let Event::NotAlive { launch, .. } = event else {
            return Ok(());
        };
        let after: Vec<View> = after.collect();
        let of_launch = |view: &&View| view.launch == Some(*launch);
        let Some(was) = before.iter().find(of_launch) else {
            return Ok(());
        };
        let is = after.iter().find(|view| view.name == was.name);
        let is_ready = was.state == StateWord::Up && was.ready == Some(true);
        let holds = match is_ready {
            true => is.is_some_and(|is| is.state == StateWord::Stopping && is.why.is_some()),
            false => is == Some(was),
        };
        check(holds, Invariant::NotAliveIsEnded, || {
            format!("{was:?}, {is:?}")
        })
    }
}
