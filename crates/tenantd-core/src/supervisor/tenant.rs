//! One tenant: what is wanted of it, its [`State`], and the transitions between states.
//!
//! # The life of a tenant
//!
//! A tenant begins in the state `Down`: nothing of it exists on the host except its datastore.
//! When it is wanted up, it is *provisioned*: its network namespace, link, cgroup and log pipes
//! are created. If another tenant still holds the address or the datastore that it needs, the
//! provision waits until that tenant has released it. Then its program is *launched*, after the
//! commands that the policy has for the phases before it (see [`phases`]). Once the
//! program has been executed the tenant is `Up`, and it is ready when the check that its policy
//! names succeeds.
//!
//! A stop or a restart sends the stop signal (`Stopping`), and SIGKILL when the grace period is
//! over. So does the end of the first process, if it leaves others that may have to save data. After the last process has exited, a tenant that is wanted down is *released*: all that
//! the provision created is removed, and the tenant is `Down` again. After a restart, the program
//! is launched again on the same network. If the program exited by itself, the restart policy
//! decides: the tenant is released (see [`exited`]), or it gets a strike and waits for its restart delay
//! (`Waiting`), or there were too many strikes and it is `Failed` until an operator acts. A failed
//! provision or launch is a strike too, or makes the tenant `Failed` at once if no retry can help. If a process survives SIGKILL, or a release fails, the
//! tenant is `Stuck`: it is retried [`STUCK_TRIES`] times and then waits for an operator.
//!
//! When the manifest changes, a tenant is interrupted only as far as the change requires: not at
//! all (live), by a restart of its program (relaunch), or by a release and a new provision
//! (reprovision). A tenant that is removed from the manifest is stopped, released and forgotten. A
//! new supervisor resumes each tenant from its checkpoint; a running launch continues.
//!
//! # The code
//!
//! A transition takes the state by value and returns the next one, so that no state is
//! half-updated. Each transition lists all states, also those in which it changes nothing: then
//! the event is late or wrong, and must not harm the tenant. The transitions are divided by their
//! cause: [`requested`] (operators), [`replanned`] (the manifest), [`host`] and [`stage_failed`] (reports
//! of the host), [`due`] (deadlines), [`found`] (an earlier supervisor), [`live`] (live changes),
//! [`killed`] (forced kills), [`mounts`] (folders that the host took away), [`main_process`] (its end), [`exited`] (programs that
//! ended by themselves), [`alive`] (programs that no longer answer), [`extend`] (programs that ask for more time), [`stopping`] (programs that say that they are stopping), [`phases`] (the commands before the
//! program), [`offline`] (commands of operators in a tenant that is not up), [`over`] (what follows on a launch). A tenant knows nothing of the others.

mod alive;
mod background;
mod due;
mod exited;
mod extend;
mod found;
mod host;
mod killed;
mod link;
mod live;
mod main_process;
mod mounts;
mod offline;
mod over;
mod phases;
mod replanned;
mod requested;
mod stage_failed;
mod state;
mod stopping;

use std::mem;
use std::sync::Arc;
use std::time::Duration;

use crate::name::TenantName;
use crate::plan::model::{Policy, Readiness};
use crate::plan::phase::Phase;
use crate::stage::Failure;

use super::action::Action;
use super::backoff::{FailureCount, Strikes};
use super::checkpoint::Resources;
use super::event::{Exit, LaunchId};
use super::forced::ForcedKill;
use super::offline::Repair;
use super::step::Cause;
use super::time::Moment;
use super::view::{View, Want, Why};
use live::Pending;

pub use extend::LIMIT_TIMES;
pub(super) use killed::Ends;
pub use state::{After, Ending, Left, Live, Making, Readying, RestartScope, State};

/// The time from SIGKILL until a launch is stuck. A killed process normally exits within
/// milliseconds; 10 s allow for processes that wait for a slow disk or network filesystem.
pub const KILL_LIMIT: Duration = Duration::from_secs(10);

/// The delay before a failed end or release is retried. It doubles with each retry. The cause, such
/// as an open file or a shell in the namespace, often disappears soon.
pub const STUCK_DELAY: Duration = Duration::from_secs(1);

/// The number of automatic retries, over about half a minute. After that, an operator has to find
/// the cause, and a request retries again.
pub const STUCK_TRIES: u32 = 5;

/// The input and output of one transition.
#[derive(Debug)]
pub(super) struct TransitionContext<'a> {
    pub(super) now: Moment,
    /// Whether launches are killed without a grace period.
    pub(super) hurry: bool,
    /// Whether another tenant still holds what this one needs.
    pub(super) blocked: bool,
    /// The next launch's number.
    pub(super) next_launch: &'a mut u64,
    pub(super) actions: &'a mut Vec<Action>,
    /// The cause, which the transition may refine.
    pub(super) cause: Cause,
    /// What becomes of the note on the last forced kill.
    pub(super) ends: Ends,
}

/// One tenant, see the head of this module.
#[derive(Debug)]
pub(super) struct Tenant {
    name: TenantName,
    policy: Arc<Policy>,
    want: Want,
    /// While the supervisor shuts down: what was wanted before, for the checkpoint.
    want_before_end: Option<Want>,
    state: State,
    since: Moment,
    strikes: FailureCount,
    restarts: u32,
    /// Whether it was removed from the plan.
    removed: bool,
    /// A live change that has not been applied. Not part of the checkpoint: the next supervisor
    /// checks the launch itself.
    pending: Option<Pending>,
    /// The launch that was up when its tenant was looked at last, and had not become ready.
    unready: Option<LaunchId>,
    /// Why it waited last.
    last_failure: Option<Why>,
    /// How its program ended, if it ended by itself and is not restarted, see [`exited`].
    exited: Option<Exit>,
    /// Whether its first process did so and left others running, see [`background`].
    left_others: bool,
    /// The forced kill at the end of its last launch, if there was one.
    forced: Option<ForcedKill>,
    /// The command of `exec --offline`, if one runs, see [`offline`].
    repair: Option<Repair>,
    /// Why the link of its resources is gone, see [`link`]. The next supervisor looks itself.
    link_lost: Option<Failure>,
}

impl Tenant {
    /// Creates a tenant that is down and wanted down.
    pub(super) fn new(name: TenantName, policy: Arc<Policy>, now: Moment) -> Self {
        Self {
            name,
            policy,
            want: Want::Down,
            want_before_end: None,
            state: State::Down,
            since: now,
            strikes: FailureCount::default(),
            restarts: 0,
            removed: false,
            pending: None,
            unready: None,
            last_failure: None,
            exited: None,
            left_others: false,
            forced: None,
            repair: None,
            link_lost: None,
        }
    }

    pub(super) fn name(&self) -> &TenantName {
        &self.name
    }

    /// Replaces the policy, for future decisions.
    pub(super) fn set_policy(&mut self, policy: Arc<Policy>) {
        self.policy = policy;
    }

    /// Overrides `autostart`. Policies are shared, so one is copied only if it differs.
    pub(super) fn set_autostart(&mut self, autostart: bool) {
        if self.policy.autostart != autostart {
            Arc::make_mut(&mut self.policy).autostart = autostart;
        }
    }

    /// Records when its state was entered.
    pub(super) fn entered(&mut self, now: Moment) {
        self.since = now;
    }

    pub(super) fn state(&self) -> &State {
        &self.state
    }

    /// What is wanted of it, apart from a shutdown of the supervisor.
    pub(super) fn want(&self) -> Want {
        self.want_before_end.unwrap_or(self.want)
    }

    pub(super) fn strikes(&self, now: Moment) -> Option<Strikes> {
        self.strikes.within(now, &self.policy.restart)
    }

    pub(super) fn view(&self) -> View {
        let launch = self.state.launch();
        let (until, why) = match &self.state {
            State::Waiting { until, why, .. } => (Some(*until), Some(why.clone())),
            State::Failed { why, .. } => (None, Some(why.clone())),
            State::Stuck { why, retry_at, .. } => (*retry_at, Some(Why::Failure(why.clone()))),
            // How it ends is not known yet.
            State::Stopping {
                ending: Ending::Own { .. },
                ..
            } => (None, None),
            State::Stopping {
                after: After::Judge(why),
                ..
            }
            | State::Concluding {
                after: After::Judge(why),
                ..
            } => (None, Some(why.clone())),
            State::Provisioning { .. }
            | State::Launching { .. }
            | State::Preparing { .. }
            | State::Stopping {
                after: After::Proceed,
                ..
            }
            | State::Concluding {
                after: After::Proceed,
                ..
            }
            | State::Up { .. } => (None, self.last_failure()),
            State::Stopping {
                after: After::Relaunch | After::Reprovision,
                ..
            }
            | State::Concluding {
                after: After::Relaunch | After::Reprovision,
                ..
            } => (None, None),
            State::Down | State::Releasing { .. } => (None, self.why_down()),
        };
        View {
            name: self.name.clone(),
            want: self.shown_want(),
            state: self.word(),
            launch,
            restarts: self.restarts,
            since: self.since,
            ready: launch.map(|_| self.state.is_ready()),
            until,
            why: why.or_else(|| self.repair.as_ref()?.failed.clone()),
            unapplied: self.unapplied(),
            forced: self.forced.clone(),
            offline: self.offline().cloned(),
        }
    }

    /// Takes the state out. The transition must put the next state back.
    fn take(&mut self) -> State {
        mem::replace(&mut self.state, State::Down)
    }

    fn provision(&self, context: &mut TransitionContext) -> State {
        let making = if context.blocked {
            Making::Awaiting
        } else {
            let tenant = self.name.clone();
            context.actions.push(Action::Provision { tenant });
            Making::Begun
        };
        State::Provisioning {
            started_at: context.now,
            making,
        }
    }

    /// Begins a start with its first phase.
    fn launch_now(&self, context: &mut TransitionContext) -> State {
        self.launch_phase(context, self.first_phase())
    }

    /// A launch that is being started is no longer wanted: if its child hangs before the program, it is
    /// not waited for.
    fn abandon(
        &self,
        context: &mut TransitionContext,
        launch: Live,
        again: Option<RestartScope>,
    ) -> State {
        context.actions.push(Action::Abandon {
            tenant: self.name.clone(),
            launch: launch.id,
        });
        State::Launching { launch, again }
    }

    fn launch_phase(&self, context: &mut TransitionContext, phase: Phase) -> State {
        let launch = Live {
            id: LaunchId(*context.next_launch),
            started_at: context.now,
            phase,
        };
        *context.next_launch += 1;
        context.actions.push(Action::Launch {
            tenant: self.name.clone(),
            launch: launch.id,
            phase,
        });
        State::Launching {
            launch,
            again: None,
        }
    }

    fn release(&self, context: &mut TransitionContext, tries: u32) -> State {
        let tenant = self.name.clone();
        context.actions.push(Action::Release { tenant });
        State::Releasing { tries }
    }

    fn up(&self, context: &TransitionContext, launch: Live) -> State {
        let ready = match self.policy.ready {
            Readiness::Started => Readying::Ready,
            Readiness::Lived(time) => Readying::At(context.now + time),
            Readiness::Tcp(_) | Readiness::Notify => {
                Readying::Before(context.now + self.policy.ready_within)
            }
        };
        State::Up { launch, ready }
    }

    fn terminate(&self, context: &mut TransitionContext, launch: Live) {
        context.actions.push(Action::Terminate {
            tenant: self.name.clone(),
            launch: launch.id,
        });
    }

    /// Sends the stop signal; SIGKILL follows after the grace period.
    fn stop(&self, context: &mut TransitionContext, launch: Live, after: After) -> State {
        context.ends = Ends::Begun;
        if context.hurry || self.policy.grace.is_zero() {
            if !self.policy.grace.is_zero() {
                context.ends = Ends::Forced(None);
            }
            return self.kill(context, launch, after);
        }
        self.terminate(context, launch);
        self.ending(context, launch, after)
    }

    /// Waits for a launch to exit within its grace period.
    fn ending(&self, context: &mut TransitionContext, launch: Live, after: After) -> State {
        context.ends = Ends::Begun;
        let kill_at = context.now + self.policy.grace;
        State::Stopping {
            launch,
            ending: Ending::Grace { kill_at },
            after,
        }
    }

    fn kill(&self, context: &mut TransitionContext, launch: Live, after: After) -> State {
        context.actions.push(Action::Kill {
            tenant: self.name.clone(),
            launch: launch.id,
        });
        let until = context.now + KILL_LIMIT;
        State::Stopping {
            launch,
            ending: Ending::Killed { until },
            after,
        }
    }
}

fn stuck(context: &mut TransitionContext, left: Left, why: Failure, tries: u32) -> State {
    let retry_at = (tries < STUCK_TRIES).then(|| context.now + STUCK_DELAY * 2u32.pow(tries));
    context.cause = Cause::Failed(why.clone());
    State::Stuck {
        left,
        why,
        tries,
        retry_at,
    }
}
