//! Residue: finds and removes what has the application's mark and belongs to no tenant of its plan.
//!
//! The first step is a [`look`] at all links. The second step finds and removes everything else. The last step
//! removes the links, by the indexes found in the first step, which the kernel does not use again. All of them block,
//! so a supervisor does them on another thread; no tenant is provisioned from the moment at which it notes which
//! tenants are planned.
//!
//! Nothing of a tenant with a running process is removed. The host has no other residue: the
//! tenants' mounts are in their own mount namespaces and disappear with them.

mod alone;

use std::collections::BTreeSet;
use std::fmt::Display;
use std::fs;
use std::io;
use std::path::Path;

use tenantd_api::wire::{Residue, ResidueFate, ResidueKind};
use tenantd_core::layout;
use tenantd_core::name::{AppName, TenantName};
use tenantd_core::stage::Failure;
use tenantd_host::cgroup::Tree;
use tenantd_host::crash;
use tenantd_host::netns::name;
use tenantd_host::network::residue::{self, Marked, Survey};
use tenantd_host::runtime::{self, Named};
use tenantd_host::{fifo, hosts_folder, process};

use crate::executor::host::gate::ClosedGate;
use crate::executor::host::{Host, blocking};
use crate::executor::last_counters;

pub use alone::{Extent, alone};

/// The names of a supervisor's own files in the application's folder.
const OWN_FILES: [&str; 6] = [
    "lock",
    runtime::STATE_FILE,
    "control",
    "control.new",
    "notify",
    "tenants",
];

/// One collection of residue: what is in use, and whether to remove anything.
struct Collector<'a> {
    app: &'a AppName,
    tree: Option<&'a Tree>,
    /// Whether a tenant is in the plan.
    planned: &'a dyn Fn(&TenantName) -> bool,
    /// Whether the hub is in use.
    hub: bool,
    /// Which processes of a tenant are alive; None if there are none.
    find_alive: &'a dyn Fn(&TenantName) -> Option<Alive>,
    dry_run: bool,
}

/// The processes of a tenant that are alive.
enum Alive {
    /// These processes are alive.
    Named(String),
    /// Some may be alive: why that is unknown.
    Unknown(String),
}

impl Alive {
    fn why(self) -> String {
        match self {
            Self::Named(processes) => format!("alive: {processes}"),
            Self::Unknown(why) => why,
        }
    }
}

/// The residue found so far, and the links that are still to be removed.
#[derive(Debug, Default)]
pub struct Sorted {
    residue: Vec<Residue>,
    links: Vec<Marked>,
    tables: Vec<(AppName, &'static str)>,
    dry_run: bool,
}

/// Looks at all links of the host. Blocks.
///
/// # Errors
/// If the tenants' folders or the links cannot be listed.
pub(super) fn look(app: &AppName) -> Result<Survey, Failure> {
    residue::survey(app, &fifo::tenants(app)?.into_iter().collect())
}

/// Removes the links that are residue, and returns everything that was found. Blocks.
fn finish(sorted: Sorted) -> Vec<Residue> {
    let Sorted {
        mut residue,
        links,
        tables,
        dry_run,
    } = sorted;
    for link in links {
        let done = taken(dry_run, || residue::remove(&link));
        residue.push(outcome(ResidueKind::Link, &link.name, done));
        crash::point(
            "gc: link taken",
            link.tenant.as_ref().map_or("hub", TenantName::as_str),
        );
    }
    for (app, family) in tables {
        let name = residue::table_name(&app, family);
        let done = taken(dry_run, || residue::remove_table(&app, family));
        residue.push(outcome(ResidueKind::Table, &name, done));
        crash::point("gc: table taken", family);
    }
    residue
}

/// The tenants beside whose resources a supervisor looks for residue.
#[derive(Debug)]
pub(super) struct Planned {
    app: AppName,
    tree: Option<Tree>,
    tenants: BTreeSet<TenantName>,
}

impl Planned {
    pub(super) fn new(host: &Host, tenants: BTreeSet<TenantName>) -> Self {
        let tree = host.cgroups.as_ref().map(|cgroups| cgroups.tree.clone());
        Self {
            app: host.app.clone(),
            tree,
            tenants,
        }
    }
}

/// What a collection that an operator asks for needs.
#[derive(Debug)]
pub struct Beside {
    pub(super) planned: Planned,
    /// No tenant is provisioned while it exists.
    pub(super) clearing: ClosedGate,
}

/// Finds residue, removes it unless this is a dry run, and returns everything that was found. Blocks. No tenant may be
/// provisioned meanwhile that is not planned.
pub(super) fn collect(planned: &Planned, survey: Survey, dry_run: bool) -> Vec<Residue> {
    let Planned { app, tree, tenants } = planned;
    let tree = tree.as_ref();
    let collector = Collector {
        app,
        tree,
        planned: &|tenant| tenants.contains(tenant),
        hub: true,
        find_alive: &|tenant| match tree {
            Some(tree) => populated(tree, tenant),
            None => fifo::folder(app, tenant).exists().then(|| {
                let why = "without cgroups its processes cannot be identified while a supervisor \
                           runs: the next supervisor ends it at its start";
                Alive::Unknown(why.to_owned())
            }),
        },
        dry_run,
    };
    finish(collector.sort(survey))
}

impl Host {
    /// Removes all residue before any tenant is provisioned. What cannot be removed is logged.
    pub(crate) async fn remove_residue(&self, planned: BTreeSet<TenantName>) {
        let planned = Planned::new(self, planned);
        let found = blocking(move || {
            let survey = look(&planned.app)?;
            Ok(collect(&planned, survey, false))
        });
        let found = match found.await {
            Ok(found) => found,
            Err(failure) => return tracing::warn!("cannot look for residue: {failure}"),
        };
        for item in found {
            match item.fate {
                ResidueFate::Kept => tracing::warn!("{item}"),
                ResidueFate::Found | ResidueFate::Ended | ResidueFate::Removed => {
                    tracing::info!("{item}");
                }
                ResidueFate::Stranger => tracing::debug!("{item}"),
            }
        }
    }
}

fn populated(tree: &Tree, tenant: &TenantName) -> Option<Alive> {
    match tree.found(tenant)?.all_pids() {
        Ok(pids) => named(&pids),
        Err(failure) => Some(Alive::Unknown(failure.to_string())),
    }
}

fn named(pids: &[i32]) -> Option<Alive> {
    (!pids.is_empty()).then(|| Alive::Named(process::name_some(pids)))
}

impl Collector<'_> {
    fn sort(&self, survey: Survey) -> Sorted {
        let mut residue = Vec::new();
        let mut seen = |kind, folder: &Path, seen: io::Result<_>| {
            seen.unwrap_or_else(|error| {
                residue.push(outcome(kind, &folder.display(), Err(error.to_string())));
                (Vec::new(), Vec::new())
            })
        };
        let names = name::all(self.app);
        let (names, strange_names) = seen(ResidueKind::Name, Path::new(name::FOLDER), names);
        let (leaves, strange_leaves) = match self.tree {
            Some(tree) => seen(ResidueKind::Cgroup, tree.path(), tree.all()),
            None => (Vec::new(), Vec::new()),
        };
        let all = folders(self.app);
        let folder = runtime::folder(self.app);
        let (folders, strange_files) = seen(ResidueKind::File, &folder, all);
        let linked = survey.ours.iter().filter_map(|link| link.tenant.clone());
        let mut found: BTreeSet<TenantName> = folders.into_iter().chain(linked).collect();
        found.extend(names.into_iter().chain(leaves));
        let mut theirs = BTreeSet::new();
        for tenant in found {
            if (self.planned)(&tenant) {
                theirs.insert(tenant);
            } else if let Some(alive) = (self.find_alive)(&tenant) {
                residue.push(Residue {
                    kind: ResidueKind::Tenant,
                    object: tenant.to_string(),
                    fate: ResidueFate::Kept,
                    why: Some(alive.why()),
                });
                theirs.insert(tenant);
            } else {
                self.take(&tenant, &mut residue);
            }
        }
        for name in survey.strangers {
            residue.push(stranger(ResidueKind::Link, &name));
        }
        for (kind, paths) in [
            (ResidueKind::Name, strange_names),
            (ResidueKind::Cgroup, strange_leaves),
            (ResidueKind::File, strange_files),
        ] {
            residue.extend(paths.iter().map(|path| stranger(kind, &path.display())));
        }
        let is_over = !self.hub && theirs.is_empty();
        let is_left = |link: &Marked| match &link.tenant {
            Some(tenant) => !theirs.contains(tenant),
            None => is_over,
        };
        let tables = survey.tables.into_iter().filter(|_| is_over);
        Sorted {
            tables: tables.map(|family| (self.app.clone(), family)).collect(),
            residue,
            links: survey.ours.into_iter().filter(is_left).collect(),
            dry_run: self.dry_run,
        }
    }

    /// Removes the residue of one tenant, except its link.
    fn take(&self, tenant: &TenantName, residue: &mut Vec<Residue>) {
        let hosts = hosts_folder::path(self.app, tenant);
        if hosts.exists() {
            let done = taken(self.dry_run, || hosts_folder::withdraw(self.app, tenant));
            residue.push(outcome(ResidueKind::Name, &hosts.display(), done));
            crash::point("gc: hosts file taken", tenant.as_str());
        }
        let path = name::path(self.app, tenant);
        if fs::symlink_metadata(&path).is_ok() && name::is_ours(self.app, tenant) {
            let done = taken(self.dry_run, || name::take(self.app, tenant).map(drop));
            residue.push(outcome(ResidueKind::Name, &path.display(), done));
            crash::point("gc: name taken", tenant.as_str());
        }
        if let Some(leaf) = self.tree.and_then(|tree| tree.found(tenant)) {
            let done = taken(self.dry_run, || {
                last_counters::keep_now(self.app, tenant, Some(leaf.path()));
                leaf.remove()
            });
            residue.push(outcome(ResidueKind::Cgroup, &leaf.path().display(), done));
            crash::point("gc: cgroup taken", tenant.as_str());
        }
        let folder = fifo::folder(self.app, tenant);
        if folder.exists() {
            let done = taken(self.dry_run, || fifo::remove(self.app, tenant));
            residue.push(outcome(ResidueKind::Folder, &folder.display(), done));
            crash::point("gc: folder taken", tenant.as_str());
        }
    }
}

/// The tenants that have a folder, and the files in the application's folder that tenantd did not
/// make.
fn folders(app: &AppName) -> io::Result<Named> {
    let mut strangers = Vec::new();
    for entry in fs::read_dir(runtime::folder(app))? {
        let entry = entry?;
        let name = entry.file_name();
        let of_collector = name.to_str().and_then(layout::of_collector).is_some();
        if !of_collector && !OWN_FILES.iter().any(|own| name == *own) {
            strangers.push(entry.path());
        }
    }
    let (tenants, others) = runtime::tenants_in(&fifo::tenants_folder(app), |_| true)?;
    strangers.extend(others);
    Ok((tenants, strangers))
}

/// Removes something, unless this is a dry run.
fn taken<E: Into<anyhow::Error>>(
    dry_run: bool,
    take: impl FnOnce() -> Result<(), E>,
) -> Result<ResidueFate, String> {
    if dry_run {
        return Ok(ResidueFate::Found);
    }
    match take() {
        Ok(()) => Ok(ResidueFate::Removed),
        Err(error) => Err(format!("{:#}", error.into())),
    }
}

fn outcome(kind: ResidueKind, object: &dyn Display, done: Result<ResidueFate, String>) -> Residue {
    let (fate, why) = match done {
        Ok(fate) => (fate, None),
        Err(why) => (ResidueFate::Kept, Some(why)),
    };
    Residue {
        kind,
        object: object.to_string(),
        fate,
        why,
    }
}

fn stranger(kind: ResidueKind, object: &dyn Display) -> Residue {
    Residue {
        kind,
        object: object.to_string(),
        fate: ResidueFate::Stranger,
        why: Some("its name has our form, but tenantd did not make it".to_owned()),
    }
}
