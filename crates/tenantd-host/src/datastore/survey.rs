//! What `tenantd check` and `tenantd plan` say of the datastores of a plan, beside what the rehearsal
//! of a launch finds. Changes nothing.

use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::path::{Path, PathBuf};

use rustix::fs::fstatfs;
use rustix::io::Errno;

use super::layout::{self, open_folder};
use super::record::{self, Record};
use super::{folders, init, open, owner};
use crate::doctor::{Finding, Grade};
use tenantd_core::name::AppName;
use tenantd_core::plan::model::{Plan, Seed, TenantPlan};
use tenantd_core::stage::{Failure, Stage};

/// At most this many tenants are named.
const NAMED: usize = 10;

/// The number of an overlay, see statfs(2).
const OVERLAY: i64 = 0x794c_7630;

/// The tenants whose datastores do not exist: the first start makes them.
#[must_use]
pub fn new(plan: &Plan) -> Vec<&TenantPlan> {
    let is_new = |tenant: &&TenantPlan| {
        let source = &tenant.datastore.source;
        matches!(open(source), Err(Errno::NOENT)) && remembered(&plan.app, tenant).is_none()
    };
    plan.tenants.iter().filter(is_new).collect()
}

/// The tenants whose datastores have data, so that their init command will not run.
#[must_use]
pub fn kept(plan: &Plan) -> Vec<&TenantPlan> {
    let is_kept = |tenant: &&TenantPlan| {
        let label = format!("{}/{}", plan.app, tenant.name);
        tenant.launch.commands.init.is_some() && init::is_kept(&tenant.datastore, &label)
    };
    plan.tenants.iter().filter(is_kept).collect()
}

fn remembered(app: &AppName, tenant: &TenantPlan) -> Option<Record> {
    let known = record::read(app, &tenant.name).ok().flatten();
    known.filter(|known| known.source == tenant.datastore.source)
}

/// What is wrong with the datastores of a plan, or how many there are.
#[must_use]
pub fn examine(plan: &Plan) -> Vec<Finding> {
    let mut wrong: Vec<Finding> = Vec::new();
    let mut there = 0;
    let others = record::of_others(&plan.app);
    for tenant in &plan.tenants {
        let found = open(&tenant.datastore.source);
        there += usize::from(found.is_ok());
        let mut problems = match found {
            Ok(datastore) => existing(&plan.app, tenant, &datastore),
            Err(Errno::NOENT) => missing(&plan.app, tenant),
            Err(errno) => vec![(
                Grade::Bad,
                text(&super::failure(&tenant.datastore.source, errno)),
            )],
        };
        problems.extend(shared(&tenant.datastore.source, &others));
        wrong.extend(problems.into_iter().map(|(grade, found)| {
            let found = format!("{}: {found}", tenant.name);
            Finding::new(grade, "datastore", found)
        }));
    }
    if wrong.len() > NAMED {
        let more = wrong.len() - NAMED;
        // The worst are named.
        wrong.sort_by_key(|finding| std::cmp::Reverse(finding.grade));
        let grade = wrong[NAMED].grade;
        wrong.truncate(NAMED);
        let found = format!("and {more} more");
        wrong.push(Finding::new(grade, "datastore", found));
    }
    if wrong.is_empty() {
        let new = plan.tenants.len() - there;
        let found = match new {
            0 => format!("{there} exist"),
            _ => format!("{there} exist, {new} to be made at the first start"),
        };
        wrong.push(Finding::new(Grade::Good, "datastores", found));
    }
    wrong
}

/// Whether another application has used the same datastore, or one inside or around it.
fn shared(source: &Path, others: &[(PathBuf, String)]) -> Option<(Grade, String)> {
    let meets = |other: &Path| other.starts_with(source) || source.starts_with(other);
    let (other, label) = others.iter().find(|(other, _)| meets(other))?;
    let (path, other) = (source.display(), other.display());
    let why = format!("{path} meets {other}, the datastore of {label}: give each its own");
    Some((Grade::Weak, why))
}

fn text(failure: &Failure) -> String {
    failure.to_string()
}

fn missing(app: &AppName, tenant: &TenantPlan) -> Vec<(Grade, String)> {
    let plan = &tenant.datastore;
    let path = plan.source.display();
    if let Some(known) = remembered(app, tenant) {
        let forget = record::forget(app, &tenant.name);
        let place = known.place();
        return vec![(
            Grade::Bad,
            format!(
                "{path} was there before and is missing: mount its filesystem{place} or restore it; \
                 for a new, empty one, {forget}"
            ),
        )];
    }
    let above = plan.source.ancestors().skip(1);
    let above = above.filter_map(|folder| open(folder).ok()).next();
    above
        .iter()
        .flat_map(|above| overlays(tenant, above))
        .collect()
}

fn existing(app: &AppName, tenant: &TenantPlan, datastore: &OwnedFd) -> Vec<(Grade, String)> {
    let plan = &tenant.datastore;
    let mut found = Vec::new();
    let known = remembered(app, tenant);
    if let (Some(known), Ok(now)) = (&known, Record::of(plan, datastore.as_fd(), None))
        && let Some(why) = known.differs(&now)
    {
        found.push((Grade::Bad, format!("{}: {why}", plan.source.display())));
    }
    found.extend(overlays(tenant, datastore));
    let misfits = misfits_in(tenant, datastore).into_iter();
    found.extend(misfits.map(|why| (Grade::Weak, why)));
    found
}

/// Why the user of a tenant's program cannot write to its data, folder by folder. Empty if it can, or if
/// there is no datastore yet.
#[must_use]
pub fn misfits(tenant: &TenantPlan) -> Vec<String> {
    match open(&tenant.datastore.source) {
        Ok(datastore) => misfits_in(tenant, &datastore),
        // Its provision says that.
        Err(_) => Vec::new(),
    }
}

/// Why the data of a tenant does not fit its user, if it does not, as the failure of a launch.
#[must_use]
pub fn owned_otherwise(tenant: &TenantPlan) -> Option<Failure> {
    let why = misfits(tenant).into_iter().next()?;
    let path = tenant.datastore.source.display().to_string();
    Some(Failure::detail(Stage::Datastore, path, why))
}

fn misfits_in(tenant: &TenantPlan, datastore: &OwnedFd) -> Vec<String> {
    let plan = &tenant.datastore;
    let misfit = |folder: BorrowedFd<'_>, path: &Path| {
        let found = owner::misfit(folder, path, plan, &tenant.launch.identity);
        found.unwrap_or_else(|errno| Some(text(&super::failure(path, errno))))
    };
    let own = layout::open_own(datastore.as_fd()).ok().flatten();
    let mark = own.and_then(|own| layout::read(own.as_fd()).ok().flatten());
    if mark.is_none() {
        let is_one = plan.target.is_some();
        let root = is_one.then(|| misfit(datastore.as_fd(), &plan.source));
        return root.flatten().into_iter().collect();
    }
    // Those to which the program is expected to write, as far as they exist.
    let empty = plan
        .folders
        .iter()
        .filter(|folder| folder.seed == Seed::Empty);
    let empty = empty.map(|folder| folder.target.as_path());
    let all = plan.target.as_deref().into_iter().chain(empty);
    let why = all.filter_map(|target: &Path| {
        let folder = open_folder(datastore.as_fd(), folders::below(target)).ok()?;
        misfit(folder.as_fd(), &plan.place(target))
    });
    why.collect()
}

/// Whether the filesystem can hold the overlays of the plan.
fn overlays(tenant: &TenantPlan, folder: &OwnedFd) -> Option<(Grade, String)> {
    let plan = &tenant.datastore;
    let overlay = plan
        .folders
        .iter()
        .find(|folder| folder.seed == Seed::Overlay)?;
    let kind = fstatfs(folder).ok()?.f_type;
    (kind == OVERLAY).then(|| {
        let why = format!(
            "{} is on an overlay, which cannot hold the changes of {}: use seed = \"copy\", or \
             another filesystem",
            plan.source.display(),
            overlay.target.display()
        );
        (Grade::Bad, why)
    })
}
