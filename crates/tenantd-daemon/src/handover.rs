//! Handover: how this supervisor ends.
//!
//! A supervisor ends in one of three ways. A *stop* ends all tenants first. A *detachment* leaves
//! them running, and the next supervisor adopts them. An *upgrade* executes another program in this
//! process, and that program adopts them at once; see [`upgrade`](crate::handover::upgrade).
//!
//! Before a detachment or an upgrade the supervisor *drains*: it starts no new work, accepts no
//! connection, and gives the running tasks a limited time to end. Draining an upgrade is cancelled
//! if the upgrade fails or a stop comes first.

pub mod preflight;
pub mod rollback;
pub mod upgrade;

use std::collections::VecDeque;
use std::time::Duration;

use tenantd_api::wire::{Upgraded, Upgrading};
use tenantd_core::name::AppName;
use tenantd_core::supervisor::event::Event;
use tenantd_core::supervisor::time::Moment;
use tenantd_host::crash;
use tenantd_host::runtime::Runtime;

use crate::executor::Executor;
use crate::handover::upgrade::{Reply, Upgrade, VERSION};
use crate::history;
use crate::input::Input;
use crate::own_log::LogGuard;
use crate::requests::control::Listener;
use crate::requests::queue::Closed;
use crate::signals::Signal;
use crate::{clock, notify};

/// How long running tasks (provisions, launches, releases) may take to end before a detachment. The
/// next supervisor finishes or undoes the work of a task that takes longer.
const DETACH_LIMIT: Duration = Duration::from_secs(3);

/// How long running tasks and requests may take to end before an upgrade.
const UPGRADE_LIMIT: Duration = Duration::from_secs(5);

/// Whether and how this supervisor is about to end. See the documentation of this module.
pub(super) struct Handover {
    mode: Mode,
    upgrade: Upgrade,
    inputs: VecDeque<Input>,
    log_guard: LogGuard,
}

enum Mode {
    Serving,
    /// All tenants are being stopped.
    Stopping,
    /// No new work is started. Running tasks may take until `until`.
    Draining {
        exit: Exit,
        until: Moment,
    },
}

/// How the loop ends while the tenants keep running.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Exit {
    /// This process ends.
    Detach,
    /// This process executes another program.
    Upgrade,
}

impl Handover {
    /// The handover of a supervisor that serves.
    pub(super) fn new(upgrade: Upgrade, log_guard: LogGuard) -> Self {
        Self {
            mode: Mode::Serving,
            upgrade,
            inputs: VecDeque::new(),
            log_guard,
        }
    }

    /// Logs the result of the last upgrade, now that this program serves.
    pub(super) fn log_upgraded(&self) {
        self.upgrade.log_outcome();
    }

    /// Whether the supervisor serves: it is neither stopping nor draining.
    pub(super) fn is_serving(&self) -> bool {
        matches!(self.mode, Mode::Serving)
    }

    /// How the loop is about to end, if it is about to end while the tenants keep running.
    pub(super) fn exit(&self) -> Option<Exit> {
        match self.mode {
            Mode::Serving | Mode::Stopping => None,
            Mode::Draining { exit, .. } => Some(exit),
        }
    }

    /// When draining ends, even if a task is still running.
    pub(super) fn deadline(&self) -> Option<Moment> {
        match self.mode {
            Mode::Serving | Mode::Stopping => None,
            Mode::Draining { until, .. } => Some(until),
        }
    }

    /// How the loop ends, if it may end now: because no task is running (`is_idle`), or because the
    /// limit is over.
    pub(super) fn exit_now(&self, is_idle: bool) -> Option<Exit> {
        let over = |until| clock::now() >= until;
        let may = is_idle || self.deadline().is_some_and(over);
        self.exit().filter(|_| may)
    }

    /// Handles a signal. A signal for a reload is ignored here.
    pub(super) fn on_signal(&mut self, signal: Signal, app: &AppName) {
        let stopping = matches!(self.mode, Mode::Stopping);
        match signal {
            Signal::Stop | Signal::Hurry if self.exit() == Some(Exit::Detach) => {
                tracing::info!("already detaching: the tenants keep running");
            }
            Signal::Upgrade => self.preflight(app, None),
            Signal::Stop if !stopping => self.stop(),
            Signal::Stop | Signal::Hurry => {
                tracing::info!("killing all remaining processes");
                self.inputs.push_back(Input::Event(Event::Hurry));
            }
            Signal::Reload => {}
        }
    }

    fn stop(&mut self) {
        if self.exit() == Some(Exit::Upgrade) {
            tracing::info!("upgrade cancelled");
            self.resume();
        }
        self.mode = Mode::Stopping;
        tracing::info!("stopping all tenants; a second signal kills them at once");
        if let Err(error) = notify::stopping() {
            tracing::warn!(%error, "cannot notify the service manager (STOPPING=1)");
        }
        self.inputs.push_back(Input::Event(Event::Shutdown));
    }

    /// Begins a detachment. Succeeds too if one has already begun.
    ///
    /// # Errors
    /// If the supervisor is stopping or being upgraded.
    pub(super) fn detach(&mut self) -> Result<(), Closed> {
        match self.mode {
            Mode::Draining {
                exit: Exit::Detach, ..
            } => return Ok(()),
            Mode::Stopping | Mode::Draining { .. } => return Err(Closed),
            Mode::Serving => {}
        }
        tracing::info!("detaching: the tenants keep running, and the next supervisor adopts them");
        if let Err(error) = notify::stopping() {
            tracing::warn!(%error, "cannot notify the service manager (STOPPING=1)");
        }
        self.drain(Exit::Detach, DETACH_LIMIT);
        Ok(())
    }

    /// Begins an upgrade with the preflight of the program on disk. `reply` receives its result.
    pub(super) fn preflight(&mut self, app: &AppName, reply: Option<Reply>) {
        if self.is_serving() {
            self.upgrade.preflight(app, reply);
        } else if let Some(reply) = reply {
            let why = "the supervisor is shutting down".to_owned();
            let _gone = reply.send(Err(why));
        }
    }

    /// The result of the preflight: the version of the program, or why it failed. Cancelling this
    /// loses nothing.
    pub(super) async fn next(&mut self) -> Result<String, String> {
        self.upgrade.verdict().await
    }

    /// The preflight has ended: begins to drain, or refuses the upgrade.
    pub(super) fn on_verdict(&mut self, verdict: Result<String, String>) {
        let answer = match verdict {
            Ok(_) if !self.is_serving() => Err("the supervisor is shutting down".to_owned()),
            Ok(to) => {
                crash::point("upgrade: preflight passed", "");
                tracing::info!("upgrading from {VERSION} to {to}: the tenants keep running");
                self.drain(Exit::Upgrade, UPGRADE_LIMIT);
                let from = VERSION.to_owned();
                Ok(Upgrading { from, to })
            }
            Err(why) => {
                tracing::warn!("upgrade refused, {VERSION} keeps running: {why}");
                Err(why)
            }
        };
        self.upgrade.answer(&answer);
    }

    /// The result of the last upgrade.
    pub(super) fn upgraded(&self) -> Upgraded {
        self.upgrade.upgraded()
    }

    /// Executes the program on disk with the inherited descriptors. Returns only if that failed;
    /// then draining is cancelled.
    pub(super) async fn upgrade(
        &mut self,
        executor: &Executor,
        control: Option<&Listener>,
        runtime: &Runtime,
    ) {
        crash::point("upgrade: quiet", "");
        self.log_guard.flush();
        if let Some(control) = control {
            control.flush_audit();
        }
        history::ended("hands over to the program on disk: the tenants keep running");
        self.upgrade.execute_next(executor, control, runtime).await;
        history::began("keeps running: the program on disk could not be executed");
        self.resume();
    }

    fn drain(&mut self, exit: Exit, limit: Duration) {
        let until = clock::now() + limit;
        self.mode = Mode::Draining { exit, until };
        self.inputs.push_back(Input::Drain);
    }

    /// The executor is paused, and the control socket is closed.
    pub(super) fn on_drained(&self) {
        match self.exit() {
            Some(Exit::Detach) => crash::point("detach: begun", ""),
            Some(Exit::Upgrade) => crash::point("upgrade: socket closed", ""),
            None => {}
        }
    }

    /// Cancels draining.
    fn resume(&mut self) {
        self.mode = Mode::Serving;
        crash::point("upgrade: draining cancelled", "");
        self.inputs.push_back(Input::Resume);
    }

    /// The next input for the loop.
    pub(super) fn poll(&mut self) -> Option<Input> {
        self.inputs.pop_front()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn serving() -> Handover {
        Handover::new(Upgrade::new(None).unwrap(), LogGuard::default())
    }

    fn signal(handover: &mut Handover, signal: Signal) {
        handover.on_signal(signal, &"wiki".parse().unwrap());
    }

    #[test]
    fn a_signal_does_not_cancel_a_detachment() {
        let mut handover = serving();
        handover.detach().unwrap();
        assert!(matches!(handover.poll(), Some(Input::Drain)));
        assert_eq!(handover.exit_now(false), None);
        assert_eq!(handover.exit_now(true), Some(Exit::Detach));
        // The preflight of a program succeeds.
        handover.on_verdict(Ok("9.1.0".to_owned()));
        signal(&mut handover, Signal::Stop);
        signal(&mut handover, Signal::Upgrade);
        handover.detach().unwrap();
        assert!(handover.poll().is_none());
        assert_eq!(handover.exit(), Some(Exit::Detach));
    }

    #[test]
    fn a_stop_overrides_an_upgrade_and_is_final() {
        let mut handover = serving();
        handover.on_verdict(Ok("9.1.0".to_owned()));
        assert!(matches!(handover.poll(), Some(Input::Drain)));
        assert_eq!(handover.exit_now(true), Some(Exit::Upgrade));
        assert_eq!(handover.detach(), Err(Closed));
        signal(&mut handover, Signal::Stop);
        assert!(matches!(handover.poll(), Some(Input::Resume)));
        let shutdown = handover.poll();
        assert!(matches!(shutdown, Some(Input::Event(Event::Shutdown))));
        handover.on_verdict(Ok("9.1.0".to_owned()));
        assert_eq!(handover.detach(), Err(Closed));
        assert!(handover.poll().is_none());
        assert_eq!(
            (handover.exit_now(true), handover.is_serving()),
            (None, false)
        );
        signal(&mut handover, Signal::Stop);
        let hurry = handover.poll();
        assert!(matches!(hurry, Some(Input::Event(Event::Hurry))));
    }
}
