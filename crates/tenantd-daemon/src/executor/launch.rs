//! One launch, from its start to the end of its first process. A task starts the program in the
//! tenant's resources, sends reports, and makes no decisions.
//!
//! The reports come in this order: *spawned* (the launch has a process, in its cgroup leaf),
//! *launched* (the process has executed the program, or could not), and *ended* (the process has
//! ended). Between the first two, the process enters the network namespace, attaches its mounts and
//! drops its privileges; see [`tenantd_host::launch`]. If any of that fails, all processes in the leaf
//! are killed, the first is reaped, and the second report names the stage that failed.

use std::os::fd::AsFd;
use std::pin::pin;
use std::rc::Rc;
use std::sync::Arc;
use std::time::Duration;

use rustix::process::Rlimit;
use tokio::task::{spawn_blocking, spawn_local};
use tokio::time::{sleep, timeout};

use tenantd_core::name::{AppName, TenantName};
use tenantd_core::plan::model::TenantPlan;
use tenantd_core::plan::phase::Phase;
use tenantd_core::stage::{Failure, Stage};
use tenantd_core::supervisor::event::LaunchId;
use tenantd_host::cgroup::Leaf;
use tenantd_host::crash;
use tenantd_host::datastore::init;
use tenantd_host::launch::lookup::OwnFile;
use tenantd_host::launch::ready_fd::ReadyFd;
use tenantd_host::launch::{Child, MountTemplates, Order, Used};
use tenantd_host::netns::{Netns, NetnsMounts};
use tenantd_host::process::Ended;
use tenantd_host::program::{self, ProgramFile};
use tenantd_host::{fifo, launch, lock, notify, process, syslog, timeline};

use crate::executor::host::{Host, blocking, broken};
use crate::executor::inventory::{Process, Provisioned};
use crate::executor::report::{ReportKind, Reporter, Spawned};
use crate::executor::unwanted::Starting;
use crate::executor::visitors;

/// A pidfd of a child, and its report.
type Watched = (ReadyFd, launch::Report);

/// How long a child may take to execute its program. It needs about a millisecond.
pub(crate) const UNEXECUTED: Duration = Duration::from_secs(10);

/// How long it may take if it is no longer wanted. Then it is ended as a running program: with its stop
/// signal.
const UNWANTED: Duration = Duration::from_millis(250);

/// How long a killed process may take to end.
const KILLED: Duration = Duration::from_secs(5);

impl Host {
    /// Starts a tenant's program, or a command before it. Reports its process, its execution and its
    /// end.
    pub(crate) fn launch(
        self: &Rc<Self>,
        plan: &Arc<TenantPlan>,
        provisioned: &Provisioned,
        (launch, phase): (LaunchId, Phase),
    ) {
        // Until its mark is written: the report of this launch leads to one in any case.
        self.logs.hold(&plan.name);
        let (host, plan) = (Rc::clone(self), Arc::clone(plan));
        let (provisioned, task) = (provisioned.clone(), self.under_way.begin());
        let starting = self.unwanted.begin(launch);
        self.spawn(async move {
            let reporter = host.reporter.clone();
            let leaf = provisioned.leaf.clone();
            let templates = Arc::clone(&host.templates);
            let timed = timeline::wait("launch", plan.name.as_str());
            let started = host.start(&plan, provisioned, (launch, phase)).await;
            // The loop may end while this still waits for a process that cannot be killed.
            drop((host, task));
            match started {
                Ok(Some((spawned, report, used))) => {
                    let of = (&plan.name, leaf.as_ref());
                    let child = (spawned, report);
                    let runs =
                        watch_launch((&reporter, starting), of, (launch, phase), child).await;
                    drop(timed);
                    if runs {
                        drop(spawn_blocking(move || templates.replenish(used)));
                    }
                }
                Ok(None) => reporter.report(&plan.name, ReportKind::Skipped(launch)),
                Err(why) => {
                    reporter.report(&plan.name, ReportKind::Launched(launch, phase, Err(why)));
                }
            }
        });
    }

    async fn start(
        &self,
        plan: &Arc<TenantPlan>,
        provisioned: Provisioned,
        (launch, phase): (LaunchId, Phase),
    ) -> Result<Option<(Spawned, launch::Report, Used)>, Failure> {
        if let (true, Some(cgroups), Some(leaf)) =
            (provisioned.used, &self.cgroups, provisioned.leaf.as_ref())
        {
            let _span = timeline::span("launch: leaf", plan.name.as_str());
            visitors::end_after(leaf).await?;
            cgroups.recreate(leaf)?;
        }
        let (app, descriptors) = (self.app.clone(), self.descriptors);
        if phase == Phase::Main {
            self.notices_of(plan, launch)?;
        }
        let (templates, namespaces) = (Arc::clone(&self.templates), Arc::clone(&self.netns));
        let (ordered, limiter) = (Arc::clone(plan), self.limiter());
        let (program, child) = blocking(move || {
            // Before the launch: a file that is replaced meanwhile then counts as older, never as
            // current, and costs at most a restart. If the file cannot be read, the launch fails
            // too, with a reason.
            let program = match phase {
                Phase::Main => ProgramFile::at(&ordered.launch.program).ok(),
                // `status` compares that of the program only.
                Phase::Init | Phase::Before | Phase::Offline => None,
            };
            let limits = timeline::span("launch: limits", ordered.name.as_str());
            limiter.limit(provisioned.leaf.as_ref(), &ordered.launch.group)?;
            crash::point("launch: limits set", ordered.name.as_str());
            drop(limits);
            let netns = open_netns(&namespaces, &ordered.name, &provisioned)?;
            let made = (&netns, provisioned.leaf.as_ref());
            let child = order(&app, &ordered, made, &templates, (descriptors, phase))?;
            Ok((program, child))
        })
        .await?;
        let Some(Child {
            view,
            pid,
            pidfd: _,
            known,
            watched: (fd, report),
            used,
        }) = child
        else {
            return Ok(None);
        };
        let process = Rc::new(Process {
            pid,
            // 0 if it was killed already: then its process number is free.
            start_ticks: process::start_ticks(pid).unwrap_or_default(),
            fd,
            known,
        });
        let spawned = Spawned {
            process,
            program,
            view,
            phase,
        };
        Ok(Some((spawned, report, used)))
    }
}

/// Reports what happens to a child, until its process has ended. Returns whether its program runs.
async fn watch_launch(
    (reporter, starting): (&Reporter, Starting),
    (tenant, leaf): (&TenantName, Option<&Leaf>),
    (launch, phase): (LaunchId, Phase),
    (spawned, report): (Spawned, launch::Report),
) -> bool {
    let process = Rc::clone(&spawned.process);
    reporter.report(tenant, ReportKind::Spawned(launch, spawned));
    crash::point("launch: spawned", tenant.as_str());
    let outcome = execution(report, process.pid, &starting).await;
    drop(starting);
    crash::point("launch: program runs", tenant.as_str());
    if let Err(why) = outcome {
        // It has ended or is about to. A child whose report cannot be read may have executed its
        // program, so it is killed with all that it forked.
        end(leaf, &process).await;
        let why = blocking(move || Ok(program::explain(why))).await;
        reporter.report(
            tenant,
            ReportKind::Launched(launch, phase, why.and_then(Err)),
        );
        return false;
    }
    reporter.report(tenant, ReportKind::Launched(launch, phase, Ok(())));
    await_end(reporter, tenant, launch, process);
    true
}

/// Waits until the child has executed its program, or has failed to; for a while only, if it is no
/// longer wanted.
async fn execution(report: launch::Report, pid: i32, starting: &Starting) -> Result<(), Failure> {
    let mut outcome = pin!(report.outcome());
    tokio::select! {
        outcome = &mut outcome => return outcome,
        () = sleep(UNEXECUTED) => return Err(unexecuted(pid)),
        () = starting.unwanted() => {}
    }
    timeout(UNWANTED, outcome).await.unwrap_or_else(|_| {
        let why = format!(
            "process {pid} was ended, because it is no longer wanted and had not executed the program: it \
             was stopped, or a filesystem hangs"
        );
        Err(Failure::detail(Stage::Vanished, "", why))
    })
}

/// Reports the end of a launch's first process. This is a small task of its own, because it stays
/// as long as the program runs.
pub(crate) fn await_end(
    reporter: &Reporter,
    tenant: &TenantName,
    launch: LaunchId,
    process: Rc<Process>,
) {
    let (reporter, tenant) = (reporter.clone(), tenant.clone());
    spawn_local(async move {
        let how = process::ended(&process.fd, &process.known).await.unwrap_or_else(|error| {
            // The exit status stays unknown. Cgroup or namespace show whether a process is left.
            tracing::error!(%tenant, pid = process.pid, %error, "cannot wait for the first process");
            Ended::Unknown
        });
        reporter.report(&tenant, ReportKind::Ended(launch, how));
    });
}

impl Host {
    /// Makes the notify socket of a launch, if its program uses one.
    fn notices_of(&self, plan: &TenantPlan, launch: LaunchId) -> Result<(), Failure> {
        match uses_notices(plan) {
            true => {
                let inbox = notify::bind(&self.app, &plan.name)?;
                self.notices.add(&plan.name, launch, inbox);
            }
            false => self.notices.remove(&plan.name),
        }
        Ok(())
    }

    /// Records that the datastore of a tenant is initialized, or makes it empty again.
    pub(crate) fn conclude(
        self: &Rc<Self>,
        plan: &Arc<TenantPlan>,
        launch: LaunchId,
        success: bool,
    ) {
        let (host, plan) = (Rc::clone(self), Arc::clone(plan));
        let (label, task) = (lock::label(&self.app, &plan.name), self.under_way.begin());
        self.spawn(async move {
            let tenant = plan.name.clone();
            let concluded =
                blocking(move || init::conclude(&plan.datastore, &label, success)).await;
            host.report(&tenant, ReportKind::Concluded(launch, concluded));
            drop(task);
        });
    }

    /// Reports the end of a command before the program, with the last line of its output.
    pub(crate) fn report_phase_end(
        self: &Rc<Self>,
        tenant: &TenantName,
        launch: LaunchId,
        how: Ended,
    ) {
        let (host, tenant) = (Rc::clone(self), tenant.clone());
        let task = self.under_way.begin();
        self.spawn(async move {
            let said = host.logs.last_line(&tenant).await;
            host.report(&tenant, ReportKind::PhaseEnded(launch, how, said));
            drop(task);
        });
    }
}

/// Whether the process of a launch has a watchdog. In a program that daemonizes, another one heeds it.
fn has_watchdog(plan: &TenantPlan, phase: Phase) -> bool {
    phase == Phase::Main && plan.policy.watchdog.is_some() && !plan.policy.daemonizes
}

/// Whether the program gets a notify socket.
fn uses_notices(plan: &TenantPlan) -> bool {
    plan.launch.environment.contains_key("NOTIFY_SOCKET")
}

/// Opens the network namespace that was made for a tenant.
fn open_netns(
    namespaces: &NetnsMounts,
    tenant: &TenantName,
    provisioned: &Provisioned,
) -> Result<Netns, Failure> {
    let opened = namespaces.open(tenant);
    let opened = opened.map_err(|error| broken(Stage::EnterNetns, tenant, &error))?;
    let its = opened.filter(|netns| netns.inode() == provisioned.inode);
    its.ok_or_else(|| Failure::detail(Stage::EnterNetns, "", "the tenant is being released"))
}

/// Starts the child. Runs on a thread for blocking work: a file may be on a filesystem that hangs.
fn order(
    app: &AppName,
    plan: &TenantPlan,
    (netns, leaf): (&Netns, Option<&Leaf>),
    templates: &MountTemplates,
    (descriptors, phase): (Rlimit, Phase),
) -> Result<Option<Child<Watched>>, Failure> {
    let write_ends = fifo::open_for_tenant(app, &plan.name)?;
    let label = lock::label(app, &plan.name);
    let uses = phase == Phase::Main && uses_notices(plan);
    let notify = uses.then(|| notify::folder(app, &plan.name));
    let lookup = lookup(&label, plan)?;
    let order = Order {
        launch: &plan.launch,
        phase,
        datastore: &plan.datastore,
        templates,
        netns: netns.as_fd(),
        leaf,
        stdout: write_ends.stdout.as_fd(),
        stderr: write_ends.stderr.as_fd(),
        descriptors,
        label: &label,
        syslog: Some(&syslog::folder(app, &plan.name)),
        lookup: &lookup,
        notify: notify.as_deref(),
        keeper: Some(&fifo::folder(app, &plan.name)),
        watchdog_pid: has_watchdog(plan, phase),
    };
    launch::launch(&order, |pidfd, report| {
        let watched = pidfd.try_clone().and_then(ReadyFd::new);
        let watched = watched.map_err(|error| broken(Stage::Clone, &plan.name, &error))?;
        Ok((watched, report.watched()?))
    })
}

/// Writes the files by which a tenant looks names up.
fn lookup(label: &str, plan: &TenantPlan) -> Result<Vec<OwnFile>, Failure> {
    let host = launch::lookup::host_names();
    let host = host.map_err(|error| broken(Stage::Files, &plan.name, &error))?;
    launch::lookup::write(label, &host, &plan.link)
}

/// A child did not execute its program in time.
fn unexecuted(pid: i32) -> Failure {
    let why = format!(
        "process {pid} was ended, because it had not executed the program after {} s: it was stopped, or \
         a filesystem hangs",
        UNEXECUTED.as_secs()
    );
    Failure::detail(Stage::Vanished, "", why)
}

/// Kills all processes of a launch that failed, and reaps the first. One that waits for a filesystem
/// that hangs may not end: then the next launch finds the cgroup in use.
pub(crate) async fn end(leaf: Option<&Leaf>, process: &Process) {
    if let Some(Err(failure)) = leaf.map(Leaf::kill) {
        tracing::warn!(pid = process.pid, "{failure}");
    }
    // It may have ended already.
    let _ended = process::signal(process.fd.as_fd(), libc::SIGKILL);
    let pid = process.pid;
    match timeout(KILLED, process::ended(&process.fd, &process.known)).await {
        Ok(Ok(_)) => {}
        Ok(Err(error)) => tracing::warn!(pid, %error, "cannot reap a child that failed to launch"),
        Err(_) => tracing::warn!(
            pid,
            "a child that failed to launch has not ended after SIGKILL"
        ),
    }
}
