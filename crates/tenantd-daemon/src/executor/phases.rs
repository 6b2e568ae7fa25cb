//! The launch of each phase of a start: its execution, its end and its result.

use std::sync::Arc;

use tenantd_core::name::TenantName;
use tenantd_core::plan::model::TenantPlan;
use tenantd_core::plan::phase::Phase;
use tenantd_core::stage::Failure;
use tenantd_core::supervisor::event::{Event, Exit, LaunchId};
use tenantd_host::crash;
use tenantd_host::process::Ended;

use crate::clock;
use crate::executor::inventory::{Main, Running};
use crate::executor::perform::exit;
use crate::executor::report::Spawned;
use crate::executor::said::Recorded;
use crate::executor::{Executor, Pending};
use crate::input::Input;
use crate::logs::Mark;
use crate::ready::notice::Statement;

impl Executor {
    pub(super) fn spawned(&mut self, tenant: &TenantName, launch: LaunchId, spawned: Spawned) {
        if let Some(entry) = self.inventory.entry(tenant) {
            entry.running = Some(Running {
                launch,
                process: Some(spawned.process),
                program: spawned.program,
                view: Some(spawned.view),
                executed: false,
                phase: spawned.phase,
                main: Main::First,
                statement: Statement::default(),
                recorded: Recorded::default(),
            });
        }
    }

    pub(super) fn skipped(&mut self, tenant: &TenantName, launch: LaunchId) {
        let entry = self.inventory.entry(tenant);
        if let Some(provisioned) = entry.and_then(|entry| entry.provisioned.as_mut()) {
            // No process was in the leaf.
            provisioned.used = false;
        }
        self.dispatch(Event::Skipped { launch });
    }

    pub(super) fn concluded(&mut self, launch: LaunchId, concluded: Result<(), Failure>) {
        self.dispatch(match concluded {
            Ok(()) => Event::Concluded { launch },
            Err(why) => Event::ConcludeFailed { launch, why },
        });
    }

    pub(super) fn not_launched(
        &mut self,
        tenant: &TenantName,
        (launch, phase): (LaunchId, Phase),
        why: Failure,
    ) {
        let mark = match phase {
            Phase::Main => Mark::NotLaunched(why.clone()),
            Phase::Init | Phase::Before | Phase::Offline => {
                Mark::PhaseNotLaunched(phase, why.clone())
            }
        };
        self.host.logs.mark(tenant, mark);
        if let Some(entry) = self.inventory.entry(tenant) {
            entry.running = None;
        }
        self.dispatch(Event::LaunchFailed { launch, why });
    }

    pub(super) fn launched(&mut self, tenant: &TenantName, launch: LaunchId, phase: Phase) {
        let mut pid = None;
        if let Some(running) = self.inventory.running(tenant, launch) {
            running.executed = true;
            pid = running.process.as_ref().map(|process| process.pid);
        }
        let mark = match phase {
            Phase::Main => Mark::Launched(pid),
            Phase::Init | Phase::Before => {
                self.host.logs.listen(tenant);
                Mark::PhaseLaunched(phase, pid)
            }
            // The process is not the command.
            Phase::Offline => Mark::PhaseLaunched(phase, None),
        };
        self.host.logs.mark(tenant, mark);
        crash::point("launch: before the record", tenant.as_str());
        self.dispatch(Event::Launched { launch });
    }

    pub(super) fn ended(&mut self, tenant: &TenantName, launch: LaunchId, how: Ended) {
        let Some(running) = self.inventory.running(tenant, launch) else {
            return;
        };
        if running.process.is_none() && matches!(running.main, Main::Over) {
            // Known already, since its cgroup is empty.
            return;
        }
        let phase = running.phase;
        crash::point("end: first process ended", tenant.as_str());
        if phase == Phase::Main {
            return self.exited(tenant, launch, exit(how), String::new());
        }
        let process = running.process.as_ref();
        let started = process.map(|process| clock::at_ticks(process.start_ticks));
        let mark = Mark::PhaseEnded {
            phase,
            exit: exit(how),
            time: started.map(|started| clock::now().since(started)),
        };
        self.host.logs.mark(tenant, mark);
        if phase == Phase::Offline {
            return self.exited(tenant, launch, exit(how), String::new());
        }
        self.host.report_phase_end(tenant, launch, how);
    }

    /// The first process of a launch has ended, and the last line of its output is known if it is
    /// asked for.
    pub(super) fn exited(
        &mut self,
        tenant: &TenantName,
        launch: LaunchId,
        exit: Exit,
        said: String,
    ) {
        let others = self.other_is_alive(tenant);
        let Some(running) = self.inventory.running(tenant, launch) else {
            return;
        };
        // From here on, the launch ends with its main process, or with its last one.
        running.process = None;
        let is_main = matches!(running.main, Main::First);
        let is_found = matches!(running.main, Main::Found(..) | Main::Gone(_));
        if is_found || (!is_main && others) {
            // The end of the main process is reported by itself.
            let record = Input::Record(tenant.clone());
            return self.pending.push_back(Pending::Input(record));
        }
        if !is_main {
            return self.emptied(tenant, launch);
        }
        if running.phase == Phase::Main {
            self.host.logs.mark(tenant, Mark::Ended { exit, others });
        }
        self.dispatch(Event::Exited {
            launch,
            exit,
            others,
            said,
        });
        if others {
            // The checkpoint of the supervisor is unchanged, but the record has no first process
            // now.
            self.pending
                .push_back(Pending::Input(Input::Record(tenant.clone())));
            let daemonizes = |plan: &Arc<TenantPlan>| plan.policy.daemonizes;
            if exit.is_success() && self.inventory.plan(tenant).is_some_and(daemonizes) {
                self.look_for_main(tenant, launch);
            }
        } else {
            self.emptied(tenant, launch);
        }
    }

    /// Not deferred: a success that is not recorded would be lost.
    pub(super) fn conclude(&mut self, tenant: &TenantName, launch: LaunchId, success: bool) {
        if let Some(plan) = self.inventory.plan(tenant) {
            self.host.conclude(plan, launch, success);
        }
    }
}
