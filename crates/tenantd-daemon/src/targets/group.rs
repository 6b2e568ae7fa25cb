//! Tenants with the same targets, and the progress of their check.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};

use tenantd_core::name::TenantName;
use tenantd_core::supervisor::event::LaunchId;
use tenantd_core::supervisor::time::Moment;

use tenantd_host::launch::{LaunchView, Lid};

use crate::targets::check::{Checked, Found};
use crate::targets::{QUIET, SETTLE_MAX};

/// What the host did to a folder.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum How {
    Renamed,
    Removed,
}

/// A launch that is guarded.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Guarded {
    pub(super) launch: LaunchId,
    pub(super) expects: Expects,
    /// Whether it runs without Landlock.
    pub(super) seal: bool,
}

/// Which of the group's targets a launch has mounts on.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Expects {
    /// All of them.
    All,
    /// An earlier version made it, or nothing is known of it: those that the first check finds.
    Unknown,
    /// These.
    Only(Vec<PathBuf>),
}

impl Guarded {
    pub(super) fn new(launch: LaunchId, view: Option<LaunchView>) -> Self {
        Self {
            launch,
            expects: match view {
                Some(_) => Expects::All,
                None => Expects::Unknown,
            },
            seal: view.is_some_and(|view| view.lid == Some(Lid::MountWatch)),
        }
    }
}

/// The time since a loss was found.
#[derive(Debug)]
struct Settling {
    since: Moment,
    changed: Moment,
    /// Whether all lost targets exist again.
    is_back: bool,
}

impl Settling {
    fn due(&self) -> Moment {
        let latest = self.since + SETTLE_MAX;
        match self.is_back {
            true => latest.min(self.changed + QUIET),
            false => latest,
        }
    }
}

/// Tenants with the same targets.
#[derive(Debug, Default)]
pub(super) struct Group {
    tenants: BTreeMap<TenantName, Guarded>,
    /// Those that no check has seen yet.
    unchecked: BTreeSet<TenantName>,
    /// Whether something changed since the last check began.
    changed: bool,
    checking: bool,
    settling: Option<Settling>,
    /// What the host did last that may have cost a mount.
    cause: Option<(PathBuf, How)>,
    /// The targets, as the launches made them. Empty before the first check.
    targets: Vec<PathBuf>,
    /// All folders to watch. [`Watched`](super::watched::Watched) counts the groups that need each.
    pub(super) chain: Vec<PathBuf>,
}

impl Group {
    pub(super) fn has(&self, tenant: &TenantName, launch: LaunchId) -> bool {
        let guarded = self.tenants.get(tenant);
        guarded.is_some_and(|guarded| guarded.launch == launch)
    }

    pub(super) fn add(&mut self, tenant: &TenantName, guarded: Guarded) {
        self.tenants.insert(tenant.clone(), guarded);
        self.unchecked.insert(tenant.clone());
    }

    /// Removes a tenant. Returns the launch that was guarded.
    pub(super) fn remove(&mut self, tenant: &TenantName) -> Option<Guarded> {
        self.unchecked.remove(tenant);
        self.tenants.remove(tenant)
    }

    /// Whether it has no tenant.
    pub(super) fn is_empty(&self) -> bool {
        self.tenants.is_empty()
    }

    /// Whether new mounts of the host have to be made read-only for one of the tenants.
    pub(super) fn seals(&self) -> bool {
        self.tenants.values().any(|guarded| guarded.seal)
    }

    pub(super) fn is_checking(&self) -> bool {
        self.checking
    }

    /// Something changed that may matter. Returns whether it is to be checked now: while a loss
    /// settles, it is checked once nothing changes any more.
    pub(super) fn on_change(&mut self, now: Moment) -> bool {
        if let Some(settling) = &mut self.settling {
            settling.changed = now;
            if settling.is_back {
                return false;
            }
        }
        self.changed = true;
        true
    }

    /// This path was removed or renamed, or was made again. Returns whether to check the group now.
    pub(super) fn on_touched(
        &mut self,
        paths: &[PathBuf],
        (path, how): (&Path, How),
        now: Moment,
    ) -> bool {
        let targets = match self.targets.is_empty() {
            true => paths,
            false => &self.targets,
        };
        if !targets.iter().any(|target| target.starts_with(path)) {
            return false;
        }
        if self.settling.is_none() {
            self.cause = Some((path.to_owned(), how));
        }
        self.on_change(now)
    }

    /// The next check is one of all tenants.
    pub(super) fn check_all(&mut self) {
        self.changed = true;
    }

    pub(super) fn wants_check(&self) -> bool {
        self.changed || !self.unchecked.is_empty()
    }

    /// A check begins. Returns the tenants to check: all if something changed, else the new ones.
    pub(super) fn begin_check(&mut self) -> Vec<(TenantName, Guarded)> {
        self.checking = true;
        let new = std::mem::take(&mut self.unchecked);
        if std::mem::take(&mut self.changed) {
            let all = self.tenants.iter();
            return all.map(|(name, it)| (name.clone(), it.clone())).collect();
        }
        // Each of thousands of tenants that start is looked up, and no others are.
        let new = new.into_iter().filter_map(|name| {
            let guarded = self.tenants.get(&name)?.clone();
            Some((name, guarded))
        });
        new.collect()
    }

    /// A check has ended. Returns the losses to report: of each launch the first target.
    pub(super) fn on_checked(
        &mut self,
        checked: Checked,
        now: Moment,
    ) -> Vec<(TenantName, LaunchId, PathBuf)> {
        self.checking = false;
        // Empty if the check could not be made.
        if !checked.targets.is_empty() {
            self.targets = checked.targets;
        }
        let mut lost = Vec::new();
        for Found {
            tenant,
            launch,
            unmounted,
        } in checked.found
        {
            let Some(guarded) = self
                .tenants
                .get_mut(&tenant)
                .filter(|it| it.launch == launch)
            else {
                continue;
            };
            let first = match &guarded.expects {
                Expects::All => unmounted.into_iter().next(),
                Expects::Only(these) => unmounted.into_iter().find(|it| these.contains(it)),
                Expects::Unknown => {
                    let is_there = |target: &&PathBuf| !unmounted.contains(target);
                    let these = self.targets.iter().filter(is_there).cloned().collect();
                    guarded.expects = Expects::Only(these);
                    None
                }
            };
            lost.extend(first.map(|target| (tenant, launch, target)));
        }
        self.settle(lost, checked.is_back, now)
    }

    fn settle(
        &mut self,
        lost: Vec<(TenantName, LaunchId, PathBuf)>,
        is_back: bool,
        now: Moment,
    ) -> Vec<(TenantName, LaunchId, PathBuf)> {
        if lost.is_empty() {
            // Another tenant of the group may still settle; its own check decides.
            if !self.changed && self.settling.as_ref().is_some_and(|it| it.due() <= now) {
                self.settling = None;
            }
            return Vec::new();
        }
        let settling = self.settling.get_or_insert(Settling {
            since: now,
            changed: now,
            is_back,
        });
        settling.is_back = is_back;
        if now < settling.due() {
            return Vec::new();
        }
        self.settling = None;
        lost
    }

    /// Whether a loss settles.
    pub(super) fn is_settling(&self) -> bool {
        self.settling.is_some()
    }

    /// When a loss has settled. None while a check is under way or waits, whose end comes first.
    pub(super) fn due(&self) -> Option<Moment> {
        let is_decided = !self.checking && !self.changed;
        let settling = self.settling.as_ref().filter(|_| is_decided)?;
        Some(settling.due())
    }

    /// Why a mount was lost.
    pub(super) fn why(&self, target: &Path) -> String {
        let cause = self
            .cause
            .as_ref()
            .filter(|(path, _)| target.starts_with(path));
        match cause {
            None => "it was removed or renamed on the host".to_owned(),
            Some((path, how)) => {
                let what = match path == target {
                    true => "it".to_owned(),
                    false => path.display().to_string(),
                };
                let how = match how {
                    How::Renamed => "renamed",
                    How::Removed => "removed",
                };
                format!("{what} was {how} on the host")
            }
        }
    }
}
