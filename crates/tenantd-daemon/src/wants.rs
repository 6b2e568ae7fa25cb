//! Permanent wants: an operator's `start --permanent` or `stop --permanent`. A permanent want is on
//! the disk before the request is answered.
//!
//! A permanent want overrides the manifest's `autostart` while the two differ. It is removed when
//! its tenant is removed from the manifest.

use std::collections::{BTreeMap, VecDeque};
use std::sync::Arc;

use tokio::sync::{mpsc, oneshot};
use tokio::task::{spawn_blocking, spawn_local};

use tenantd_api::wire::{TenantAnswer, Verb};
use tenantd_core::manifest::engine::Engine;
use tenantd_core::name::{AppName, TenantName};
use tenantd_core::plan::model::{Policy, TenantPlan};
use tenantd_core::supervisor::action::Answer;
use tenantd_core::supervisor::view::Want;
use tenantd_host::wants;

use crate::executor::inventory::Inventory;
use crate::executor::under_way::UnderWay;
use crate::input::Input;
use crate::requests::queue::Unknown;

/// The permanent want of a tenant: up (true), down (false), or none.
type Kept = Option<bool>;

/// A change of the permanent want of a tenant, with the previous one.
struct Change {
    tenant: TenantName,
    kept: Kept,
    before: Kept,
}

/// A permanent want that could not be written, with the previous one.
pub(super) struct NotKept {
    tenant: TenantName,
    before: Kept,
}

/// All permanent wants of an application.
pub(super) struct Wants {
    app: AppName,
    kept: BTreeMap<TenantName, bool>,
    failing: mpsc::UnboundedSender<NotKept>,
    failed: mpsc::UnboundedReceiver<NotKept>,
    inputs: VecDeque<Input>,
    under_way: UnderWay,
}

impl Wants {
    /// Reads the permanent wants from the disk.
    ///
    /// # Errors
    /// See [`wants::WantError`].
    pub(super) fn open(app: &AppName, under_way: UnderWay) -> Result<Self, wants::WantError> {
        let (failing, failed) = mpsc::unbounded_channel();
        Ok(Self {
            app: app.clone(),
            kept: wants::all(app)?,
            failing,
            failed,
            inputs: VecDeque::new(),
            under_way,
        })
    }

    /// The permanent want of a tenant: up (true) or down (false).
    pub(super) fn of(&self, tenant: &TenantName) -> Option<bool> {
        self.kept.get(tenant).copied()
    }

    /// The policy of a tenant: the manifest's, with the permanent want as `autostart`. A want that was kept
    /// before the tenant got another engine is not followed.
    pub(super) fn policy(&self, plan: &TenantPlan) -> Arc<Policy> {
        let mut policy = Arc::clone(&plan.policy);
        if plan.policy.engine == Engine::Tenantd
            && let Some(permanent) = self.of(&plan.name)
        {
            Arc::make_mut(&mut policy).autostart = permanent;
        }
        policy
    }

    /// Writes the permanent wants of a request, and answers once they are on the disk.
    pub(super) fn keep(
        &mut self,
        verb: Verb,
        answers: Vec<TenantAnswer>,
        reply: oneshot::Sender<Result<Vec<TenantAnswer>, Unknown>>,
        inventory: &Inventory,
    ) {
        let mut changes = Vec::new();
        for TenantAnswer { tenant, answer, .. } in &answers {
            if !matches!(answer, Answer::Refused { .. })
                && let Some(plan) = inventory.plan(tenant)
                && let Some(change) = self.change(verb, plan)
            {
                self.note(tenant, change.kept, inventory);
                changes.push(change);
            }
        }
        let (app, failing) = (self.app.clone(), self.failing.clone());
        spawn_local(async move {
            let kept = spawn_blocking(move || keep(&app, changes)).await;
            let failed = kept.unwrap_or_else(|broken| {
                // It is never cancelled, so it panicked: a defect.
                std::panic::resume_unwind(broken.into_panic())
            });
            let mut answers = answers;
            for (Change { tenant, before, .. }, why) in failed {
                let answer = answers.iter_mut().find(|answer| answer.tenant == tenant);
                if let Some(answer) = answer {
                    answer.unkept = Some(format!("{why:#}"));
                }
                // The loop closes the channel only when it ends.
                let _ended = failing.send(NotKept { tenant, before });
            }
            // The client may have disconnected.
            let _gone = reply.send(Ok(answers));
        });
    }

    /// The change of the permanent want that a verb makes.
    fn change(&self, verb: Verb, plan: &TenantPlan) -> Option<Change> {
        let up = verb.lasting_want()? == Want::Up;
        Some(Change {
            tenant: plan.name.clone(),
            kept: (up != plan.policy.autostart).then_some(up),
            before: self.of(&plan.name),
        })
    }

    /// The next want that could not be written. Cancelling this loses nothing.
    pub(super) async fn next(&mut self) -> NotKept {
        match self.failed.recv().await {
            Some(failed) => failed,
            // Cannot happen: this object holds a sender.
            None => std::future::pending().await,
        }
    }

    /// Restores the previous permanent want, which is still on the disk.
    pub(super) fn on_not_kept(&mut self, failed: NotKept, inventory: &Inventory) {
        let NotKept { tenant, before } = failed;
        self.note(&tenant, before, inventory);
    }

    /// The next input for the loop.
    pub(super) fn poll(&mut self) -> Option<Input> {
        self.inputs.pop_front()
    }

    /// Notes the permanent want of a tenant.
    fn note(&mut self, tenant: &TenantName, permanent: Kept, inventory: &Inventory) {
        let Some(plan) = inventory.plan(tenant) else {
            return;
        };
        let before = match permanent {
            Some(up) => self.kept.insert(tenant.clone(), up),
            None => self.kept.remove(tenant),
        };
        self.inputs.push_back(Input::Autostart {
            tenant: tenant.clone(),
            autostart: permanent.unwrap_or(plan.policy.autostart),
            changed: before != permanent,
        });
    }

    /// Removes the permanent wants of all other tenants.
    pub(super) fn retain(&mut self, is_planned: impl Fn(&TenantName) -> bool) {
        let is_gone = |tenant: &TenantName, _: &mut bool| !is_planned(tenant);
        let gone: Vec<_> = self.kept.extract_if(.., is_gone).collect();
        for (tenant, _) in gone {
            self.remove(tenant);
        }
    }

    /// Removes the permanent want of a tenant that was removed from the manifest.
    pub(super) fn on_removed(&mut self, tenant: &TenantName) {
        if self.kept.remove(tenant).is_some() {
            self.remove(tenant.clone());
        }
    }

    fn remove(&self, tenant: TenantName) {
        let app = self.app.clone();
        let task = self.under_way.begin();
        spawn_local(async move {
            let _task = task;
            let gone = tenant.clone();
            match spawn_blocking(move || wants::remove(&app, &gone)).await {
                Ok(Ok(())) => {
                    tracing::info!(%tenant, "{tenant}: permanent want removed");
                }
                Ok(Err(why)) => {
                    let why = anyhow::Error::from(why);
                    tracing::warn!(%tenant, "{tenant}: cannot remove its permanent want: {why:#}");
                }
                Err(broken) => std::panic::resume_unwind(broken.into_panic()),
            }
        });
    }
}

/// Writes changes to the disk. Returns those that failed.
fn keep(app: &AppName, changes: Vec<Change>) -> Vec<(Change, anyhow::Error)> {
    let mut failed = Vec::new();
    for change in changes {
        let done = match change.kept {
            Some(up) => wants::keep(app, &change.tenant, up),
            None => wants::remove(app, &change.tenant),
        };
        if let Err(why) = done {
            failed.push((change, anyhow::Error::from(why)));
        }
    }
    failed
}
