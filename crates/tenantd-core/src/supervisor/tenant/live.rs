//! Live changes: what is different in a tenant's plan is set on the launch that runs, without ending
//! it.
//!
//! A launch takes the plan as it stands when its action is given. A change that comes later is
//! applied once the program runs, one [`Action::Apply`] at a time. What is pending names its launch,
//! so that it ends with that one: the next launch begins by the whole plan.

use crate::stage::Failure;
use crate::supervisor::action::Action;
use crate::supervisor::event::LaunchId;
use crate::supervisor::step::{Cause, Transition};
use crate::supervisor::view::Unapplied;

use super::{State, Tenant, TransitionContext};

/// A live change that a launch does not have yet.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Pending {
    launch: LaunchId,
    progress: Progress,
}

/// How far a live change is.
#[derive(Debug, Clone, PartialEq, Eq)]
enum Progress {
    /// It came while the launch began, and is applied once the program runs.
    Awaiting,
    /// The host was asked to apply it; and whether the plan changed again since.
    Underway { again: bool },
    /// The host could not.
    Refused(Failure),
}

impl Tenant {
    /// The plan says something else of what runs: the host is to set it.
    pub(in crate::supervisor) fn apply(&mut self, context: &mut TransitionContext) {
        match &self.state {
            State::Up { launch, .. } => {
                let launch = launch.id;
                match self.progress() {
                    Some(Progress::Underway { .. }) => {
                        self.pend(launch, Progress::Underway { again: true });
                    }
                    Some(Progress::Awaiting | Progress::Refused(_)) | None => {
                        self.ask_to_apply(launch, context);
                    }
                }
            }
            State::Launching { launch, .. } => self.pend(launch.id, Progress::Awaiting),
            // Its next launch begins by the new plan.
            State::Down
            | State::Provisioning { .. }
            | State::Stopping { .. }
            | State::Waiting { .. }
            | State::Failed { .. }
            | State::Releasing { .. }
            | State::Stuck { .. } => self.pending = None,
        }
    }

    /// Its program runs: what came while it was on its way is applied now.
    pub(super) fn apply_awaited(&mut self, context: &mut TransitionContext) {
        if self.progress() == Some(&Progress::Awaiting) {
            self.apply(context);
        }
    }

    /// The manifest was read again: what was refused is tried again.
    pub(in crate::supervisor) fn apply_again(&mut self, context: &mut TransitionContext) {
        match self.progress() {
            Some(Progress::Refused(_)) => self.apply(context),
            Some(Progress::Awaiting | Progress::Underway { .. }) | None => {}
        }
    }

    /// The host has applied what it was asked to, or refused it.
    pub(in crate::supervisor) fn applied(
        &mut self,
        refused: Option<Failure>,
        context: &mut TransitionContext,
    ) {
        match (self.progress(), refused) {
            (Some(Progress::Underway { again: true }), _) => {
                self.pending = None;
                self.apply(context);
            }
            (Some(Progress::Underway { again: false }), None) => self.pending = None,
            (Some(Progress::Underway { again: false }), Some(why)) => {
                if let Some(pending) = &mut self.pending {
                    pending.progress = Progress::Refused(why);
                }
            }
            // Nothing was asked for, or its launch is about to end.
            (Some(Progress::Awaiting | Progress::Refused(_)) | None, _) => {}
        }
    }

    fn ask_to_apply(&mut self, launch: LaunchId, context: &mut TransitionContext) {
        context.actions.push(Action::Apply {
            tenant: self.name.clone(),
            launch,
        });
        self.pend(launch, Progress::Underway { again: false });
    }

    fn pend(&mut self, launch: LaunchId, progress: Progress) {
        self.pending = Some(Pending { launch, progress });
    }

    /// How far a live change is for the launch that is there, unless that is being ended.
    fn progress(&self) -> Option<&Progress> {
        match &self.state {
            State::Launching { launch, .. } | State::Up { launch, .. } => {
                let pending = self.pending.as_ref();
                pending
                    .filter(|pending| pending.launch == launch.id)
                    .map(|pending| &pending.progress)
            }
            State::Down
            | State::Provisioning { .. }
            | State::Stopping { .. }
            | State::Waiting { .. }
            | State::Failed { .. }
            | State::Releasing { .. }
            | State::Stuck { .. } => None,
        }
    }

    /// What of its plan does not hold yet for its launch.
    pub(in crate::supervisor) fn unapplied(&self) -> Option<Unapplied> {
        match self.progress()? {
            Progress::Awaiting => None,
            Progress::Underway { .. } => Some(Unapplied::Underway),
            Progress::Refused(why) => Some(Unapplied::Refused(why.clone())),
        }
    }

    /// What has become of a live change: it holds, or was refused. Nothing if its launch is being
    /// ended.
    pub(in crate::supervisor) fn applied_since(
        &self,
        before: Option<Unapplied>,
    ) -> Option<Transition> {
        let launch = match &self.state {
            State::Up { launch, .. } => launch.id,
            State::Down
            | State::Provisioning { .. }
            | State::Launching { .. }
            | State::Stopping { .. }
            | State::Waiting { .. }
            | State::Failed { .. }
            | State::Releasing { .. }
            | State::Stuck { .. } => return None,
        };
        let cause = match (before?, self.unapplied()) {
            (Unapplied::Underway, Some(Unapplied::Refused(why))) => Cause::NotApplied(why),
            (Unapplied::Underway | Unapplied::Refused(_), None) => Cause::Applied,
            (Unapplied::Underway, Some(Unapplied::Underway)) | (Unapplied::Refused(_), Some(_)) => {
                return None;
            }
        };
        let word = self.state.word();
        Some(Transition {
            tenant: self.name.clone(),
            from: word,
            to: word,
            launch: Some(launch),
            cause,
        })
    }
}
