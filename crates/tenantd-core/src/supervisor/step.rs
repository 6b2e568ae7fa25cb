//! The result of one event: actions for the host, and the transitions that the daemon logs.

use std::fmt;
use std::time::Duration;

use crate::name::TenantName;
use crate::plan::phase::Phase;
use crate::stage::Failure;

use super::action::Action;
use super::event::{Exit, LaunchId, Verb};
use super::forced::ForcedKill;
use super::offline::Offline;
use super::tenant::LIMIT_TIMES;
use super::view::{StateWord, Why};

/// The result of one event.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Step {
    /// The tenants whose [`Checkpoint`](super::checkpoint::Checkpoint) changed. Checkpoints are
    /// written before any action is carried out.
    pub changed: Vec<TenantName>,
    /// The actions to carry out, in this order.
    pub actions: Vec<Action>,
    /// The transitions, in this order.
    pub transitions: Vec<Transition>,
}

/// A change of state. If a tenant became ready, or a live change was applied or refused, `from` and
/// `to` are both `up`; they are equal too if a command before the program succeeded, processes were
/// killed after their grace, or a program asked for more time than it can have.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Transition {
    /// The tenant.
    pub tenant: TenantName,
    /// The state it left.
    pub from: StateWord,
    /// The state it entered.
    pub to: StateWord,
    /// The launch of the state it entered, else that of the state it left.
    pub launch: Option<LaunchId>,
    /// The cause.
    pub cause: Cause,
}

/// The cause of a transition.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Cause {
    /// The tenant is in the plan.
    Planned,
    /// The tenant is in the plan, and was found by a new supervisor.
    Found(Find),
    /// Its plan changed.
    Replanned,
    /// The manifest was reloaded.
    Reloaded,
    /// It was removed from the plan.
    Removed,
    /// Another tenant released the address or datastore that it needs.
    Unblocked,
    /// A request of an operator.
    Requested(Verb),
    /// An operator runs a command in it while it is not up.
    Offline(Offline),
    /// The supervisor shuts down.
    Shutdown,
    /// The supervisor shuts down without grace periods.
    Hurry,
    /// The provision succeeded.
    Provisioned,
    /// Its program was executed.
    Launched,
    /// The command of a phase was executed.
    Executed(Phase),
    /// Its datastore is not new.
    Skipped,
    /// The command of a phase exited, after this time.
    Finished(Phase, Exit, Duration),
    /// The result of phase init was recorded.
    Concluded,
    /// Its program is ready.
    Ready,
    /// A live change was applied.
    Applied,
    /// A live change was refused.
    NotApplied(Failure),
    /// The first process of its launch exited.
    Exited(Exit),
    /// The first process of its launch exited so and left others running, as a program that puts itself
    /// into the background does, and its policy does not say that it does.
    LeftOthers(Exit),
    /// Its program ended by itself, and is not restarted.
    NotRestarted(Exit),
    /// The last process of its launch exited.
    Emptied,
    /// The release succeeded.
    Released,
    /// A stage failed.
    Failed(Failure),
    /// It is not restarted: it had too many strikes, its policy forbids it, or no retry can help.
    GivenUp(Why),
    /// Its restart delay is over.
    Due,
    /// Its grace period is over.
    GraceOver,
    /// What was left of its launch after the grace was killed.
    Killed(ForcedKill),
    /// A failed end or release is retried.
    Retry,
    /// Its program says that it is stopping.
    SaysStopping,
    /// Its program said that it is stopping, and still runs after this time.
    StillRuns(Duration),
    /// Its program asked for more time.
    Extended,
    /// Its program asked for more time than it can have: this long in all.
    NoMoreTime(TimeLimit, Duration),
}

impl Cause {
    /// Whether a transition with this cause is logged although the state has the same name.
    pub(super) fn is_said(&self) -> bool {
        matches!(
            self,
            Cause::Finished(..) | Cause::Killed(_) | Cause::StillRuns(_) | Cause::NoMoreTime(..)
        )
    }
}

/// A time limit of a program.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum TimeLimit {
    /// To become ready.
    Start,
    /// To stop.
    Stop,
}

/// What a new supervisor found of a tenant.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Find {
    /// Its launch is still running.
    Lives,
    /// Its launch ended while no supervisor was running.
    Died(Exit),
    /// It had no running program: it continues from this state.
    AsItWas(StateWord),
}

impl fmt::Display for Cause {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Cause::Planned => "it is in the manifest",
            Cause::Replanned => "its manifest changed",
            Cause::Reloaded => "the manifest was reloaded",
            Cause::Removed => "it was removed from the manifest",
            Cause::Unblocked => "the address or datastore that it needs is free",
            Cause::Shutdown => "the supervisor is shutting down",
            Cause::Hurry => "the supervisor is shutting down without grace",
            Cause::Provisioned => "its network, datastore and cgroup are set up",
            Cause::Launched => "its program was executed",
            Cause::Skipped => "its datastore is not new",
            Cause::Concluded => "the result of its init command was recorded",
            Cause::Ready => "it is ready",
            Cause::Applied => "a live change was applied",
            Cause::Emptied => "all of its processes have exited",
            Cause::Released => "its network and cgroup were removed",
            Cause::Due => "its restart delay is over",
            Cause::GraceOver => "its grace period is over",
            Cause::Retry => "it is retried",
            Cause::SaysStopping => "its program says that it is stopping (STOPPING=1)",
            Cause::Extended => "its program asked for more time",
            Cause::Found(find) => return found(f, find),
            Cause::Requested(verb) => {
                return write!(f, "an operator requested a {}", verb.word());
            }
            Cause::Offline(offline) => {
                return write!(f, "`exec --offline` was requested ({offline})");
            }
            Cause::Executed(Phase::Offline) => "it is ready for the command of `exec --offline`",
            Cause::Finished(Phase::Offline, ..) => "the command of `exec --offline` has ended",
            Cause::Executed(phase) => return write!(f, "its {phase} command was executed"),
            Cause::Finished(phase, exit, time) => return finished(f, *phase, *exit, *time),
            Cause::Exited(exit) => return write!(f, "its program {exit}"),
            Cause::LeftOthers(exit) => {
                return write!(
                    f,
                    "its first process {exit} and left others running: if it puts itself into the \
                     background, set daemonizes = true"
                );
            }
            Cause::NotRestarted(exit) => {
                return write!(f, "its program {exit} and is not restarted");
            }
            Cause::Killed(forced) => return forced.fmt(f),
            Cause::StillRuns(time) => {
                let time = time.as_secs_f64();
                return write!(
                    f,
                    "still running {time} s after STOPPING=1: it is asked to stop"
                );
            }
            Cause::NoMoreTime(limit, most) => return no_more_time(f, *limit, *most),
            Cause::Failed(failure) | Cause::NotApplied(failure) => return failure.fmt(f),
            Cause::GivenUp(Why::Exit(exit)) => return write!(f, "given up: its program {exit}"),
            Cause::GivenUp(Why::Failure(why)) => return write!(f, "given up: {why}"),
        })
    }
}

fn found(f: &mut fmt::Formatter<'_>, find: &Find) -> fmt::Result {
    match find {
        Find::Lives => f.write_str("its program survived the previous supervisor"),
        Find::Died(exit) => write!(f, "its program {exit} while no supervisor was running"),
        Find::AsItWas(state) => write!(f, "it was {state} under the previous supervisor"),
    }
}

fn no_more_time(f: &mut fmt::Formatter<'_>, limit: TimeLimit, most: Duration) -> fmt::Result {
    let (what, key) = match limit {
        TimeLimit::Start => ("become ready", "ready.within"),
        TimeLimit::Stop => ("stop", "stop.grace"),
    };
    let most = jiff::fmt::friendly::SpanPrinter::new().unsigned_duration_to_string(&most);
    write!(
        f,
        "its program asks for more time to {what} (EXTEND_TIMEOUT_USEC), and gets no more than {most} \
         in all: {LIMIT_TIMES} times `{key}`"
    )
}

fn finished(f: &mut fmt::Formatter<'_>, phase: Phase, exit: Exit, time: Duration) -> fmt::Result {
    let time = time.as_secs_f64();
    match exit.is_success() {
        true => write!(f, "its {phase} command finished in {time:.1} s"),
        false => write!(f, "its {phase} command {exit} after {time:.1} s"),
    }
}
