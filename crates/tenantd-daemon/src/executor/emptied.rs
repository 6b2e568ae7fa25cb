//! Empty cgroups. Once the first process of a launch has ended, the launch ends when its cgroup is
//! empty. An empty cgroup is also the proof that the first process has ended, if nothing else says so:
//! a pidfd does not become readable while another process traces a thread of it.
//!
//! There is one exception. A program that runs as root can move itself to another cgroup: then the
//! process is put back, so that the tenant's limits hold and the end of the launch is noticed.

use std::rc::Rc;
use std::time::Duration;

use tokio::task::spawn_local;
use tokio::time::{sleep, timeout};

use tenantd_core::name::TenantName;
use tenantd_core::plan::phase::Phase;
use tenantd_core::supervisor::event::LaunchId;
use tenantd_host::cgroup::Leaf;
use tenantd_host::process::{self, Ended};

use crate::executor::inventory::{Main, Process};
use crate::executor::report::{ReportKind, Reporter};
use crate::executor::{Executor, Pending};
use crate::input::Input;

/// How long the end of the first process may be reported after its cgroup became empty. The kernel
/// needs microseconds for it.
const SILENCE: Duration = Duration::from_millis(500);

/// When to look again at a cgroup that cannot be read, for example because no descriptor is left.
const LOOK_AGAIN: Duration = Duration::from_secs(1);

impl Executor {
    /// The processes of a tenant changed.
    pub(super) fn cgroup_changed(&mut self, tenant: &TenantName) {
        self.look_at_freezer(tenant);
        if self.host.taking_up.cgroup_changed(tenant) {
            return;
        }
        let running = self.inventory.get(tenant).and_then(|e| e.running.as_ref());
        let Some(running) = running else {
            return;
        };
        let (launch, process) = (running.launch, running.watched().cloned());
        if self.other_is_alive(tenant) {
            return;
        }
        match (process, self.program_ended(tenant)) {
            (None, _) => self.emptied(tenant, launch),
            (Some(_), Some(how)) => {
                self.ended(tenant, launch, how);
                if let Some(running) = self.inventory.running(tenant, launch) {
                    running.main = Main::Over;
                }
            }
            (Some(process), None) => {
                await_silence(&self.host.reporter, tenant, launch, process);
            }
        }
    }

    /// How the first process of a program has ended, if that is its main process. The task that waits for it reports it
    /// too, one turn of the loop later.
    fn program_ended(&self, tenant: &TenantName) -> Option<Ended> {
        let running = self.inventory.get(tenant)?.running.as_ref()?;
        let is_program = running.phase == Phase::Main && matches!(running.main, Main::First);
        // A child that has not executed it reports why.
        let runs = is_program && running.executed;
        let process = running.process.as_ref().filter(|_| runs)?;
        // If that cannot be found out, the task says so.
        process::how_it_ended(&process.fd, &process.known).ok()?
    }

    /// The cgroup may have been frozen, by a request or by another program.
    fn look_at_freezer(&mut self, tenant: &TenantName) {
        let Some(entry) = self.inventory.entry(tenant) else {
            return;
        };
        let leaf = entry.provisioned.as_ref().and_then(|it| it.leaf.as_ref());
        let frozen = leaf.is_some_and(Leaf::is_frozen);
        if entry.frozen != frozen {
            entry.frozen = frozen;
            let changed = Input::Changed(tenant.clone());
            self.pending.push_back(Pending::Input(changed));
        }
    }

    /// A launch's cgroup is empty, but the end of its first process was not reported.
    pub(super) fn silent(&mut self, tenant: &TenantName, launch: LaunchId) {
        let entry = self.inventory.get(tenant);
        let running = entry.and_then(|entry| entry.running.as_ref());
        let Some(running) = running.filter(|running| running.launch == launch) else {
            return;
        };
        let Some(process) = running.watched().cloned() else {
            return;
        };
        if self.other_is_alive(tenant) {
            return;
        }
        if process::is_dead(process.pid, &process.fd) {
            tracing::debug!(%tenant, pid = process.pid, "its cgroup is empty: it has ended");
            let how = process::how_it_ended(&process.fd, &process.known);
            let how = how.ok().flatten().unwrap_or(Ended::Unknown);
            return match running.process {
                Some(_) => self.ended(tenant, launch, how),
                None => self.main_ended(tenant, launch, (process.pid, how)),
            };
        }
        let leaf = entry
            .and_then(|entry| entry.provisioned.as_ref())
            .and_then(|provisioned| provisioned.leaf.as_ref());
        let Some(leaf) = leaf else { return };
        match leaf.put_back(process.pid) {
            Ok(()) => tracing::warn!(
                %tenant,
                "{tenant}: its first process, {}, had left {}, and was put back",
                process.pid,
                leaf.path().display()
            ),
            Err(failure) => tracing::warn!(%tenant, "{tenant}: its first process left: {failure}"),
        }
    }
}

/// Reports later that a cgroup may have changed, because it cannot be read now.
pub(super) fn look_again(reporter: &Reporter, tenant: &TenantName) {
    let (reporter, tenant) = (reporter.clone(), tenant.clone());
    spawn_local(async move {
        sleep(LOOK_AGAIN).await;
        reporter.report(&tenant, ReportKind::CgroupChanged);
    });
}

/// Reports that a process is still not reported as ended after a while.
fn await_silence(reporter: &Reporter, tenant: &TenantName, launch: LaunchId, process: Rc<Process>) {
    let (reporter, tenant) = (reporter.clone(), tenant.clone());
    spawn_local(async move {
        // If it ends, another task reports it.
        if timeout(SILENCE, process::over(&process.fd)).await.is_err() {
            reporter.report(&tenant, ReportKind::Silent(launch));
        }
    });
}
