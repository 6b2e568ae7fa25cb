//! The daemon: runs the supervisor of one application.
//!
//! The program is an event loop on one thread. The loop waits for the next event, passes it to the
//! owner that is responsible for it, and applies the inputs that the owners return, until no owner
//! has one left:
//!
//! ```text
//!   signal · request · report · notice · manifest read · deadline
//!        │ select!
//!        ▼
//!      route ──▶ owner.on_…()            one owner records the event
//!
//!      poll  ◀── owner.poll(): Input     the inputs that follow, one at a time
//!        │
//!        ▼
//!      apply ──▶ supervisor.handle(now, event): Step
//!        │
//!        ▼
//!      carry out: records · launches · transitions · other actions
//! ```
//!
//! Each owner holds a part of the state, and no other code changes it:
//!
//! * [`Supervisor`]: the want and the state of each tenant. Only the supervisor makes decisions.
//! * [`Executor`]: the inventory of what exists on the host, and the tasks that act on the host.
//! * [`StateFile`]: the records from which the next supervisor continues.
//! * [`Readiness`]: the launches that are not ready yet, and the probes of those that are.
//! * [`Requests`]: the control socket, and the requests that are not answered yet.
//! * [`Wants`]: the permanent wants of operators.
//! * [`Reloads`]: the manifest, and the changes of a reload that are not applied yet.
//! * [`Handover`]: how this supervisor ends: by a stop, a detachment or an upgrade.
//! * [`Transitions`]: logs and counts every change of a tenant's state.
//! * [`Subscriptions`]: the clients that watch tenants, and the events queued for each of them.
//! * [`Targets`]: the folders of the host that the tenants' mounts hang on.
//! * [`Refusals`]: the refused writes that the tenants' logs mention.
//! * [`Reached`]: the limits that tenants have reached.
//! * [`Lookups`]: the files by which tenants look names up.
//! * [`Drifts`]: what other programs of the host took from the tenants' networks.
//! * [`Unit`]: the notifications to the service manager.
//!
//! A method of an owner uses that owner and its arguments, never the loop. If it needs data of
//! another owner, it gets a shared reference as an argument.
//!
//! The loop carries out each step of the supervisor in the same order: records, launches, transitions, other
//! actions. So a supervisor that dies leaves a record from which the next one can continue. See [`step`].
//!
//! The loop's thread never enters another namespace and never blocks: tasks of the executor and
//! other threads do all work that may take time. Without work, the loop sleeps without a timer.
//!
//! `start` contains what happens before the loop (opening, recovery) and after it.

#![forbid(unsafe_code)]

pub mod audit;
pub mod clock;
pub mod collect;
pub mod deputy;
mod drifts;
mod executor;
#[cfg(any(test, fuzzing))]
pub mod fuzzing;
pub mod gc;
pub mod handover;
mod history;
mod input;
pub mod logs;
mod lookups;
pub mod manifest;
mod nonblocking_writer;
pub mod notify;
mod offline;
pub mod own_log;
mod probes;
mod reached;
mod readiness;
pub mod ready;
mod recovery;
mod refusals;
mod reload;
pub mod requests;
pub mod signals;
mod start;
mod state_file;
mod step;
mod stretch;
pub mod subscriptions;
mod targets;
mod transitions;
mod unit;
mod wants;
mod watched_later;
mod way_in;

use std::io;
use std::rc::Rc;

use tenantd_api::wire::watch::EndReason;
use tenantd_core::name::TenantName;
use tenantd_core::supervisor::Supervisor;
use tenantd_host::network::Note;
use tenantd_host::runtime::Runtime;
use tenantd_host::{crash, timeline};

use self::drifts::Drifts;
use self::executor::Executor;
use self::executor::report::Report;
use self::handover::{Exit, Handover};
use self::input::{Input, PlanChange};
use self::lookups::Lookups;
use self::reached::Reached;
use self::readiness::{Readiness, Sign};
use self::refusals::{Refusals, Refused};
use self::reload::{Present, ReloadRequest, Reloads, Reread};
use self::requests::answer::Seen;
use self::requests::{Arrived, Owners, Requests};
use self::signals::{Signal, Signals};
use self::state_file::StateFile;
use self::stretch::Stretch;
use self::subscriptions::Subscriptions;
use self::targets::{Notice, Targets};
use self::transitions::Transitions;
use self::unit::Unit;
use self::wants::{NotKept, Wants};

pub use self::start::{Start, run};

/// The loop and its owners. See the documentation of this module.
struct Daemon {
    supervisor: Supervisor,
    executor: Executor,
    state_file: StateFile,
    readiness: Readiness,
    requests: Requests,
    wants: Wants,
    reloads: Reloads,
    handover: Handover,
    transitions: Transitions,
    subscriptions: Subscriptions,
    targets: Targets,
    refusals: Refusals,
    reached: Reached,
    lookups: Lookups,
    drifts: Drifts,
    unit: Unit,
    signals: Signals,
    stretch: Stretch,
}

/// The events that the loop waits for.
enum Next {
    Report(io::Result<Report>),
    /// None once the control socket is closed and all requests are answered.
    Arrived(Option<Arrived>),
    NotKept(NotKept),
    Read(Box<Reread>),
    Verdict(Result<String, String>),
    Sign(Sign),
    Signal(io::Result<Signal>),
    Host(io::Result<Notice>),
    Refused(Refused),
    Reached(io::Result<Vec<TenantName>>),
    Lookups(lookups::Notice),
    Network(Note),
    Due,
    Watchdog,
    Adopted,
    /// Nothing has arrived, and inputs are left to apply.
    Follow,
}

impl Daemon {
    /// Runs until all tenants have been stopped, and then returns None; or until the supervisor has
    /// detached, and then returns [`Exit::Detach`]. A successful upgrade executes the next program
    /// and does not return. After a failed upgrade the loop continues.
    async fn run(&mut self, runtime: &Runtime) -> Option<Exit> {
        loop {
            let is_done = self.follow();
            let is_quiet = self.requests.closed().is_some() && self.readiness.is_quiet();
            let is_idle = is_done && is_quiet && self.executor.is_idle();
            match self.exit_now(is_idle) {
                Some(Exit::Detach) => return Some(Exit::Detach),
                Some(Exit::Upgrade) => {
                    let (executor, control) = (&self.executor, self.requests.closed());
                    self.handover.upgrade(executor, control, runtime).await;
                    continue;
                }
                None if is_done && self.supervisor.is_finished() => return None,
                None => {}
            }
            let deadlines = [
                self.supervisor.next_deadline(),
                self.handover.deadline(),
                self.targets.deadline(),
            ];
            let next = deadlines.into_iter().flatten().min();
            let wait = next.map(|deadline| deadline.since(clock::now()));
            let leaves = self.handover.exit().is_some();
            let due = executor::under_way::pause(wait, leaves.then(|| self.executor.under_way()));
            let calm = Rc::clone(&self.executor.host().taking_up.calm);
            let adopted = watched_later::may_begin(&calm, self.transitions.watched_later.has_any());
            let next = tokio::select! {
                report = self.executor.next() => Next::Report(report),
                arrived = self.requests.next() => Next::Arrived(arrived),
                failed = self.wants.next() => Next::NotKept(failed),
                read = self.reloads.next() => Next::Read(Box::new(read)),
                verdict = self.handover.next() => Next::Verdict(verdict),
                sign = self.readiness.next() => Next::Sign(sign),
                signal = self.signals.next() => Next::Signal(signal),
                next = changed((&mut self.targets, &mut self.lookups, &mut self.reached), adopted) => next,
                refused = self.refusals.next() => Next::Refused(refused),
                note = self.drifts.next() => Next::Network(note),
                () = due => Next::Due,
                () = self.unit.next() => Next::Watchdog,
                () = tokio::task::yield_now(), if !is_done || self.subscriptions.end_soon() => Next::Follow,
            };
            self.route(next);
            if self.stretch.is_over() {
                tokio::task::yield_now().await;
            }
        }
    }

    /// How the loop ends, if it may end now. A status text that waits is recorded before.
    fn exit_now(&mut self, is_idle: bool) -> Option<Exit> {
        let exit = self.handover.exit_now(is_idle)?;
        for tenant in self.executor.take_said() {
            self.record(&tenant);
        }
        Some(exit)
    }

    /// Passes an event to the owner that is responsible for it.
    fn route(&mut self, next: Next) {
        let _span = timeline::span("loop: route", "");
        let (app, serving) = (&self.executor.host().app, self.handover.is_serving());
        let inventory = self.executor.inventory();
        match next {
            Next::Report(Ok(report)) => self.executor.on_report(report),
            Next::Report(Err(error)) => tracing::error!(%error, "cannot watch the cgroups"),
            Next::Arrived(Some(arrived)) => self.requests.on_arrived(
                arrived,
                Owners {
                    supervisor: &self.supervisor,
                    executor: &self.executor,
                    wants: &self.wants,
                    reloads: &mut self.reloads,
                    handover: &mut self.handover,
                    subscriptions: &mut self.subscriptions,
                    seen: Seen {
                        targets: &self.targets,
                        refusals: &self.refusals,
                        reached: &self.reached,
                        drifts: &self.drifts,
                        transitions: &self.transitions,
                        readiness: &self.readiness,
                    },
                },
            ),
            Next::NotKept(failed) => self.wants.on_not_kept(failed, inventory),
            Next::Read(read) => {
                let (executor, supervisor) = (&self.executor, &self.supervisor);
                let present = Present {
                    executor,
                    supervisor,
                };
                self.reloads.on_read(*read, present, serving);
            }
            Next::Verdict(verdict) => self.handover.on_verdict(verdict),
            Next::Sign(sign) => self.readiness.on_sign(sign, inventory, &self.supervisor),
            Next::Signal(Ok(Signal::Reload)) => self.reloads.want(ReloadRequest::Signal, serving),
            Next::Signal(Ok(signal)) => self.handover.on_signal(signal, app),
            Next::Signal(Err(error)) => tracing::error!(%error, "cannot read the signals"),
            Next::Host(notice) => self.targets.on_notice(notice, inventory),
            Next::Refused(refused) => self.refusals.on_refused(refused, inventory),
            Next::Reached(tenants) => self.reached.on_notice(tenants, inventory),
            Next::Lookups(notice) => self.lookups.on_notice(notice, inventory),
            Next::Network(note) => self.drifts.on_note(note),
            Next::Due => {
                self.targets.on_due(clock::now(), inventory);
                let step = self.supervisor.handle_deadline(clock::now());
                self.carry_out(step);
            }
            Next::Watchdog => self.unit.alive(),
            Next::Adopted => self.watch_next(),
            Next::Follow => self.requests.last_noted(&mut self.subscriptions),
            Next::Arrived(None) => {}
        }
    }

    /// Applies inputs until no owner has one left (then it returns true) or the stretch is over. The
    /// remaining inputs are applied in the next stretch, together with what has arrived since.
    fn follow(&mut self) -> bool {
        let is_done = loop {
            let Some(input) = self.poll() else {
                break true;
            };
            let _span = timeline::span("loop: apply", "");
            self.apply(input);
            if self.stretch.is_over() {
                break false;
            }
        };
        self.tell_rest();
        self.unit.status(self.transitions.state_counts());
        is_done
    }

    fn poll(&mut self) -> Option<Input> {
        let input = self.readiness.poll();
        let input = input.or_else(|| self.targets.poll());
        let input = input.or_else(|| self.refusals.poll());
        let input = input.or_else(|| self.reached.poll());
        let input = input.or_else(|| self.drifts.poll());
        let input = input.or_else(|| self.handover.poll());
        let input = input.or_else(|| self.wants.poll());
        let input = input.or_else(|| self.requests.poll());
        let input = input.or_else(|| self.reloads.poll());
        // Last, because it also reads the reports that have arrived meanwhile.
        input.or_else(|| self.executor.poll())
    }

    fn on_plan(&mut self, change: PlanChange) {
        let is_new = matches!(change, PlanChange::New(..));
        let tenant = change.tenant().clone();
        let event = self.executor.on_plan(change, &self.wants);
        self.apply(Input::Event(event));
        if !self.transitions.watched_later.has(&tenant) {
            self.lookups.on_plan(&tenant, self.executor.inventory());
        }
        self.readiness
            .on_plan(&tenant, &self.supervisor, &self.executor);
        if is_new {
            crash::point("plan: tenant handed over", tenant.as_str());
        }
    }

    fn apply(&mut self, input: Input) {
        match input {
            Input::Event(event) => self.handle(event),
            Input::TenantRequest(request) => self.request(&request),
            Input::Offline(tenant, offline) => self.exec_offline(&tenant, offline),
            Input::Plan(change) => self.on_plan(change),
            Input::Autostart {
                tenant,
                autostart,
                changed,
            } => {
                self.supervisor.set_autostart(&tenant, autostart);
                self.record(&tenant);
                if changed {
                    let (subscriptions, tenants) = self.watched();
                    subscriptions.publish_changed(&tenant, tenants);
                }
            }
            Input::Record(tenant) => self.record(&tenant),
            Input::Changed(tenant) => {
                let (subscriptions, tenants) = self.watched();
                subscriptions.publish_changed(&tenant, tenants);
            }
            Input::Network(network) => self.executor.host().network.exchange(*network),
            Input::Control(control) => {
                self.requests.set_readers(&control);
                self.executor.host().change_total(&control.total);
            }
            Input::Drain => {
                self.executor.pause();
                self.readiness.pause();
                // The subscribers connect to the next supervisor.
                match self.handover.exit() {
                    Some(Exit::Detach) => self.subscriptions.end_after(EndReason::Detached),
                    Some(Exit::Upgrade) => self.subscriptions.end_after(EndReason::Upgrading),
                    None => {}
                }
                self.requests.close();
                self.handover.on_drained();
            }
            Input::Resume => {
                self.requests.reopen();
                self.executor.resume();
                self.readiness.resume();
            }
        }
    }
}

/// What has changed on the host, or that adopted launches may be watched. Cancelling this loses nothing.
async fn changed(
    (targets, lookups, reached): (&mut Targets, &mut Lookups, &mut Reached),
    adopted: impl Future<Output = ()>,
) -> Next {
    tokio::select! {
        notice = targets.next() => Next::Host(notice),
        notice = lookups.next() => Next::Lookups(notice),
        tenants = reached.next() => Next::Reached(tenants),
        () = adopted => Next::Adopted,
    }
}
