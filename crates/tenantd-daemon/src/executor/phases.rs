//! The launch of each phase of a start: its execution, its end and its result.

use tenantd_core::name::TenantName;
use tenantd_core::plan::phase::Phase;
use tenantd_core::supervisor::event::{Event, Exit, LaunchId};
use tenantd_host::crash;
use tenantd_host::process::Ended;

use crate::clock;
use crate::executor::perform::exit;
use crate::executor::{Executor, Pending};
use crate::input::Input;
use crate::logs::Mark;

impl Executor {
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
        };
        self.host.logs.mark(tenant, mark);
        crash::point("launch: before the record", tenant.as_str());
        self.dispatch(Event::Launched { launch });
    }

    pub(super) fn ended(&mut self, tenant: &TenantName, launch: LaunchId, how: Ended) {
        let Some(running) = self.inventory.running(tenant, launch) else {
            return;
        };
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
        // From here on, the launch ends with its last process.
        running.process = None;
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
