//! The supervisor decides: events in, actions out.
//!
//! Pure: it reads no clock (the time is passed in), does no I/O, draws no random numbers, and
//! never names `host`. The same events at the same times give the same actions.
//!
//! Each tenant has two axes: what is wanted of it ([`view::Want`]) and the state it is in
//! ([`view::StateWord`]; the diagram stands in `tenant/state.rs`). What was decided beyond that:
//!
//! * **The host keeps its word**: each `Provision`, `Launch`, `Apply` and `Release` gets one answer,
//!   each launch that was launched gets one `Exited` and then one `Emptied`. An event that does not fit
//!   the state (a broken word) or bears a launch that is over gives an empty step.
//! * **Only `Emptied` ends a launch.** What comes next (release, relaunch, wait, give up) is decided
//!   then. A launch in its start is never interrupted, but stopped as soon as it is answered.
//! * **A strike** is an unasked end, a stage that failed, or a launch that did not get ready. A
//!   launch that ended by itself after `healthy_after` clears the strikes before its end counts as
//!   the first new one; one that never got ready was not healthy. What an operator asks clears
//!   them too.
//! * **`restart = "never"`** speaks of programs that ran. One that could not be provisioned or
//!   executed is tried again like any other.
//! * **The budget** ([`Limits`]) pays for what comes out of `Waiting` by itself, a new provision
//!   as well as a launch, in the order of the moments waited for, so that none starves. First
//!   starts and operators' requests are free.
//! * **Stuck** tries again by itself [`STUCK_TRIES`] times, then only when asked. A late `Emptied`
//!   brings it on at any time.
//! * **A live change holds when the host says so.** A launch has at most one `Apply` under way; a
//!   change that comes meanwhile is applied after it. What the host refuses is shown with its reason
//!   and tried again with the next `Reloaded`. The next launch begins by the whole plan, so that
//!   nothing is left to apply to it.
//! * **A readiness by age** ([`Readiness::Lived`](crate::plan::model::Readiness)) knows no
//!   `ready_within`.
//!
//! Each event costs O(log n) in the number of tenants, but for `Shutdown`, `Hurry` and `Reloaded`,
//! which concern them all. With nothing due there is no deadline, so that no timer fires.

pub mod action;
mod agenda;
mod backoff;
mod budget;
pub mod checkpoint;
mod dispatch;
pub mod event;
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
use event::{Event, LaunchId, TenantRequest};
use planned::Awaits;
use tenant::{Tenant, TransitionContext};
use time::Moment;
use view::{View, Want};

pub use backoff::STRIKES_MAX;
pub use budget::Limits;
pub use step::{Cause, Find, Step, Transition};
pub use tenant::{KILL_LIMIT, STUCK_DELAY, STUCK_TRIES};

/// A tenant, and where it stands in the agenda.
#[derive(Debug)]
struct Slot {
    /// In a box: the nodes of a map that only grows at its end stay half empty.
    tenant: Box<Tenant>,
    entry: Entry,
}

/// All tenants of an application, and what they wait for.
#[derive(Debug)]
pub struct Supervisor {
    tenants: BTreeMap<Index, Slot>,
    names: BTreeMap<TenantName, Index>,
    /// Launches that are not over.
    launches: BTreeMap<LaunchId, Index>,
    agenda: Agenda,
    /// Who awaits that others let go of what it takes.
    awaits: Awaits,
    next_index: Index,
    next_launch: u64,
    /// How many tenants are not finished.
    unfinished: usize,
    shutdown: bool,
    hurry: bool,
}

impl Supervisor {
    /// A supervisor without tenants.
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

    /// What follows from this event. `now` must not go back from one call to the next.
    pub fn handle(&mut self, now: Moment, event: Event) -> Step {
        let mut step = Step::default();
        self.dispatch(now, event, &mut step);
        self.spend(now, &mut step);
        step
    }

    /// What an operator's request is answered with, and what follows from it. `now` as for
    /// [`Supervisor::handle`].
    pub fn handle_request(&mut self, now: Moment, request: &TenantRequest) -> (Answer, Step) {
        let mut step = Step::default();
        let answer = self.requested(now, request, &mut step);
        self.spend(now, &mut step);
        (answer, step)
    }

    /// What follows from the time alone: all that is due by `now`, and nothing that is not.
    pub fn handle_deadline(&mut self, now: Moment) -> Step {
        let mut step = Step::default();
        while let Some(index) = self.agenda.due(now) {
            match self.tenants.get(&index) {
                // It goes on to the queue for the budget.
                Some(slot) if slot.tenant.state().is_waiting() => self.book(now, index),
                Some(_) | None => self.transition(now, index, Cause::Due, &mut step, Tenant::due),
            }
        }
        self.spend(now, &mut step);
        step
    }

    /// When [`Supervisor::handle_deadline`] is to be called next; never, if nothing is waited for.
    #[must_use]
    pub fn next_deadline(&self) -> Option<Moment> {
        self.agenda.next()
    }

    /// This tenant as it is now, if it was planned.
    #[must_use]
    pub fn tenant(&self, name: &TenantName) -> Option<View> {
        let index = self.names.get(name)?;
        self.tenants.get(index).map(|slot| slot.tenant.view())
    }

    /// The names of all tenants, in the order in which they were planned.
    pub fn names(&self) -> impl Iterator<Item = &TenantName> {
        self.tenants.values().map(|slot| slot.tenant.name())
    }

    /// All tenants as they are now, in the order in which they were planned.
    pub fn tenants(&self) -> impl Iterator<Item = View> + '_ {
        self.tenants.values().map(|slot| slot.tenant.view())
    }

    /// Whether a shutdown has come as far as it can: every tenant is down, or stuck with no try
    /// left.
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
            (None, _) => refused(format!(
                "no tenant is named {name}: `tenantd status` lists those that are"
            )),
            (Some(_), Want::Up) if self.shutdown => refused(format!(
                "the supervisor is about to end: ask for {name} again once it has been started anew"
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

    /// Lets one tenant act, and brings all books in line with what it became.
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
        let (want_before, before) = (tenant.want(), tenant.state().clone());
        let removed_before = tenant.is_removed();
        let (from, launch_before) = (before.word(), before.launch());
        let (ready_before, finished_before) = (before.is_ready(), before.is_finished());
        let unapplied_before = tenant.unapplied();
        let mut context = TransitionContext {
            now,
            hurry: self.hurry,
            blocked: self.awaits.is_blocked(tenant.name()),
            next_launch: &mut self.next_launch,
            actions: &mut step.actions,
            cause,
        };
        act(tenant, &mut context);
        let cause = context.cause;
        let after = tenant.state();
        let wanted_before = (want_before, removed_before);
        if *after != before || (tenant.want(), tenant.is_removed()) != wanted_before {
            step.changed.push(tenant.name().clone());
        }
        let (to, launch) = (after.word(), after.launch());
        let (ready, finished) = (after.is_ready(), after.is_finished());
        let let_go = before.has_let_go(after);
        let gone = tenant.is_gone();
        if from != to && !matches!(cause, Cause::Found(_)) {
            tenant.entered(now);
        }
        if from != to || (ready && !ready_before) {
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
        if let_go {
            self.let_go(now, index, step);
        }
        if gone {
            self.remove_tenant(index, step);
        }
    }

    /// Enters the tenant's deadline where it belongs.
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

    /// Restarts the tenants whose wait is over, as far as the budget goes.
    fn spend(&mut self, now: Moment, step: &mut Step) {
        while let Some(index) = self.agenda.restart(now) {
            self.transition(now, index, Cause::Due, step, Tenant::relaunch);
        }
    }
}
