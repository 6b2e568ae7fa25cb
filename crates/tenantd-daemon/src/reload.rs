//! Reloads: reads the manifest again, compares it with the present plan, and returns the changes to
//! the loop, which applies them.
//!
//! Reading may hang on a disk or on the host's user database, so another thread does it, one
//! reading at a time. A request that comes meanwhile waits for the next reading, because the
//! manifest may have been edited after the present reading began. A manifest with a problem changes
//! nothing, and neither does one with which a tenant could not be launched: the launches are
//! rehearsed first. Another thread also compares the plans, see [`compare`]: the loop gets those of the tenants
//! that change, so that its work does not grow with the number of the others.

mod compare;
mod refusal;
mod rehearsal;
mod request;
mod shared;

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::sync::Arc;

use tokio::sync::mpsc;
use tokio::task::{spawn_blocking, spawn_local};

use tenantd_core::manifest::Source;
use tenantd_core::name::TenantName;
use tenantd_core::plan::changes;
use tenantd_core::plan::diff::{Change, Changes, TenantChange};
use tenantd_core::plan::effect::Effect;
use tenantd_core::plan::fields::Touches;
use tenantd_core::plan::hash;
use tenantd_core::plan::holders::{Holders, meanwhile};
use tenantd_core::plan::model::{ControlPlan, NetworkPlan, Plan, TenantPlan};
use tenantd_core::supervisor::Supervisor;
use tenantd_core::supervisor::event::Event;
use tenantd_host::crash;

use crate::executor::Executor;
use crate::history;
use crate::input::{Input, PlanChange};
use crate::manifest::{ManifestFile, Unfit};
use crate::notify;
use crate::requests::queue::NoReload;

use compare::{Compared, Order};

pub(super) use request::ReloadRequest;

/// A step of a reading that has ended, with the requests for the reading.
pub(super) struct Reread {
    requests: Vec<ReloadRequest>,
    stage: Stage,
}

/// What has ended.
enum Stage {
    /// The manifest was read.
    Read(Result<Read, Unfit>),
    /// It was compared with the present plans.
    Compared(Compared),
    /// The launches that the changes lead to were rehearsed.
    Rehearsed(Compared),
}

/// A manifest that was read.
struct Read {
    plan: Plan,
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
    order: Arc<Order>,
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
            order: Arc::default(),
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
            let stage = Stage::Read(read);
            let _ended = reread.send(Reread { requests, stage });
        });
    }
}

/// Reads the manifest. If a request `runs` the new plan, the users of new tenants are recorded, also if the reload is
/// refused later. Blocks.
fn read(manifest: &ManifestFile, present: &NetworkPlan, runs: bool) -> Result<Read, Unfit> {
    let (mut plan, source) = match runs {
        true => manifest.read_to_run()?,
        false => manifest.read()?,
    };
    plan.network = plan.network.keeping_mtu_of(present);
    Ok(Read { plan, source })
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

    /// A step of a reading has ended: begins the next one, or queues its changes, unless the supervisor is about to end.
    pub(super) fn on_read(&mut self, reread: Reread, present: Present<'_>, serving: bool) {
        let Reread { requests, stage } = reread;
        // Only a reading changes the newest plans, so they are the same in all of its steps.
        let answers = match stage {
            Stage::Read(Err(unfit)) => {
                let bad = NoReload::BadManifest(unfit.render(false));
                let bad = |request| (request, Err(bad.clone()));
                requests.into_iter().map(bad).collect()
            }
            Stage::Read(Ok(read)) => return self.compare(requests, read, present),
            Stage::Compared(compared) => {
                let concerned = present.concerned(&compared);
                if !concerned.is_empty() {
                    let host = present.executor.host();
                    return self.rehearse(requests, (compared, concerned), host);
                }
                self.answers(compared, requests, present, serving)
            }
            Stage::Rehearsed(compared) => self.answers(compared, requests, present, serving),
        };
        self.todo.push_back(Todo::Answer(answers));
    }

    /// Shows the changes to a new plan to the requests that only want to see them, and queues the
    /// changes if any of the others wants these.
    fn answers(
        &mut self,
        mut compared: Compared,
        requests: Vec<ReloadRequest>,
        present: Present<'_>,
        serving: bool,
    ) -> Vec<(ReloadRequest, Result<Changes, NoReload>)> {
        crash::point("reload: manifest read", "");
        let mut changes = std::mem::take(&mut compared.changes);
        changes.hash = hash::of(&changes, &compared.digests);
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
            true => self.apply(compared, &changes, present),
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

    fn apply(
        &mut self,
        new: Compared,
        changes: &Changes,
        present: Present<'_>,
    ) -> Result<(), NoReload> {
        if !changes.fixed.is_empty() {
            return Err(NoReload::Refused(changes::refusal(&changes.fixed)));
        }
        if !changes.unlaunchable.is_empty() {
            return Err(NoReload::Refused(changes::unlaunchable(changes)));
        }
        if let Some(why) = present.refusal(changes, new.too_many.as_deref()) {
            return Err(NoReload::Refused(why));
        }
        if let Some(order) = new.order {
            self.order = order;
        }
        self.change_shared(new.network, new.control);
        let plans = new.plans.into_iter().map(|plan| (plan.name.clone(), plan));
        let plans: BTreeMap<TenantName, Arc<TenantPlan>> = plans.collect();
        self.await_holders(changes, &plans, present);
        let inventory = present.executor.inventory();
        for change in &changes.tenants {
            let known = inventory.plan(&change.tenant).is_some();
            self.change(change, plans.get(&change.tenant), known);
        }
        self.todo
            .push_back(Todo::Apply(Input::Event(Event::Reloaded)));
        Ok(())
    }

    /// Has each tenant that takes what others hold wait for them.
    fn await_holders(
        &mut self,
        changes: &Changes,
        plans: &BTreeMap<TenantName, Arc<TenantPlan>>,
        present: Present<'_>,
    ) {
        let takers = changes.tenants.iter().filter(|change| match change.change {
            Change::Add | Change::Reprovision => true,
            Change::Remove | Change::Relaunch | Change::Live => false,
        });
        let takers = takers.filter_map(|taker| plans.get(&taker.tenant));
        let takers: Vec<&Arc<TenantPlan>> = takers.collect();
        if takers.is_empty() {
            return;
        }
        let changed = changes.tenants.iter();
        let changed: BTreeSet<&TenantName> = changed.map(|change| &change.tenant).collect();
        // The present resources count, not the newest plan: they may not be released yet.
        let holders = present.executor.inventory().present();
        let holders = Holders::new(holders.map(|(old, planned)| {
            let new = match changed.contains(&old.name) {
                true => plans.get(&old.name).map(Arc::as_ref),
                false => planned,
            };
            meanwhile(old, new)
        }));
        for plan in takers {
            let (tenant, others) = (plan.name.clone(), holders.of(plan));
            if !others.is_empty() {
                let awaits = Event::Awaits { tenant, others };
                self.todo.push_back(Todo::Apply(Input::Event(awaits)));
            }
        }
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
