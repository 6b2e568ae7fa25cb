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

use super::ledger::{Process, Standing};
use super::report::{News, Reporter};
use super::site::{Site, blocking, broken};

/// A child on its way to its program.
struct Born {
    report: launch::Report,
    process: Rc<Process>,
    program: Option<ProgramFile>,
}

impl Site {
    /// Starts a tenant's program, and reports its process, its start and its end.
    pub(super) fn launch(
        self: &Rc<Self>,
        plan: &Arc<TenantPlan>,
        standing: &Standing,
        launch: LaunchId,
    ) {
        let (site, plan) = (Rc::clone(self), Arc::clone(plan));
        let (standing, task) = (standing.clone(), self.under_way.begin());
        spawn_local(async move {
            let reporter = site.reporter.clone();
            let started = site.start(&plan, standing).await;
            // The loop may end while a process that cannot be killed is still waited for here.
            drop((site, task));
            match started {
                Ok(born) => follow(&reporter, &plan.name, launch, born).await,
                Err(why) => reporter.report(&plan.name, News::Launched(launch, Err(why))),
            }
        });
    }

    async fn start(&self, plan: &Arc<TenantPlan>, standing: Standing) -> Result<Born, Failure> {
        if let (true, Some(cgroups), Some(leaf)) =
            (standing.used, &self.cgroups, standing.leaf.as_ref())
        {
            cgroups.renew(leaf)?;
        }
        let (app, descriptors) = (self.app.clone(), self.descriptors);
        let ordered = Arc::clone(plan);
        let (program, Child { pid, pidfd, report }) = blocking(move || {
            // Before the launch: a file that is replaced meanwhile then counts as older, which
            // costs a restart, and never as current. What cannot be looked at cannot be executed
            // either, and the launch says so.
            let program = ProgramFile::at(&ordered.launch.program).ok();
            Ok((program, order(&app, &ordered, &standing, descriptors)?))
        })
        .await?;
        let watched = pidfd.try_clone().and_then(ReadyFd::new);
        match watched {
            Ok(fd) => Ok(Born {
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
async fn follow(reporter: &Reporter, tenant: &TenantName, launch: LaunchId, born: Born) {
    let Born {
        report,
        process,
        program,
    } = born;
    reporter.report(tenant, News::Born(launch, Rc::clone(&process), program));
    crash::point("launch: born", tenant.as_str());
    let outcome = report.outcome().await;
    crash::point("launch: program runs", tenant.as_str());
    if outcome.is_err() {
        // It has ended or is about to; a child whose report cannot be read is not trusted.
        end(&process).await;
        return reporter.report(tenant, News::Launched(launch, outcome));
    }
    reporter.report(tenant, News::Launched(launch, Ok(())));
    await_end(reporter, tenant, launch, process);
}

/// Reports the end of a launch's first process. A task of its own and a small one, for it stays as
/// long as the program does.
pub(super) fn await_end(
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
        reporter.report(&tenant, News::Ended(launch, how));
    });
}

/// Runs on a blocking thread: what it opens may lie on a filesystem that hangs.
fn order(
    app: &AppName,
    plan: &TenantPlan,
    standing: &Standing,
    descriptors: Rlimit,
) -> Result<Child, Failure> {
    let Some(netns) = &standing.netns else {
        let released = "it is being released";
        return Err(Failure::detail(Stage::EnterNetns, "", released));
    };
    let inlets = fifo::open_for_tenant(app, &plan.name)?;
    let label = lock::label(app, &plan.name);
    launch::launch(&Order {
        launch: &plan.launch,
        datastore: &plan.datastore,
        netns: netns.as_fd(),
        leaf: standing.leaf.as_ref(),
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
