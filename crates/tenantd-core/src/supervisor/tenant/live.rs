//! Live changes: changes of the plan that are applied to a running launch.
//!
//! A launch uses the plan as of its [`Action::Launch`]. A later change is applied once the program
//! runs, one [`Action::Apply`] at a time. A pending change belongs to one launch and ends with it,
//! because the next launch uses the whole current plan.

use crate::stage::Failure;
use crate::supervisor::action::Action;
use crate::supervisor::event::LaunchId;
use crate::supervisor::step::{Cause, Transition};
use crate::supervisor::view::{Unapplied, Why};

use super::{State, Tenant, TransitionContext};

/// A live change that has not been applied to a launch.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Pending {
    launch: LaunchId,
    progress: Progress,
}

/// The progress of a live change.
#[derive(Debug, Clone, PartialEq, Eq)]
enum Progress {
    /// It arrived during the launch, and is applied once the program runs.
    Awaiting,
    /// It is being applied. `again` is set if the plan has changed since.
    Underway { again: bool },
    /// The host refused it.
    Refused(Failure),
}

impl Tenant {
    /// The plan has a live change: applies it to the current launch, if any.
    pub(in crate::supervisor) fn apply(&mut self, context: &mut TransitionContext) {
        match &self.state {
            State::Up { launch, .. } => {
                let launch = launch.id;
                match self.progress() {
                    Some(Progress::Underway { .. }) => {
                        self.pend(launch, Progress::Underway { again: true });
                    }
                    Some(Progress::Awaiting | Progress::Refused(_)) | None => {
                        self.request_apply(launch, context);
                    }
                }
            }
            State::Launching { launch, .. } => self.pend(launch.id, Progress::Awaiting),
            // The change may concern what its start failed on, such as a limit.
            State::Failed {
                resources,
                why: Why::Failure(_),
            } => {
                let resources = *resources;
                self.strikes.clear();
                self.state = self.bring_up(context, resources);
            }
            // The next launch uses the new plan.
            State::Down
            | State::Provisioning { .. }
            | State::Preparing { .. }
            | State::Concluding { .. }
            | State::Stopping { .. }
            | State::Waiting { .. }
            | State::Failed {
                why: Why::Exit(_), ..
            }
            | State::Releasing { .. }
            | State::Stuck { .. } => self.pending = None,
        }
    }

    /// The program was executed: applies a change that arrived during the launch.
    pub(super) fn apply_awaited(&mut self, context: &mut TransitionContext) {
        if self.progress() == Some(&Progress::Awaiting) {
            self.apply(context);
        }
    }

    /// The manifest was reloaded: retries a refused change.
    pub(in crate::supervisor) fn apply_again(&mut self, context: &mut TransitionContext) {
        match self.progress() {
            Some(Progress::Refused(_)) => self.apply(context),
            Some(Progress::Awaiting | Progress::Underway { .. }) | None => {}
        }
    }

    /// The host has applied a change or refused it.
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
            // No apply is in progress, or the launch is ending.
            (Some(Progress::Awaiting | Progress::Refused(_)) | None, _) => {}
        }
    }

    fn request_apply(&mut self, launch: LaunchId, context: &mut TransitionContext) {
        context.actions.push(Action::Apply {
            tenant: self.name.clone(),
            launch,
        });
        self.pend(launch, Progress::Underway { again: false });
    }

    fn pend(&mut self, launch: LaunchId, progress: Progress) {
        self.pending = Some(Pending { launch, progress });
    }

    /// The progress of a live change for the current launch, unless the launch is being ended.
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
            | State::Preparing { .. }
            | State::Concluding { .. }
            | State::Stopping { .. }
            | State::Waiting { .. }
            | State::Failed { .. }
            | State::Releasing { .. }
            | State::Stuck { .. } => None,
        }
    }

    /// Whether the host refused a live change.
    pub(in crate::supervisor) fn is_refused(&self) -> bool {
        matches!(self.progress(), Some(Progress::Refused(_)))
    }

    /// The live change that has not been applied, if any.
    pub(in crate::supervisor) fn unapplied(&self) -> Option<Unapplied> {
        match self.progress()? {
            Progress::Awaiting => None,
            Progress::Underway { .. } => Some(Unapplied::Underway),
            Progress::Refused(why) => Some(Unapplied::Refused(why.clone())),
        }
    }

    /// The transition to report if a live change was applied or refused since `before`. `None` if
    /// the launch is being ended.
    pub(in crate::supervisor) fn applied_since(
        &self,
        before: Option<Unapplied>,
    ) -> Option<Transition> {
        let launch = match &self.state {
            State::Up { launch, .. } => launch.id,
            State::Down
            | State::Provisioning { .. }
            | State::Launching { .. }
            | State::Preparing { .. }
            | State::Concluding { .. }
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
