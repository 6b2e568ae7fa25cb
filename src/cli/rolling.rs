//! `restart --rolling`: restarts tenants in batches, and halts at the first batch that does not become
//! ready.
//!
//! This process, not the supervisor, drives the batches: if it is interrupted, no further batch begins.
//! Tenants that were restarted stay so.

use anyhow::Context;
use jiff::Timestamp;

use super::End;
use super::act::{Going, until};
use super::args::Restart;
use super::interrupts::Interrupts;
use super::outcome::{Became, Outcome, list, reached, state};
use super::progress::{self, Doing, Progress};
use super::select;
use tenantd_api::client::Connection;
use tenantd_api::client::watch::Waiting;
use tenantd_api::wire::{Program, TenantStatus, Verb, Want};
use tenantd_core::name::{AppName, TenantName};

const VERB: Verb = Verb::Restart;

/// Up to this many tenants, the command that restarts the rest names them.
const FEW: usize = 10;

pub(super) fn roll(app: &AppName, what: &Restart) -> anyhow::Result<End> {
    super::converse(async {
        let mut connection = Connection::open(app).await?;
        let asked = connection.status(&[]).await?;
        let typed = &what.act.which.names;
        let asked = select::chosen(asked, typed);
        let asked = asked
            .map_err(|error| select::unchanged(error, typed))?
            .tenants;
        let mut progress = Progress::new(app, Doing::Restart, asked.len(), what.act.show);
        // Tenants that an operator stopped stay stopped.
        let (up, down): (Vec<_>, Vec<_>) = asked.iter().partition(|t| t.want == Want::Up);
        for tenant in down {
            progress.settled(Outcome::skipped(tenant, "it is stopped"))?;
        }
        let names: Vec<TenantName> = up.iter().map(|tenant| tenant.name.clone()).collect();
        let roll = Roll {
            app,
            batches: names.len().div_ceil(what.batch.get()),
            connection,
            interrupts: Interrupts::catch().context("cannot catch signals")?,
            interrupted: false,
            progress,
        };
        roll.roll(&names, what.batch.get()).await
    })
}

struct Roll<'a> {
    app: &'a AppName,
    batches: usize,
    connection: Connection,
    interrupts: Interrupts,
    /// After the first interrupt the batch that is under way is the last one; the second ends the
    /// command without waiting for that batch.
    interrupted: bool,
    progress: Progress<'a>,
}

impl Roll<'_> {
    async fn roll(mut self, names: &[TenantName], batch: usize) -> anyhow::Result<End> {
        let mut done = 0;
        for (number, batch) in (1..).zip(names.chunks(batch)) {
            let complete = self.batch(number, batch).await?;
            done += batch.len();
            let now = self.connection.status(&[]).await?.tenants;
            if complete {
                self.look_back(&now, &names[..done])?;
            }
            let interrupted = !complete || self.interrupted && number < self.batches;
            if interrupted || self.progress.failed().next().is_some() {
                self.say_halted(number, interrupted)?;
                self.say_where(&now, names, done)?;
                return Ok(self.progress.finish(interrupted)?);
            }
        }
        Ok(self.progress.finish(false)?)
    }

    /// Restarts one batch. Returns false if its end was not waited for.
    async fn batch(&mut self, number: usize, batch: &[TenantName]) -> anyhow::Result<bool> {
        let note = format!("batch {number} of {}: restarting", self.batches);
        self.progress.note(note)?;
        let begun = Timestamp::now();
        let answers = self.connection.act(VERB, batch, false).await?;
        let going = Going::of((VERB, begun), &answers, &mut self.progress)?;
        let mut waiting = Waiting::new(self.app, &going.names(&answers), until(VERB));
        let (progress, interrupts) = (&mut self.progress, &mut self.interrupts);
        while !progress::follow(progress, &mut waiting, interrupts, |it| going.became(it)).await? {
            if self.interrupted {
                for tenant in waiting.left() {
                    progress.left(going.left(tenant));
                }
                return Ok(false);
            }
            self.interrupted = true;
            progress.notice(&format!(
                "halting: waiting for batch {number} (interrupt again to stop waiting)"
            ))?;
        }
        progress.logs_in(waiting.logs());
        Ok(true)
    }

    /// A program may become ready and fail soon after: looks at the earlier batches as well.
    fn look_back(&mut self, now: &[TenantStatus], restarted: &[TenantName]) -> anyhow::Result<()> {
        let failed: Vec<TenantName> = self.progress.failed().cloned().collect();
        for tenant in now {
            let is_new = restarted.contains(&tenant.name) && !failed.contains(&tenant.name);
            if is_new && !reached(VERB, tenant) {
                let text = format!("no longer ready: {}", state(tenant));
                let outcome = Outcome::of(tenant, Became::Failed).saying(text);
                self.progress.settled(outcome)?;
            }
        }
        Ok(())
    }

    fn say_halted(&mut self, number: usize, interrupted: bool) -> anyhow::Result<()> {
        let failed = list(self.progress.failed());
        let why = match (failed.is_empty(), interrupted) {
            (false, _) => format!("not ready: {failed}"),
            (true, _) => "interrupted".to_owned(),
        };
        let line = format!("halted after batch {number} of {}: {why}", self.batches);
        Ok(self.progress.say_failure(&line)?)
    }

    /// Prints the state in which the roll halted: which tenants run which program, and which run
    /// none.
    fn say_where(
        &mut self,
        now: &[TenantStatus],
        names: &[TenantName],
        done: usize,
    ) -> anyhow::Result<()> {
        let now: Vec<_> = now.iter().filter(|t| names.contains(&t.name)).collect();
        let runs = |program| {
            let those = now.iter().filter(move |t| t.program == program);
            list(those.map(|tenant| &tenant.name))
        };
        let lines = [
            ("restarted", list(&names[..done])),
            ("not restarted", list(&names[done..])),
            ("still running an older program", runs(Some(Program::Older))),
            ("not running", runs(None)),
        ];
        for (what, names) in lines.iter().filter(|(_, names)| !names.is_empty()) {
            self.progress.say(&format!("  {what}: {names}"))?;
        }
        for tenant in &names[done..] {
            let what = "not restarted";
            let outcome = Outcome::pending(tenant, what, what.to_owned());
            self.progress.left(outcome);
        }
        let rest = &names[done..];
        let hint = if rest.len() <= FEW {
            let rest: Vec<&str> = rest.iter().map(TenantName::as_str).collect();
            let rest = super::typed(self.app, &format!("restart --rolling {}", rest.join(" ")));
            format!("`{rest}` restarts the rest.")
        } else {
            "Repeat the command to restart the rest: it begins with the first tenant again."
                .to_owned()
        };
        self.progress.hint_if_interrupted(hint);
        Ok(())
    }
}
