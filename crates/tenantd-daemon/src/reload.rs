//! Reloads: reads the manifest again, compares it with the present plan, and returns the changes to
//! the loop, which applies them.
//!
//! Reading may hang on a disk or on the host's user database, so another thread does it, one
//! reading at a time. A request that comes meanwhile waits for the next reading, because the
//! manifest may have been edited after the present reading began. A manifest with a problem changes
//! nothing, and neither does one with which a tenant could not be launched: the launches are
//! rehearsed first.

mod refusal;
mod rehearsal;
mod request;
mod shared;

use std::collections::{BTreeMap, VecDeque};
use std::sync::Arc;

use tokio::sync::mpsc;
use tokio::task::{spawn_blocking, spawn_local};

use tenantd_core::manifest::Source;
use tenantd_core::name::TenantName;
use tenantd_core::plan::changes;
use tenantd_core::plan::diff::{Change, Changes, Side, TenantChange, diff};
use tenantd_core::plan::effect::Effect;
use tenantd_core::plan::fields::Touches;
use tenantd_core::plan::hash::{self, Digests};
use tenantd_core::plan::holders::{Holders, meanwhile};
use tenantd_core::plan::model::{ControlPlan, NetworkPlan, Plan, TenantPlan};
use tenantd_core::supervisor::Supervisor;
use tenantd_core::supervisor::event::Event;
use tenantd_core::supervisor::view::{Unapplied, View};
use tenantd_host::crash;

use crate::executor::Executor;
use crate::history;
use crate::input::{Input, PlanChange};
use crate::manifest::{ManifestFile, Unfit};
use crate::notify;
use crate::requests::queue::NoReload;

pub(super) use request::ReloadRequest;

/// A reading that has ended, with its requests.
pub(super) struct Reread {
    requests: Vec<ReloadRequest>,
    read: Result<Read, Unfit>,
    /// The changes, with the tenants that could not be launched; `None` before the rehearsal.
    rehearsed: Option<Changes>,
}

/// A manifest that was read.
pub(super) struct Read {
    plan: Plan,
    /// By which the loop compares changes.
    digests: Digests,
    source: Source,
}

/// A remaining step of a reload.
enum Todo {
    /// Apply this input.
    Apply(Input),
    /// The change of this tenant has been applied.
    Changed(TenantName),
    /// All changes have been applied: answer these requests.
    Answer(Vec<(ReloadRequest, Result<Changes, NoReload>)>),
}

/// The manifest, the requests for readings, and the remaining steps of a reload.
pub(super) struct Reloads {
    manifest: ManifestFile,
    /// The network that all tenants share.
    network: NetworkPlan,
    /// Who may use the control socket.
    control: ControlPlan,
    reading: bool,
    waiting: Vec<ReloadRequest>,
    reread: mpsc::UnboundedSender<Reread>,
    rereads: mpsc::UnboundedReceiver<Reread>,
    todo: VecDeque<Todo>,
    /// The position of each tenant in the manifest; empty before the first reload.
    order: BTreeMap<TenantName, usize>,
}

impl Reloads {
    pub(super) fn new(manifest: ManifestFile, network: NetworkPlan, control: ControlPlan) -> Self {
        let (reread, rereads) = mpsc::unbounded_channel();
        Self {
            manifest,
            network,
            control,
            reading: false,
            waiting: Vec::new(),
            reread,
            rereads,
            todo: VecDeque::new(),
            order: BTreeMap::new(),
        }
    }

    /// The manifest.
    pub(super) fn manifest(&self) -> &ManifestFile {
        &self.manifest
    }

    /// The next reading that has ended.
    pub(super) async fn next(&mut self) -> Reread {
        match self.rereads.recv().await {
            Some(reread) => reread,
            // Cannot happen: this object holds a sender.
            None => std::future::pending().await,
        }
    }

    /// Stores the order of the tenants in the manifest.
    fn keep_order<'a>(&mut self, tenants: impl Iterator<Item = &'a TenantName>) {
        self.order = tenants.cloned().zip(0..).collect();
    }

    /// The position of a tenant in the manifest. Tenants that were removed come last.
    pub(super) fn place(&self, tenant: &TenantName) -> Option<usize> {
        if self.order.is_empty() {
            return None;
        }
        Some(self.order.get(tenant).copied().unwrap_or(usize::MAX))
    }

    fn read(&mut self) {
        self.reading = true;
        let requests = std::mem::take(&mut self.waiting);
        let runs = requests.iter().any(|request| !request.is_show());
        let (manifest, reread) = (self.manifest.clone(), self.reread.clone());
        let present = self.network.clone();
        spawn_local(async move {
            let read = match spawn_blocking(move || read(&manifest, &present, runs)).await {
                Ok(read) => read,
                // It is never cancelled, so it panicked: a defect, which must not be hidden.
                Err(error) => std::panic::resume_unwind(error.into_panic()),
            };
            let _ended = reread.send(Reread {
                requests,
                read,
                rehearsed: None,
            });
        });
    }
}

/// Reads the manifest, and makes the digests by which the loop compares changes. If a request `runs` the new plan,
/// the users of new tenants are recorded, also if the reload is refused later. Blocks.
fn read(manifest: &ManifestFile, present: &NetworkPlan, runs: bool) -> Result<Read, Unfit> {
    let (mut plan, source) = match runs {
        true => manifest.read_to_run()?,
        false => manifest.read()?,
    };
    plan.network = plan.network.keeping_mtu_of(present);
    Ok(Read {
        digests: hash::digests(&plan),
        plan,
        source,
    })
}

/// Whether the host refused a live change of a tenant.
fn is_refused(view: &View) -> bool {
    matches!(view.unapplied, Some(Unapplied::Refused(_)))
}

/// The present state, with which a new plan is compared.
#[derive(Clone, Copy)]
pub(super) struct Present<'a> {
    /// The executor, with the present plans.
    pub(super) executor: &'a Executor,
    /// The state of all tenants.
    pub(super) supervisor: &'a Supervisor,
}

impl Reloads {
    /// Queues a request, and reads the manifest once no other reading is running. Refuses the
    /// request if the supervisor is about to end.
    pub(super) fn want(&mut self, request: ReloadRequest, serving: bool) {
        if !serving {
            return request.answer(Err(NoReload::Closed));
        }
        self.waiting.push(request);
        if !self.reading {
            self.begin_reading();
        }
    }

    fn begin_reading(&mut self) {
        if let Err(error) = notify::reloading() {
            tracing::warn!(%error, "cannot notify the service manager (RELOADING=1)");
        }
        self.read();
    }

    /// A reading has ended: queues its changes, unless the supervisor is about to end.
    pub(super) fn on_read(&mut self, reread: Reread, present: Present<'_>, serving: bool) {
        let Reread {
            requests,
            read,
            rehearsed,
        } = reread;
        let answers = match read {
            Err(unfit) => {
                let bad = NoReload::BadManifest(unfit.render(false));
                let bad = |request| (request, Err(bad.clone()));
                requests.into_iter().map(bad).collect()
            }
            Ok(read) => {
                // Only a reading changes the plans, so they are the same after the rehearsal.
                let changes = match rehearsed {
                    Some(changes) => changes,
                    None => {
                        let changes = self.changes(&read.plan, present);
                        let concerned = present.concerned(&changes, &read.plan);
                        if !concerned.is_empty() {
                            let descriptors = present.executor.host().descriptors;
                            let concerned = (changes, concerned);
                            return self.rehearse(requests, read, concerned, descriptors);
                        }
                        changes
                    }
                };
                crash::point("reload: manifest read", "");
                self.answers(read, changes, requests, present, serving)
            }
        };
        self.todo.push_back(Todo::Answer(answers));
    }

    /// Shows the changes to a new plan to the requests that only want to see them, and queues the
    /// changes if any of the others wants these.
    fn answers(
        &mut self,
        Read { plan, digests, .. }: Read,
        mut changes: Changes,
        requests: Vec<ReloadRequest>,
        present: Present<'_>,
        serving: bool,
    ) -> Vec<(ReloadRequest, Result<Changes, NoReload>)> {
        changes.hash = hash::of(&changes, &digests);
        let mut answers = Vec::new();
        let mut apply = Vec::new();
        for request in requests {
            match request.unexpected(&changes) {
                Some(other) => answers.push((request, Err(other))),
                None if request.is_show() => answers.push((request, Ok(changes.clone()))),
                None => apply.push(request),
            }
        }
        if apply.is_empty() {
            return answers;
        }
        let applied = match serving {
            false => Err(NoReload::Closed),
            true => self.apply(plan, &changes, present),
        };
        let applied = applied.map(|()| history::reloaded(changes));
        answers.extend(apply.into_iter().map(|request| (request, applied.clone())));
        answers
    }

    /// The next input for the loop.
    pub(super) fn poll(&mut self) -> Option<Input> {
        loop {
            match self.todo.pop_front()? {
                Todo::Apply(input) => {
                    if let Input::Plan(change) = &input {
                        crash::point("reload: before a change", change.tenant().as_str());
                    }
                    return Some(input);
                }
                Todo::Changed(tenant) => crash::point("reload: changed", tenant.as_str()),
                Todo::Answer(answers) => self.finish(answers),
            }
        }
    }

    fn finish(&mut self, answers: Vec<(ReloadRequest, Result<Changes, NoReload>)>) {
        for (request, answer) in answers {
            request.answer(answer);
        }
        if let Err(error) = notify::ready() {
            tracing::warn!(%error, "cannot notify the service manager (READY=1)");
        }
        self.reading = false;
        if !self.waiting.is_empty() {
            self.begin_reading();
        }
    }

    /// The changes from the present plan to this one.
    fn changes(&self, new: &Plan, present: Present<'_>) -> Changes {
        let Present {
            executor,
            supervisor,
        } = present;
        let old = Side {
            app: &executor.host().app,
            network: &self.network,
            control: &self.control,
            tenants: executor.inventory().planned().collect(),
        };
        let mut changes = diff(old, new);
        if changes.fixed.is_empty() {
            let refused = supervisor.tenants().filter(is_refused);
            let names = refused.map(|view| view.name);
            let unchanged = |name: &TenantName| changes.tenants.iter().all(|c| c.tenant != *name);
            changes.retried = names.filter(unchanged).collect();
        }
        changes
    }

    fn apply(
        &mut self,
        new: Plan,
        changes: &Changes,
        present: Present<'_>,
    ) -> Result<(), NoReload> {
        let inventory = present.executor.inventory();
        if !changes.fixed.is_empty() {
            return Err(NoReload::Refused(changes::refusal(&changes.fixed)));
        }
        if !changes.unlaunchable.is_empty() {
            return Err(NoReload::Refused(changes::unlaunchable(changes)));
        }
        if let Some(why) = present.refusal(changes, &new) {
            return Err(NoReload::Refused(why));
        }
        self.keep_order(new.tenants.iter().map(|tenant| &tenant.name));
        self.change_shared(&new);
        let plans = new.tenants.into_iter().map(Arc::new);
        let plans: BTreeMap<TenantName, Arc<TenantPlan>> =
            plans.map(|plan| (plan.name.clone(), plan)).collect();
        // The present resources count, not the newest plan: they may not be released yet.
        let present = inventory.current_plans();
        let present = present.map(|old| meanwhile(old, plans.get(&old.name).map(Arc::as_ref)));
        let holders = Holders::new(present);
        let takers = changes.tenants.iter().filter(|change| match change.change {
            Change::Add | Change::Reprovision => true,
            Change::Remove | Change::Relaunch | Change::Live => false,
        });
        let awaits = takers
            .filter_map(|taker| plans.get(&taker.tenant))
            .map(|plan| (plan.name.clone(), holders.of(plan)))
            .filter(|(_, others)| !others.is_empty())
            .map(|(tenant, others)| Todo::Apply(Input::Event(Event::Awaits { tenant, others })));
        self.todo.extend(awaits);
        for change in &changes.tenants {
            let known = inventory.plan(&change.tenant).is_some();
            self.change(change, plans.get(&change.tenant), known);
        }
        self.todo
            .push_back(Todo::Apply(Input::Event(Event::Reloaded)));
        Ok(())
    }

    fn change(&mut self, change: &TenantChange, plan: Option<&Arc<TenantPlan>>, known: bool) {
        let TenantChange {
            tenant,
            change,
            touches,
            ..
        } = change;
        let changed = |plan, effect| PlanChange::Changed {
            plan,
            effect,
            apply: touches.is_some_and(Touches::is_applied),
        };
        let change = match (*change, plan.map(Arc::clone)) {
            (Change::Remove, _) | (_, None) => PlanChange::Removed(tenant.clone()),
            (Change::Add, Some(plan)) if !known => PlanChange::New(plan, None),
            // It was removed before, and is not released yet.
            (Change::Add, Some(plan)) => PlanChange::Back(plan),
            (Change::Reprovision, Some(plan)) => changed(plan, Effect::Reprovision),
            (Change::Relaunch, Some(plan)) => changed(plan, Effect::Relaunch),
            (Change::Live, Some(plan)) => changed(plan, Effect::Live),
        };
        let is_decided = match change {
            PlanChange::Removed(_) | PlanChange::New(..) => true,
            PlanChange::Back(_) | PlanChange::Changed { .. } => false,
        };
        self.todo.push_back(Todo::Apply(Input::Plan(change)));
        if !is_decided {
            // The record tells the next supervisor about a live change too.
            self.todo
                .push_back(Todo::Apply(Input::Record(tenant.clone())));
            self.todo.push_back(Todo::Changed(tenant.clone()));
        }
    }
}
