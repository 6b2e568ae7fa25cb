//! Handover: this supervisor's end, and who takes over from it.
//!
//! There are three ways to end. A stop ends all tenants first. A detachment lets them go on, for
//! the next supervisor to find, as after a death, but with nothing cut off halfway. An upgrade
//! executes another program in this process, which then is the next supervisor; see
//! [`upgrade`](super::upgrade). Before the last two this one is drained: nothing new is begun, nobody
//! is let in, and what is under way ends, within a limit. An upgrade that fails, or a stop that
//! overtakes it, resumes everything.

use std::collections::VecDeque;
use std::time::Duration;

use tenantd_api::wire::{Upgraded, Upgrading};
use tenantd_core::name::AppName;
use tenantd_core::supervisor::event::Event;
use tenantd_core::supervisor::time::Moment;
use tenantd_host::crash;
use tenantd_host::runtime::Runtime;

use super::control::Listener;
use super::desk::Closed;
use super::executor::Executor;
use super::input::Input;
use super::signals::Signal;
use super::tell::LastWords;
use super::upgrade::{Reply, Upgrade, VERSION};
use super::{clock, notify};

/// How long what is under way may take to end before a detachment: a provision, a launch, a
/// release. What takes longer is found half-made by the next supervisor, which finishes or undoes
/// it.
const DETACH_LIMIT: Duration = Duration::from_secs(3);

/// How long what is under way may take to end before an upgrade, and who has asked to be answered.
const UPGRADE_LIMIT: Duration = Duration::from_secs(5);

/// Whether and how this supervisor is about to end.
pub(super) struct Handover {
    mode: Mode,
    upgrade: Upgrade,
    inputs: VecDeque<Input>,
    last_words: LastWords,
}

enum Mode {
    Serving,
    /// All tenants are being ended.
    Stopping,
    /// Nothing is begun; what is under way may take until then.
    Draining {
        exit: Exit,
        until: Moment,
    },
}

/// What comes after the loop, with all tenants going on.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Exit {
    /// The end of this process.
    Detach,
    /// Another program in it.
    Upgrade,
}

impl Handover {
    /// Of a supervisor that serves.
    pub(super) fn new(upgrade: Upgrade, last_words: LastWords) -> Self {
        Self {
            mode: Mode::Serving,
            upgrade,
            inputs: VecDeque::new(),
            last_words,
        }
    }

    /// Says what came of the last upgrade, now that this program serves.
    pub(super) fn say_upgraded(&self) {
        self.upgrade.say();
    }

    /// Whether no end is in sight.
    pub(super) fn is_serving(&self) -> bool {
        matches!(self.mode, Mode::Serving)
    }

    /// What comes after the loop, once it is about to end with all tenants going on.
    pub(super) fn exit(&self) -> Option<Exit> {
        match self.mode {
            Mode::Serving | Mode::Stopping => None,
            Mode::Draining { exit, .. } => Some(exit),
        }
    }

    /// Until when what is under way may take.
    pub(super) fn deadline(&self) -> Option<Moment> {
        match self.mode {
            Mode::Serving | Mode::Stopping => None,
            Mode::Draining { until, .. } => Some(until),
        }
    }

    /// What comes after the loop, if that may end now with all that stands left standing: once
    /// nothing is under way (`is_idle`), or the limit is over.
    pub(super) fn exit_now(&self, is_idle: bool) -> Option<Exit> {
        let over = |until| clock::now() >= until;
        let may = is_idle || self.deadline().is_some_and(over);
        self.exit().filter(|_| may)
    }

    /// A signal asks for an end. One for a reload is not for us.
    pub(super) fn on_signal(&mut self, signal: Signal, app: &AppName) {
        let stopping = matches!(self.mode, Mode::Stopping);
        match signal {
            Signal::Stop | Signal::Hurry if self.exit() == Some(Exit::Detach) => {
                tracing::info!("leaving already: the tenants go on");
            }
            Signal::Upgrade => self.preflight(app, None),
            Signal::Stop if !stopping => self.stop(),
            Signal::Stop | Signal::Hurry => {
                tracing::info!("no more grace: killing what still runs");
                self.inputs.push_back(Input::Event(Event::Hurry));
            }
            Signal::Reload => {}
        }
    }

    fn stop(&mut self) {
        if self.exit() == Some(Exit::Upgrade) {
            tracing::info!("the upgrade is given up");
            self.resume();
        }
        self.mode = Mode::Stopping;
        tracing::info!("stopping all tenants; a second signal kills them at once");
        if let Err(error) = notify::stopping() {
            tracing::warn!(%error, "cannot tell the service manager that we stop");
        }
        self.inputs.push_back(Input::Event(Event::Shutdown));
    }

    /// From now on nothing is begun. Once what is under way has ended, so does the loop.
    pub(super) fn detach(&mut self) -> Result<(), Closed> {
        match self.mode {
            Mode::Draining {
                exit: Exit::Detach, ..
            } => return Ok(()),
            Mode::Stopping | Mode::Draining { .. } => return Err(Closed),
            Mode::Serving => {}
        }
        tracing::info!("leaving: the tenants go on, and the next supervisor takes them over");
        if let Err(error) = notify::stopping() {
            tracing::warn!(%error, "cannot tell the service manager that we end");
        }
        self.drain(Exit::Detach, DETACH_LIMIT);
        Ok(())
    }

    /// Tries the program on disk, for an upgrade if it would serve.
    pub(super) fn preflight(&mut self, app: &AppName, reply: Option<Reply>) {
        if self.is_serving() {
            self.upgrade.preflight(app, reply);
        } else if let Some(reply) = reply {
            let why = "the supervisor is about to end".to_owned();
            let _gone = reply.send(Err(why));
        }
    }

    /// What came of a trial: the version of the program, or why it would not serve. Nothing is lost
    /// when it is cancelled.
    pub(super) async fn next(&mut self) -> Result<String, String> {
        self.upgrade.verdict().await
    }

    /// The program on disk has been tried.
    pub(super) fn on_verdict(&mut self, verdict: Result<String, String>) {
        let answer = match verdict {
            Ok(_) if !self.is_serving() => Err("the supervisor is about to end".to_owned()),
            Ok(to) => {
                crash::point("upgrade: tried", "");
                tracing::info!("upgrading from {VERSION} to {to}: the tenants go on");
                self.drain(Exit::Upgrade, UPGRADE_LIMIT);
                let from = VERSION.to_owned();
                Ok(Upgrading { from, to })
            }
            Err(why) => {
                tracing::warn!("the upgrade is refused, and {VERSION} carries on: {why}");
                Err(why)
            }
        };
        self.upgrade.answer(&answer);
    }

    /// What came of the last upgrade.
    pub(super) fn upgraded(&self) -> Upgraded {
        self.upgrade.upgraded()
    }

    /// Executes the program on disk with all that is handed down. Returns only if that failed, and
    /// everything is to be resumed.
    pub(super) async fn upgrade(
        &mut self,
        executor: &Executor,
        control: Option<&Listener>,
        runtime: &Runtime,
    ) {
        crash::point("upgrade: quiet", "");
        self.last_words.flush();
        self.upgrade.change_over(executor, control, runtime).await;
        self.resume();
    }

    fn drain(&mut self, exit: Exit, limit: Duration) {
        let until = clock::now() + limit;
        self.mode = Mode::Draining { exit, until };
        self.inputs.push_back(Input::Drain);
    }

    /// Nothing is begun any more, and nobody let in.
    pub(super) fn on_drained(&self) {
        match self.exit() {
            Some(Exit::Detach) => crash::point("leave: begun", ""),
            Some(Exit::Upgrade) => crash::point("upgrade: door closed", ""),
            None => {}
        }
    }

    /// Goes on as if nothing had been.
    fn resume(&mut self) {
        self.mode = Mode::Serving;
        crash::point("upgrade: to carry on", "");
        self.inputs.push_back(Input::Resume);
    }

    /// What is to be applied next.
    pub(super) fn poll(&mut self) -> Option<Input> {
        self.inputs.pop_front()
    }
}
