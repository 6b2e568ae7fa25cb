//! What an earlier supervisor remembered of a tenant, and what the host still has of it: the
//! tenant goes on from there.
//!
//! What was under way is finished, or undone where it is no longer wanted. A launch that lives is
//! never ended for its supervisor's death alone; one that died meanwhile has ended unasked. What was
//! planned otherwise meanwhile is made anew as by a reload: no more of it than has to be, and what
//! went wrong by the old plan is forgotten.

use crate::plan::model::Readiness;
use crate::supervisor::backoff::Strikes;
use crate::supervisor::event::Exit;
use crate::supervisor::memory::{Fate, Footing, Found, Memory};
use crate::supervisor::step::{Cause, Find};
use crate::supervisor::view::{StateWord, Want, Why};

use super::{After, Anew, Ending, Left, Live, Readying, State, Tenant, Turn};

impl Tenant {
    /// What its next supervisor has to know of it; the budget is not its own.
    pub(in crate::supervisor) fn memory(&self) -> Memory {
        let want = self.want();
        Memory {
            want,
            // One that left the manifest is wanted down for that alone: if it is in it again when
            // it is found, it is a new one.
            asked: (want == Want::Up) != self.policy.autostart && !self.leaving,
            state: self.state.clone(),
            since: self.since,
            restarts: self.restarts,
            strikes: match self.leaving {
                true => Strikes::default(),
                false => self.strikes.clone(),
            },
            ..Memory::none(self.since)
        }
    }

    /// Goes on with a tenant that is new to this supervisor, but not to the host. `allowed` says
    /// whether anything may still be wanted up.
    pub(in crate::supervisor) fn found(&mut self, found: Found, allowed: bool, turn: &mut Turn) {
        let Found {
            memory,
            fate,
            footing,
            outdated,
            applied,
        } = found;
        // A want that nobody asked for is the manifest's, which may have changed.
        let up = match memory.asked {
            true => memory.want == Want::Up,
            false => self.policy.autostart,
        };
        self.want = if up && allowed { Want::Up } else { Want::Down };
        self.restarts = memory.restarts;
        self.strikes = memory.strikes;
        let anew = outdated.and_then(Anew::by);
        if anew.is_some() {
            self.strikes.clear();
        }
        let word = memory.state.word();
        turn.cause = Cause::Found(Find::AsItWas(word));
        self.state = match fate {
            Fate::Lives => self.outlived(memory.state, anew, turn),
            Fate::Over(exit) => self.resumed(memory.state, exit, footing, anew, turn),
        };
        if self.state.word() == word {
            self.since = memory.since;
        }
        // It may have been about to be applied when its supervisor died.
        if fate == Fate::Lives && !applied {
            self.apply(turn);
        }
    }

    /// Its launch lives.
    fn outlived(&mut self, was: State, anew: Option<Anew>, turn: &mut Turn) -> State {
        turn.cause = Cause::Found(Find::Lives);
        match was {
            State::Stopping {
                launch,
                ending,
                after,
            } => {
                let after = anew.map_or(after.clone(), |anew| after.anew(anew));
                self.go_on_stopping(turn, launch, ending, after)
            }
            State::Stuck {
                left: Left::Processes { launch, after },
                why,
                tries,
                retry_at,
            } => {
                turn.cause = Cause::Found(Find::AsItWas(StateWord::Stuck));
                let after = anew.map_or(after.clone(), |anew| after.anew(anew));
                let left = Left::Processes { launch, after };
                State::Stuck {
                    left,
                    why,
                    tries,
                    retry_at,
                }
            }
            State::Launching { launch, again } => match again.max(anew) {
                Some(anew) => self.stop(turn, launch, anew.into()),
                None if self.want == Want::Down => self.stop(turn, launch, After::Relaunch),
                None => self.up_unheard(turn, launch, None),
            },
            State::Up { launch, ready } => match anew {
                Some(anew) => self.stop(turn, launch, anew.into()),
                None if self.want == Want::Down => self.stop(turn, launch, After::Relaunch),
                None => self.up_unheard(turn, launch, Some(ready)),
            },
            // None of these has a launch, so that this is a broken word: what lives there is in the
            // way of a provision, and of a release.
            State::Down
            | State::Provisioning { .. }
            | State::Waiting { .. }
            | State::Held { .. }
            | State::Releasing { .. }
            | State::Stuck {
                left: Left::Network,
                ..
            } => {
                turn.cause = Cause::Found(Find::AsItWas(was.word()));
                self.resumed(was, Exit::Unknown, Footing::Remains, anew, turn)
            }
        }
    }

    /// Up under a supervisor that has not heard all that its program said.
    fn up_unheard(&self, turn: &Turn, launch: Live, before: Option<Readying>) -> State {
        let ready = match (before, &self.policy.ready) {
            (Some(Readying::Ready), _) => Readying::Ready,
            (Some(at @ Readying::At(_)), Readiness::Lived(_)) => at,
            (
                Some(Readying::Before(_) | Readying::At(_) | Readying::Unheard(_)) | None,
                Readiness::Notify,
            ) => Readying::Unheard(turn.now + self.policy.ready_within),
            (
                Some(Readying::Before(_) | Readying::At(_) | Readying::Unheard(_)) | None,
                Readiness::Started | Readiness::Lived(_) | Readiness::Tcp(_),
            ) => return self.up(turn, launch),
        };
        State::Up { launch, ready }
    }

    /// Whether the signal was sent before its supervisor died is not known: it is sent again.
    fn go_on_stopping(&self, turn: &mut Turn, launch: Live, ending: Ending, after: After) -> State {
        match ending {
            Ending::Grace { kill_at } if !turn.hurry => {
                self.terminate(turn, launch);
                State::Stopping {
                    launch,
                    ending: Ending::Grace { kill_at },
                    after,
                }
            }
            Ending::Grace { .. } | Ending::Killed { .. } => self.kill(turn, launch, after),
        }
    }

    /// Nothing of it lives.
    fn resumed(
        &mut self,
        was: State,
        exit: Exit,
        footing: Footing,
        anew: Option<Anew>,
        turn: &mut Turn,
    ) -> State {
        match was {
            State::Up { launch, .. } => {
                turn.cause = Cause::Found(Find::Died(exit));
                let judged = self.over(turn, launch, After::Judge(Why::Exit(exit)), footing);
                match (judged, anew) {
                    (State::Waiting { .. } | State::Held { .. }, Some(anew)) => {
                        turn.cause = Cause::Found(Find::Died(exit));
                        self.strikes.clear();
                        self.bring_up_anew(turn, footing, anew)
                    }
                    (judged, _) => judged,
                }
            }
            State::Stopping { launch, after, .. }
            | State::Stuck {
                left: Left::Processes { launch, after },
                ..
            } => {
                let after = anew.map_or(after.clone(), |anew| after.anew(anew));
                self.over(turn, launch, after, footing)
            }
            State::Waiting {
                until, again, why, ..
            } if self.want == Want::Up && anew.is_none() => State::Waiting {
                until,
                footing,
                again,
                why,
            },
            State::Held { why, .. } if self.want == Want::Up && anew.is_none() => {
                State::Held { footing, why }
            }
            State::Stuck {
                left: Left::Network,
                why,
                tries,
                retry_at,
            } if footing != Footing::Nothing => State::Stuck {
                left: Left::Network,
                why,
                tries,
                retry_at,
            },
            // What was under way is done again, or undone. That a program ran which was only about
            // to is not known, so that it is no strike.
            State::Down
            | State::Provisioning { .. }
            | State::Launching { .. }
            | State::Waiting { .. }
            | State::Held { .. }
            | State::Releasing { .. }
            | State::Stuck { .. } => match (self.want, anew) {
                (Want::Up, Some(anew)) => self.bring_up_anew(turn, footing, anew),
                (Want::Up, None) => self.bring_up(turn, footing),
                (Want::Down, _) => self.bring_down(turn, footing),
            },
        }
    }
}
