//! Performs the supervisor's actions, and turns reports into the supervisor's events. Each action
//! either starts a task of the [`Host`](crate::executor::host::Host) or is one system call. See
//! [`executor`](crate::executor) for the order.

use std::os::fd::AsFd;
use std::sync::Arc;

use tenantd_core::name::TenantName;
use tenantd_core::plan::model::TenantPlan;
use tenantd_core::plan::phase::Phase;
use tenantd_core::stage::{Failure, Stage};
use tenantd_core::supervisor::action::Action;
use tenantd_core::supervisor::event::{Event, Exit, LaunchId};
use tenantd_host::cgroup::Leaf;
use tenantd_host::crash;
use tenantd_host::hold;
use tenantd_host::process;
use tenantd_host::process::Ended;

use crate::executor::emptied::look_again;
use crate::executor::host::said;
use crate::executor::inventory::Process;
use crate::executor::report::{Report, ReportKind};
use crate::executor::{Executor, Pending};
use crate::input::Input;

/// How many provisions may run at the same time. The kernel makes links one after the other, so
/// more would save no time, and a start of a thousand tenants would need the memory of a thousand
/// tasks.
const PROVISIONS_MAX: usize = 16;

/// The plan of a launch that holds what the program would have, until a client ends.
fn holding(plan: &TenantPlan, client: u32) -> Arc<TenantPlan> {
    let launch = hold::instead_of(&plan.launch, client);
    Arc::new(TenantPlan {
        launch: Arc::new(launch),
        ..plan.clone()
    })
}

impl Executor {
    /// Performs one action. An action for a tenant without the resources that it needs is a defect;
    /// it is reported as a failure, not ignored.
    pub(crate) fn perform(&mut self, action: Action) {
        match action {
            // After a detachment or an upgrade the next supervisor decides about these again.
            Action::Provision { .. }
            | Action::Launch { .. }
            | Action::Apply { .. }
            | Action::Release { .. }
                if self.paused =>
            {
                self.deferred.push(action);
            }
            // It is told after it has begun.
            Action::Abandon { launch, .. } if self.is_deferred(launch) => {
                self.deferred.push(action);
            }
            Action::Provision { tenant } => {
                self.to_provision.push_back(tenant);
                self.provision_next();
            }
            Action::Launch {
                tenant,
                launch,
                phase,
            } => self.launch(&tenant, launch, phase),
            Action::Abandon { launch, .. } => self.host.unwanted.add(launch),
            Action::Conclude {
                tenant,
                launch,
                success,
            } => self.conclude(&tenant, launch, success),
            Action::Apply { tenant, launch } => self.apply_live(&tenant, launch),
            Action::Terminate { tenant, launch } => self.terminate(&tenant, launch),
            Action::Kill { tenant, launch } => self.kill(&tenant, launch),
            Action::Release { tenant } => self.release(&tenant),
            Action::Remove { tenant } => drop(self.inventory.remove(&tenant)),
        }
    }

    fn is_deferred(&self, wanted: LaunchId) -> bool {
        let is_it =
            |action: &Action| matches!(action, Action::Launch { launch, .. } if *launch == wanted);
        self.paused && self.deferred.iter().any(is_it)
    }

    /// Starts waiting provisions, up to the limit.
    pub(crate) fn provision_next(&mut self) {
        while self.provisioning < PROVISIONS_MAX && !self.paused {
            let Some(tenant) = self.to_provision.pop_front() else {
                return;
            };
            // The provision uses or removes what an earlier supervisor left.
            let _previous = self.inventory.take_provisioned(&tenant);
            if let Some(entry) = self.inventory.entry(&tenant) {
                entry.use_next_plan();
            }
            if let Some(plan) = self.inventory.plan(&tenant) {
                self.host.provision(plan);
                self.provisioning += 1;
            }
        }
    }

    fn launch(&mut self, tenant: &TenantName, launch: LaunchId, phase: Phase) {
        let Some(entry) = self.inventory.entry(tenant) else {
            return;
        };
        entry.steps.begin();
        entry.use_next_plan();
        let plan = match (phase, entry.client) {
            (Phase::Offline, client) => holding(&entry.plan, client.unwrap_or_default()),
            (Phase::Init | Phase::Before | Phase::Main, _) => Arc::clone(&entry.plan),
        };
        match &mut entry.provisioned {
            Some(provisioned) => {
                self.host.launch(&plan, provisioned, (launch, phase));
                provisioned.used = true;
            }
            None => {
                let why = Failure::detail(Stage::EnterNetns, "", "the tenant is not provisioned");
                self.host
                    .report(tenant, ReportKind::Launched(launch, phase, Err(why)));
            }
        }
    }

    /// The client whose command of `exec --offline` the next launch of a tenant is for.
    pub(crate) fn set_client(&mut self, tenant: &TenantName, client: u32) {
        if let Some(entry) = self.inventory.entry(tenant) {
            entry.client = Some(client);
        }
    }

    fn apply_live(&mut self, tenant: &TenantName, launch: LaunchId) {
        let Some(entry) = self.inventory.entry(tenant) else {
            return;
        };
        crash::point("apply: asked for", tenant.as_str());
        match &entry.provisioned {
            Some(provisioned) => self.host.apply(entry.planned(), provisioned, launch),
            None => {
                let why = Failure::detail(Stage::Limits, "", "the tenant is not provisioned");
                self.host
                    .report(tenant, ReportKind::Applied(launch, Err(why)));
            }
        }
    }

    fn terminate(&mut self, tenant: &TenantName, launch: LaunchId) {
        let Some(entry) = self.inventory.entry(tenant) else {
            return;
        };
        entry.steps.begin();
        let signal = entry.plan.policy.stop_signal.number;
        let Some(running) = entry.running.as_ref().filter(|run| run.launch == launch) else {
            return;
        };
        match (running.stopped_first(), &entry.provisioned) {
            (Some(first), provisioned) => {
                let leaf = provisioned.as_ref().and_then(|it| it.leaf.as_ref());
                match (send(first, signal), leaf) {
                    (Ok(()), Some(leaf)) => self.host.on_leaf(tenant, leaf, Leaf::resume),
                    (Ok(()), None) => said(tenant, send(first, libc::SIGCONT)),
                    (failed @ Err(_), _) => said(tenant, failed),
                }
            }
            (None, Some(provisioned)) => match &provisioned.leaf {
                Some(leaf) => self.host.on_leaf(tenant, leaf, move |leaf| {
                    leaf.signal(signal).and_then(|_| leaf.resume())
                }),
                None => said(tenant, stop_netns(provisioned.inode, signal)),
            },
            (None, None) => {}
        }
        crash::point("stop: signal sent", tenant.as_str());
    }

    fn kill(&mut self, tenant: &TenantName, launch: LaunchId) {
        let Some(entry) = self.inventory.get(tenant) else {
            return;
        };
        entry.steps.begin();
        if let Some(provisioned) = &entry.provisioned {
            self.host.kill(tenant, launch, provisioned);
        }
        // It may have left its cgroup, or not be in its network namespace yet.
        let running = entry.running.as_ref();
        if let Some(first) = running.and_then(|running| running.process.as_ref()) {
            // It may have ended already.
            let _ended = process::signal(first.fd.as_fd(), libc::SIGKILL);
        }
    }

    fn release(&mut self, tenant: &TenantName) {
        let provisioned = self.inventory.take_provisioned(tenant);
        let (Some(provisioned), Some(plan)) = (provisioned, self.inventory.plan(tenant)) else {
            return self.host.report(tenant, ReportKind::Released(Ok(())));
        };
        self.host.release(plan, provisioned);
    }

    /// Enters a report into the inventory. The next [`Executor::poll`] returns the supervisor's
    /// event.
    pub(crate) fn on_report(&mut self, report: Report) {
        let Report { tenant, kind } = report;
        if matches!(kind, ReportKind::Provisioned(_)) {
            self.provisioning -= 1;
            self.provision_next();
        }
        match kind {
            ReportKind::Provisioned(Ok(provisioned)) => {
                self.inventory.set_provisioned(&tenant, provisioned);
                self.dispatch(Event::Provisioned { tenant });
            }
            ReportKind::Provisioned(Err(why)) => {
                self.dispatch(Event::ProvisionFailed { tenant, why });
            }
            ReportKind::Spawned(launch, spawned) => self.spawned(&tenant, launch, spawned),
            ReportKind::Skipped(launch) => self.skipped(&tenant, launch),
            ReportKind::Concluded(launch, concluded) => self.concluded(launch, concluded),
            ReportKind::Launched(launch, phase, Ok(())) => {
                self.limits_were_set(&tenant);
                self.launched(&tenant, launch, phase);
            }
            ReportKind::Launched(launch, phase, Err(why)) => {
                self.not_launched(&tenant, (launch, phase), why);
            }
            ReportKind::Applied(launch, Ok(())) => {
                self.limits_were_set(&tenant);
                self.dispatch(Event::Applied { launch });
            }
            ReportKind::Applied(launch, Err(why)) => {
                self.dispatch(Event::ApplyFailed { launch, why });
            }
            ReportKind::Ended(launch, how) => self.ended(&tenant, launch, how),
            ReportKind::PhaseEnded(launch, how, said) => {
                self.exited(&tenant, launch, exit(how), said);
            }
            ReportKind::Main(report) => self.main_reported(&tenant, report),
            ReportKind::Mark(mark) => self.host.logs.mark(&tenant, mark),
            ReportKind::SetByHand(hand) => self.set_by_hand(&tenant, hand),
            ReportKind::CgroupChanged => self.cgroup_changed(&tenant),
            ReportKind::Silent(launch) => self.silent(&tenant, launch),
            ReportKind::Killed(launch, processes) => {
                self.dispatch(Event::Killed { launch, processes });
            }
            ReportKind::EndFailed(why) => {
                let running = self
                    .inventory
                    .entry(&tenant)
                    .and_then(|e| e.running.as_ref());
                match running.map(|running| running.launch) {
                    Some(launch) => self.dispatch(Event::EndFailed { launch, why }),
                    None => tracing::warn!(%tenant, "{why}"),
                }
            }
            ReportKind::Released(Ok(())) => self.dispatch(Event::Released { tenant }),
            ReportKind::Released(Err((why, provisioned))) => {
                self.inventory.set_provisioned(&tenant, provisioned);
                self.dispatch(Event::ReleaseFailed { tenant, why });
            }
        }
    }

    /// Whether any process of a tenant is alive. If that cannot be read, the answer is yes: the end
    /// of a launch has to be proved.
    pub(super) fn other_is_alive(&self, tenant: &TenantName) -> bool {
        let Some(provisioned) = self
            .inventory
            .get(tenant)
            .and_then(|e| e.provisioned.as_ref())
        else {
            return false;
        };
        match &provisioned.leaf {
            Some(leaf) => leaf.is_populated().unwrap_or_else(|failure| {
                tracing::warn!(%tenant, "{failure}");
                look_again(&self.host.reporter, tenant);
                true
            }),
            None => match process::in_netns(provisioned.inode) {
                Ok(pids) if pids.is_empty() => false,
                Ok(_) => {
                    self.host.watch_netns(tenant, provisioned.inode);
                    true
                }
                Err(error) => {
                    tracing::warn!(%tenant, %error, "cannot look for processes");
                    self.host.watch_netns(tenant, provisioned.inode);
                    true
                }
            },
        }
    }

    /// No process of a launch is left. This is returned after the end of its first process.
    pub(super) fn emptied(&mut self, tenant: &TenantName, launch: LaunchId) {
        let emptied = Pending::Emptied(tenant.clone(), launch);
        self.pending.push_back(emptied);
    }

    /// The next input for the loop.
    pub(crate) fn poll(&mut self) -> Option<Input> {
        loop {
            match self.pending.pop_front() {
                Some(Pending::Input(input)) => return Some(input),
                Some(Pending::Emptied(tenant, launch)) => {
                    let event = self.remove_launch(&tenant, launch);
                    return Some(Input::Event(event));
                }
                // Reports that have arrived meanwhile belong to the same iteration, so that many
                // reports at once cause one status notification.
                None => match self.reports.try_recv() {
                    Ok(report) => self.on_report(report),
                    Err(_) => return None,
                },
            }
        }
    }

    fn remove_launch(&mut self, tenant: &TenantName, launch: LaunchId) -> Event {
        if let Some(entry) = self.inventory.entry(tenant) {
            // Not the next one, which may run already.
            entry.running.take_if(|running| running.launch == launch);
        }
        self.tell_visitors(tenant);
        crash::point("end: emptied", tenant.as_str());
        Event::Emptied { launch }
    }

    pub(super) fn dispatch(&mut self, event: Event) {
        self.pending.push_back(Pending::Input(Input::Event(event)));
    }
}

/// Sends a signal to the first process of a launch.
fn send(first: &Process, signal: i32) -> Result<(), Failure> {
    process::signal(first.fd.as_fd(), signal).map_err(|errno| {
        let object = format!("of process {}", first.pid);
        Failure::errno(Stage::End, object, errno.raw_os_error())
    })
}

/// Sends the stop signal to all processes of a launch whose first process has exited. Without a
/// cgroup, processes that have joined the tenant cannot be told from those of the launch.
fn stop_netns(inode: u64, signal: i32) -> Result<(), Failure> {
    [signal, libc::SIGCONT]
        .into_iter()
        .try_for_each(|signal| process::signal_netns(inode, signal).map(drop))
}

/// Converts the end of a process to the type of the supervisor.
pub(crate) fn exit(how: Ended) -> Exit {
    match how {
        Ended::Status(status) => Exit::Status(status),
        Ended::Signal(signal) => Exit::Signal(signal),
        Ended::Unknown => Exit::Unknown,
    }
}
