//! One launch, from the order to the end of its first process: a task that does nothing but wait
//! and report.

use std::os::fd::AsFd;
use std::rc::Rc;
use std::sync::Arc;

use rustix::process::Rlimit;
use tokio::task::spawn_local;

use tenantd_core::name::{AppName, TenantName};
use tenantd_core::plan::model::TenantPlan;
use tenantd_core::stage::{Failure, Stage};
use tenantd_core::supervisor::event::LaunchId;
use tenantd_host::crash;
use tenantd_host::launch::ready_fd::ReadyFd;
use tenantd_host::launch::{Child, Order};
use tenantd_host::process::Ended;
use tenantd_host::program::ProgramFile;
use tenantd_host::{fifo, launch, lock, process};

use crate::executor::host::{Host, blocking, broken};
use crate::executor::inventory::{Process, Provisioned};
use crate::executor::report::{ReportKind, Reporter};

/// A child on its way to its program.
struct Spawned {
    report: launch::Report,
    process: Rc<Process>,
    program: Option<ProgramFile>,
}

impl Host {
    /// Starts a tenant's program, and reports its process, its start and its end.
    pub(crate) fn launch(
        self: &Rc<Self>,
        plan: &Arc<TenantPlan>,
        provisioned: &Provisioned,
        launch: LaunchId,
    ) {
        let (host, plan) = (Rc::clone(self), Arc::clone(plan));
        let (provisioned, task) = (provisioned.clone(), self.under_way.begin());
        spawn_local(async move {
            let reporter = host.reporter.clone();
            let started = host.start(&plan, provisioned).await;
            // The loop may end while a process that cannot be killed is still waited for here.
            drop((host, task));
            match started {
                Ok(spawned) => watch_launch(&reporter, &plan.name, launch, spawned).await,
                Err(why) => reporter.report(&plan.name, ReportKind::Launched(launch, Err(why))),
            }
        });
    }

    async fn start(
        &self,
        plan: &Arc<TenantPlan>,
        provisioned: Provisioned,
    ) -> Result<Spawned, Failure> {
        if let (true, Some(cgroups), Some(leaf)) =
            (provisioned.used, &self.cgroups, provisioned.leaf.as_ref())
        {
            cgroups.recreate(leaf)?;
        }
        let (app, descriptors) = (self.app.clone(), self.descriptors);
        let ordered = Arc::clone(plan);
        let (program, Child { pid, pidfd, report }) = blocking(move || {
            // Before the launch: a file that is replaced meanwhile then counts as older, which
            // costs a restart, and never as current. What cannot be looked at cannot be executed
            // either, and the launch says so.
            let program = ProgramFile::at(&ordered.launch.program).ok();
            Ok((program, order(&app, &ordered, &provisioned, descriptors)?))
        })
        .await?;
        let watched = pidfd.try_clone().and_then(ReadyFd::new);
        match watched {
            Ok(fd) => Ok(Spawned {
                report,
                process: Rc::new(Process {
                    pid,
                    // It is a child of ours that nobody has waited for, so that it is there.
                    start_ticks: process::start_ticks(pid).unwrap_or_default(),
                    fd,
                }),
                program,
            }),
            // A child that cannot be watched may not live.
            Err(error) => {
                let why = broken(Stage::Clone, &plan.name, &error);
                Err(blocking(move || Ok(launch::abandon(&pidfd, why))).await?)
            }
        }
    }
}

/// Reports all that becomes of a child, until its process has ended.
async fn watch_launch(
    reporter: &Reporter,
    tenant: &TenantName,
    launch: LaunchId,
    spawned: Spawned,
) {
    let Spawned {
        report,
        process,
        program,
    } = spawned;
    reporter.report(
        tenant,
        ReportKind::Spawned(launch, Rc::clone(&process), program),
    );
    crash::point("launch: spawned", tenant.as_str());
    let outcome = report.outcome().await;
    crash::point("launch: program runs", tenant.as_str());
    if outcome.is_err() {
        // It has ended or is about to; a child whose report cannot be read is not trusted.
        end(&process).await;
        return reporter.report(tenant, ReportKind::Launched(launch, outcome));
    }
    reporter.report(tenant, ReportKind::Launched(launch, Ok(())));
    await_end(reporter, tenant, launch, process);
}

/// Reports the end of a launch's first process. A task of its own and a small one, for it stays as
/// long as the program does.
pub(crate) fn await_end(
    reporter: &Reporter,
    tenant: &TenantName,
    launch: LaunchId,
    process: Rc<Process>,
) {
    let (reporter, tenant) = (reporter.clone(), tenant.clone());
    spawn_local(async move {
        let how = process::ended(&process.fd).await.unwrap_or_else(|error| {
            // Nobody will ever tell. Whether anything lives is proved by cgroup or namespace.
            tracing::error!(%tenant, pid = process.pid, %error, "cannot wait for its process");
            Ended::Unknown
        });
        reporter.report(&tenant, ReportKind::Ended(launch, how));
    });
}

/// Runs on a blocking thread: what it opens may lie on a filesystem that hangs.
fn order(
    app: &AppName,
    plan: &TenantPlan,
    provisioned: &Provisioned,
    descriptors: Rlimit,
) -> Result<Child, Failure> {
    let Some(netns) = &provisioned.netns else {
        let released = "it is being released";
        return Err(Failure::detail(Stage::EnterNetns, "", released));
    };
    let inlets = fifo::open_for_tenant(app, &plan.name)?;
    let label = lock::label(app, &plan.name);
    launch::launch(&Order {
        launch: &plan.launch,
        datastore: &plan.datastore,
        netns: netns.as_fd(),
        leaf: provisioned.leaf.as_ref(),
        stdout: inlets.stdout.as_fd(),
        stderr: inlets.stderr.as_fd(),
        descriptors,
        label: &label,
    })
}

/// Kills and reaps a child that did not get to its program.
async fn end(process: &Process) {
    // It may have ended already, and then there is nothing to kill.
    let _ended = process::signal(process.fd.as_fd(), libc::SIGKILL);
    if let Err(error) = process::ended(&process.fd).await {
        tracing::warn!(pid = process.pid, %error, "cannot reap a child that failed to launch");
    }
}
