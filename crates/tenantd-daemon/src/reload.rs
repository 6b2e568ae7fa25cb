//! The reload: reads the manifest again, tells what is different from what was planned last, and
//! has it done.
//!
//! Reading may hang on a disk or on the host's user database, so a thread does it, one reading at a
//! time. Whoever asks meanwhile is answered by the next one, since the manifest may have been
//! edited after the reading under way had begun. Nothing is half-applied: a manifest with any
//! problem changes nothing.

use std::collections::BTreeMap;
use std::sync::Arc;

use tokio::sync::{mpsc, oneshot};
use tokio::task::{spawn_blocking, spawn_local};

use tenantd_core::name::TenantName;
use tenantd_core::plan::changes;
use tenantd_core::plan::diff::{Change, Changes, Side, diff};
use tenantd_core::plan::effect::Effect;
use tenantd_core::plan::holders::Holders;
use tenantd_core::plan::model::{NetworkPlan, Plan, TenantPlan};
use tenantd_core::supervisor::event::Event;
use tenantd_host::crash;

use super::desk::NoReload;
use super::manifest::{ManifestFile, Unfit};
use super::{Daemon, notify};

/// What is wanted of a reading.
pub(super) enum Wish {
    /// The changes, applied.
    Apply(oneshot::Sender<Result<Changes, NoReload>>),
    /// The changes, to be looked at.
    Show(oneshot::Sender<Result<Changes, NoReload>>),
    /// The changes, applied, and told in the log.
    Signal,
}

/// A reading that has ended, and for whom it was.
pub(super) struct Reread {
    wishes: Vec<Wish>,
    read: Result<Plan, Unfit>,
}

/// All that reloading needs to know.
pub(super) struct Reloads {
    pub(super) manifest: ManifestFile,
    /// What all tenants share, which no reload changes.
    network: NetworkPlan,
    reading: bool,
    waiting: Vec<Wish>,
    reread: mpsc::UnboundedSender<Reread>,
    rereads: mpsc::UnboundedReceiver<Reread>,
    /// Which tenant stands where in the manifest, once that is not the order of planning any more.
    order: BTreeMap<TenantName, usize>,
}

impl Reloads {
    pub(super) fn new(manifest: ManifestFile, network: NetworkPlan) -> Self {
        let (reread, rereads) = mpsc::unbounded_channel();
        Self {
            manifest,
            network,
            reading: false,
            waiting: Vec::new(),
            reread,
            rereads,
            order: BTreeMap::new(),
        }
    }

    /// The next reading that has ended.
    pub(super) async fn next(&mut self) -> Reread {
        match self.rereads.recv().await {
            Some(reread) => reread,
            // We hold a sender ourselves.
            None => std::future::pending().await,
        }
    }

    /// Keeps the order of the manifest, which is not that of planning.
    pub(super) fn keep_order<'a>(&mut self, tenants: impl Iterator<Item = &'a TenantName>) {
        self.order = tenants.cloned().zip(0..).collect();
    }

    /// Where a tenant stands in the manifest; those that left it come last.
    pub(super) fn place(&self, tenant: &TenantName) -> Option<usize> {
        if self.order.is_empty() {
            return None;
        }
        Some(self.order.get(tenant).copied().unwrap_or(usize::MAX))
    }

    fn read(&mut self) {
        self.reading = true;
        let wishes = std::mem::take(&mut self.waiting);
        let (manifest, reread) = (self.manifest.clone(), self.reread.clone());
        spawn_local(async move {
            let read = match spawn_blocking(move || manifest.plan()).await {
                Ok(read) => read,
                // It is never cancelled, so it panicked: a mistake of ours, to be seen as one.
                Err(error) => std::panic::resume_unwind(error.into_panic()),
            };
            let _ended = reread.send(Reread { wishes, read });
        });
    }
}

impl Wish {
    fn answer(self, answer: Result<Changes, NoReload>) {
        match self {
            // Whoever asked may be gone.
            Wish::Apply(reply) | Wish::Show(reply) => drop(reply.send(answer)),
            Wish::Signal => tell(&answer),
        }
    }
}

/// Says what a signal brought about.
fn tell(answer: &Result<Changes, NoReload>) {
    match answer {
        Ok(changes) => {
            tracing::info!("reloaded: {}", changes::summary(changes));
            for change in &changes.tenants {
                let tenant = &change.tenant;
                tracing::info!(%tenant, "{}", changes::line(change));
            }
        }
        Err(refused) => {
            tracing::error!("not reloaded, nothing was changed");
            for line in refused.to_string().lines().filter(|line| !line.is_empty()) {
                tracing::error!("{line}");
            }
        }
    }
}

impl Daemon {
    /// Notes a wish, and reads the manifest as soon as no earlier reading is under way.
    pub(super) fn wish(&mut self, wish: Wish) {
        if self.stopping || self.going.is_some() {
            return wish.answer(Err(NoReload::Closed));
        }
        self.reloads.waiting.push(wish);
        if !self.reloads.reading {
            self.begin_reading();
        }
    }

    fn begin_reading(&mut self) {
        if let Err(error) = notify::reloading() {
            tracing::warn!(%error, "cannot tell the service manager that we reload");
        }
        self.reloads.read();
    }

    /// A reading has ended.
    pub(super) fn reread(&mut self, Reread { wishes, read }: Reread) {
        self.reloads.reading = false;
        let (show, apply): (Vec<Wish>, Vec<Wish>) = wishes
            .into_iter()
            .partition(|wish| matches!(wish, Wish::Show(_)));
        let (shown, applied) = match read {
            Err(unfit) => {
                let bad = || Err(NoReload::BadManifest(unfit.render(false)));
                (bad(), bad())
            }
            Ok(plan) => {
                crash::point("reload: manifest read", "");
                let changes = self.changes(&plan);
                let applied = if apply.is_empty() {
                    Ok(Changes::default())
                } else {
                    self.apply(plan, &changes).map(|()| changes.clone())
                };
                (Ok(changes), applied)
            }
        };
        show.into_iter().for_each(|wish| wish.answer(shown.clone()));
        apply
            .into_iter()
            .for_each(|wish| wish.answer(applied.clone()));
        if let Err(error) = notify::ready() {
            tracing::warn!(%error, "cannot tell the service manager that all is reloaded");
        }
        if !self.reloads.waiting.is_empty() {
            self.begin_reading();
        }
    }

    /// What has to happen for this plan to hold.
    fn changes(&self, new: &Plan) -> Changes {
        let old = Side {
            app: &self.site.app,
            network: &self.reloads.network,
            tenants: self.ledger.planned().collect(),
        };
        diff(old, new)
    }

    fn apply(&mut self, new: Plan, changes: &Changes) -> Result<(), NoReload> {
        if self.stopping || self.going.is_some() {
            return Err(NoReload::Closed);
        }
        if !changes.fixed.is_empty() {
            return Err(NoReload::Refused(changes::refusal(&changes.fixed)));
        }
        self.reloads
            .keep_order(new.tenants.iter().map(|tenant| &tenant.name));
        let plans = new.tenants.into_iter().map(Arc::new);
        let plans: BTreeMap<TenantName, Arc<TenantPlan>> =
            plans.map(|plan| (plan.name.clone(), plan)).collect();
        // What stands counts, not what was planned last: it may not have been let go of yet.
        let holders = Holders::new(self.ledger.standing());
        let takers = changes.tenants.iter().filter(|change| match change.change {
            Change::Add | Change::Renew => true,
            Change::Remove | Change::Relaunch | Change::Live => false,
        });
        let awaits: Vec<_> = takers
            .filter_map(|taker| plans.get(&taker.tenant))
            .map(|plan| (plan.name.clone(), holders.of(plan)))
            .filter(|(_, others)| !others.is_empty())
            .collect();
        for (tenant, others) in awaits {
            self.happen(Event::Awaits { tenant, others });
        }
        for change in &changes.tenants {
            self.change(&change.tenant, change.change, plans.get(&change.tenant));
        }
        Ok(())
    }

    fn change(&mut self, tenant: &TenantName, change: Change, plan: Option<&Arc<TenantPlan>>) {
        let effect = match change {
            Change::Remove => None,
            Change::Live => Some(Effect::Live),
            Change::Relaunch => Some(Effect::Relaunch),
            Change::Renew | Change::Add => Some(Effect::Renew),
        };
        let tenant = tenant.clone();
        crash::point("reload: before a change", tenant.as_str());
        let (Some(plan), Some(effect)) = (plan, effect) else {
            self.ledger.remove(&tenant);
            return self.happen(Event::Removed { tenant });
        };
        let known = self.ledger.replan(plan, effect);
        if !known {
            return self.plan_one(plan, None);
        }
        let policy = self.policy(plan);
        self.happen(match change {
            // It was on its way out.
            Change::Add => Event::Planned {
                tenant: tenant.clone(),
                policy,
                found: None,
            },
            Change::Remove | Change::Renew | Change::Relaunch | Change::Live => Event::Replanned {
                tenant: tenant.clone(),
                policy,
                effect,
            },
        });
        // A live change too is known to the next supervisor by what is written down.
        self.write_down(&tenant);
        crash::point("reload: changed", tenant.as_str());
    }
}
