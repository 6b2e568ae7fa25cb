//! What becomes of each tenant that a reload changes.

use std::collections::BTreeMap;

use anyhow::Context;
use jiff::Timestamp;

use crate::cli::End;
use crate::cli::args::Wait;
use crate::cli::interrupts::Interrupts;
use crate::cli::outcome::{Became, Outcome, state};
use crate::cli::progress::{self, Doing, Progress};
use crate::cli::select;
use tenantd_api::client::watch::{self, Until, Waiting, wait};
use tenantd_api::client::{ClientError, Connection};
use tenantd_api::wire::{StateWord, TenantStatus, Want};
use tenantd_core::name::{AppName, TenantName};
use tenantd_core::plan::changes;
use tenantd_core::plan::diff::{Change, Changes, TenantChange};
use tenantd_core::plan::fields::Touches;

/// What the summary says of tenants that are not waited for.
const CHANGING: &str = "changing";

/// Prints the outcome of each change, until all are known.
pub(super) async fn report(
    app: &AppName,
    connection: &mut Connection,
    (changes, begun): (&Changes, Timestamp),
    doing: Doing,
    how: Wait,
) -> anyhow::Result<End> {
    let total = changes.tenants.len() + changes.retried.len();
    let mut progress = Progress::new(app, doing, total, how.show);
    if let Some(line) = changes::shared_line(app, changes) {
        progress.say(&line)?;
    }
    if changes.is_empty() {
        progress.say(&changes::summary(changes))?;
    }
    let mut sorted = Sorted::of(changes, begun);
    sorted.started(connection).await?;
    for (tenant, text) in std::mem::take(&mut sorted.done) {
        progress.settled(Outcome::without_state(tenant, Became::Done, text))?;
    }
    if how.no_wait {
        for (tenant, text) in &sorted.waited {
            progress.settled(Outcome::pending(tenant, CHANGING, text.clone()))?;
        }
        for (tenant, fields) in &sorted.live {
            let text = format!("applying live: {fields}");
            progress.settled(Outcome::pending(tenant, CHANGING, text))?;
        }
        return Ok(progress.finish(false)?);
    }
    let mut interrupts = Interrupts::catch().context("cannot catch signals")?;
    let names: Vec<TenantName> = sorted.waited.keys().copied().cloned().collect();
    // A program that never becomes ready is started again and again: its first attempt decides.
    let mut waiting = Waiting::new(app, &names, Until::Tried);
    let judge = |became| sorted.judge(became);
    let complete = progress::follow(&mut progress, &mut waiting, &mut interrupts, judge).await?;
    for tenant in waiting.left() {
        progress.left(Outcome::pending(tenant, CHANGING, CHANGING.to_owned()));
    }
    progress.logs_in(waiting.logs());
    let live = tokio::select! {
        live = applied(app, connection, &sorted.live), if complete => Some(live?),
        interrupted = interrupts.next(), if complete => {
            interrupted.context("cannot receive signals")?;
            None
        }
        else => None,
    };
    for tenant in live.iter().flatten() {
        progress.settled(sorted.judge_live(tenant))?;
    }
    if live.is_none() {
        for tenant in sorted.live.keys() {
            progress.left(Outcome::pending(tenant, CHANGING, CHANGING.to_owned()));
        }
    }
    Ok(progress.finish(live.is_none())?)
}

/// The changes with their lines, by what has to be waited for.
struct Sorted<'a> {
    /// Nothing.
    done: BTreeMap<&'a TenantName, String>,
    /// The tenant is to settle.
    waited: BTreeMap<&'a TenantName, String>,
    /// The host has to apply a live change to running processes: to which fields.
    live: BTreeMap<&'a TenantName, String>,
    /// When the reload was requested.
    begun: Timestamp,
}

impl<'a> Sorted<'a> {
    fn of(changes: &'a Changes, begun: Timestamp) -> Self {
        let mut sorted = Self {
            done: BTreeMap::new(),
            waited: BTreeMap::new(),
            live: BTreeMap::new(),
            begun,
        };
        for change in &changes.tenants {
            let tenant = &change.tenant;
            match change.change {
                Change::Live if change.touches.is_some_and(Touches::is_applied) => {
                    let fields = change.fields.iter().map(|field| field.field.as_str());
                    let fields: Vec<&str> = fields.collect();
                    sorted.live.insert(tenant, fields.join(", "));
                }
                Change::Live => {
                    sorted.done.insert(tenant, text(change));
                }
                Change::Remove | Change::Reprovision | Change::Relaunch | Change::Add => {
                    sorted.waited.insert(tenant, text(change));
                }
            }
        }
        for tenant in &changes.retried {
            let what = "what was refused before".to_owned();
            sorted.live.insert(tenant, what);
        }
        sorted
    }

    /// A failed tenant is started again if a live change concerns what its start reads: that is waited for, too.
    async fn started(&mut self, connection: &mut Connection) -> Result<(), ClientError> {
        let names: Vec<TenantName> = self.done.keys().copied().cloned().collect();
        if names.is_empty() {
            return Ok(());
        }
        let found = select::named(&names, async |names| connection.status(names).await).await?;
        let found = found.tenants;
        let starts = |it: &&TenantStatus| {
            let is_early = matches!(it.state, StateWord::Provisioning | StateWord::Launching);
            it.want == Want::Up && is_early
        };
        for tenant in found.iter().filter(starts) {
            if let Some((name, text)) = self.done.remove_entry(&tenant.name) {
                self.waited.insert(name, format!("{text}; started again"));
            }
        }
        Ok(())
    }

    fn judge(&self, became: watch::Became) -> Outcome {
        match became {
            watch::Became::Gone(tenant, killed) => {
                Outcome::removed(&tenant, killed.as_deref(), self.begun)
            }
            watch::Became::Reached(tenant) => {
                let became = match tenant.is_as_wanted() {
                    true => Became::Done,
                    false => Became::Failed,
                };
                let change = self.waited.get(&tenant.name);
                let change = change.map_or(CHANGING, String::as_str);
                let text = format!("{change}; now {}", state(&tenant));
                let outcome = Outcome::of(&tenant, became).saying(text);
                outcome.with_killed(&tenant, self.begun)
            }
        }
    }

    /// The outcome of a live change.
    fn judge_live(&self, tenant: &TenantStatus) -> Outcome {
        let fields = self.live.get(&tenant.name);
        let fields = fields.map_or("", String::as_str);
        let outcome = Outcome::of(tenant, Became::Done);
        match (&tenant.unapplied, tenant.state) {
            (Some(failure), _) => outcome
                .failed(&failure.to_string())
                .saying(format!("not applied live: {fields}: {failure}")),
            (None, StateWord::Up) => outcome.saying(format!("applied live: {fields}")),
            (None, state) => {
                let state = state.word();
                let text = format!("{state}: {fields} takes effect at its next launch");
                outcome.saying(text)
            }
        }
    }
}

/// What happens to a tenant, without its name.
fn text(change: &TenantChange) -> String {
    let line = changes::line(change);
    let text = line.strip_prefix(change.tenant.as_str());
    let text = text.and_then(|text| text.strip_prefix(": "));
    text.unwrap_or(&line).to_owned()
}

/// The tenants with a live change, once its result is known.
async fn applied(
    app: &AppName,
    connection: &mut Connection,
    live: &BTreeMap<&TenantName, String>,
) -> Result<Vec<TenantStatus>, ClientError> {
    let names: Vec<TenantName> = live.keys().copied().cloned().collect();
    if names.is_empty() {
        return Ok(Vec::new());
    }
    let tenants = connection.status(&names).await?.tenants;
    let under_way = tenants.iter().filter(|tenant| tenant.applying);
    let under_way: Vec<TenantName> = under_way.map(|tenant| tenant.name.clone()).collect();
    if under_way.is_empty() {
        return Ok(tenants);
    }
    wait(app, &under_way, Until::Settled).await?;
    Ok(connection.status(&names).await?.tenants)
}
