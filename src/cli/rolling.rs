//! `restart --rolling`: restarts tenants in batches, and halts at the first batch that does not become
//! ready.
//!
//! This process, not the supervisor, drives the batches: if it is interrupted, no further batch begins.
//! Tenants that were restarted stay so.

use std::collections::BTreeSet;

use anyhow::Context;
use jiff::Timestamp;

use super::End;
use super::act::{Going, until};
use super::args::Restart;
use super::interrupts::Interrupts;
use super::outcome::{Became, Outcome, list, reached, state};
use super::progress::{self, Doing, Progress};
use super::select;
use tenantd_api::client::watch::Waiting;
use tenantd_api::client::{ClientError, Connection};
use tenantd_api::wire::{Program, TenantStatus, Verb, Want};
use tenantd_core::name::{AppName, TenantName};

const VERB: Verb = Verb::Restart;

/// How many tenants that were restarted last are looked at after each batch. All that were restarted are looked at whenever
/// there are a quarter more of them, and at the end.
const RECENT: usize = 200;

/// Up to this many tenants, the command that restarts the rest names them.
const FEW: usize = 10;

pub(super) fn roll(app: &AppName, what: &Restart) -> anyhow::Result<End> {
    super::converse(async {
        let mut connection = Connection::open(app).await?;
        let typed = &what.act.which.names;
        let asked = select::status(typed, async |names| connection.status(names).await).await?;
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

/// Which tenants are looked at after a batch. To look at all of thousands after each would take longer than to restart them.
#[derive(Default)]
struct Back {
    /// How many were restarted when all were looked at.
    looked_at: usize,
}

impl Back {
    /// The number of the first tenant to look at, if so many of all were restarted.
    fn first(&mut self, done: usize, all: usize) -> usize {
        let is_due = done == all || done - self.looked_at > self.looked_at / 4;
        if is_due {
            self.looked_at = done;
            return 0;
        }
        done.saturating_sub(RECENT)
    }
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
        let (mut done, mut back) = (0, Back::default());
        for (number, batch) in (1..).zip(names.chunks(batch)) {
            let complete = self.batch(number, batch).await?;
            done += batch.len();
            if complete {
                let first = back.first(done, names.len());
                self.look_back(&names[first..done]).await?;
            }
            let interrupted = !complete || self.interrupted && number < self.batches;
            if interrupted || self.progress.failed().next().is_some() {
                self.say_halted(number, interrupted)?;
                let now = self.status(names).await?;
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

    /// The status of these tenants, but of those that were removed meanwhile.
    async fn status(&mut self, names: &[TenantName]) -> Result<Vec<TenantStatus>, ClientError> {
        let connection = &mut self.connection;
        let asked = select::named(names, async |names| connection.status(names).await).await;
        let mut tenants = asked?.tenants;
        let names: BTreeSet<&TenantName> = names.iter().collect();
        tenants.retain(|tenant| names.contains(&tenant.name));
        Ok(tenants)
    }

    /// A program may become ready and fail soon after: looks at tenants of earlier batches as well.
    async fn look_back(&mut self, restarted: &[TenantName]) -> anyhow::Result<()> {
        let failed: Vec<TenantName> = self.progress.failed().cloned().collect();
        for tenant in self.status(restarted).await? {
            if !failed.contains(&tenant.name) && !reached(VERB, &tenant) {
                let text = format!("no longer ready: {}", state(&tenant));
                let outcome = Outcome::of(&tenant, Became::Failed).saying(text);
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn all_are_looked_at_again_and_again_but_thousands_not_after_each_batch() {
        const ALL: usize = 3000;
        let (mut back, mut looks) = (Back::default(), 0);
        let mut last_look = vec![0; ALL];
        for done in 1..=ALL {
            let first = back.first(done, ALL);
            assert!(done > RECENT || first == 0, "{done}: {first}");
            assert!(done - first >= RECENT.min(done), "{done}: {first}");
            looks += done - first;
            for (tenant, last) in (1..).zip(&mut last_look[..done]) {
                // At the latest when there are a quarter more.
                assert!(
                    *last == 0 || done - *last <= 2 + done / 4,
                    "{tenant}: {last}, {done}"
                );
            }
            last_look[first..done].fill(done);
        }
        assert!(last_look.iter().all(|last| *last == ALL));
        assert!(looks < (RECENT + 8) * ALL, "{looks}");
    }
}
