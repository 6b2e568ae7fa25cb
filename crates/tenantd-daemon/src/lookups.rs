//! The files by which tenants look names up, kept as the host and the plan say while the tenants run.
//!
//! A launch writes and mounts them, see [`tenantd_host::launch::lookup`]. Here the host's files are watched. When
//! another program changes one, or a reload changes the plan, the files of running tenants are written again; when the
//! host has replaced one, the mounts that hung on it are put back. Between that and the mount being back, some
//! milliseconds, a tenant may read the host's file; while no supervisor runs, until the next one begins.
//!
//! One thread works at a time, for all tenants that need it. Without a change there is no work and no timer.

use std::collections::{BTreeMap, BTreeSet};
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use tokio::sync::mpsc;

use tenantd_core::name::{AppName, TenantName};
use tenantd_core::plan::model::TenantPlan;
use tenantd_core::plan::names::text::HostNames;
use tenantd_core::plan::names::{HOSTS, RESOLV_CONF};
use tenantd_core::stage::Failure;
use tenantd_core::supervisor::Transition;
use tenantd_core::supervisor::view::StateWord;
use tenantd_host::launch::lookup::{self, UPSTREAMS, Wanted};
use tenantd_host::lock;
use tenantd_host::targets::{Change, HostWatch, Scope, chain};

use crate::executor::inventory::{Entry, Inventory};
use crate::targets::check::Launched;

/// The files of running tenants. See the head of this module.
pub(crate) struct Lookups {
    app: AppName,
    /// None until a tenant runs, or if the kernel refused it.
    watch: Option<Arc<HostWatch>>,
    is_refused: bool,
    /// The watched folders by number.
    watched: BTreeMap<i32, PathBuf>,
    /// The paths of the host's files.
    places: BTreeSet<PathBuf>,
    /// The number of changes of the host so far.
    changes: u64,
    /// Tenants that are being launched, with the number of changes before.
    begun: BTreeMap<TenantName, u64>,
    to_do: BTreeSet<TenantName>,
    under_way: bool,
    done: mpsc::UnboundedSender<Done>,
    ended: mpsc::UnboundedReceiver<Done>,
}

/// What the loop waits for.
pub(crate) enum Notice {
    /// The host changed something.
    Changed(io::Result<Vec<Change>>),
    /// The thread has ended.
    Done(Done),
}

/// What a thread has done.
pub(crate) struct Done {
    /// The folders that it has watched.
    watched: BTreeMap<i32, PathBuf>,
    /// The paths of the host's files.
    places: BTreeSet<PathBuf>,
    /// What it has put back, tenant by tenant, or why it could not.
    tenants: Vec<(TenantName, Result<Vec<PathBuf>, Failure>)>,
    /// Why it could not do anything.
    failed: Option<io::Error>,
}

impl Lookups {
    /// Nothing is watched yet.
    pub(crate) fn new(app: AppName) -> Self {
        let (done, ended) = mpsc::unbounded_channel();
        Self {
            app,
            watch: None,
            is_refused: false,
            watched: BTreeMap::new(),
            places: BTreeSet::new(),
            changes: 0,
            begun: BTreeMap::new(),
            to_do: BTreeSet::new(),
            under_way: false,
            done,
            ended,
        }
    }

    /// The next notice. Cancelling this loses nothing.
    pub(crate) async fn next(&mut self) -> Notice {
        let Self { watch, ended, .. } = self;
        let changed = async {
            match watch {
                Some(watch) => watch.next().await,
                None => std::future::pending().await,
            }
        };
        tokio::select! {
            Some(done) = ended.recv() => Notice::Done(done),
            changes = changed => Notice::Changed(changes),
        }
    }

    /// Handles a notice.
    pub(crate) fn on_notice(&mut self, notice: Notice, inventory: &Inventory) {
        match notice {
            Notice::Changed(Ok(changes)) => {
                if changes.iter().any(|change| self.concerns(change)) {
                    self.changes += 1;
                    let running = inventory.executed();
                    self.to_do.extend(running.cloned());
                }
            }
            Notice::Changed(Err(error)) => self.cannot_watch(&error),
            Notice::Done(done) => self.on_done(done),
        }
        self.begin(inventory);
    }

    fn cannot_watch(&mut self, error: &io::Error) {
        self.watch = None;
        if !std::mem::replace(&mut self.is_refused, true) {
            tracing::warn!(
                %error,
                "cannot notice when the host changes {RESOLV_CONF} or {HOSTS}: tenants see the change with their \
                 next start (see fs.inotify.max_user_instances)"
            );
        }
    }

    /// Whether a change may be one of the host's files.
    fn concerns(&self, change: &Change) -> bool {
        let Change::Entry(number, name) = change else {
            return true;
        };
        // Otherwise the thread has watched it just now.
        self.watched.get(number).is_none_or(|folder| {
            let changed = folder.join(name);
            self.places.iter().any(|place| place.starts_with(&changed))
        })
    }

    /// A launch has the files as they were when it began.
    pub(crate) fn on_transition(&mut self, transition: &Transition, inventory: &Inventory) {
        let tenant = &transition.tenant;
        let begun = self.begun.remove(tenant);
        match transition.to {
            StateWord::Launching => {
                self.begun.insert(tenant.clone(), self.changes);
            }
            StateWord::Up | StateWord::Offline => {
                let is_current = begun == Some(self.changes) && self.watch.is_some();
                if !is_current && transition.from != transition.to {
                    self.to_do.insert(tenant.clone());
                    self.begin(inventory);
                }
            }
            _ => {}
        }
    }

    /// The plan of a tenant has changed.
    pub(crate) fn on_plan(&mut self, tenant: &TenantName, inventory: &Inventory) {
        if inventory.get(tenant).is_some_and(is_running) {
            self.to_do.insert(tenant.clone());
            self.begin(inventory);
        }
    }

    /// Begins the work that waits.
    fn begin(&mut self, inventory: &Inventory) {
        if self.under_way || self.to_do.is_empty() {
            return;
        }
        if self.watch.is_none() && !self.is_refused {
            match HostWatch::new() {
                Ok(watch) => self.watch = Some(Arc::new(watch)),
                Err(error) => self.cannot_watch(&error),
            }
        }
        let tenants = std::mem::take(&mut self.to_do).into_iter();
        let tenants = tenants.filter_map(|tenant| {
            let entry = inventory.get(&tenant)?;
            is_running(entry).then(|| {
                let plan = Arc::clone(&entry.plan);
                (plan, Launched::new(tenant, entry))
            })
        });
        let work = Work {
            app: self.app.clone(),
            watch: self.watch.clone(),
            tenants: tenants.collect(),
        };
        self.under_way = true;
        let done = self.done.clone();
        // The loop closes the channel only when it ends.
        tokio::task::spawn_blocking(move || drop(done.send(work.run())));
    }

    fn on_done(&mut self, done: Done) {
        self.under_way = false;
        if let Some(watch) = &self.watch {
            let unneeded = self
                .watched
                .keys()
                .filter(|it| !done.watched.contains_key(it));
            for number in unneeded {
                if let Err(error) = watch.remove(*number) {
                    tracing::warn!(%error, "cannot end a watch of a folder");
                }
            }
        }
        (self.watched, self.places) = (done.watched, done.places);
        if let Some(error) = done.failed {
            tracing::warn!(%error, "cannot keep {RESOLV_CONF} and {HOSTS} of the tenants as the host has them");
        }
        for (tenant, result) in done.tenants {
            match result {
                Ok(restored) => restored.iter().for_each(|path| {
                    let path = path.display();
                    tracing::info!(
                        %tenant, "{tenant}: mounted its own {path} again: the host has replaced that file"
                    );
                }),
                Err(failure) => tracing::warn!(
                    %tenant,
                    "{tenant}: may look names up as the host does, not by its own files: {failure}; `tenantd \
                     restart {tenant}` mends it"
                ),
            }
        }
    }
}

/// Before its program is executed, the mounts of a launch could appear on the host.
fn is_running(entry: &Entry) -> bool {
    let running = entry.running.as_ref();
    running.is_some_and(|running| running.executed)
}

/// The paths of the host's files, with and without symbolic links.
fn places() -> BTreeSet<PathBuf> {
    let named = UPSTREAMS
        .iter()
        .chain([&RESOLV_CONF, &HOSTS])
        .map(Path::new);
    let real = |path: &Path| std::fs::canonicalize(path).ok();
    named
        .flat_map(|path| [Some(path.to_owned()), real(path)])
        .flatten()
        .collect()
}

/// How many tenants are updated with one thread: it holds a descriptor of the mount namespace and of each file.
const AT_ONCE: usize = 24;

/// What a thread does.
struct Work {
    app: AppName,
    watch: Option<Arc<HostWatch>>,
    tenants: Vec<(Arc<TenantPlan>, Launched)>,
}

impl Work {
    fn run(self) -> Done {
        let mut done = Done {
            watched: BTreeMap::new(),
            places: places(),
            tenants: Vec::new(),
            failed: None,
        };
        // First, so that what happens later is seen by the watch.
        if let Err(error) = self.watch_folders(&mut done) {
            done.failed = Some(error);
        }
        if let Err(error) = self.update(&mut done.tenants) {
            done.failed = Some(error);
        }
        done
    }

    fn watch_folders(&self, done: &mut Done) -> io::Result<()> {
        let Some(watch) = &self.watch else {
            return Ok(());
        };
        for path in &done.places {
            // The nearest one that exists.
            let folder = path.parent().and_then(|it| chain(it).into_iter().next());
            if let Some((folder, _)) = folder {
                let number = watch.add(&folder, Scope::Written)?;
                done.watched.insert(number, folder);
            }
        }
        Ok(())
    }

    fn update(
        &self,
        results: &mut Vec<(TenantName, Result<Vec<PathBuf>, Failure>)>,
    ) -> io::Result<()> {
        let host = lookup::host_names()?;
        for some in self.tenants.chunks(AT_ONCE) {
            self.update_some(some, &host, results)?;
        }
        Ok(())
    }

    fn update_some(
        &self,
        some: &[(Arc<TenantPlan>, Launched)],
        host: &HostNames,
        results: &mut Vec<(TenantName, Result<Vec<PathBuf>, Failure>)>,
    ) -> io::Result<()> {
        let (mut names, mut all) = (Vec::new(), Vec::new());
        for (plan, launched) in some {
            let tenant = &launched.tenant;
            let label = lock::label(&self.app, tenant);
            let wanted = lookup::update(&label, host, &plan.link).and_then(|files| {
                let namespace = launched.namespace();
                namespace
                    .map(|namespace| Wanted::new(namespace, &plan.launch, files))
                    .transpose()
            });
            match wanted {
                Ok(Some(wanted)) => {
                    names.push(tenant.clone());
                    all.push(wanted);
                }
                // It is ending.
                Ok(None) => {}
                Err(failure) => results.push((tenant.clone(), Err(failure))),
            }
        }
        if !all.is_empty() {
            results.extend(names.into_iter().zip(lookup::restore(all)?));
        }
        Ok(())
    }
}
