//! How the processes of a launch are killed, and noticed to have ended without a cgroup.

use std::time::Duration;

use tokio::task::spawn_blocking;

use tenantd_core::name::TenantName;
use tenantd_core::plan::model::TenantPlan;
use tenantd_core::stage::{Failure, Stage};
use tenantd_core::supervisor::event::LaunchId;
use tenantd_core::supervisor::forced::{NAMED, NamedProcess, Processes};
use tenantd_host::cgroup::Leaf;
use tenantd_host::{crash, ipc, process};

use super::{Host, blocking, blocking_change, broken};
use crate::executor::inventory::Provisioned;
use crate::executor::report::ReportKind;

/// How often to look for processes of a network namespace after its first process has ended. Used
/// only without cgroups, because each look reads all of `/proc`.
const LOOK_AGAIN: Duration = Duration::from_millis(50);

/// How long the processes of a network namespace may take to end after SIGKILL.
const KILL_LIMIT: Duration = Duration::from_secs(5);

/// From SIGKILL to the program until SIGKILL to the commands of `exec` beside it, if the program has not ended.
const VISITORS_LATER: Duration = Duration::from_secs(1);

/// How many processes the loop itself looks at and signals: about a millisecond.
const AT_ONCE: usize = 64;

impl Host {
    /// Reports when no process is left in a network namespace. Used only without cgroups.
    pub(crate) fn watch_netns(&self, tenant: &TenantName, inode: u64) {
        let (reporter, tenant) = (self.reporter.clone(), tenant.clone());
        self.spawn(async move {
            loop {
                match spawn_blocking(move || process::in_netns(inode)).await {
                    Ok(Ok(pids)) if pids.is_empty() => break,
                    Ok(Ok(_)) | Err(_) => tokio::time::sleep(LOOK_AGAIN).await,
                    Ok(Err(error)) => {
                        let failure = broken(Stage::End, &tenant, &error);
                        return reporter.report(&tenant, ReportKind::EndFailed(failure));
                    }
                }
            }
            reporter.report(&tenant, ReportKind::CgroupChanged);
        });
    }

    /// Sends signals to the processes of a launch: at once to a few, and from another thread to many,
    /// since that takes the loop's time.
    pub(crate) fn on_leaf(
        &self,
        tenant: &TenantName,
        leaf: &Leaf,
        signal: impl FnOnce(&Leaf) -> Result<(), Failure> + Send + 'static,
    ) {
        if leaf.pids().is_ok_and(|pids| pids.len() <= AT_ONCE) {
            return said(tenant, signal(leaf));
        }
        let (tenant, leaf, task) = (tenant.clone(), leaf.clone(), self.under_way.begin());
        let program = leaf.program_id();
        self.spawn(async move {
            let sent = blocking_change(move || leaf.unless_next(program, signal));
            said(&tenant, sent.await);
            drop(task);
        });
    }

    /// Kills every process of a launch, and reports which ones it has killed.
    pub(crate) fn kill(&self, tenant: &TenantName, launch: LaunchId, provisioned: &Provisioned) {
        if let Some(leaf) = &provisioned.leaf {
            let killed = leaf.pids().and_then(|pids| {
                let processes = named(&pids);
                leaf.kill().map(|()| processes)
            });
            self.report(tenant, of_kill(launch, killed));
            crash::point("stop: killed", tenant.as_str());
            if leaf.has_visitors().unwrap_or(true) {
                self.kill_visitors_too(tenant, leaf.clone());
            }
            return;
        }
        let (reporter, tenant) = (self.reporter.clone(), tenant.clone());
        let inode = provisioned.inode;
        self.spawn(async move {
            let looked = blocking(move || {
                let pids = process::in_netns(inode);
                let pids = pids.map_err(|error| broken(Stage::End, &tenant, &error));
                Ok((pids.map(|pids| named(&pids)), tenant))
            });
            let Ok((found, tenant)) = looked.await else {
                return;
            };
            reporter.report(&tenant, of_kill(launch, found));
            let killed = blocking(move || process::kill_netns(inode, KILL_LIMIT)).await;
            // A failed watch does not report that no process is left.
            let kind = killed.map_or_else(ReportKind::EndFailed, |()| ReportKind::CgroupChanged);
            reporter.report(&tenant, kind);
        });
    }
}

impl Host {
    /// Kills the commands of `exec` too, if processes of the program live on after SIGKILL: one that is traced can be
    /// stopped in its exit, see `PTRACE_O_TRACEEXIT` in ptrace(2), and only the end of the tracer lets it end.
    fn kill_visitors_too(&self, tenant: &TenantName, leaf: Leaf) {
        let (tenant, program) = (tenant.clone(), leaf.program_id());
        self.spawn(async move {
            tokio::time::sleep(VISITORS_LATER).await;
            let killed = blocking_change(move || {
                leaf.unless_next(program, |leaf| match leaf.pids()?.is_empty() {
                    true => Ok(()),
                    false => leaf.kill_all(),
                })
            });
            said(&tenant, killed.await);
        });
    }
}

/// Removes the objects that the tenant's processes have left in the kernel, if its user is its own.
pub(super) async fn remove_objects(plan: &TenantPlan) -> Vec<Failure> {
    let identity = &plan.launch.identity;
    if !identity.own {
        return Vec::new();
    }
    let (uid, tenant) = (identity.uid, plan.name.clone());
    let removed = blocking_change(move || Ok(ipc::remove(uid))).await;
    let (number, failures) = removed.unwrap_or_else(|why| (0, vec![why]));
    if number > 0 {
        tracing::info!(%tenant, "{tenant}: removed {number} IPC objects that its program left");
    }
    failures
}

/// Logs that a signal could not be sent.
pub(crate) fn said(tenant: &TenantName, sent: Result<(), Failure>) {
    match sent {
        Ok(()) => {}
        // It has just ended by itself, and a report of that will arrive.
        Err(failure) if failure.errno == libc::ESRCH => {}
        Err(failure) => tracing::warn!(%tenant, "{failure}"),
    }
}

fn of_kill(launch: LaunchId, killed: Result<Processes, Failure>) -> ReportKind {
    match killed {
        Ok(processes) => ReportKind::Killed(launch, processes),
        Err(failure) => ReportKind::EndFailed(failure),
    }
}

/// These processes, the first of them with their names.
pub(crate) fn named(pids: &[i32]) -> Processes {
    let named = pids.iter().filter_map(|&pid| {
        let name = process::name(pid)?;
        Some(NamedProcess { pid, name })
    });
    Processes {
        count: pids.len() as u64,
        named: named.take(NAMED).collect(),
    }
}
