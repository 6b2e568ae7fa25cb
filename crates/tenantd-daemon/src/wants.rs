//! Wants that are to last: an operator's `--permanent` start or stop, which is on the disk before it
//! is answered.
//!
//! A permanent want takes the place of the manifest's `autostart`, for as long as it differs from
//! it. It goes with its tenant: of one that is in the manifest no more it is forgotten.

use tokio::sync::oneshot;
use tokio::task::{spawn_blocking, spawn_local};

use tenantd_api::wire::{TenantAnswer, Verb};
use tenantd_core::name::{AppName, TenantName};
use tenantd_core::supervisor::action::Answer;
use tenantd_host::wants;

use super::Daemon;
use super::desk::Unknown;
use super::ledger::Entry;
use super::report::News;

/// What is to be on the disk of a tenant: whether it is wanted up, or nothing.
type Kept = Option<bool>;

/// What is to be on the disk of a tenant, and what was noted before.
struct Change {
    tenant: TenantName,
    kept: Kept,
    before: Kept,
}

/// All permanent wants of an application.
pub(super) use wants::all;

impl Entry {
    /// Whether it is wanted up when a supervisor begins that remembers nothing of it.
    pub(super) fn autostart(&self) -> bool {
        self.permanent.unwrap_or(self.plan.policy.autostart)
    }
}

impl Daemon {
    /// Does what was asked, and answers once it is sure to last.
    pub(super) fn act_for_good(
        &mut self,
        verb: Verb,
        tenants: &[TenantName],
        reply: oneshot::Sender<Result<Vec<TenantAnswer>, Unknown>>,
    ) {
        let answers = match self.act(verb, tenants) {
            Ok(answers) => answers,
            Err(unknown) => {
                let _gone = reply.send(Err(unknown));
                return;
            }
        };
        let mut changes = Vec::new();
        for TenantAnswer { tenant, answer } in &answers {
            if !matches!(answer, Answer::Refused { .. })
                && let Some(change) = self.want_for_good(tenant, verb)
            {
                changes.push(change);
            }
        }
        let (app, reporter) = (self.site.app.clone(), self.site.reporter.clone());
        spawn_local(async move {
            let kept = spawn_blocking(move || keep(&app, changes)).await;
            let failed = kept.unwrap_or_else(|broken| {
                // It is never cancelled, so it panicked: that is a mistake of ours.
                std::panic::resume_unwind(broken.into_panic())
            });
            let mut answers = answers;
            for (Change { tenant, before, .. }, why) in failed {
                reporter.report(&tenant, News::NotKept(before));
                let answer = answers.iter_mut().find(|answer| answer.tenant == tenant);
                if let Some(answer) = answer {
                    let reason = format!("it is done, but not for good: {why:#}");
                    answer.answer = Answer::Refused { reason };
                }
            }
            // Whoever asked may be gone.
            let _gone = reply.send(Ok(answers));
        });
    }

    /// What has to be on the disk now that this was asked of a tenant.
    fn want_for_good(&mut self, tenant: &TenantName, verb: Verb) -> Option<Change> {
        let up = match verb {
            Verb::Start => true,
            Verb::Stop => false,
            Verb::Restart => return None,
        };
        let entry = self.ledger.entry(tenant)?;
        let kept = (up != entry.plan.policy.autostart).then_some(up);
        let before = entry.permanent;
        self.set_permanent(tenant, kept);
        let tenant = tenant.clone();
        Some(Change {
            tenant,
            kept,
            before,
        })
    }

    /// Forgets what is wanted for good of tenants that are in the manifest no more.
    pub(super) fn forget_wants(&self, tenants: impl Iterator<Item = TenantName>) {
        for tenant in tenants {
            let app = self.site.app.clone();
            let task = self.site.under_way.begin();
            spawn_local(async move {
                let _task = task;
                let gone = tenant.clone();
                match spawn_blocking(move || wants::forget(&app, &gone)).await {
                    Ok(Ok(())) => {
                        tracing::info!(%tenant, "{tenant}: its permanent want is forgotten");
                    }
                    Ok(Err(why)) => {
                        let why = anyhow::Error::from(why);
                        tracing::warn!(%tenant, "{tenant}: its permanent want stays: {why:#}");
                    }
                    Err(broken) => std::panic::resume_unwind(broken.into_panic()),
                }
            });
        }
    }

    /// Notes what is on the disk of a tenant.
    pub(super) fn set_permanent(&mut self, tenant: &TenantName, permanent: Kept) {
        let Some(entry) = self.ledger.entry(tenant) else {
            return;
        };
        entry.permanent = permanent;
        let autostart = entry.autostart();
        self.supervisor.set_autostart(tenant, autostart);
        self.write_down(tenant);
    }
}

/// Brings the disk in line, and gives back what could not be.
fn keep(app: &AppName, changes: Vec<Change>) -> Vec<(Change, anyhow::Error)> {
    let mut failed = Vec::new();
    for change in changes {
        let done = match change.kept {
            Some(up) => wants::keep(app, &change.tenant, up),
            None => wants::forget(app, &change.tenant),
        };
        if let Err(why) = done {
            failed.push((change, anyhow::Error::from(why)));
        }
    }
    failed
}
