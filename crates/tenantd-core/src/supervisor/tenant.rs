//! One tenant: what is wanted of it, the state it is in ([`State`]), and the steps from state to
//! state.
//!
//! A step takes the state by value and returns the next one, so that none is half-updated. Each
//! step names all states: a pair of state and event that changes nothing is listed as such, for
//! either the event is late, or the host broke its word; neither may harm the tenant.
//!
//! The steps stand in five files by who causes them: [`requested`] the operators, [`replanned`] the
//! manifest, [`host`] the host, [`due`] the clock, [`found`] an earlier supervisor; [`live`] follows
//! changes that end no launch. What they share stands here. Nothing here knows of other tenants.

mod due;
mod found;
mod host;
mod live;
mod replanned;
mod requested;
mod state;

use std::mem;
use std::sync::Arc;
use std::time::Duration;

use crate::name::TenantName;
use crate::plan::model::{Policy, Readiness, RestartWhen};
use crate::stage::Failure;

use super::action::Action;
use super::backoff::{FailureCount, Verdict};
use super::checkpoint::Resources;
use super::event::LaunchId;
use super::step::Cause;
use super::time::Moment;
use super::view::{View, Want, Why};
use live::Pending;

pub use state::{After, Ending, Left, Live, Making, Readying, RestartScope, State};

/// From SIGKILL until a launch counts as stuck. A killed process is gone within milliseconds; 10 s
/// are for those that the kernel keeps while a slow disk or network filesystem ends their I/O.
pub const KILL_LIMIT: Duration = Duration::from_secs(10);

/// From a failed end or release to the first new try; it doubles with each further one. What is
/// in the way, a file that is still open or an exec'ed shell in the namespace, is often gone soon.
pub const STUCK_DELAY: Duration = Duration::from_secs(1);

/// So many tries are made without being asked, over half a minute. What is still in the way then
/// will not go by itself: an operator must look, and asking again tries again.
pub const STUCK_TRIES: u32 = 5;

/// What one step may use and what it leaves behind.
#[derive(Debug)]
pub(super) struct TransitionContext<'a> {
    pub(super) now: Moment,
    /// Whether what is stopping gets no grace any more.
    pub(super) hurry: bool,
    /// Whether another tenant has not let go yet of what this one takes.
    pub(super) blocked: bool,
    /// The next launch's number.
    pub(super) next_launch: &'a mut u64,
    pub(super) actions: &'a mut Vec<Action>,
    /// What brings the step about, unless the step knows better.
    pub(super) cause: Cause,
}

/// One tenant.
#[derive(Debug)]
pub(super) struct Tenant {
    name: TenantName,
    policy: Arc<Policy>,
    want: Want,
    /// What was wanted before the supervisor was to end, and is to be again under the next one.
    want_before_end: Option<Want>,
    state: State,
    since: Moment,
    strikes: FailureCount,
    restarts: u32,
    /// Whether it is in the plan no more.
    removed: bool,
    /// A live change that its launch does not have yet. Not remembered for the next supervisor,
    /// which is told what is proved to be applied.
    pending: Option<Pending>,
}

impl Tenant {
    /// A tenant that is down, and stays so until it is asked up.
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
        }
    }

    pub(super) fn name(&self) -> &TenantName {
        &self.name
    }

    /// Decides by this policy from the next decision on.
    pub(super) fn set_policy(&mut self, policy: Arc<Policy>) {
        self.policy = policy;
    }

    /// Says whether it is wanted up when a supervisor begins. Policies are shared, so that only one
    /// that differs is copied.
    pub(super) fn set_autostart(&mut self, autostart: bool) {
        if self.policy.autostart != autostart {
            Arc::make_mut(&mut self.policy).autostart = autostart;
        }
    }

    /// Says that its state has just been entered.
    pub(super) fn entered(&mut self, now: Moment) {
        self.since = now;
    }

    pub(super) fn state(&self) -> &State {
        &self.state
    }

    /// What is wanted of it when its supervisor is not about to end.
    pub(super) fn want(&self) -> Want {
        self.want_before_end.unwrap_or(self.want)
    }

    pub(super) fn view(&self) -> View {
        let launch = self.state.launch();
        let (until, why) = match &self.state {
            State::Waiting { until, why, .. } => (Some(*until), Some(why.clone())),
            State::Failed { why, .. } => (None, Some(why.clone())),
            State::Stuck { why, retry_at, .. } => (*retry_at, Some(Why::Failure(why.clone()))),
            State::Stopping {
                after: After::Judge(why),
                ..
            } => (None, Some(why.clone())),
            State::Stopping {
                after: After::Relaunch | After::Reprovision,
                ..
            }
            | State::Down
            | State::Provisioning { .. }
            | State::Launching { .. }
            | State::Up { .. }
            | State::Releasing { .. } => (None, None),
        };
        View {
            name: self.name.clone(),
            want: self.want,
            state: self.state.word(),
            launch,
            restarts: self.restarts,
            since: self.since,
            ready: launch.map(|_| self.state.is_ready()),
            until,
            why,
            unapplied: self.unapplied(),
        }
    }

    /// The state, to be put back changed or unchanged within the same step.
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

    fn launch_now(&self, context: &mut TransitionContext) -> State {
        let launch = Live {
            id: LaunchId(*context.next_launch),
            started_at: context.now,
        };
        *context.next_launch += 1;
        context.actions.push(Action::Launch {
            tenant: self.name.clone(),
            launch: launch.id,
        });
        State::Launching {
            launch,
            again: None,
        }
    }

    /// Launches, and provisions before where that has not been done.
    fn bring_up(&self, context: &mut TransitionContext, resources: Resources) -> State {
        match resources {
            Resources::Full => self.launch_now(context),
            // Who waits for others holds nothing, so that it has nothing to let go of if it is
            // wanted down meanwhile.
            Resources::Partial if context.blocked => self.release(context, 0),
            Resources::None | Resources::Partial => self.provision(context),
        }
    }

    /// Releases what stands.
    fn bring_down(&self, context: &mut TransitionContext, resources: Resources) -> State {
        match resources {
            Resources::Full | Resources::Partial => self.release(context, 0),
            Resources::None => State::Down,
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

    /// Asks the launch to end, and kills it after its grace.
    fn stop(&self, context: &mut TransitionContext, launch: Live, after: After) -> State {
        if context.hurry || self.policy.grace.is_zero() {
            return self.kill(context, launch, after);
        }
        self.terminate(context, launch);
        self.ending(context, launch, after)
    }

    /// Lets a launch end that was asked to or that is about to.
    fn ending(&self, context: &TransitionContext, launch: Live, after: After) -> State {
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

    /// The last process of a launch is gone.
    fn over(
        &mut self,
        context: &mut TransitionContext,
        launch: Live,
        after: After,
        resources: Resources,
    ) -> State {
        match (self.want, after) {
            (Want::Down, After::Relaunch | After::Judge(_) | After::Reprovision) => {
                self.bring_down(context, resources)
            }
            (Want::Up, After::Reprovision) => {
                self.bring_up_scoped(context, resources, RestartScope::Reprovision)
            }
            (Want::Up, After::Relaunch) => self.bring_up(context, resources),
            (Want::Up, After::Judge(why)) => self.judge(context, launch, why, resources),
        }
    }

    /// A launch ended unasked: what the restart policy says.
    fn judge(
        &mut self,
        context: &mut TransitionContext,
        launch: Live,
        why: Why,
        resources: Resources,
    ) -> State {
        let success = matches!(&why, Why::Exit(exit) if exit.is_success());
        match (self.policy.restart.when, success) {
            (RestartWhen::OnFailure | RestartWhen::Never, true) => {
                self.want = Want::Down;
                return self.bring_down(context, resources);
            }
            (RestartWhen::Never, false) => return give_up(context, resources, why),
            (RestartWhen::Always, _) | (RestartWhen::OnFailure, false) => {}
        }
        // A launch that never got ready was not healthy, however long it was given for it.
        let lived = context.now.since(launch.started_at);
        if matches!(why, Why::Exit(_)) && lived >= self.policy.restart.healthy_after {
            self.strikes.clear();
        }
        let again = true;
        self.count_failure(context, launch.started_at, (resources, again), why)
    }

    /// One more strike: wait for the next try, or give up.
    fn count_failure(
        &mut self,
        context: &mut TransitionContext,
        started_at: Moment,
        (resources, again): (Resources, bool),
        why: Why,
    ) -> State {
        match self
            .strikes
            .count_failure(context.now, &self.policy.restart)
        {
            Verdict::Delay(delay) => State::Waiting {
                until: context.now.max(started_at + delay),
                resources,
                again,
                why,
            },
            Verdict::GiveUp => give_up(context, resources, why),
        }
    }
}

fn give_up(context: &mut TransitionContext, resources: Resources, why: Why) -> State {
    context.cause = Cause::GivenUp(why.clone());
    State::Failed { resources, why }
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
