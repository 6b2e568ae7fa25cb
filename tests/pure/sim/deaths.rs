//! Supervisors that die at any moment, also in the middle of a step, and how the next one resumes
//! from the records and from what the host still has.

use std::mem;

use tenantd_core::name::TenantName;
use tenantd_core::plan::effect::Effect;
use tenantd_core::supervisor::Supervisor;
use tenantd_core::supervisor::checkpoint::{Checkpoint, Fate, Found, Resources};
use tenantd_core::supervisor::event::{Event, Exit, LaunchId};
use tenantd_core::supervisor::view::View;

use super::law::Broken;
use super::laws::Laws;
use super::plans::Paper;
use super::reload::Found as Edit;
use super::truth::Network;
use super::world::{Occurrence, Program, World, Written};

impl World {
    /// Writes the checkpoints of a step, before its actions.
    pub(super) fn write_down(&mut self, changed: &[TenantName]) {
        for tenant in changed {
            if let Some(checkpoint) = self.supervisor.checkpoint(tenant) {
                let paper = self.plans.made_by(tenant);
                self.written
                    .insert(tenant.clone(), Written { checkpoint, paper });
            }
        }
    }

    /// Chooses whether the supervisor dies within a step, and before which action.
    pub(super) fn dies_before(&mut self, actions: usize) -> Option<usize> {
        if self.fair || self.deaths == 0 || !self.random.chance(2) {
            return None;
        }
        let before = self.random.below(actions as u64 + 1);
        Some(usize::try_from(before).unwrap())
    }

    /// The supervisor dies, and after some time the next one begins.
    pub(super) fn die(&mut self) -> Result<(), Broken> {
        if self.fair || self.deaths == 0 {
            return Ok(());
        }
        self.deaths -= 1;
        self.outcome.deaths += 1;
        self.told.clear();
        let before: Vec<View> = self.supervisor.tenants().collect();
        let (died_at, was_ending) = (self.now, mem::take(&mut self.shutdown));
        self.now = died_at + self.random.millis(3_000);
        self.unsupervised();
        let mut edited = match self.random.chance(30) {
            true => self.edit(),
            false => Vec::new(),
        };
        self.outcome.silent += u32::from(!edited.is_empty());
        // To the next supervisor this one was changed silently too.
        edited.extend(
            self.half_told
                .take()
                .map(|tenant| (tenant, Edit::Changed(Effect::Live))),
        );
        self.end_strays();
        let programs = &self.programs;
        let lives = |launch| programs.contains_key(&launch);
        self.laws.dies(was_ending, lives);
        self.supervisor = Supervisor::new(self.laws.limits);
        let checkpoints = self.written.values().map(|written| &written.checkpoint);
        self.supervisor.resume(LaunchId(0), checkpoints);
        let planned = &self.plans.planned;
        self.written
            .retain(|tenant, _| planned.contains_key(tenant));
        let laws = &self.laws;
        self.plans.begin(|tenant| laws.lives_of(tenant).is_some());
        self.begin(&before, &edited, was_ending)
    }

    /// The next supervisor starts, and finds one tenant after the other.
    fn begin(
        &mut self,
        before: &[View],
        edited: &[(TenantName, Edit)],
        was_ending: bool,
    ) -> Result<(), Broken> {
        let deaths = self.outcome.deaths;
        let planned: Vec<TenantName> = self.plans.planned.keys().cloned().collect();
        for tenant in &planned {
            let paper = self.plans.planned[tenant];
            let others = self.plans.holders(paper.address, tenant);
            let tenant = tenant.clone();
            self.tell(Event::Awaits { tenant, others })?;
            if self.outcome.deaths > deaths {
                // This one died too, and the next one has taken over all of them.
                return Ok(());
            }
        }
        for tenant in &planned {
            let edit = edited.iter().find(|(name, _)| name == tenant);
            let edit = edit.map(|(_, found)| *found);
            if let Some(Edit::Changed(_)) = edit {
                let policy = self.changed_policy(tenant);
                self.laws.has_policy(tenant, policy);
            }
            let had_left = self.left.remove(tenant);
            if had_left {
                self.laws.is_new(tenant);
            }
            let (lives, as_planned) = self.take_over(tenant)?;
            if self.outcome.deaths > deaths {
                return Ok(());
            }
            let was = before.iter().find(|view| view.name == *tenant);
            let is = self.supervisor.tenant(tenant);
            let (Some(was), Some(is), false) = (was, is, was_ending) else {
                continue;
            };
            let autostart = self.laws.policy(tenant).is_some_and(|p| p.autostart);
            if had_left {
                Laws::came_back(&is, autostart)?;
            } else if as_planned && (edit.is_none() || (lives && is.want == was.want)) {
                Laws::goes_on(was, &is, lives)?;
            }
        }
        Ok(())
    }

    /// Tenants that were removed from the manifest are ended before anything else.
    fn end_strays(&mut self) {
        let planned = &self.plans.planned;
        for launch in self.laws.orphans(|tenant| planned.contains_key(tenant)) {
            self.programs.remove(&launch);
        }
    }

    /// What happens while there is no supervisor: programs continue, and their reports are lost.
    fn unsupervised(&mut self) {
        let now = self.now;
        for ((at, number), occurrence) in mem::take(&mut self.occurrences) {
            let soon = at < now;
            match occurrence {
                // Its child was on its way: it gets there, or dies of its supervisor's death.
                Occurrence::Event(Event::Launched { launch }) => {
                    if self.random.chance(50) {
                        self.programs.insert(launch, Program { first: true });
                        self.lives.done(launch);
                        self.outcome.launches += 1;
                        self.live(launch);
                    }
                }
                // The host may have got through with it.
                Occurrence::Event(Event::Applied { launch }) => {
                    if self.random.chance(50) {
                        self.lives.done(launch);
                    }
                }
                Occurrence::Event(Event::Shutdown | Event::Hurry)
                | Occurrence::Request(_)
                | Occurrence::Death
                    if !soon =>
                {
                    self.occurrences.insert((at, number), occurrence);
                }
                // The part of the daemon that did this is gone, and requests found no supervisor.
                Occurrence::Event(_)
                | Occurrence::Request(_)
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
    fn take_over(&mut self, tenant: &TenantName) -> Result<(bool, bool), Broken> {
        let (checkpoint, paper) = self
            .written
            .get(tenant)
            .map(|written| (written.checkpoint.clone(), written.paper))
            .unzip();
        let network = self.laws.network(tenant);
        let launch = checkpoint.as_ref().and_then(Checkpoint::launch);
        let program = launch.and_then(|launch| Some((launch, self.programs.get(&launch)?.first)));
        let planned = self.plans.made_by(tenant);
        let outdated = Paper::outdated(paper.flatten(), planned);
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
            self.laws.is_outdated(tenant);
        }
        // It cannot always be proved.
        let applied = program.is_some_and(|(launch, _)| {
            self.lives.is_real(tenant, launch) && !self.random.chance(20)
        });
        let forgotten = resources == Resources::None;
        let checkpoint = checkpoint.filter(|checkpoint| !(checkpoint.is_nothing() && forgotten));
        let Some(policy) = self.laws.shared_policy(tenant) else {
            return Ok((false, true));
        };
        let daemonizes = policy.daemonizes;
        self.tell(Event::Planned {
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
            self.later(1_000, Occurrence::Ready(launch));
            if !first && !daemonizes {
                let (exit, others) = (Exit::Unknown, true);
                let exited = Event::Exited {
                    launch,
                    exit,
                    others,
                };
                self.later(0, Occurrence::Event(exited));
            }
        }
        Ok((program.is_some(), outdated.is_none()))
    }
}
