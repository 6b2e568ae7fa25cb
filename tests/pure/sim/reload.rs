//! Random changes of the manifest, and reloads as a daemon does them.

use tenantd_core::name::TenantName;
use tenantd_core::plan::effect::Effect;
use tenantd_core::supervisor::event::Event;
use tenantd_core::supervisor::view::{StateWord, Why};

use super::invariant::Violation;
use super::plans::Revision;
use super::world::World;

/// The change of one tenant that a reload finds.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Found {
    Removed,
    Changed(Effect),
    Added,
}

impl World {
    /// Reloads an edited manifest, with events in the order of the daemon.
    pub(super) fn reload(&mut self) -> Result<(), Violation> {
        let found = self.edit();
        let deaths = self.outcome.deaths;
        self.outcome.reloads += 1;
        for (tenant, found) in &found {
            let Some(revision) = self.plans.planned.get(tenant) else {
                continue;
            };
            if matches!(found, Found::Added | Found::Changed(Effect::Reprovision)) {
                let others = self.plans.holders(revision.address, tenant);
                let tenant = tenant.clone();
                self.handle_event(Event::Awaits { tenant, others })?;
            }
            if self.is_interrupted(deaths)? {
                return Ok(());
            }
        }
        for (tenant, found) in found {
            match found {
                Found::Removed => self.handle_event(Event::Removed { tenant })?,
                Found::Changed(effect) => {
                    let policy = self.changed_policy(&tenant).into();
                    self.unrecorded_change = Some(tenant.clone());
                    let apply = self.live_settings.is_changed(&tenant);
                    self.handle_event(Event::Replanned {
                        tenant: tenant.clone(),
                        policy,
                        effect,
                        apply,
                    })?;
                    if self.outcome.deaths == deaths {
                        self.record(&[tenant]);
                        self.unrecorded_change = None;
                    }
                }
                Found::Added => self.plan(tenant)?,
            }
            if self.is_interrupted(deaths)? {
                return Ok(());
            }
        }
        self.handle_event(Event::Reloaded)
    }

    /// Whether the supervisor has died during a reload. Then the next one has read the same
    /// manifest, and no more events follow.
    fn is_interrupted(&mut self, deaths: u32) -> Result<bool, Violation> {
        if self.outcome.deaths == deaths && self.random.chance(10) {
            self.die()?;
        }
        let interrupted = self.outcome.deaths > deaths;
        self.outcome.interrupted += u32::from(interrupted);
        Ok(interrupted)
    }

    /// Edits the manifest, and returns the changes.
    pub(super) fn edit(&mut self) -> Vec<(TenantName, Found)> {
        let before = self.plans.planned.clone();
        let mut addresses: Vec<u64> = (0..self.names.len() as u64).collect();
        if self.random.chance(60) {
            // Two tenants swap their addresses, or three rotate them.
            let by = 1 + usize::from(self.random.chance(30));
            let most = addresses.len();
            addresses.rotate_left(by.min(most));
        }
        let mut found = Vec::new();
        for (tenant, address) in self.names.clone().into_iter().zip(addresses) {
            let old = before.get(&tenant);
            if self.random.chance(if old.is_some() { 20 } else { 50 }) {
                if self.plans.planned.remove(&tenant).is_some() {
                    found.push((tenant, Found::Removed));
                }
                continue;
            }
            let version = self.next_version();
            let Some(&old) = old else {
                let revision = Revision {
                    address,
                    network: version,
                    launch: version,
                };
                self.plans.planned.insert(tenant.clone(), revision);
                found.push((tenant, Found::Added));
                continue;
            };
            let mut revision = Revision { address, ..old };
            let effect = if address != old.address {
                revision.network = version;
                Effect::Reprovision
            } else if self.random.chance(30) {
                revision.launch = version;
                Effect::Relaunch
            } else if self.random.chance(40) {
                Effect::Live
            } else {
                continue;
            };
            if self.random.chance(70) {
                self.live_settings.edit(&tenant, version);
            }
            self.plans.planned.insert(tenant.clone(), revision);
            found.push((tenant, Found::Changed(effect)));
        }
        found.sort_by_key(|(_, found)| match found {
            Found::Removed => 0,
            Found::Changed(_) => 1,
            Found::Added => 2,
        });
        found
    }

    /// A live change of what a start reads also tries again a tenant that could not be started.
    pub(super) fn note_retry(&mut self, event: &Event) {
        if let Event::Replanned {
            tenant,
            policy,
            effect: Effect::Live,
            apply: true,
        } = event
            && let Some(view) = self.supervisor.tenant(tenant)
            && view.state == StateWord::Failed
            && matches!(view.why, Some(Why::Failure(_)))
        {
            self.checker.requested_up(tenant, policy);
        }
    }
}
