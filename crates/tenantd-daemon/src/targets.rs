//! The folders of the host that the mounts of running launches hang on. If the host removes or renames
//! one, the mounts on it are gone, see [`tenantd_host::targets`]. This owner notices it, finds out which
//! tenants have lost a mount, and reports each to the supervisor, which decides what follows.
//!
//! Each folder is watched once, for all tenants. A tenant is checked when its program runs, after its
//! folders are watched: what happened before is found by the check, what happens later by the watch.
//! So a change during a launch is found, and one while no supervisor was running. Tenants with the same
//! targets are a group and are checked together.
//!
//! A package that is removed and installed again changes its folders several times. So a loss is
//! reported once the folders are there again and nothing has changed for [`QUIET`], or after
//! [`SETTLE_MAX`]. Without a loss there is no timer.
//!
//! While a tenant runs without Landlock, the same checks make read-only what the host has mounted since
//! the tenant's start, whenever the host's mount table changes.

pub(crate) mod check;
mod due;
mod group;
#[cfg(test)]
mod tests;
mod watched;

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use tokio::sync::mpsc;

use tenantd_core::name::TenantName;
use tenantd_core::stage::{Failure, Stage};
use tenantd_core::supervisor::Transition;
use tenantd_core::supervisor::event::{Event, LaunchId};
use tenantd_core::supervisor::view::StateWord;
use tenantd_host::targets::{self, Change, HostWatch, MountTable};

use crate::clock;
use crate::executor::inventory::{Entry, Inventory};
use crate::input::Input;
use check::{Candidate, Check, Checked};
use group::{Group, Guarded, How};
use watched::Watched;

/// How long nothing must have changed before a loss is reported.
const QUIET: Duration = Duration::from_millis(200);

/// How long a lost folder may be missing before the loss is reported.
const SETTLE_MAX: Duration = Duration::from_secs(3);

/// Checks at the same time. A filesystem that hangs keeps one busy.
const CHECKS_MAX: usize = 4;

/// The paths that a group of tenants has in common.
type Paths = Arc<[PathBuf]>;

/// The watched folders, and the tenants that need them. See the head of this module.
pub(crate) struct Targets {
    /// None if the kernel refused it.
    watch: Option<Arc<HostWatch>>,
    /// The host's mounts, while a tenant runs without Landlock.
    mounts: Option<MountTable>,
    watched: Watched,
    groups: BTreeMap<Paths, Group>,
    of: BTreeMap<TenantName, Paths>,
    /// Groups to check, in no order.
    to_check: BTreeSet<Paths>,
    /// Groups of which a loss settles. The loop asks for the earliest before each wait.
    settling: BTreeSet<Paths>,
    /// The number of tenants that run without Landlock.
    sealing: usize,
    under_way: usize,
    /// Numbers with changes that are not known yet: a check has not reported them.
    early: BTreeSet<i32>,
    done: mpsc::UnboundedSender<Checked>,
    checked: mpsc::UnboundedReceiver<Checked>,
    lost: VecDeque<Event>,
    unwatched: Option<String>,
}

/// What the loop waits for.
pub(crate) enum Notice {
    /// The host changed something.
    Changed(Vec<Change>),
    /// The host mounted or unmounted something.
    Mounted,
    /// A check has ended.
    Checked(Checked),
}

impl Targets {
    /// Watches nothing yet.
    pub(crate) fn new() -> Self {
        let (done, checked) = mpsc::unbounded_channel();
        let mut new = Self {
            watch: None,
            mounts: None,
            watched: Watched::default(),
            groups: BTreeMap::new(),
            of: BTreeMap::new(),
            to_check: BTreeSet::new(),
            settling: BTreeSet::new(),
            sealing: 0,
            under_way: 0,
            early: BTreeSet::new(),
            done,
            checked,
            lost: VecDeque::new(),
            unwatched: None,
        };
        match HostWatch::new() {
            Ok(watch) => new.watch = Some(Arc::new(watch)),
            Err(error) => new.cannot_watch(format!(
                "cannot make an inotify instance: {error} (see fs.inotify.max_user_instances)"
            )),
        }
        new
    }

    /// Why not all folders are watched; None if they are.
    pub(crate) fn unwatched(&self) -> Option<&str> {
        self.unwatched.as_deref()
    }

    fn cannot_watch(&mut self, why: String) {
        if self.unwatched.is_none() {
            tracing::warn!(
                "cannot notice when the host removes or renames a folder that tenants have mounts on: \
                 {why}"
            );
            self.unwatched = Some(why);
        }
    }

    /// The next notice. Cancelling this loses nothing.
    ///
    /// # Errors
    /// If the watch cannot be read.
    pub(crate) async fn next(&mut self) -> io::Result<Notice> {
        let Self {
            watch,
            mounts,
            checked,
            ..
        } = self;
        let changed = async {
            match watch {
                Some(watch) => watch.next().await,
                None => std::future::pending().await,
            }
        };
        let mounted = async {
            match mounts {
                Some(mounts) => mounts.changed().await,
                None => std::future::pending().await,
            }
        };
        tokio::select! {
            mounted = mounted => mounted.map(|()| Notice::Mounted),
            Some(checked) = checked.recv() => Ok(Notice::Checked(checked)),
            changes = changed => Ok(Notice::Changed(changes?)),
        }
    }

    /// Handles a notice.
    pub(crate) fn on_notice(&mut self, notice: io::Result<Notice>, inventory: &Inventory) {
        match notice {
            Ok(Notice::Changed(changes)) => {
                for change in changes {
                    self.on_change(&change);
                }
            }
            Ok(Notice::Mounted) => self.on_mounted(),
            Ok(Notice::Checked(checked)) => self.on_checked(checked),
            Err(error) => {
                (self.watch, self.mounts) = (None, None);
                self.cannot_watch(format!("cannot read what the kernel reports: {error}"));
            }
        }
        self.check_next(inventory);
    }

    /// Guards a tenant whose program runs now, and no other.
    pub(crate) fn on_transition(&mut self, transition: &Transition, inventory: &Inventory) {
        let tenant = &transition.tenant;
        let entry = inventory.get(tenant).filter(|entry| {
            // One that was made from an unknown plan is launched again anyway.
            matches!(transition.to, StateWord::Up | StateWord::Offline) && entry.made.is_none()
        });
        match (entry, transition.launch) {
            (Some(entry), Some(launch)) => self.guard(tenant, launch, entry),
            (Some(_) | None, _) => self.release(tenant),
        }
        self.check_next(inventory);
    }

    fn guard(&mut self, tenant: &TenantName, launch: LaunchId, entry: &Entry) {
        let is_guarded = self.of.get(tenant).and_then(|paths| self.groups.get(paths));
        if is_guarded.is_some_and(|group| group.has(tenant, launch)) {
            return;
        }
        self.release(tenant);
        let plan = &entry.plan;
        let paths: Paths = targets::of(&plan.launch, &plan.datastore).into();
        let known = entry.running.as_ref().and_then(|running| running.view);
        let guarded = Guarded::new(launch, known);
        if guarded.seal {
            self.sealing += 1;
            self.watch_mounts();
        }
        let (paths, group) = match self.groups.get_key_value(&paths) {
            Some((paths, _)) => (Arc::clone(paths), self.groups.entry(Arc::clone(paths))),
            None => (Arc::clone(&paths), self.groups.entry(paths)),
        };
        group.or_default().add(tenant, guarded);
        self.to_check.insert(Arc::clone(&paths));
        self.of.insert(tenant.clone(), paths);
    }

    /// Waits for mounts of the host from now on, since a tenant runs without Landlock.
    fn watch_mounts(&mut self) {
        if self.mounts.is_some() {
            return;
        }
        match MountTable::open() {
            Ok(table) => self.mounts = Some(table),
            Err(error) => tracing::warn!(
                %error,
                "cannot watch the host's mounts: a tenant can write to what the host mounts after its \
                 start"
            ),
        }
    }

    /// Checks the groups with tenants that run without Landlock.
    fn on_mounted(&mut self) {
        for (paths, group) in &mut self.groups {
            if group.seals() {
                group.check_all();
                self.to_check.insert(Arc::clone(paths));
            }
        }
    }

    fn release(&mut self, tenant: &TenantName) {
        let Some(paths) = self.of.remove(tenant) else {
            return;
        };
        let Some(group) = self.groups.get_mut(&paths) else {
            return;
        };
        let removed = group.remove(tenant);
        if group.is_empty() {
            let chain = std::mem::take(&mut group.chain);
            self.watched.release(chain);
            self.groups.remove(&paths);
            self.to_check.remove(&paths);
            self.settling.remove(&paths);
            self.prune();
        }
        if removed.is_some_and(|guarded| guarded.seal) {
            self.sealing -= 1;
            if self.sealing == 0 {
                self.mounts = None;
            }
        }
    }

    /// Ends the watches that no group needs. While a check is under way, it may use one of them.
    fn prune(&mut self) {
        if self.under_way > 0 {
            return;
        }
        self.early.clear();
        if let Some(watch) = &self.watch {
            self.watched.prune(watch);
        }
    }

    fn on_change(&mut self, change: &Change) {
        let touched: Vec<(PathBuf, How)> = match change {
            Change::Overflow => {
                for (paths, group) in &mut self.groups {
                    group.on_change(clock::now());
                    self.to_check.insert(Arc::clone(paths));
                }
                return;
            }
            Change::Unwatched(number) => return self.watched.forget(*number),
            Change::Renamed(number) => self.watched.paths(*number, None, How::Renamed),
            Change::Removed(number) => self.watched.paths(*number, None, How::Removed),
            Change::Entry(number, name) => self.watched.paths(*number, Some(name), How::Removed),
        };
        if let (true, Some(number)) = (touched.is_empty(), change.number())
            && self.under_way > 0
        {
            self.early.insert(number);
        }
        for (path, how) in touched {
            self.touch(&path, how);
        }
    }

    /// Checks the groups to which this path matters.
    fn touch(&mut self, path: &Path, how: How) {
        for (paths, group) in &mut self.groups {
            if group.on_touched(paths, (path, how), clock::now()) {
                self.to_check.insert(Arc::clone(paths));
            }
        }
    }

    /// Starts checks, up to the limit.
    fn check_next(&mut self, inventory: &Inventory) {
        let mut later = BTreeSet::new();
        while self.under_way < CHECKS_MAX
            && let Some(paths) = self.to_check.pop_first()
        {
            let Some(group) = self.groups.get_mut(&paths) else {
                continue;
            };
            if group.is_checking() {
                // Its end starts the next one.
                later.insert(paths);
                continue;
            }
            let tenants = group.begin_check();
            let candidates = tenants.into_iter().filter_map(|(tenant, guarded)| {
                let entry = inventory.get(&tenant)?;
                Some(Candidate::new(tenant, &guarded, entry))
            });
            let check = Check {
                watch: self.watch.clone(),
                candidates: candidates.collect(),
                paths,
            };
            self.under_way += 1;
            check.start(&self.done);
        }
        self.to_check.append(&mut later);
    }

    fn on_checked(&mut self, checked: Checked) {
        self.under_way -= 1;
        match &checked.unwatched {
            Some(why) => self.cannot_watch(why.clone()),
            None if self.watch.is_some() && checked.was_run => self.unwatched = None,
            None => {}
        }
        let mut missed = Vec::new();
        if let Some(watch) = &self.watch {
            for (path, number) in &checked.watched {
                self.watched.insert(watch, path, *number);
                if self.early.contains(number) {
                    missed.push(path.clone());
                }
            }
        }
        let (paths, was_run) = (Arc::clone(&checked.paths), checked.was_run);
        if let Some(group) = self.groups.get_mut(&paths) {
            if !checked.targets.is_empty() {
                let chain = checked.watched.iter().map(|(path, _)| path.clone());
                let before = std::mem::replace(&mut group.chain, chain.collect());
                self.watched.need(&group.chain);
                self.watched.release(before);
            }
            for (tenant, launch, target) in group.on_checked(checked, clock::now()) {
                tracing::debug!(%tenant, "{tenant}: lost the mount at {}", target.display());
                let why = group.why(&target);
                let why = Failure::detail(Stage::Mounted, target.display().to_string(), why);
                self.lost.push_back(Event::MountLost { launch, why });
            }
            if !was_run {
                group.check_all();
            }
            match group.is_settling() {
                true => self.settling.insert(Arc::clone(&paths)),
                false => self.settling.remove(&paths),
            };
            if group.wants_check() {
                self.to_check.insert(paths);
            }
        }
        for path in missed {
            self.touch(&path, How::Removed);
        }
        self.prune();
    }

    /// The next input for the loop.
    pub(crate) fn poll(&mut self) -> Option<Input> {
        self.lost.pop_front().map(Input::Event)
    }
}
