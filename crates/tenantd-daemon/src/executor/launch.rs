//! One launch, from its start to the end of its first process. A task starts the program in the
//! tenant's resources, sends reports, and makes no decisions.
//!
//! The reports come in this order: *spawned* (the launch has a process, in its cgroup leaf),
//! *launched* (the process has executed the program, or could not), and *ended* (the process has
//! ended). Between the first two, the process enters the network namespace, attaches its mounts and
//! drops its privileges; see [`tenantd_host::launch`]. If any of that fails, all processes in the leaf
//! are killed, the first is reaped, and the second report names the stage that failed.

mod start;

use std::os::fd::AsFd;
use std::pin::pin;
use std::rc::Rc;
use std::sync::Arc;
use std::time::Duration;

use tokio::task::{spawn_blocking, spawn_local};
use tokio::time::{sleep, timeout};

use tenantd_core::name::TenantName;
use tenantd_core::plan::model::TenantPlan;
use tenantd_core::plan::phase::Phase;
use tenantd_core::stage::{Failure, Stage};
use tenantd_core::supervisor::event::LaunchId;
use tenantd_host::cgroup::Leaf;
use tenantd_host::crash;
use tenantd_host::datastore::init;
use tenantd_host::process::Ended;
use tenantd_host::{launch, lock, process, program, timeline};

use crate::executor::host::{Host, blocking};
use crate::executor::inventory::{Process, Provisioned};
use crate::executor::report::{ReportKind, Reporter, Spawned};
use crate::executor::unwanted::Starting;

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
        let (leaf, task) = (provisioned.leaf.clone(), self.under_way.begin());
        let is_first = !provisioned.used;
        let starting = self.unwanted.begin(launch);
        // Not with the task: the loop has more to do before it turns to that.
        let started = self.start(&plan, provisioned.clone(), (launch, phase));
        self.spawn(async move {
            let reporter = host.reporter.clone();
            let (templates, netns) = (Arc::clone(&host.templates), Arc::clone(&host.netns));
            let timed = timeline::wait("launch", plan.name.as_str());
            let started = started.await;
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
                        if is_first {
                            netns.keep_sysfs(&plan.name);
                        }
                        templates.give_back(used);
                        drop(spawn_blocking(move || templates.replenish()));
                    }
                }
                Ok(None) => reporter.report(&plan.name, ReportKind::Skipped(launch)),
                Err(why) => {
                    reporter.report(&plan.name, ReportKind::Launched(launch, phase, Err(why)));
                }
            }
        });
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
