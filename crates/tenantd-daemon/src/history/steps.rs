//! Which transitions of tenants are noted: starts and ends, and what failed.

use jiff::Timestamp;

use tenantd_api::history::{Entry, Kind};
use tenantd_api::wire::watch::ProgramExit;
use tenantd_core::name::TenantName;
use tenantd_core::supervisor::view::StateWord;
use tenantd_core::supervisor::{Cause, Find, Step, Transition};

use super::HISTORY;

/// Notes the transitions of a step. `reason` says why as text.
pub(crate) fn note_step(step: &Step, reason: impl Fn(&TenantName, &Cause) -> String) {
    let Some(history) = HISTORY.get().filter(|_| !step.transitions.is_empty()) else {
        return;
    };
    let mut state = history.lock();
    for transition in &step.transitions {
        let Some(kind) = kind(transition) else {
            continue;
        };
        let Transition {
            tenant, from, to, ..
        } = transition;
        let reason = reason(tenant, &transition.cause);
        let text = match from == to {
            true => format!("{from}: {reason}"),
            false => format!("{from} → {to}: {reason}"),
        };
        let mut entry = Entry::new(kind, Timestamp::now(), &text);
        if ProgramExit::of(&transition.cause).is_some() {
            entry.output = state.ends.note(tenant).unwrap_or_default();
        }
        history.write(&mut state, Some(tenant), (None, entry));
    }
}

/// What a transition is, if it is noted.
fn kind(transition: &Transition) -> Option<Kind> {
    let Transition {
        from, to, cause, ..
    } = transition;
    let is_new = from != to;
    match cause {
        Cause::Failed(_)
        | Cause::GivenUp(_)
        | Cause::Exited(_)
        | Cause::LeftOthers(_)
        | Cause::NotRestarted(_)
        | Cause::Killed(_)
        | Cause::NotApplied(_)
        | Cause::StillRuns(_)
        | Cause::NoMoreTime(..)
        | Cause::Found(Find::Died(_)) => Some(Kind::End),
        Cause::Finished(_, exit, _) => (!exit.is_success()).then_some(Kind::End),
        // The supervisor's own entry says that it took over.
        Cause::Found(Find::Lives | Find::AsItWas(_)) => None,
        Cause::Planned
        | Cause::Replanned
        | Cause::Reloaded
        | Cause::Removed
        | Cause::Unblocked
        | Cause::Requested(_)
        | Cause::Offline(_)
        | Cause::Shutdown
        | Cause::Hurry
        | Cause::Provisioned
        | Cause::Launched
        | Cause::Executed(_)
        | Cause::Skipped
        | Cause::Concluded
        | Cause::Ready
        | Cause::Applied
        | Cause::Emptied
        | Cause::Released
        | Cause::Due
        | Cause::GraceOver
        | Cause::Retry
        | Cause::SaysStopping
        | Cause::Extended => match (from, to) {
            (_, StateWord::Up) if is_new => Some(Kind::Start),
            (StateWord::Up, _) if is_new => Some(Kind::End),
            (_, StateWord::Down) if is_new => Some(Kind::End),
            _ => None,
        },
    }
}
