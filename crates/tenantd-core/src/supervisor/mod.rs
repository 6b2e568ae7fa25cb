//! The supervisor: a state machine that decides what happens to every tenant.
//!
//! The daemon passes in events, such as a changed manifest or the exit of a program
//! ([`Supervisor::handle`]), requests of operators ([`Supervisor::handle_request`]) and the
//! passing of time ([`Supervisor::handle_deadline`]). Each call returns a [`Step`]: the tenants
//! whose checkpoint changed, the actions to carry out on the host, and the transitions to log. The
//! daemon writes the checkpoints before it carries out the actions, so the successor of a
//! supervisor that dies at any point can resume from its records.
//!
//! The supervisor reads no clock (the time is an argument), does no I/O, and uses no random
//! numbers. The same events at the same times give the same actions; the simulation in
//! `tests/pure/sim` relies on that. [`Supervisor::next_deadline`] says when to call
//! `handle_deadline` next; if no tenant has a deadline, no timer is needed.
//!
//! For each tenant it keeps what is wanted ([`view::Want`]: up or down) and the tenant's state.
//! The head of `tenant.rs` describes the life of one tenant, `tenant/state.rs` its states and
//! transitions. These rules hold for all tenants:
//!
//! * **Each action has one answer.** Each `Provision`, `Launch`, `Apply` and `Release` is answered
//!   by one event. A launch that started is later reported by one `Exited` and then one `Emptied`.
//!   An event that does not fit the tenant's state, or names a launch that is over, is ignored.
//! * **A launch ends with `Emptied`,** when its last process has exited. Only then does the
//!   supervisor decide what comes next: release, relaunch, wait or give up. A launch that is
//!   starting is not interrupted; if it is no longer wanted, it is stopped as soon as it has
//!   started.
//! * **A strike** is an exit that was not requested, a failed stage, or a launch that did not
//!   become ready in time. If a launch exits after it ran for `healthy_after`, earlier strikes are
//!   cleared, so that this exit is the first one. A request of an operator clears strikes too. A
//!   launch that never became ready is not healthy.
//! * **`restart = "never"`** applies to programs that ran or cannot be executed, and to failed
//!   commands before them. Another failed stage of a provision or launch is retried, unless no
//!   retry can help ([`Retry`](crate::stage::Retry)).
//! * **A program that ended by itself** and is not restarted leaves its tenant `exited`: wanted up,
//!   and down until an operator starts it.
//! * **The budget** ([`Limits`]) limits how many tenants leave `Waiting` per second, over all
//!   tenants, oldest deadline first. First starts and operators' requests are not limited.
//! * **A stuck tenant** is retried [`STUCK_TRIES`] times, then only on request. If its last
//!   process exits later, it continues by itself.
//! * **A live change is done when the host confirms it.** A launch has at most one `Apply` in
//!   progress; a change that arrives meanwhile is applied after it. A refused change is shown with
//!   its reason and retried on the next `Reloaded`. The next launch uses the whole plan anyway.
//! * **Readiness by age** ([`Readiness::Lived`](crate::plan::model::Readiness)) has no time limit.
//!
//! An event costs O(log n) in the number of tenants, and those of a release that wait for it;
//! `Shutdown` and `Hurry` concern all tenants and cost O(n log n), `Reloaded` O(n).

pub mod action;
mod agenda;
mod backoff;
mod budget;
pub mod checkpoint;
mod dispatch;
pub mod event;
pub mod forced;
pub mod offline;
mod planned;
mod step;
mod tenant;
#[cfg(test)]
mod tests;
pub mod time;
pub mod view;

use std::collections::BTreeMap;

use crate::name::TenantName;

use action::Answer;
use agenda::{Agenda, Entry, Index};
use event::{Event, Exit, LaunchId, TenantRequest};
use planned::Awaits;
use tenant::{Ends, Tenant, TransitionContext};
use time::Moment;
use view::{View, Want};

pub use backoff::{STRIKES_MAX, Strikes};
pub use budget::Limits;
pub use step::{Cause, Find, Step, TimeLimit, Transition};
pub use tenant::{KILL_LIMIT, LIMIT_TIMES, STUCK_DELAY, STUCK_TRIES};

/// A tenant, and its entry in the agenda.
#[derive(Debug)]
struct Slot {
    /// Boxed, because the nodes of a map that only grows at its end stay half empty.
    tenant: Box<Tenant>,
    entry: Entry,
}

/// The supervisor of an application, see the head of this module.
#[derive(Debug)]
pub struct Supervisor {
    tenants: BTreeMap<Index, Slot>,
    names: BTreeMap<TenantName, Index>,
    /// The tenants of launches that are not over.
    launches: BTreeMap<LaunchId, Index>,
    agenda: Agenda,
    /// Tenants that wait until others release what they need.
    awaits: Awaits,
    next_index: Index,
    next_launch: u64,
    /// The number of tenants that are not finished.
    unfinished: usize,
    shutdown: bool,
    hurry: bool,
}

impl Supervisor {
    /// Creates a supervisor without tenants.
    #[must_use]
    pub fn new(limits: Limits) -> Self {
        Self {
            tenants: BTreeMap::new(),
            names: BTreeMap::new(),
            launches: BTreeMap::new(),
            agenda: Agenda::new(limits),
            awaits: Awaits::default(),
            next_index: 0,
            next_launch: 1,
            unfinished: 0,
            shutdown: false,
            hurry: false,
        }
    }

    /// Handles an event. `now` must not decrease from one call to the next.
    pub fn handle(&mut self, now: Moment, event: Event) -> Step {
        let mut step = Step::default();
        self.dispatch(now, event, &mut step);
        self.spend(now, &mut step);
        step
    }

    /// Handles a request of an operator and returns the answer to it. `now` must not decrease, as
    /// for [`Supervisor::handle`].
    pub fn handle_request(&mut self, now: Moment, request: &TenantRequest) -> (Answer, Step) {
        let mut step = Step::default();
        let answer = self.requested(now, request, &mut step);
        self.spend(now, &mut step);
        (answer, step)
    }

    /// Handles all deadlines up to `now`.
    pub fn handle_deadline(&mut self, now: Moment) -> Step {
        let mut step = Step::default();
        while let Some(index) = self.agenda.due(now) {
            match self.tenants.get(&index) {
                // Its delay is over: it moves to the queue for the budget.
                Some(slot) if slot.tenant.state().is_waiting() => self.book(now, index),
                Some(_) | None => self.transition(now, index, Cause::Due, &mut step, Tenant::due),
            }
        }
        self.spend(now, &mut step);
        step
    }

    /// When to call [`Supervisor::handle_deadline`] next; `None` if there is no deadline.
    #[must_use]
    pub fn next_deadline(&self) -> Option<Moment> {
        self.agenda.next()
    }

    /// The current view of a tenant, if it exists.
    #[must_use]
    pub fn tenant(&self, name: &TenantName) -> Option<View> {
        let index = self.names.get(name)?;
        self.tenants.get(index).map(|slot| slot.tenant.view())
    }

    /// How the program of a tenant ended, if it ended by itself and is not restarted.
    #[must_use]
    pub fn exit_of(&self, name: &TenantName) -> Option<Exit> {
        let index = self.names.get(name)?;
        self.tenants.get(index)?.tenant.exit()
    }

    /// The strikes of a tenant that count now, if there are any.
    #[must_use]
    pub fn strikes_of(&self, name: &TenantName, now: Moment) -> Option<Strikes> {
        let index = self.names.get(name)?;
        self.tenants.get(index)?.tenant.strikes(now)
    }

    /// The names of all tenants, in the order in which they were planned.
    pub fn names(&self) -> impl Iterator<Item = &TenantName> {
        self.tenants.values().map(|slot| slot.tenant.name())
    }

    /// When a tenant was planned among all, as a number that orders them; `None` if it does not exist.
    #[must_use]
    pub fn place(&self, name: &TenantName) -> Option<u32> {
        self.names.get(name).copied()
    }

    /// The current views of all tenants, in the order in which they were planned.
    pub fn tenants(&self) -> impl Iterator<Item = View> + '_ {
        self.tenants.values().map(|slot| slot.tenant.view())
    }

    /// Whether a shutdown is complete: every tenant is down, or is stuck and not retried any more.
    #[must_use]
    pub fn is_finished(&self) -> bool {
        self.shutdown && self.unfinished == 0
    }

    fn shut_down(&mut self, now: Moment, step: &mut Step) {
        self.shutdown = true;
        self.each(now, &Cause::Shutdown, step, Tenant::shut_down);
    }

    fn hurry_up(&mut self, now: Moment, step: &mut Step) {
        self.hurry = true;
        self.each(now, &Cause::Hurry, step, Tenant::hurry);
    }

    fn requested(&mut self, now: Moment, request: &TenantRequest, step: &mut Step) -> Answer {
        let TenantRequest { tenant: name, verb } = request;
        let refused = |reason: String| Answer::Refused { reason };
        let verb = *verb;
        match (self.names.get(name), verb.want()) {
            (None, _) => refused(format!("no such tenant {name}: see `tenantd status`")),
            (Some(_), Want::Up) if self.shutdown => refused(format!(
                "the supervisor is shutting down: start {name} again once it has restarted"
            )),
            (Some(&index), Want::Up | Want::Down) => {
                let mut answer = Answer::AlreadySo;
                self.transition(
                    now,
                    index,
                    Cause::Requested(verb),
                    step,
                    |tenant, context| {
                        answer = tenant.requested(verb, context);
                    },
                );
                answer
            }
        }
    }

    fn each(
        &mut self,
        now: Moment,
        cause: &Cause,
        step: &mut Step,
        act: impl Fn(&mut Tenant, &mut TransitionContext),
    ) {
        for index in 0..self.next_index {
            self.transition(now, index, cause.clone(), step, &act);
        }
    }

    /// Runs a transition of one tenant, and updates all indexes accordingly.
    fn transition(
        &mut self,
        now: Moment,
        index: Index,
        cause: Cause,
        step: &mut Step,
        act: impl FnOnce(&mut Tenant, &mut TransitionContext),
    ) {
        let Some(Slot { tenant, .. }) = self.tenants.get_mut(&index) else {
            return;
        };
        let (kept_before, before) = (tenant.kept(), tenant.state().clone());
        let (from, launch_before) = (tenant.word(), before.launch());
        let (ready_before, finished_before) = (before.is_ready(), before.is_finished());
        let (unapplied_before, was_offline) = (tenant.unapplied(), tenant.offline().is_some());
        let mut context = TransitionContext {
            now,
            hurry: self.hurry,
            blocked: self.awaits.is_blocked(tenant.name()),
            next_launch: &mut self.next_launch,
            actions: &mut step.actions,
            cause,
            ends: Ends::AsBefore,
        };
        tenant.note();
        act(tenant, &mut context);
        let (cause, ends) = (context.cause, context.ends);
        tenant.note_ends(now, ends);
        tenant.settle();
        let after = tenant.state();
        if *after != before || tenant.kept() != kept_before {
            step.changed.push(tenant.name().clone());
        }
        let (to, launch) = (tenant.word(), after.launch());
        let (ready, finished) = (after.is_ready(), after.is_finished());
        let released = before.has_released_all(after);
        let gone = tenant.is_gone();
        // A program that said that it is stopping is asked to stop only now.
        if (from != to || before.is_asked_only_in(after)) && !matches!(cause, Cause::Found(_)) {
            tenant.entered(now);
        }
        // The client of a command waits for its end, also if the next launch follows at once.
        let offline_over = was_offline && tenant.offline().is_none();
        if from != to || (ready && !ready_before) || cause.is_said() || offline_over {
            step.transitions.push(Transition {
                tenant: tenant.name().clone(),
                from,
                to,
                launch: launch.or(launch_before),
                cause,
            });
        }
        step.transitions
            .extend(tenant.applied_since(unapplied_before));
        match (finished_before, finished) {
            (true, false) => self.unfinished += 1,
            (false, true) => self.unfinished -= 1,
            (true, true) | (false, false) => {}
        }
        if launch != launch_before {
            launch_before.map(|over| self.launches.remove(&over));
            launch.map(|new| self.launches.insert(new, index));
        }
        self.book(now, index);
        if released {
            self.unblock_waiters(now, index, step);
        }
        if gone {
            self.remove_tenant(index, step);
        }
    }

    /// Updates the tenant's entry in the agenda.
    fn book(&mut self, now: Moment, index: Index) {
        let Some(Slot { tenant, entry }) = self.tenants.get_mut(&index) else {
            return;
        };
        let state = tenant.state();
        let new = match state.deadline() {
            None => Entry::None,
            Some(at) if state.is_waiting() && at <= now => Entry::Queued(at),
            Some(at) => Entry::Alarm(at),
        };
        self.agenda.enter(index, *entry, new);
        *entry = new;
    }

    /// Restarts the tenants whose delay is over, as far as the budget allows.
    fn spend(&mut self, now: Moment, step: &mut Step) {
        while let Some(index) = self.agenda.restart(now) {
            self.transition(now, index, Cause::Due, step, Tenant::relaunch);
        }
    }
}
