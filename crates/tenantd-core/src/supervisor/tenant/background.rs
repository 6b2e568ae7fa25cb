//! A program that puts itself into the background, while its policy does not say so: its first process
//! exits with status 0 soon after its start and leaves others running. These are stopped like those of
//! any other program, and the reason says what to set.

use std::time::Duration;

use crate::stage::{Failure, Stage};
use crate::supervisor::event::Exit;
use crate::supervisor::step::Cause;
use crate::supervisor::view::Why;

use super::{Live, State, Tenant, TransitionContext};

/// A first process that exits later than this after its start did not put its program into the
/// background: the program has ended.
const SOON: Duration = Duration::from_secs(60);

impl Tenant {
    /// Why a launch ends whose first process has exited and left others running.
    pub(super) fn why_left(
        &self,
        launch: Live,
        exit: Exit,
        context: &mut TransitionContext,
    ) -> Why {
        let lived = context.now.since(launch.started_at);
        if !exit.is_success() || self.policy.daemonizes || lived > SOON {
            return Why::Exit(exit);
        }
        context.cause = Cause::LeftOthers(exit);
        why(exit)
    }

    /// Its policy has been corrected: a tenant that has failed for that reason is started again.
    pub(super) fn retry_in_background(&mut self, context: &mut TransitionContext) {
        let State::Failed { resources, why } = &self.state else {
            return;
        };
        if exit_in_background(why).is_some() {
            let resources = *resources;
            self.strikes.clear();
            self.state = self.bring_up(context, resources);
        }
    }
}

/// The reason of such an end.
pub(super) fn why(exit: Exit) -> Why {
    let detail = format!("its first process {exit} and left others running");
    Why::Failure(Failure::detail(Stage::Background, "", detail))
}

/// The exit that a reason stands for.
pub(super) fn exit(why: &Why) -> Option<Exit> {
    match why {
        Why::Exit(exit) => Some(*exit),
        Why::Failure(_) => exit_in_background(why),
    }
}

fn exit_in_background(why: &Why) -> Option<Exit> {
    match why {
        Why::Failure(failure) if failure.stage == Stage::Background => Some(Exit::Status(0)),
        Why::Failure(_) | Why::Exit(_) => None,
    }
}
