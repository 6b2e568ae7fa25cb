//! What comes out of the supervisor for one event: actions for the host, and the transitions that
//! the daemon logs in one place.

use std::fmt;

use crate::name::TenantName;
use crate::stage::Failure;

use super::action::Action;
use super::event::{Exit, LaunchId, Verb};
use super::view::{StateWord, Why};

/// All that follows from one event.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Step {
    /// Whose [`Checkpoint`](super::checkpoint::Checkpoint) changed: it is written down before anything is
    /// done.
    pub changed: Vec<TenantName>,
    /// What is to be done, in this order.
    pub actions: Vec<Action>,
    /// What changed, in this order.
    pub transitions: Vec<Transition>,
}

/// A tenant went from one state to another, or it became ready, or a live change was applied to it
/// or refused (then both are `up`).
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Transition {
    /// Which tenant.
    pub tenant: TenantName,
    /// The state it left.
    pub from: StateWord,
    /// The state it entered.
    pub to: StateWord,
    /// The launch of the state it entered, else that of the state it left.
    pub launch: Option<LaunchId>,
    /// What brought it there.
    pub cause: Cause,
}

/// What brought a tenant from one state to another.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Cause {
    /// It became part of the plan.
    Planned,
    /// It became part of the plan, and an earlier supervisor had it.
    Found(Find),
    /// It is planned otherwise.
    Replanned,
    /// The manifest was read again.
    Reloaded,
    /// It is part of the plan no more.
    Removed,
    /// Another tenant let go of what it takes.
    Unblocked,
    /// An operator asked.
    Requested(Verb),
    /// The supervisor is to end.
    Shutdown,
    /// What stops shall use its grace no longer.
    Hurry,
    /// What it needs on the host is there.
    Provisioned,
    /// Its program is being executed.
    Launched,
    /// Its program is ready.
    Ready,
    /// A live change holds for its launch.
    Applied,
    /// A live change does not hold for its launch.
    NotApplied(Failure),
    /// The first process of its launch ended.
    Exited(Exit),
    /// No process of its launch is left.
    Emptied,
    /// What it needed on the host is gone.
    Released,
    /// A stage failed.
    Failed(Failure),
    /// It is not started again: too often it ended too soon, or its policy says so.
    GivenUp(Why),
    /// The wait before it is started again is over.
    Due,
    /// The time from the stop signal to SIGKILL is over.
    GraceOver,
    /// What could not be ended or released is tried again.
    Retry,
}

/// What was found of a tenant that an earlier supervisor had.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Find {
    /// Its launch lives.
    Lives,
    /// Its launch ended while no supervisor ran.
    Died(Exit),
    /// No launch to be judged: it goes on from this state.
    AsItWas(StateWord),
}

impl fmt::Display for Cause {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Cause::Planned => "it is in the plan",
            Cause::Replanned => "its manifest changed",
            Cause::Reloaded => "the manifest was read again",
            Cause::Removed => "it is in the manifest no more",
            Cause::Unblocked => "what it takes is free now",
            Cause::Shutdown => "the supervisor is to end",
            Cause::Hurry => "the supervisor is to end at once",
            Cause::Provisioned => "its network, datastore and cgroup are there",
            Cause::Launched => "its program was executed",
            Cause::Ready => "it is ready",
            Cause::Applied => "the live change was applied",
            Cause::Emptied => "none of its processes is left",
            Cause::Released => "its network and cgroup are gone",
            Cause::Due => "its wait is over",
            Cause::GraceOver => "its grace is over",
            Cause::Retry => "another try",
            Cause::Found(Find::Lives) => "its program outlived an earlier supervisor",
            Cause::Found(Find::Died(exit)) => {
                return write!(f, "while no supervisor ran, its program {exit}");
            }
            Cause::Found(Find::AsItWas(state)) => {
                return write!(f, "it was {state} when an earlier supervisor died");
            }
            Cause::Requested(verb) => {
                return write!(f, "an operator asked for its {}", verb.word());
            }
            Cause::Exited(exit) => return write!(f, "its program {exit}"),
            Cause::Failed(failure) | Cause::NotApplied(failure) => return failure.fmt(f),
            Cause::GivenUp(Why::Exit(exit)) => return write!(f, "given up: its program {exit}"),
            Cause::GivenUp(Why::Failure(why)) => return write!(f, "given up: {why}"),
        })
    }
}
