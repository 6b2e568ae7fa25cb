//! Readiness: finds out when the program of a launch is ready. According to the tenant's policy
//! that is when its port accepts connections, or when the program sends `READY=1`. The supervisor
//! decides what follows.
//!
//! A tenant is watched from the transition to `up` until it is ready or stops being up. A quick
//! program may send `READY=1` before the loop knows that it was executed. Such a notice counts once
//! the launch is up.

use std::collections::{BTreeMap, VecDeque};
use std::net::SocketAddr;
use std::sync::Arc;

use tokio::sync::mpsc;
use tokio::task::{AbortHandle, spawn_local};

use tenantd_api::wire::ProbeResults;
use tenantd_core::name::TenantName;
use tenantd_core::plan::model::{Readiness as Policy, TenantPlan};
use tenantd_core::stage::Failure;
use tenantd_core::supervisor::event::{Event, LaunchId};
use tenantd_core::supervisor::view::{StateWord, View};
use tenantd_core::supervisor::{Supervisor, Transition};
use tenantd_host::netns::NetnsMounts;

use crate::executor::Executor;
use crate::executor::host::Host;
use crate::executor::inventory::Inventory;
use crate::executor::report::{MainReport, ReportKind, Reporter};
use crate::input::Input;
use crate::probes::watchdogs::Watchdogs;
use crate::probes::{Probes, Told};
use crate::ready;
use crate::ready::notice::Notice;
use crate::ready::notices::{Notices, Said};
use crate::way_in::WayIn;

/// The watched launches, and the signs that have arrived.
pub(super) struct Readiness {
    notices: Notices,
    said: mpsc::UnboundedReceiver<Said>,
    /// To the executor.
    reporter: Reporter,
    /// Whether nothing more is received of programs, and all that was received is handled.
    quiet: bool,
    /// The tasks that wait for a port.
    watches: BTreeMap<TenantName, Watch>,
    answering: mpsc::UnboundedSender<LaunchId>,
    answered: mpsc::UnboundedReceiver<LaunchId>,
    /// What programs sent while they were launching.
    early: BTreeMap<TenantName, (LaunchId, Vec<Event>)>,
    events: VecDeque<Event>,
    /// The tenants for whom probes found something else.
    changed: VecDeque<TenantName>,
    namespaces: Arc<NetnsMounts>,
    probes: Probes,
    watchdogs: Watchdogs,
}

/// How many events of a program that is launching are kept.
const EARLY_MAX: usize = 8;

/// A sign that a program may be ready.
pub(super) enum Sign {
    /// The port of this launch accepts connections.
    Answers(LaunchId),
    /// The program of this launch no longer answers.
    NotAlive(LaunchId, Failure),
    /// A probe of this tenant failed, or the next one did not.
    Probed(TenantName),
    /// A process sent a notice.
    Said(Said),
}

/// A task that is aborted when this is dropped.
struct Watch(AbortHandle);

impl Drop for Watch {
    fn drop(&mut self) {
        self.0.abort();
    }
}

impl Readiness {
    /// Readiness with these sockets, and what is received from them.
    pub(super) fn new(
        host: &Host,
        (notices, said): (Notices, mpsc::UnboundedReceiver<Said>),
    ) -> Self {
        let (answering, answered) = mpsc::unbounded_channel();
        Self {
            notices,
            said,
            reporter: host.reporter.clone(),
            quiet: false,
            watches: BTreeMap::new(),
            answering,
            answered,
            early: BTreeMap::new(),
            events: VecDeque::new(),
            changed: VecDeque::new(),
            namespaces: Arc::clone(&host.netns),
            probes: Probes::new(host.app.clone(), Arc::clone(&host.netns)),
            watchdogs: Watchdogs::new(),
        }
    }

    /// Receives nothing more of programs: see [`Notices::pause`].
    pub(super) fn pause(&mut self) {
        self.notices.pause();
    }

    /// Receives again.
    pub(super) fn resume(&mut self) {
        self.quiet = false;
        self.notices.resume();
    }

    /// Whether nothing more is received of programs, and all that was received is handled.
    pub(super) fn is_quiet(&self) -> bool {
        self.quiet
    }

    /// The next sign. Cancelling this loses nothing.
    pub(super) async fn next(&mut self) -> Sign {
        tokio::select! {
            Some(launch) = self.answered.recv() => Sign::Answers(launch),
            Some(said) = self.said.recv() => Sign::Said(said),
            Some(told) = self.probes.next() => match told {
                Told::NotAlive(launch, why) => Sign::NotAlive(launch, why),
                Told::Changed(tenant) => Sign::Probed(tenant),
            },
            Some((launch, why)) = self.watchdogs.next() => Sign::NotAlive(launch, why),
            else => std::future::pending().await,
        }
    }

    /// Handles a sign.
    pub(super) fn on_sign(&mut self, sign: Sign, inventory: &Inventory, supervisor: &Supervisor) {
        match sign {
            Sign::Answers(launch) => self.events.push_back(Event::Ready { launch }),
            Sign::NotAlive(launch, why) => self.events.push_back(Event::NotAlive { launch, why }),
            Sign::Probed(tenant) => self.changed.push_back(tenant),
            Sign::Said(Said::Paused) => self.quiet = true,
            Sign::Said(Said::Notice {
                tenant,
                launch,
                notice,
            }) => self.on_notice(&tenant, launch, &notice, (inventory, supervisor)),
        }
    }

    /// Handles a notice. `READY=1` counts only for a tenant whose policy is to wait for it.
    fn on_notice(
        &mut self,
        tenant: &TenantName,
        launch: LaunchId,
        notice: &Notice,
        (inventory, supervisor): (&Inventory, &Supervisor),
    ) {
        let report = |report| self.reporter.report(tenant, ReportKind::Main(report));
        report(MainReport::Said(launch, notice.clone()));
        if let Some(pid) = notice.main_pid {
            report(MainReport::Named(launch, pid));
        }
        if let Some(period) = notice.period {
            self.watchdogs.asks(tenant, launch, period);
        }
        if let Some(said) = notice.watchdog {
            self.watchdogs.said(tenant, launch, said);
        }
        let asked = |plan: &TenantPlan| matches!(plan.policy.ready, Policy::Notify);
        let asked = inventory.plan(tenant).is_some_and(|plan| asked(plan));
        let events = events(launch, notice, asked);
        let Some(view) = supervisor.tenant(tenant).filter(|_| !events.is_empty()) else {
            return;
        };
        match view.state {
            StateWord::Up | StateWord::Stopping => self.events.extend(events),
            // A quick program sends it before the loop reads that the program was executed, or even
            // that its process exists.
            StateWord::Launching => {
                let fresh = || (launch, Vec::new());
                let early = self.early.entry(tenant.clone()).or_insert_with(fresh);
                if early.0 != launch {
                    *early = fresh();
                }
                early.1.extend(events);
                early.1.truncate(EARLY_MAX);
            }
            StateWord::Down
            | StateWord::Provisioning
            | StateWord::Initializing
            | StateWord::Preparing
            | StateWord::Offline
            | StateWord::Waiting
            | StateWord::Failed
            | StateWord::Exited
            | StateWord::Releasing
            | StateWord::Stuck => {}
        }
    }

    /// What the probes of the running program of a tenant have found; `None` if it is not probed.
    pub(crate) fn probed(&self, tenant: &TenantName) -> Option<ProbeResults> {
        self.probes.of_tenant(tenant)
    }

    /// The plan of a tenant has changed.
    pub(super) fn on_plan(
        &mut self,
        tenant: &TenantName,
        supervisor: &Supervisor,
        executor: &Executor,
    ) {
        let view = supervisor.tenant(tenant);
        let entry = executor.inventory().get(tenant);
        self.probes.look_at(tenant, view.as_ref(), entry);
        self.watchdogs.look_at(tenant, view.as_ref(), entry);
    }

    /// Starts to watch a tenant that is up now, and stops to watch any other.
    pub(super) fn on_transition(
        &mut self,
        transition: &Transition,
        view: Option<View>,
        inventory: &Inventory,
    ) {
        let tenant = &transition.tenant;
        let entry = inventory.get(tenant);
        self.probes.look_at(tenant, view.as_ref(), entry);
        self.watchdogs.look_at(tenant, view.as_ref(), entry);
        let plan = entry.map(|entry| &entry.plan);
        let early = self.early.remove(tenant);
        self.watches.remove(tenant);
        let (StateWord::Up, Some(launch), Some(plan)) = (transition.to, transition.launch, plan)
        else {
            return;
        };
        if let Some((_, events)) = early.filter(|(of, _)| *of == launch) {
            self.events.extend(events);
        }
        if view.is_some_and(|view| view.ready == Some(true)) {
            return;
        }
        match plan.policy.ready {
            Policy::Tcp(port) => {
                let address = SocketAddr::new(plan.link.addresses.first(), port);
                let way = WayIn::of(&plan.link, &self.namespaces, tenant);
                let watch = self.watch((way, address), launch);
                self.watches.insert(tenant.clone(), watch);
            }
            // The supervisor measures the time itself, or a notice will arrive.
            Policy::Started | Policy::Lived(_) | Policy::Notify => {}
        }
    }

    /// Waits until a launch's port accepts connections.
    fn watch(&self, (way, address): (WayIn, SocketAddr), launch: LaunchId) -> Watch {
        let answering = self.answering.clone();
        let watch = spawn_local(async move {
            ready::tcp_by(|| way.connect(address)).await;
            // The loop closes the channel only when it ends.
            let _ended = answering.send(launch);
        });
        Watch(watch.abort_handle())
    }

    /// The next input for the loop.
    pub(super) fn poll(&mut self) -> Option<Input> {
        let event = self.events.pop_front().map(Input::Event);
        event.or_else(|| self.changed.pop_front().map(Input::Changed))
    }
}

/// What a notice means for the supervisor. `READY=1` counts if that is `asked`.
fn events(launch: LaunchId, notice: &Notice, asked: bool) -> Vec<Event> {
    let extend = notice.extend.map(|by| Event::Extend { launch, by });
    let ready = (notice.ready && asked).then_some(Event::Ready { launch });
    let stopping = notice.stopping.then_some(Event::SaysStopping { launch });
    let all = [ready, stopping, extend];
    all.into_iter().flatten().collect()
}
