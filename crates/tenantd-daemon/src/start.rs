//! The start and the end of the daemon: what happens before the loop and after it.
//!
//! Before the loop, the daemon opens everything that the loop needs, and recovery finds out what an
//! earlier supervisor left. A failed start removes what it made. But if an earlier supervisor left
//! a state file with records, a failed start leaves everything for the next one. After a stop, the
//! daemon removes everything that the tenants shared. After a detachment it removes nothing.

mod control;
mod threads;

use std::cell::RefCell;
use std::rc::Rc;
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context, bail};
use rustix::process::Rlimit;
use tokio::sync::mpsc::{self, UnboundedReceiver};
use tokio::task::LocalSet;

use tenantd_api::wire::LogPlace;
use tenantd_api::wire::watch::EndReason;
use tenantd_core::name::AppName;
use tenantd_core::plan::model::{Plan, TenantPlan};
use tenantd_core::supervisor::view::{StateWord, View};
use tenantd_core::supervisor::{Limits, Supervisor};
use tenantd_host::cgroup::{Tree, Watch};
use tenantd_host::children::{Children, Making};
use tenantd_host::inherited::Inherited;
use tenantd_host::launch::memory;
use tenantd_host::network::{Network, Note};
use tenantd_host::runtime::Runtime;
use tenantd_host::{crash, notify, timeline};

use crate::Daemon;
use crate::collect::shares::{self, Collector};
use crate::drifts::Drifts;
use crate::executor::Executor;
use crate::executor::cgroups::Cgroups;
use crate::executor::host::Host;
use crate::executor::host::taking_up::TakingUp;
use crate::executor::report::Reporter;
use crate::executor::store;
use crate::executor::takeovers::Takeovers;
use crate::executor::under_way::UnderWay;
use crate::executor::unwanted::Unwanted;
use crate::handover::rollback;
use crate::handover::upgrade::Upgrade;
use crate::handover::{Exit, Handover};
use crate::history;
use crate::logs::Logs;
use crate::lookups::Lookups;
use crate::manifest::ManifestFile;
use crate::own_log::LogGuard;
use crate::reached::Reached;
use crate::readiness::Readiness;
use crate::ready::notices::{Notices, Said};
use crate::recovery::Recovery;
use crate::refusals::Refusals;
use crate::reload::Reloads;
use crate::requests::Requests;
use crate::signals::Signals;
use crate::state_file::StateFile;
use crate::state_file::slots::{Previous, SlotFile};
use crate::stretch::Stretch;
use crate::subscriptions::Subscriptions;
use crate::targets::Targets;
use crate::transitions::Transitions;
use crate::unit::Unit;
use crate::wants::Wants;

/// How many threads a filesystem may block at the same time. A launch needs one for about a
/// millisecond. A filesystem that hangs blocks one thread per tenant on it.
const BLOCKING_MAX: usize = 4;

/// The stack of the loop's thread in bytes: that of a main thread.
const LOOP_STACK: usize = 8 << 20;

/// What a supervisor starts with, in addition to its plan.
pub struct Start {
    /// The manifest of the plan, which a reload reads again.
    pub manifest: ManifestFile,
    /// Where the tenants' output goes.
    pub logs_go_to: LogPlace,
    /// Writes the supervisor's last log lines.
    pub log_guard: LogGuard,
    /// The inherited descriptors.
    pub inherited: Inherited,
    /// The limit on descriptors that this process was started with. The tenants get it.
    pub descriptors: Rlimit,
}

/// Runs an application until it is stopped or detached. Call it on the main thread, which looks after
/// the children of this process; the loop runs on a thread of its own.
///
/// # Errors
/// If the supervisor cannot start (then it has started no tenant), or cannot remove everything
/// after a stop.
pub fn run(plan: Plan, start: Start) -> anyhow::Result<()> {
    let (children, serving, recovering) =
        Children::new().context("cannot look after child processes")?;
    let looping = std::thread::Builder::new()
        .name("loop".to_owned())
        .stack_size(LOOP_STACK)
        .spawn(move || {
            let _serving = serving;
            memory::keep_stack_from_children();
            run_loop(plan, start, recovering)
        })
        .context("cannot start the thread of the event loop")?;
    let served = children.serve();
    let ended = looping
        .join()
        .unwrap_or_else(|panic| std::panic::resume_unwind(panic));
    ended.and(served.context("cannot look after child processes"))
}

fn run_loop(plan: Plan, start: Start, recovering: Making) -> anyhow::Result<()> {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .max_blocking_threads(BLOCKING_MAX)
        .thread_keep_alive(Duration::MAX)
        .on_thread_start(memory::keep_stack_from_children)
        .build()
        .context("cannot start the event loop")?;
    threads::start(&runtime)?;
    let ended = LocalSet::new().block_on(&runtime, supervise(plan, start, recovering));
    // Only a filesystem that hangs can still block a thread. It is not waited for.
    runtime.shutdown_background();
    ended
}

async fn supervise(plan: Plan, mut start: Start, recovering: Making) -> anyhow::Result<()> {
    // First of all, so that no signal ends the process in the middle of the start.
    let signals = Signals::new().context("cannot read signals")?;
    let runtime = Runtime::take(&plan.app, &mut start.inherited)?;
    crash::point("begin: folder taken", "");
    // Before any change: the file may have a newer version than this supervisor knows.
    let state_file = SlotFile::open(&plan.app)?;
    let begun_before = state_file.1.has_any();
    crash::point("begin: state file opened", "");
    let app = plan.app.clone();
    history::start(&app).context("cannot start the thread that writes the history")?;
    let mut daemon = match open(plan, state_file, start, signals).await {
        Ok(opened) => opened,
        // The next supervisor continues from the records of the earlier one.
        Err(error) if begun_before => return Err(error),
        Err(error) => {
            shares::end_left(&app).await;
            return Err(also(error, runtime.remove().err()));
        }
    };
    // What an earlier program of this process started is registered now.
    drop(recovering);
    rollback::close();
    daemon.handover.log_upgraded();
    daemon.unit.ready();
    crash::point("begin: ready", "");
    daemon.executor.take_up();
    let stretch = daemon.stretch.clone();
    if let Some(Exit::Detach | Exit::Upgrade) = stretch.run(daemon.run(&runtime)).await {
        detach(daemon).await;
        history::ended("detached: the tenants keep running");
        return Ok(());
    }
    let mut left = end(daemon).await;
    history::ended("ended, after it has stopped its tenants");
    left.extend(runtime.remove().err().map(anyhow::Error::from));
    if left.is_empty() {
        return Ok(());
    }
    let left: Vec<String> = left.iter().map(|error| format!("{error:#}")).collect();
    bail!("resources are left on the host: {}", left.join("; "))
}

/// Opens everything that the loop needs, and recovers what an earlier supervisor left.
async fn open(
    plan: Plan,
    (file, previous): (SlotFile, Previous),
    Start {
        manifest,
        logs_go_to,
        log_guard,
        mut inherited,
        descriptors,
    }: Start,
    signals: Signals,
) -> anyhow::Result<Daemon> {
    let app = &plan.app;
    let upgrade = Upgrade::new(inherited.header.take()).context("cannot find this program")?;
    let (notices, said) = open_notices(app)?;
    let netns = store::open_netns(app, &mut inherited)?;
    let control = control::open(&plan, logs_go_to, &mut inherited)?;
    let logs = Logs::start(app, logs_go_to).context("cannot read the tenants' output")?;
    let (cgroups, network, notes) = open_host(&plan).await?;
    let (under_way, stretch) = (UnderWay::default(), Stretch::default());
    let (collector, wants) = match open_shared(app, &logs, &under_way).await {
        Ok(opened) => opened,
        Err(why) => return Err(close_host(why, cgroups, network).await),
    };
    let (reporter, reports) = mpsc::unbounded_channel();
    let host = Rc::new(Host {
        app: app.clone(),
        network,
        netns,
        cgroups: cgroups.map(Arc::new),
        logs,
        logs_go_to,
        collector,
        notices: notices.clone(),
        reporter: Reporter::new(reporter),
        under_way,
        descriptors,
        total: RefCell::new(plan.control.total.clone()),
        templates: Arc::default(),
        stretch: stretch.clone(),
        unwanted: Unwanted::default(),
        visitors: Rc::default(),
        takeovers: Takeovers::default(),
        leavers: Rc::default(),
        admission: Rc::default(),
        taking_up: TakingUp::default(),
    });
    let recovery = Recovery::begin(Rc::clone(&host), inherited, (&plan, &previous)).await;
    let plans: Vec<_> = plan.tenants.into_iter().map(Arc::new).collect();
    let daemon = Daemon {
        supervisor: Supervisor::new(Limits::default()),
        refusals: Refusals::of(&host.logs),
        reached: Reached::of(&host.logs),
        lookups: Lookups::new(host.app.clone()),
        readiness: Readiness::new(&host, (notices, said)),
        drifts: Drifts::new(host.app.clone(), notes),
        executor: Executor::new(host, &plans, reports),
        state_file: StateFile::new(file),
        requests: Requests::serve(control, stretch.clone()),
        wants,
        reloads: Reloads::new(manifest, plan.network, plan.control),
        handover: Handover::new(upgrade, log_guard),
        transitions: Transitions::begin(app, &plans),
        subscriptions: Subscriptions::default(),
        targets: Targets::new(),
        unit: Unit::new(),
        signals,
        stretch,
    };
    Ok(recover(daemon, &recovery, plans, previous).await)
}

/// Plans the tenants, with what an earlier supervisor left of each, and closes what none of them claims.
async fn recover(
    mut daemon: Daemon,
    recovery: &Recovery,
    plans: Vec<Arc<TenantPlan>>,
    previous: Previous,
) -> Daemon {
    let limits = timeline::span("recovery: limits of all", "");
    daemon.executor.host().limit_all();
    drop(limits);
    let parts = (
        &mut daemon.supervisor,
        &mut daemon.state_file,
        &mut daemon.wants,
    );
    for input in recovery.recover(plans, previous, parts).await {
        let _span = timeline::span("recovery: apply", "");
        daemon.apply(input);
    }
    recovery.close_unclaimed();
    crash::point("begin: unclaimed descriptors closed", "");
    daemon
}

/// Begins to receive the notices of programs.
fn open_notices(app: &AppName) -> anyhow::Result<(Notices, UnboundedReceiver<Said>)> {
    notify::make_mount_point(app).context("cannot make the mount point of the notify sockets")?;
    Notices::start().context("cannot receive notices")
}

/// What is opened after the cgroups, because the collector is to be in that of the supervisor.
async fn open_shared(
    app: &AppName,
    logs: &Logs,
    under_way: &UnderWay,
) -> anyhow::Result<(Collector, Wants)> {
    let collector = Collector::start(app, logs.ends()).await;
    crash::point("begin: collector there", "");
    let collector = collector.context("cannot start the log collector")?;
    let wants = Wants::open(app, under_way.clone())?;
    Ok((collector, wants))
}

/// Removes what [`open_host`] has made, after a start that failed.
async fn close_host(
    why: anyhow::Error,
    cgroups: Option<Cgroups>,
    network: Network,
) -> anyhow::Error {
    let left = network.abandon().await.err();
    let left = left.and_then(|failures| failures.into_iter().next());
    let why = also(why, left);
    // A tree with the cgroup of a tenant stays.
    let tidied = cgroups.map_or(Ok(()), |Cgroups { tree, .. }| tree.remove());
    also(why, tidied.err())
}

/// The first error, with the error of cleaning up after it, if there is one.
fn also(first: anyhow::Error, left: Option<impl Into<anyhow::Error>>) -> anyhow::Error {
    match left.map(Into::into) {
        None => first,
        Some(left) => anyhow::anyhow!("{first:#}; cleaning up failed too: {left:#}"),
    }
}

/// The cgroups that track the tenants, and the network that they share.
async fn open_host(
    plan: &Plan,
) -> anyhow::Result<(Option<Cgroups>, Network, UnboundedReceiver<Note>)> {
    let cgroups = find_cgroups(&plan.app)?;
    let (noted, notes) = mpsc::unbounded_channel();
    match Network::open_noting(plan.network.clone(), noted).await {
        Ok(network) => {
            crash::point("begin: hub there", "");
            rollback::test();
            Ok((cgroups, network, notes))
        }
        Err(why) => {
            let tidied = cgroups.map_or(Ok(()), |Cgroups { tree, .. }| tree.remove());
            Err(also(why.into(), tidied.err()))
        }
    }
}

fn find_cgroups(app: &AppName) -> anyhow::Result<Option<Cgroups>> {
    let Some(tree) = Tree::find(app)? else {
        tracing::warn!(
            "no writable cgroup v2 tree: the tenants' processes are tracked by network namespace, \
             and each stop reads all of /proc"
        );
        return Ok(None);
    };
    match Watch::new() {
        Ok(watch) => Ok(Some(Cgroups { tree, watch })),
        Err(why) => Err(also(why.into(), tree.remove().err())),
    }
}

/// Ends the process and leaves the tenants running. Clients that wait are answered before the sockets
/// close, and the output that was read is written.
async fn detach(mut daemon: Daemon) {
    daemon.subscriptions.flushed().await;
    daemon.requests.end().await;
    drop(daemon.readiness);
    crash::point("detach: sockets closed", "");
    daemon.executor.detach().await;
}

/// Removes what all tenants shared. Returns what could not be removed.
async fn end(mut daemon: Daemon) -> Vec<anyhow::Error> {
    let mut left = stuck(&daemon.supervisor);
    left.extend(daemon.executor.remove_residue().await);
    // Subscribers get the end before the socket is removed.
    daemon.subscriptions.end(EndReason::Ended);
    daemon.subscriptions.flushed().await;
    daemon.requests.end().await;
    drop(daemon.readiness);
    crash::point("finish: sockets closed", "");
    daemon.executor.end(&mut left).await;
    left
}

/// The tenants that could not be ended or released.
fn stuck(supervisor: &Supervisor) -> Vec<anyhow::Error> {
    let stuck = |view: View| {
        let why = view.why.filter(|_| view.state == StateWord::Stuck)?;
        Some(anyhow::anyhow!("{}: {why}", view.name))
    };
    supervisor.tenants().filter_map(stuck).collect()
}
