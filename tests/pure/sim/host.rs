//! How the simulated host does what it is asked, and how its programs behave.

use tenantd_core::stage::{Failure, Stage};
use tenantd_core::supervisor::action::Action;
use tenantd_core::supervisor::event::{Event, Exit, LaunchId};

use super::law::Broken;
use super::world::{Occurrence, Program, World};

impl World {
    pub(super) fn occur(&mut self, occurrence: Occurrence) -> Result<(), Broken> {
        match occurrence {
            Occurrence::Reload if self.shutdown => Ok(()),
            Occurrence::Reload => self.reload(),
            Occurrence::Death => self.die(),
            Occurrence::Event(event) => self.tell_if_apt(event),
            Occurrence::Request(request) => self.request(request),
            Occurrence::Ready(launch) if self.programs.contains_key(&launch) => {
                self.tell(Event::Ready { launch })
            }
            Occurrence::Ready(_) => Ok(()),
            Occurrence::Exit {
                launch,
                exit,
                others,
            } => match self.programs.get_mut(&launch) {
                Some(program) if program.first => {
                    program.first = false;
                    self.tell(Event::Exited {
                        launch,
                        exit,
                        others,
                    })?;
                    if !others {
                        self.later(5, Occurrence::Empty(launch));
                    }
                    Ok(())
                }
                Some(_) | None => Ok(()),
            },
            Occurrence::Empty(launch) => match self.programs.remove(&launch) {
                Some(program) => {
                    if program.first {
                        let exit = Exit::Signal(9);
                        self.tell(Event::Exited {
                            launch,
                            exit,
                            others: false,
                        })?;
                    }
                    self.tell(Event::Emptied { launch })
                }
                None => Ok(()),
            },
        }
    }

    /// Some things are only found out when their time has come.
    fn tell_if_apt(&mut self, event: Event) -> Result<(), Broken> {
        match &event {
            Event::Launched { launch } => {
                let launch = *launch;
                self.programs.insert(launch, Program { first: true });
                self.lives.done(launch);
                self.outcome.launches += 1;
                self.live(launch);
                self.tell(event)
            }
            Event::Applied { launch } => {
                self.outcome.applied.0 += 1;
                self.lives.done(*launch);
                self.tell(event)
            }
            Event::ApplyFailed { .. } => {
                self.outcome.applied.1 += 1;
                self.tell(event)
            }
            Event::EndFailed { launch, .. } if !self.programs.contains_key(launch) => Ok(()),
            _ => self.tell(event),
        }
    }

    /// The program's life is decided.
    pub(super) fn live(&mut self, launch: LaunchId) {
        if self.fair {
            return self.later(1_000, Occurrence::Ready(launch));
        }
        if self.random.chance(75) {
            self.later(40_000, Occurrence::Ready(launch));
        }
        let longest = *self.random.pick(&[20, 2_000, 100_000, u64::MAX]);
        if longest < u64::MAX {
            let exit = *self
                .random
                .pick(&[Exit::Status(0), Exit::Status(1), Exit::Signal(11)]);
            let others = self.random.chance(30);
            self.later(
                longest,
                Occurrence::Exit {
                    launch,
                    exit,
                    others,
                },
            );
            if others && self.random.chance(50) {
                self.later(longest * 2, Occurrence::Empty(launch));
            }
        }
    }

    pub(super) fn act(&mut self, action: &Action) {
        if !self.fair && self.random.chance(5) {
            // An operator who catches the host in the middle of it.
            self.request_within(60);
        }
        self.edits_amid(action);
        match action.clone() {
            Action::Provision { tenant } => {
                let why = Failure::errno(Stage::Netns, "", libc::ENOSPC);
                let event = if self.fault(25) {
                    Event::ProvisionFailed { tenant, why }
                } else {
                    Event::Provisioned { tenant }
                };
                self.later(50, Occurrence::Event(event));
            }
            Action::Launch { launch, .. } => {
                let why = Failure::errno(Stage::Exec, "/bin/wiki", libc::ENOENT);
                let event = if self.fault(25) {
                    Event::LaunchFailed { launch, why }
                } else {
                    Event::Launched { launch }
                };
                self.later(50, Occurrence::Event(event));
            }
            Action::Apply { launch, .. } => self.applies(launch),
            Action::Terminate { launch, .. } => self.terminated(launch),
            Action::Kill { launch, .. } => {
                if !self.fault(25) {
                    return self.later(50, Occurrence::Empty(launch));
                }
                self.later(120_000, Occurrence::Empty(launch));
                if self.random.chance(50) {
                    let why = Failure::detail(Stage::End, "", "a task hangs");
                    self.later(5_000, Occurrence::Event(Event::EndFailed { launch, why }));
                }
            }
            Action::Release { tenant } => {
                let why = Failure::errno(Stage::Release, "", libc::EBUSY);
                let event = if self.fault(40) {
                    Event::ReleaseFailed { tenant, why }
                } else {
                    Event::Released { tenant }
                };
                self.later(50, Occurrence::Event(event));
            }
            Action::Remove { .. } => {}
        }
    }

    /// An edit of the manifest that catches the host in the middle of it.
    fn edits_amid(&mut self, action: &Action) {
        let percent = match action {
            Action::Launch { .. } => 10,
            Action::Apply { .. } => 40,
            Action::Provision { .. }
            | Action::Terminate { .. }
            | Action::Kill { .. }
            | Action::Release { .. }
            | Action::Remove { .. } => 0,
        };
        if !self.fair && self.random.chance(percent) {
            self.later(60, Occurrence::Reload);
        }
    }

    fn applies(&mut self, launch: LaunchId) {
        let why = Failure::errno(Stage::Limits, "open files", libc::EPERM);
        let event = if self.fault(40) {
            Event::ApplyFailed { launch, why }
        } else {
            Event::Applied { launch }
        };
        // Other changes, stops and ends are to cross it.
        let most = *self.random.pick(&[5, 500, 20_000]);
        self.later(most, Occurrence::Event(event));
    }

    fn terminated(&mut self, launch: LaunchId) {
        let Some(first) = self.programs.get(&launch).map(|program| program.first) else {
            return;
        };
        if self.random.chance(25) {
            return;
        }
        if first {
            let others = self.random.chance(25);
            let exit = *self.random.pick(&[Exit::Status(0), Exit::Signal(15)]);
            self.later(
                3_000,
                Occurrence::Exit {
                    launch,
                    exit,
                    others,
                },
            );
        } else {
            self.later(3_000, Occurrence::Empty(launch));
        }
    }

    fn fault(&mut self, percent: u64) -> bool {
        !self.fair && self.random.chance(percent)
    }
}
