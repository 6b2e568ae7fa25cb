//! A program that ended by itself, with success, and is not restarted: the state `exited`.
//!
//! The tenant is taken down as by a stop, and everything is released. What an operator wants of it
//! stays: it is still wanted up, and [`Tenant::exit`] says why it is not. So inside, its state is
//! `Down` and so is `Tenant::want`; an earlier version that continues from its checkpoint leaves it
//! down. It survives the supervisor, but not a reboot of the host.

use crate::plan::model::RestartWhen;
use crate::supervisor::event::Exit;
use crate::supervisor::step::Cause;
use crate::supervisor::view::{StateWord, Want, Why};

use super::background;
use super::{Resources, State, Tenant, TransitionContext};

impl Tenant {
    /// Its program has ended by itself and is not restarted: it is released.
    pub(super) fn ended_by_itself(
        &mut self,
        context: &mut TransitionContext,
        (exit, why): (Exit, Why),
        resources: Resources,
    ) -> State {
        self.want = Want::Down;
        self.left_others = matches!(why, Why::Failure(_));
        self.exited = Some(exit);
        context.cause = Cause::NotRestarted(exit);
        self.bring_down(context, resources)
    }

    /// How its program ended, if it ended by itself and nothing was requested since. During a
    /// shutdown, every tenant is down.
    pub(in crate::supervisor) fn exit(&self) -> Option<Exit> {
        self.exited.filter(|_| self.want_before_end.is_none())
    }

    /// Its state in one word.
    pub(in crate::supervisor) fn word(&self) -> StateWord {
        match (&self.state, self.exit()) {
            (State::Down, Some(_)) => StateWord::Exited,
            (state, _) => state.word(),
        }
    }

    /// What is wanted of it, as an operator sees it.
    pub(super) fn shown_want(&self) -> Want {
        match self.exit() {
            Some(_) => Want::Up,
            None => self.want,
        }
    }

    /// Why it is down although it is wanted up.
    pub(super) fn why_down(&self) -> Option<Why> {
        let exit = self.exit()?;
        Some(match self.left_others {
            true => background::why(exit),
            false => Why::Exit(exit),
        })
    }

    /// The policy has changed to one that restarts every program: it is started.
    pub(super) fn restart_exited(&mut self, context: &mut TransitionContext) {
        let always = self.policy.restart.when == RestartWhen::Always;
        if always && self.exit().is_some() && !self.removed {
            self.want_up(context);
        }
    }
}
