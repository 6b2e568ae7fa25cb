//! The turns of the loop: wait for the next thing to happen, and go through all that follows.

use std::time::Duration;

use tokio::time::{Instant, MissedTickBehavior, interval_at};

use tenantd_core::name::TenantName;
use tenantd_core::plan::model::Readiness;
use tenantd_core::supervisor::action::Action;
use tenantd_core::supervisor::event::Event;
use tenantd_core::supervisor::view::StateWord;
use tenantd_core::supervisor::{Cause, Find, Step, Transition};

use super::ready::notice::Notice;
use super::reload::Wish;
use super::report::News;
use super::signals::Signal;
use super::site::Site;
use super::{Daemon, clock, notify};

/// What the loop waits for.
enum Next {
    Report(super::report::Report),
    Ask(super::desk::Ask),
    Signal(std::io::Result<Signal>),
    Notice(std::io::Result<Notice>),
    Stirred(std::io::Result<TenantName>),
    Reread(super::reload::Reread),
    Tried(Result<String, String>),
    /// Whoever had asked has been answered.
    Answered,
    Due,
    Watchdog,
}

impl Daemon {
    /// Goes round until the supervisor has finished.
    pub(super) async fn go_round(&mut self) {
        let mut watchdog = notify::watchdog_interval().map(|every| {
            let mut ticks = interval_at(Instant::now() + every, every);
            ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
            ticks
        });
        let mut said = String::new();
        while !self.supervisor.is_finished() && !self.may_go() {
            let patience = self.going.as_ref().map(|going| going.until);
            let deadlines = [self.supervisor.next_deadline(), patience];
            let next = deadlines.into_iter().flatten().min();
            let wait = next.map(|deadline| deadline.since(clock::now()));
            let next = tokio::select! {
                Some(report) = self.reports.recv() => Next::Report(report),
                Some(ask) = self.asks.recv() => Next::Ask(ask),
                signal = self.signals.next() => Next::Signal(signal),
                notice = self.notices.next() => Next::Notice(notice),
                stirred = stirred(&self.site) => Next::Stirred(stirred),
                reread = self.reloads.next() => Next::Reread(reread),
                verdict = self.upgrade.verdict() => Next::Tried(verdict),
                () = self.control.closed() => Next::Answered,
                () = pause(wait) => Next::Due,
                () = tick(&mut watchdog) => Next::Watchdog,
            };
            self.turn(next);
            // What came meanwhile is taken in the same turn, so that a burst is said once.
            while let Ok(report) = self.reports.try_recv() {
                self.take(report);
            }
            self.say_status(&mut said);
        }
    }

    fn turn(&mut self, next: Next) {
        match next {
            Next::Report(report) => self.take(report),
            Next::Ask(ask) => self.answer(ask),
            Next::Signal(Ok(signal)) => self.heed(signal),
            Next::Signal(Err(error)) => tracing::error!(%error, "cannot read the signals"),
            Next::Notice(Ok(notice)) => self.hear(&notice),
            Next::Notice(Err(error)) => {
                tracing::warn!(%error, "cannot read the notify socket");
            }
            Next::Stirred(Ok(tenant)) => self.take(super::report::Report {
                tenant,
                news: News::Stirred,
            }),
            Next::Stirred(Err(error)) => tracing::error!(%error, "cannot watch the cgroups"),
            Next::Reread(reread) => self.reread(reread),
            Next::Tried(verdict) => self.tried(verdict),
            Next::Answered => {}
            Next::Due => {
                let step = self.supervisor.handle_deadline(clock::now());
                self.follow(step);
            }
            Next::Watchdog => {
                if let Err(error) = notify::watchdog() {
                    tracing::warn!(%error, "cannot tell the service manager that we live");
                }
            }
        }
    }

    /// Tells the supervisor what happened, and does what follows.
    pub(super) fn happen(&mut self, event: Event) {
        if let Event::Planned { tenant, .. } = &event
            && self.supervisor.tenant(tenant).is_none()
        {
            self.tally.begin();
        }
        let step = self.supervisor.handle(clock::now(), event);
        self.follow(step);
    }

    pub(super) fn follow(&mut self, step: Step) {
        // What is written down next is what is done.
        for action in &step.actions {
            if let Action::Launch { tenant, .. } | Action::Provision { tenant } = action
                && let Some(entry) = self.ledger.entry(tenant)
            {
                entry.take_up();
            }
        }
        for tenant in &step.changed {
            self.write_down(tenant);
        }
        for transition in &step.transitions {
            self.tell(transition);
            self.tally.note(transition);
        }
        for action in step.actions {
            self.perform(action);
        }
        for transition in &step.transitions {
            self.settle(&transition.tenant);
        }
    }

    fn heed(&mut self, signal: Signal) {
        match signal {
            Signal::Stop | Signal::Hurry if self.is_leaving() => {
                tracing::info!("leaving already: the tenants go on");
            }
            Signal::Upgrade => self.begin_upgrade(None),
            Signal::Stop if !self.stopping => {
                self.stopping = true;
                self.give_up_upgrade();
                tracing::info!("stopping all tenants; a second signal kills them at once");
                if let Err(error) = notify::stopping() {
                    tracing::warn!(%error, "cannot tell the service manager that we stop");
                }
                self.happen(Event::Shutdown);
            }
            Signal::Stop | Signal::Hurry => {
                tracing::info!("no more grace: killing what still runs");
                self.happen(Event::Hurry);
            }
            Signal::Reload => self.wish(Wish::Signal),
        }
    }

    /// A program said something about itself. Only a tenant that is to say when it is ready is
    /// listened to.
    fn hear(&mut self, notice: &Notice) {
        let Some(tenant) = self.ledger.whose(notice.netns_inode).cloned() else {
            tracing::debug!(pid = notice.pid, "a notice from a stranger is ignored");
            return;
        };
        if let Some(status) = &notice.status {
            tracing::debug!(%tenant, "its program says: {status}");
        }
        let Some(entry) = self.ledger.entry(&tenant) else {
            return;
        };
        let asked = matches!(entry.plan.policy.ready, Readiness::Notify);
        if !(notice.ready && asked) {
            return;
        }
        match &mut entry.running {
            // A quick program speaks before the report of its start is read, or even before that
            // of its birth.
            None => entry.spoke_early = true,
            Some(running) if !running.executed => running.said_ready = true,
            Some(running) => {
                let launch = running.launch;
                self.happen(Event::Ready { launch });
            }
        }
    }

    /// The one place where what becomes of tenants is logged.
    fn tell(&self, transition: &Transition) {
        let Transition {
            tenant,
            from,
            to,
            launch: _,
            cause,
        } = transition;
        match (cause, to) {
            (Cause::Ready, _) => tracing::info!(%tenant, "{tenant}: ready"),
            (
                Cause::Failed(_)
                | Cause::GivenUp(_)
                | Cause::Exited(_)
                | Cause::Found(Find::Died(_)),
                _,
            ) => {
                tracing::warn!(%tenant, "{tenant}: {from} → {to}: {cause}");
            }
            (Cause::Found(_), _) => {
                tracing::info!(%tenant, "{tenant}: {from} → {to}: {cause}");
            }
            (_, StateWord::Waiting) => {
                let until = self.supervisor.tenant(tenant).and_then(|view| view.until);
                let wait = until.map_or(Duration::ZERO, |until| until.since(clock::now()));
                tracing::info!(%tenant, "{tenant}: starts again in {:.1} s", wait.as_secs_f64());
            }
            (_, StateWord::Up | StateWord::Down) => {
                tracing::info!(%tenant, "{tenant}: {from} → {to}: {cause}");
            }
            _ => tracing::debug!(%tenant, "{tenant}: {from} → {to}: {cause}"),
        }
    }

    fn say_status(&self, said: &mut String) {
        let status = self.tally.to_string();
        if status != *said {
            if let Err(error) = notify::status(&status) {
                tracing::debug!(%error, "cannot tell the service manager our status");
            }
            *said = status;
        }
    }

    /// What could not be ended or released, for the last word.
    pub(super) fn stuck(&self) -> Vec<anyhow::Error> {
        let stuck = |view: tenantd_core::supervisor::view::View| {
            let why = view.why.filter(|_| view.state == StateWord::Stuck)?;
            Some(anyhow::anyhow!("{}: {why}", view.name))
        };
        self.supervisor.tenants().filter_map(stuck).collect()
    }
}

/// The next tenant whose cgroup changed; never, where there are no cgroups.
async fn stirred(site: &Site) -> std::io::Result<TenantName> {
    match &site.cgroups {
        Some(cgroups) => cgroups.watch.next().await,
        None => std::future::pending().await,
    }
}

async fn pause(wait: Option<Duration>) {
    match wait {
        Some(wait) => tokio::time::sleep(wait).await,
        None => std::future::pending().await,
    }
}

async fn tick(watchdog: &mut Option<tokio::time::Interval>) {
    match watchdog {
        Some(ticks) => {
            ticks.tick().await;
        }
        None => std::future::pending().await,
    }
}
