//! How the simulated host carries out actions, and how its programs behave.

use tenantd_core::stage::{Failure, Stage};
use tenantd_core::supervisor::action::Action;
use tenantd_core::supervisor::event::{Event, Exit, LaunchId};
use tenantd_core::supervisor::forced::Processes;

use super::invariant::Violation;
use super::world::{Occurrence, Program, World};

impl World {
    pub(super) fn run_occurrence(&mut self, occurrence: Occurrence) -> Result<(), Violation> {
        match occurrence {
            Occurrence::Reload if self.shutdown => Ok(()),
            Occurrence::Reload => self.reload(),
            Occurrence::Death => self.die(),
            Occurrence::Event(event) => self.complete(event),
            Occurrence::Request(request) => self.request(request),
            Occurrence::Offline(tenant) => self.exec_offline(&tenant),
            Occurrence::Ready(launch) if self.programs.contains_key(&launch) => {
                self.handle_event(Event::Ready { launch })
            }
            Occurrence::Ready(_) => Ok(()),
            Occurrence::Exit {
                launch,
                exit,
                others,
            } => match self.programs.get_mut(&launch) {
                Some(program) if program.first => {
                    program.first = false;
                    self.handle_event(Event::Exited {
                        launch,
                        exit,
                        others,
                        said: String::new(),
                    })?;
                    if !others {
                        self.schedule(5, Occurrence::Empty(launch));
                    }
                    Ok(())
                }
                Some(_) | None => Ok(()),
            },
            Occurrence::MainExit {
                launch,
                exit,
                others,
            } => self.main_exits(launch, exit, others),
            Occurrence::Empty(launch) => match self.programs.remove(&launch) {
                Some(program) => {
                    if program.first {
                        // Its cgroup is empty, and perhaps nothing else shows that it has ended.
                        let exit = match launch.0.is_multiple_of(2) {
                            true => Exit::Signal(9),
                            false => Exit::Unknown,
                        };
                        self.handle_event(Event::Exited {
                            launch,
                            exit,
                            others: false,
                            said: String::new(),
                        })?;
                    }
                    self.handle_event(Event::Emptied { launch })
                }
                None => Ok(()),
            },
        }
    }

    /// The main process of a program in the background ends.
    fn main_exits(&mut self, launch: LaunchId, exit: Exit, others: bool) -> Result<(), Violation> {
        if self
            .programs
            .get(&launch)
            .is_none_or(|program| program.first)
        {
            return Ok(());
        }
        self.handle_event(Event::MainExited {
            launch,
            exit,
            others,
        })?;
        if !others {
            self.schedule(5, Occurrence::Empty(launch));
        }
        Ok(())
    }

    /// Completes the operation that the event reports, and handles the event unless it is out of
    /// date.
    fn complete(&mut self, event: Event) -> Result<(), Violation> {
        match &event {
            Event::Launched { launch } => {
                let launch = *launch;
                self.phases.executed(launch);
                self.programs.insert(launch, Program { first: true });
                self.live_settings.on_done(launch);
                self.outcome.launches += 1;
                self.schedule_program(launch);
                self.handle_event(event)
            }
            Event::Concluded { launch } => {
                self.phases.concluded(*launch);
                self.handle_event(event)
            }
            Event::Applied { launch } => {
                self.outcome.applied.0 += 1;
                self.live_settings.on_done(*launch);
                self.handle_event(event)
            }
            Event::ApplyFailed { .. } => {
                self.outcome.applied.1 += 1;
                self.handle_event(event)
            }
            Event::EndFailed { launch, .. }
            | Event::NotAlive { launch, .. }
            | Event::Extend { launch, .. }
            | Event::SaysStopping { launch }
            | Event::MountLost { launch, .. }
                if !self.programs.contains_key(launch) =>
            {
                Ok(())
            }
            _ => self.handle_event(event),
        }
    }

    /// Decides how the program or command of a launch behaves.
    pub(super) fn schedule_program(&mut self, launch: LaunchId) {
        if self.phases.is_command(launch) {
            return self.schedule_command(launch);
        }
        if self.faults_over {
            return self.schedule(1_000, Occurrence::Ready(launch));
        }
        if self.random.chance(75) {
            self.schedule(40_000, Occurrence::Ready(launch));
        }
        if self.random.chance(10) {
            // The host takes away a folder that a mount hangs on.
            let why = Failure::detail(Stage::Mounted, "/var/lib/wiki", "removed on the host");
            self.schedule(50_000, Occurrence::Event(Event::MountLost { launch, why }));
        }
        if self.random.chance(10) {
            // It hangs, and a probe notices.
            let why = Failure::detail(Stage::Alive, "port 80", "no answer within 1 s");
            self.schedule(50_000, Occurrence::Event(Event::NotAlive { launch, why }));
        }
        self.maybe_extend(launch);
        if self.random.chance(5) {
            // All of its processes end at once.
            self.schedule(100_000, Occurrence::Empty(launch));
        }
        let longest = *self.random.pick(&[20, 2_000, 100_000, u64::MAX]);
        if longest < u64::MAX {
            let exit = *self
                .random
                .pick(&[Exit::Status(0), Exit::Status(1), Exit::Signal(11)]);
            let others = self.random.chance(30);
            self.schedule(
                longest,
                Occurrence::Exit {
                    launch,
                    exit,
                    others,
                },
            );
            if others && self.random.chance(50) {
                self.schedule(longest * 2, Occurrence::Empty(launch));
            } else if others && self.random.chance(50) {
                let others = self.random.chance(70);
                self.schedule(
                    longest * 2,
                    Occurrence::MainExit {
                        launch,
                        exit,
                        others,
                    },
                );
            }
        }
    }

    fn schedule_command(&mut self, launch: LaunchId) {
        let success = self.faults_over || self.random.chance(60);
        let exit = match success {
            true => Exit::Status(0),
            false => *self.random.pick(&[Exit::Status(1), Exit::Signal(11)]),
        };
        // The process of a command of `exec --offline` makes no others, and has no time limit.
        let others = !self.faults_over && self.random.chance(20);
        let others = others && !self.phases.is_offline(launch);
        let most = match self.faults_over {
            true => 500,
            false => *self.random.pick(&[20, 500, 60_000]),
        };
        self.schedule(
            most,
            Occurrence::Exit {
                launch,
                exit,
                others,
            },
        );
    }

    pub(super) fn act(&mut self, action: &Action) {
        if !self.faults_over && self.random.chance(5) {
            // A request during the operation.
            self.schedule_request(60);
        }
        self.maybe_edit(action);
        match action.clone() {
            Action::Provision { tenant } => {
                let why = Failure::errno(Stage::Netns, "", libc::ENOSPC);
                let event = if self.fault(25) {
                    Event::ProvisionFailed { tenant, why }
                } else {
                    Event::Provisioned { tenant }
                };
                self.schedule(50, Occurrence::Event(event));
            }
            Action::Launch {
                tenant,
                launch,
                phase,
            } => {
                let skipped = self.phases.on_launch(&tenant, launch, phase);
                self.launch(launch, skipped);
                if !self.faults_over && self.random.chance(5) {
                    // Something on the host deletes the link.
                    let why = Failure::detail(Stage::Linked, "td12", "deleted on the host");
                    self.schedule(50_000, Occurrence::Event(Event::LinkLost { tenant, why }));
                }
            }
            Action::Conclude {
                launch, success, ..
            } => {
                self.phases.on_conclude(launch, success);
                let why = Failure::errno(Stage::Datastore, "", libc::ENOSPC);
                let event = if self.fault(25) {
                    Event::ConcludeFailed { launch, why }
                } else {
                    Event::Concluded { launch }
                };
                self.schedule(50, Occurrence::Event(event));
            }
            Action::Apply { launch, .. } => self.apply(launch),
            Action::Terminate { launch, .. } => self.terminate(launch),
            Action::Kill { launch, .. } => self.kill(launch),
            Action::Release { tenant } => {
                let why = Failure::errno(Stage::Release, "", libc::EBUSY);
                let event = if self.fault(40) {
                    Event::ReleaseFailed { tenant, why }
                } else {
                    Event::Released { tenant }
                };
                self.schedule(50, Occurrence::Event(event));
            }
            // Each child executes its program or fails, sooner than it would be ended.
            Action::Abandon { .. } | Action::Remove { .. } => {}
        }
    }

    fn kill(&mut self, launch: LaunchId) {
        let processes = Processes {
            count: 1 + self.random.below(3),
            named: Vec::new(),
        };
        let killed = Event::Killed { launch, processes };
        self.schedule(0, Occurrence::Event(killed));
        if !self.fault(25) {
            return self.schedule(50, Occurrence::Empty(launch));
        }
        self.schedule(120_000, Occurrence::Empty(launch));
        if self.random.chance(50) {
            let why = Failure::detail(Stage::End, "", "a task hangs");
            self.schedule(5_000, Occurrence::Event(Event::EndFailed { launch, why }));
        }
    }

    fn launch(&mut self, launch: LaunchId, skipped: bool) {
        let event = if skipped {
            Event::Skipped { launch }
        } else if self.fault(25) {
            // Retried a few times, not at all, and by the policy.
            let errno = *self
                .random
                .pick(&[libc::ENOENT, libc::ENOEXEC, libc::EAGAIN]);
            let why = Failure::errno(Stage::Exec, "/bin/wiki", errno);
            Event::LaunchFailed { launch, why }
        } else {
            Event::Launched { launch }
        };
        self.schedule(50, Occurrence::Event(event));
    }

    /// Sometimes edits the manifest during the operation.
    fn maybe_edit(&mut self, action: &Action) {
        let percent = match action {
            Action::Launch { .. } => 10,
            Action::Apply { .. } => 40,
            Action::Provision { .. }
            | Action::Abandon { .. }
            | Action::Conclude { .. }
            | Action::Terminate { .. }
            | Action::Kill { .. }
            | Action::Release { .. }
            | Action::Remove { .. } => 0,
        };
        if !self.faults_over && self.random.chance(percent) {
            self.schedule(60, Occurrence::Reload);
        }
    }

    fn apply(&mut self, launch: LaunchId) {
        let why = Failure::errno(Stage::Limits, "open files", libc::EPERM);
        let event = if self.fault(40) {
            Event::ApplyFailed { launch, why }
        } else {
            Event::Applied { launch }
        };
        // Long enough for other changes, stops and exits meanwhile.
        let most = *self.random.pick(&[5, 500, 20_000]);
        self.schedule(most, Occurrence::Event(event));
    }

    fn terminate(&mut self, launch: LaunchId) {
        let Some(first) = self.programs.get(&launch).map(|program| program.first) else {
            return;
        };
        self.maybe_extend(launch);
        if self.random.chance(25) {
            return;
        }
        if first {
            let others = self.random.chance(25);
            let exit = *self.random.pick(&[Exit::Status(0), Exit::Signal(15)]);
            self.schedule(
                3_000,
                Occurrence::Exit {
                    launch,
                    exit,
                    others,
                },
            );
        } else {
            self.schedule(3_000, Occurrence::Empty(launch));
        }
    }

    fn fault(&mut self, percent: u64) -> bool {
        !self.faults_over && self.random.chance(percent)
    }
}
