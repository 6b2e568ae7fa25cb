//! Supervisors that die at any moment, also in the middle of a step, and how the next one resumes
//! from the records and from what the host still has.

use std::mem;

use tenantd_core::name::TenantName;
use tenantd_core::plan::effect::Effect;
use tenantd_core::supervisor::Supervisor;
use tenantd_core::supervisor::checkpoint::{Checkpoint, Fate, Found, Resources};
use tenantd_core::supervisor::event::{Event, Exit, LaunchId};
use tenantd_core::supervisor::view::View;

use super::checker::Checker;
use super::invariant::Violation;
use super::model::Network;
use super::plans::Revision;
use super::reload::Found as Edit;
use super::world::{Occurrence, Program, Record, World};

impl World {
    /// Writes the checkpoints of a step, before its actions.
    pub(super) fn record(&mut self, changed: &[TenantName]) {
        for tenant in changed {
            if let Some(checkpoint) = self.supervisor.checkpoint(tenant) {
                let revision = self.plans.made_by(tenant);
                self.records.insert(
                    tenant.clone(),
                    Record {
                        checkpoint,
                        revision,
                    },
                );
            }
        }
    }

    /// Chooses whether the supervisor dies within a step, and before which action.
    pub(super) fn dies_before(&mut self, actions: usize) -> Option<usize> {
        if self.faults_over || self.deaths == 0 || !self.random.chance(2) {
            return None;
        }
        let before = self.random.below(actions as u64 + 1);
        Some(usize::try_from(before).unwrap())
    }

    /// The supervisor dies, and after some time the next one begins.
    pub(super) fn die(&mut self) -> Result<(), Violation> {
        if self.faults_over || self.deaths == 0 {
            return Ok(());
        }
        self.deaths -= 1;
        self.outcome.deaths += 1;
        self.past_events.clear();
        let before: Vec<View> = self.supervisor.tenants().collect();
        let (died_at, was_ending) = (self.now, mem::take(&mut self.shutdown));
        self.now = died_at + self.random.millis(3_000);
        self.without_supervisor();
        let mut edited = match self.random.chance(30) {
            true => self.edit(),
            false => Vec::new(),
        };
        self.outcome.offline_edits += u32::from(!edited.is_empty());
        // For the next supervisor, this tenant changed without a reload too.
        edited.extend(
            self.unrecorded_change
                .take()
                .map(|tenant| (tenant, Edit::Changed(Effect::Live))),
        );
        self.end_orphans();
        let programs = &self.programs;
        let alive = |launch| programs.contains_key(&launch);
        self.checker.dies(was_ending, alive);
        self.supervisor = Supervisor::new(self.checker.limits);
        let checkpoints = self.records.values().map(|record| &record.checkpoint);
        self.supervisor.resume(LaunchId(0), checkpoints);
        let planned = &self.plans.planned;
        self.records
            .retain(|tenant, _| planned.contains_key(tenant));
        let checker = &self.checker;
        self.plans
            .on_new_supervisor(|tenant| checker.launch_of(tenant).is_some());
        self.begin(&before, &edited, was_ending)
    }

    /// The next supervisor starts, and takes over one tenant after the other.
    fn begin(
        &mut self,
        before: &[View],
        edited: &[(TenantName, Edit)],
        was_ending: bool,
    ) -> Result<(), Violation> {
        let deaths = self.outcome.deaths;
        let planned: Vec<TenantName> = self.plans.planned.keys().cloned().collect();
        for tenant in &planned {
            let revision = self.plans.planned[tenant];
            let others = self.plans.holders(revision.address, tenant);
            let tenant = tenant.clone();
            self.handle_event(Event::Awaits { tenant, others })?;
            if self.outcome.deaths > deaths {
                // This supervisor died too, and another one has taken over all tenants.
                return Ok(());
            }
        }
        for tenant in &planned {
            let edit = edited.iter().find(|(name, _)| name == tenant);
            let edit = edit.map(|(_, found)| *found);
            if let Some(Edit::Changed(_)) = edit {
                let policy = self.changed_policy(tenant);
                self.checker.set_policy(tenant, policy);
            }
            let was_removed = self.removed.remove(tenant);
            if was_removed {
                self.checker.set_new(tenant);
            }
            let (alive, as_planned) = self.take_over(tenant)?;
            if self.outcome.deaths > deaths {
                return Ok(());
            }
            let was = before.iter().find(|view| view.name == *tenant);
            let is = self.supervisor.tenant(tenant);
            let (Some(was), Some(is), false) = (was, is, was_ending) else {
                continue;
            };
            let autostart = self.checker.policy(tenant).is_some_and(|p| p.autostart);
            if was_removed {
                Checker::check_added_again(&is, autostart)?;
            } else if as_planned && (edit.is_none() || (alive && is.want == was.want)) {
                Checker::check_resumed(was, &is, alive)?;
            }
        }
        Ok(())
    }

    /// Tenants that were removed from the manifest are ended before anything else.
    fn end_orphans(&mut self) {
        let planned = &self.plans.planned;
        for launch in self.checker.orphans(|tenant| planned.contains_key(tenant)) {
            self.programs.remove(&launch);
        }
    }

    /// The time without a supervisor: programs continue, and their reports are lost.
    fn without_supervisor(&mut self) {
        let now = self.now;
        for ((at, number), occurrence) in mem::take(&mut self.occurrences) {
            let soon = at < now;
            match occurrence {
                // The child was between clone and exec: it executes its program, or dies.
                Occurrence::Event(Event::Launched { launch }) => {
                    if self.random.chance(50) {
                        self.phases.executed(launch);
                        self.programs.insert(launch, Program { first: true });
                        self.live_settings.on_done(launch);
                        self.outcome.launches += 1;
                        self.schedule_program(launch);
                    }
                }
                // The host may have completed it.
                Occurrence::Event(Event::Concluded { launch }) => {
                    if self.random.chance(50) {
                        self.phases.concluded(launch);
                    }
                }
                Occurrence::Event(Event::Applied { launch }) => {
                    if self.random.chance(50) {
                        self.live_settings.on_done(launch);
                    }
                }
                Occurrence::Event(Event::Shutdown | Event::Hurry)
                | Occurrence::Request(_)
                | Occurrence::Offline(_)
                | Occurrence::Death
                    if !soon =>
                {
                    self.occurrences.insert((at, number), occurrence);
                }
                // The next supervisor notices it.
                Occurrence::MainExit { .. } => {
                    self.occurrences.insert((at.max(now), number), occurrence);
                }
                // The daemon's task has ended with it, and requests have no receiver.
                Occurrence::Event(_)
                | Occurrence::Request(_)
                | Occurrence::Offline(_)
                | Occurrence::Reload
                | Occurrence::Death => {}
                Occurrence::Exit { launch, others, .. } if soon => {
                    if let Some(program) = self.programs.get_mut(&launch) {
                        program.first = false;
                    }
                    if !others {
                        self.programs.remove(&launch);
                    }
                }
                Occurrence::Empty(launch) if soon => drop(self.programs.remove(&launch)),
                Occurrence::Ready(_) if soon => {}
                Occurrence::Exit { launch, .. }
                | Occurrence::Empty(launch)
                | Occurrence::Ready(launch) => {
                    if self.programs.contains_key(&launch) {
                        self.occurrences.insert((at, number), occurrence);
                    }
                }
            }
        }
    }

    /// The next supervisor finds a tenant. Returns whether its launch continues.
    fn take_over(&mut self, tenant: &TenantName) -> Result<(bool, bool), Violation> {
        let (checkpoint, revision) = self
            .records
            .get(tenant)
            .map(|record| (record.checkpoint.clone(), record.revision))
            .unzip();
        let network = self.checker.network(tenant);
        let launch = checkpoint.as_ref().and_then(Checkpoint::launch);
        let program = launch.and_then(|launch| Some((launch, self.programs.get(&launch)?.first)));
        let planned = self.plans.made_by(tenant);
        let outdated = Revision::outdated(revision.flatten(), planned);
        let fate = match program {
            Some(_) => Fate::Lives,
            None => Fate::Over(*self.random.pick(&[Exit::Unknown, Exit::Status(1)])),
        };
        let resources = match (&fate, network) {
            (Fate::Lives, _) => Resources::Full,
            (Fate::Over(_), None | Some(Network::None)) => Resources::None,
            (Fate::Over(_), Some(_)) => Resources::Partial,
        };
        if outdated.is_some() {
            self.checker.set_outdated(tenant);
        }
        // The host cannot always confirm it.
        let applied = program.is_some_and(|(launch, _)| {
            self.live_settings.is_applied(tenant, launch) && !self.random.chance(20)
        });
        let forgotten = resources == Resources::None;
        let checkpoint = checkpoint.filter(|checkpoint| !(checkpoint.is_nothing() && forgotten));
        let Some(policy) = self.checker.shared_policy(tenant) else {
            return Ok((false, true));
        };
        let daemonizes = policy.daemonizes;
        self.handle_event(Event::Planned {
            tenant: tenant.clone(),
            policy,
            found: checkpoint.map(|checkpoint| {
                Box::new(Found {
                    checkpoint,
                    fate,
                    resources,
                    outdated,
                    applied,
                })
            }),
        })?;
        if let Some((launch, first)) = program {
            self.schedule(1_000, Occurrence::Ready(launch));
            if !first && !daemonizes {
                let (exit, others) = (Exit::Unknown, true);
                let exited = Event::Exited {
                    launch,
                    exit,
                    others,
                    said: String::new(),
                };
                self.schedule(0, Occurrence::Event(exited));
            }
        }
        Ok((program.is_some(), outdated.is_none()))
    }
}
