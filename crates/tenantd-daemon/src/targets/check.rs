//! A check of a group: watches its folders, then looks which of its tenants have lost a mount. Runs on a
//! thread of its own, because a filesystem of the host may hang.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use rustix::io::Errno;
use tokio::sync::mpsc::UnboundedSender;

use tenantd_core::name::TenantName;
use tenantd_core::supervisor::event::LaunchId;
use tenantd_host::cgroup::Leaf;
use tenantd_host::process;
use tenantd_host::targets::{self, HostWatch, MountNamespace, Scope, Sealed, Visit, Visited};
use tenantd_host::want;

use crate::executor::inventory::Entry;
use crate::targets::Paths;
use crate::targets::group::Guarded;

/// How to find a process of a launch.
#[derive(Debug)]
pub(crate) struct Launched {
    pub(crate) tenant: TenantName,
    /// The number and the start time of its first process.
    first: Option<(i32, u64)>,
    leaf: Option<Leaf>,
    /// The inode of its mount namespace, if it is known.
    namespace: Option<u64>,
}

/// A launch to check.
#[derive(Debug)]
pub(super) struct Candidate {
    launched: Launched,
    launch: LaunchId,
    /// Whether it runs without Landlock, so that new mounts of the host are made read-only.
    seal: bool,
}

impl Candidate {
    pub(super) fn new(tenant: TenantName, guarded: &Guarded, entry: &Entry) -> Self {
        Self {
            launched: Launched::new(tenant, entry),
            launch: guarded.launch,
            seal: guarded.seal,
        }
    }
}

impl Launched {
    pub(crate) fn new(tenant: TenantName, entry: &Entry) -> Self {
        let running = entry.running.as_ref();
        let first = running.and_then(|running| running.process.as_ref());
        let view = running.and_then(|running| running.view);
        Self {
            tenant,
            first: first.map(|first| (first.pid, first.start_ticks)),
            leaf: entry.provisioned.as_ref().and_then(|it| it.leaf.clone()),
            namespace: view.map(|it| it.mount_namespace).filter(|it| *it != 0),
        }
    }

    /// The mount namespace of the launch. None if no process of it is found: it is ending, or tenants
    /// are tracked by network namespace and its first process has ended.
    pub(crate) fn namespace(&self) -> Option<MountNamespace> {
        let open = |pid: i32| {
            MountNamespace::of(pid).unwrap_or_else(|error| {
                tracing::debug!(tenant = %self.tenant, %error, "cannot open a mount namespace");
                None
            })
        };
        // A process may be in another one, which it has made itself.
        let is_its = |found: &MountNamespace| self.namespace.is_none_or(|it| it == found.inode());
        if let Some((pid, start_ticks)) = self.first
            && let Some(found) = open(pid)
            && process::start_ticks(pid) == Some(start_ticks)
            && is_its(&found)
        {
            return Some(found);
        }
        let pids = self.leaf.as_ref()?.pids().ok()?;
        pids.into_iter().filter_map(open).find(is_its)
    }
}

/// How many launches are looked at with one thread: it holds a descriptor of the mount namespace of each.
const AT_ONCE: usize = 64;

/// When a check is made again for which there was no thread or descriptor.
const AGAIN: Duration = Duration::from_secs(5);

/// What is to be checked.
pub(super) struct Check {
    /// None if the kernel refused it: then the tenants are only looked at.
    pub(super) watch: Option<Arc<HostWatch>>,
    pub(super) paths: Paths,
    pub(super) candidates: Vec<Candidate>,
}

/// What was found.
pub(crate) struct Checked {
    pub(super) paths: Paths,
    /// The targets, as the launches made them.
    pub(super) targets: Vec<PathBuf>,
    /// All watched folders, with their numbers.
    pub(super) watched: Vec<(PathBuf, i32)>,
    /// Why not all of them are watched.
    pub(super) unwatched: Option<String>,
    pub(super) found: Vec<Found>,
    /// Whether all lost targets exist on the host now.
    pub(super) is_back: bool,
    /// False if there was no thread or descriptor for the check: then it is to be made again.
    pub(super) was_run: bool,
}

/// What was found of one launch.
#[derive(Debug)]
pub(super) struct Found {
    pub(super) tenant: TenantName,
    pub(super) launch: LaunchId,
    /// The targets that have no mount.
    pub(super) unmounted: Vec<PathBuf>,
}

impl Check {
    /// Starts the check. Its result is sent to `done`.
    pub(super) fn start(self, done: &UnboundedSender<Checked>) {
        let paths = Arc::clone(&self.paths);
        let send = done.clone();
        let thread = std::thread::Builder::new().name("targets".to_owned());
        // The loop closes the channel only when it ends.
        let started = thread.spawn(move || {
            let checked = self.run();
            if !checked.was_run {
                std::thread::sleep(AGAIN);
            }
            drop(send.send(checked));
        });
        if let Err(error) = started {
            tracing::warn!(
                %error,
                "cannot look whether tenants have lost a mount: no thread can be started; it is tried \
                 again in {} s",
                AGAIN.as_secs()
            );
            let done = done.clone();
            tokio::task::spawn_local(async move {
                tokio::time::sleep(AGAIN).await;
                let not_run = Checked {
                    was_run: false,
                    ..Checked::nothing(paths)
                };
                drop(done.send(not_run));
            });
        }
    }

    fn run(self) -> Checked {
        let targets = targets::resolved(&self.paths);
        let mut checked = Checked {
            targets,
            ..Checked::nothing(self.paths)
        };
        // First, so that what happens later is seen by the watch.
        if let Some(watch) = &self.watch {
            checked.watch(watch);
        }
        checked.look(&self.candidates);
        if let Some(watch) = &self.watch {
            checked.await_lost(watch);
        }
        checked
    }
}

impl Checked {
    fn nothing(paths: Paths) -> Self {
        Self {
            paths,
            targets: Vec::new(),
            watched: Vec::new(),
            unwatched: None,
            found: Vec::new(),
            is_back: true,
            was_run: true,
        }
    }

    /// Watches each target and the folders above it.
    fn watch(&mut self, watch: &HostWatch) {
        let mut folders: BTreeMap<PathBuf, Scope> = BTreeMap::new();
        for (path, scope) in self
            .targets
            .iter()
            .flat_map(|target| targets::chain(target))
        {
            let known = folders.entry(path).or_insert(scope);
            *known = scope.max(*known);
        }
        for (path, scope) in folders {
            self.add(watch, &path, scope);
        }
    }

    fn add(&mut self, watch: &HostWatch, path: &Path, scope: Scope) {
        match watch.add(path, scope) {
            Ok(number) => self.watched.push((path.to_owned(), number)),
            // It was removed just now, which the check finds.
            Err(Errno::NOENT | Errno::NOTDIR | Errno::LOOP) => {}
            Err(Errno::NOSPC) => {
                self.unwatched = Some(
                    "the limit of inotify watches is reached: raise fs.inotify.max_user_watches"
                        .to_owned(),
                );
            }
            Err(errno) => self.unwatched = Some(format!("{}: {errno}", path.display())),
        }
    }

    /// Looks which launches have lost a mount.
    fn look(&mut self, candidates: &[Candidate]) {
        for some in candidates.chunks(AT_ONCE) {
            self.look_at(some);
            if !self.was_run {
                return;
            }
        }
    }

    fn look_at(&mut self, candidates: &[Candidate]) {
        let with = candidates.iter().filter_map(|candidate| {
            let namespace = candidate.launched.namespace()?;
            let seal = candidate.seal;
            Some((candidate, Visit { namespace, seal }))
        });
        let (candidates, visits): (Vec<&Candidate>, Vec<Visit>) = with.unzip();
        let all = match targets::visit(&visits, &self.targets) {
            Ok(all) => all,
            Err(error) => {
                self.was_run = !want::error_passes(&error);
                return tracing::warn!(%error, "cannot look whether tenants have lost a mount");
            }
        };
        for (candidate, visited) in candidates.into_iter().zip(all) {
            let Candidate {
                launched, launch, ..
            } = candidate;
            let tenant = &launched.tenant;
            match visited {
                Ok(Visited { unmounted, sealed }) => {
                    sealed.iter().for_each(|sealed| log(tenant, sealed));
                    self.found.push(Found {
                        tenant: tenant.clone(),
                        launch: *launch,
                        unmounted,
                    });
                }
                Err(error) => tracing::warn!(
                    %tenant, %error, "{tenant}: cannot look whether it has lost a mount"
                ),
            }
        }
    }

    /// Watches where a lost target may be made again.
    fn await_lost(&mut self, watch: &HostWatch) {
        let lost = self.found.iter().flat_map(|found| &found.unmounted);
        let mut lost: Vec<PathBuf> = lost.cloned().collect();
        lost.sort();
        lost.dedup();
        for target in lost {
            let nearest = || targets::chain(&target).into_iter().next();
            let Some((folder, _)) = nearest().filter(|(path, _)| *path != target) else {
                continue;
            };
            self.add(watch, &folder, Scope::NewEntries);
            // It may have been made before the watch.
            self.is_back &= nearest().is_some_and(|(path, _)| path == target);
        }
    }
}

/// Logs what happened to a mount of the host.
fn log(tenant: &TenantName, Sealed { path, result }: &Sealed) {
    let path = path.display();
    match result {
        Ok(()) => tracing::info!(
            %tenant,
            "{tenant}: made {path} read-only, which the host has mounted since its start"
        ),
        Err(errno) => tracing::warn!(
            %tenant,
            "{tenant}: may write to {path}, which the host has mounted since its start: cannot make it \
             read-only: {errno}; `tenantd restart {tenant}` does"
        ),
    }
}
