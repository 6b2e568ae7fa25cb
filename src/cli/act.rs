//! `start`, `stop` and `restart`: sends the request, and prints what becomes of each tenant until all
//! have settled.

use std::cell::Cell;
use std::collections::{BTreeMap, BTreeSet};

use anyhow::Context;
use jiff::Timestamp;

use super::End;
use super::args::{self, Act};
use super::interrupts::Interrupts;
use super::outcome::{Became, Outcome, reached, state};
use super::progress::{self, Doing, Progress};
use super::select;
use tenantd_api::client::Connection;
use tenantd_api::client::watch::{self, Until, Waiting};
use tenantd_api::wire::{Answer, Stage, TenantAnswer, TenantStatus, Verb};
use tenantd_core::name::{AppName, TenantName};

/// The exit code if another host has the datastore of a tenant.
pub(super) const OWNED: u8 = 12;

pub(super) fn start(app: &AppName, what: &args::Start) -> anyhow::Result<End> {
    if what.takeover {
        super::converse(async {
            let mut connection = Connection::open(app).await?;
            let names = select::ask(&mut connection, &what.act.which.names).await?;
            Ok(connection.allow_takeover(&names).await?)
        })?;
    }
    act(app, Verb::Start, &what.act, what.permanent)
}

pub(super) fn act(app: &AppName, verb: Verb, what: &Act, permanent: bool) -> anyhow::Result<End> {
    super::converse(async {
        let mut connection = Connection::open(app).await?;
        // None named means all, on the wire as here.
        let typed = &what.which.names;
        let tenants = select::ask(&mut connection, typed).await;
        let tenants = tenants.map_err(|error| select::unchanged(error, typed))?;
        let begun = Timestamp::now();
        let answers = connection.act(verb, &tenants, permanent).await?;
        let mut progress = Progress::new(app, verb.into(), answers.len(), what.show);
        let going = Going::of((verb, begun), &answers, &mut progress)?;
        let names = going.names(&answers);
        if what.no_wait {
            for tenant in &names {
                progress.settled(going.accepted(tenant))?;
            }
            return Ok(progress.finish(false)?);
        }
        let mut interrupts = Interrupts::catch().context("cannot catch signals")?;
        let until = match what.wait {
            true => Until::Settled,
            false => until(verb),
        };
        let mut waiting = Waiting::new(app, &names, until);
        let judge = |became| going.became(became);
        let all = progress::follow(&mut progress, &mut waiting, &mut interrupts, judge).await?;
        for tenant in waiting.left() {
            progress.left(going.left(tenant));
        }
        progress.logs_in(waiting.logs());
        match progress.finish(!all)? {
            End::NotAsWanted if going.owned.get() => Ok(End::Exited(OWNED)),
            end => Ok(end),
        }
    })
}

/// A start is decided with its first attempt: a program that never becomes ready is started again and
/// again. A stop is done once it is proved.
pub(super) fn until(verb: Verb) -> Until {
    match verb {
        Verb::Start | Verb::Restart => Until::Tried,
        Verb::Stop => Until::Settled,
    }
}

/// The tenants whose request was not refused.
pub(super) struct Going {
    verb: Verb,
    /// When the request was sent.
    begun: Timestamp,
    /// Those for which the request changed nothing.
    already: BTreeSet<TenantName>,
    refused: BTreeSet<TenantName>,
    /// Those for which it is not permanent, though it was to be, and why.
    unkept: BTreeMap<TenantName, String>,
    /// Whether another host has the datastore of one of them.
    owned: Cell<bool>,
}

impl Going {
    /// Sorts the answers, and reports the refused requests.
    pub(super) fn of(
        (verb, begun): (Verb, Timestamp),
        answers: &[TenantAnswer],
        progress: &mut Progress<'_>,
    ) -> anyhow::Result<Self> {
        let (mut already, mut refused) = (BTreeSet::new(), BTreeSet::new());
        let mut unkept = BTreeMap::new();
        for TenantAnswer {
            tenant,
            answer,
            unkept: why,
        } in answers
        {
            if let Some(why) = why {
                unkept.insert(tenant.clone(), why.clone());
            }
            match answer {
                Answer::Accepted => {}
                Answer::AlreadySo => {
                    already.insert(tenant.clone());
                }
                Answer::Refused { reason } => {
                    refused.insert(tenant.clone());
                    progress.settled(Outcome::refused(tenant, reason))?;
                }
            }
        }
        Ok(Self {
            verb,
            begun,
            already,
            refused,
            unkept,
            owned: Cell::new(false),
        })
    }

    /// Their names, in the order of the answers.
    pub(super) fn names(&self, answers: &[TenantAnswer]) -> Vec<TenantName> {
        let names = answers.iter().map(|answer| &answer.tenant);
        let going = names.filter(|name| !self.refused.contains(*name));
        going.cloned().collect()
    }

    /// The outcome of a tenant that is not waited for.
    fn accepted(&self, tenant: &TenantName) -> Outcome {
        if self.already.contains(tenant) {
            let text = format!("no change: {}", already(self.verb));
            return self.kept(Outcome::without_state(tenant, Became::NoChange, text));
        }
        self.kept(self.left(tenant))
    }

    /// A failure, if the tenant is as requested and that is not permanent, though it was to be.
    fn kept(&self, outcome: Outcome) -> Outcome {
        match self.unkept.get(&outcome.tenant) {
            Some(why) if !outcome.became.is_failure() => outcome.not_permanent(why),
            Some(_) | None => outcome,
        }
    }

    /// The outcome of a tenant that had not settled when the waiting was interrupted.
    pub(super) fn left(&self, tenant: &TenantName) -> Outcome {
        let doing = Doing::from(self.verb).present();
        Outcome::pending(tenant, doing, doing.to_owned())
    }

    /// The outcome of a tenant that was waited for.
    pub(super) fn became(&self, became: watch::Became) -> Outcome {
        match became {
            watch::Became::Gone(tenant, killed) => {
                // A stop is done then; a start is not.
                let outcome = Outcome::removed(&tenant, killed.as_deref(), self.begun);
                match self.verb {
                    Verb::Stop => outcome,
                    Verb::Start | Verb::Restart => outcome.failed("a reload removed it"),
                }
            }
            watch::Became::Reached(tenant) => {
                let outcome = self.judge(&tenant);
                self.kept(outcome)
            }
        }
    }

    fn judge(&self, tenant: &TenantStatus) -> Outcome {
        if !reached(self.verb, tenant) {
            if is_owned(tenant) {
                self.owned.set(true);
            }
            return Outcome::of(tenant, Became::Failed).with_killed(tenant, self.begun);
        }
        match self.already.contains(&tenant.name) {
            true => Outcome::of(tenant, Became::NoChange)
                .saying(format!("no change: {}", state(tenant))),
            false => Outcome::of(tenant, Became::Done).with_killed(tenant, self.begun),
        }
    }
}

/// Whether a tenant is not up because another host has its datastore.
pub(super) fn is_owned(tenant: &TenantStatus) -> bool {
    let failure = tenant.failure.as_ref();
    failure.is_some_and(|failure| failure.stage == Stage::Owner)
}

fn already(verb: Verb) -> &'static str {
    match verb {
        Verb::Start => "already wanted up",
        Verb::Stop => "already wanted down",
        Verb::Restart => "a restart is already under way",
    }
}
