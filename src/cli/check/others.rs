//! What of other applications, and of launches that run, is in no Landlock domain.

use std::collections::BTreeSet;
use std::fs;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

use tenantd_api::client::app;
use tenantd_api::client::survey::{PATIENCE, survey};
use tenantd_api::wire::{AppStatus, TenantStatus};
use tenantd_core::name::AppName;
use tenantd_core::plan::model::{Plan, TenantPlan};
use tenantd_daemon::manifest::ManifestFile;
use tenantd_host::doctor::Unconfined;

/// The folder of manifests.
const MANIFESTS: &str = "/etc/tenantd";

/// Tenants of other applications, and running programs, that are in no domain. What cannot be read, as
/// without root, is left out: `tenantd check` of that manifest says why.
pub(super) fn unconfined(plan: &Plan, own: &Path) -> BTreeSet<Unconfined> {
    let running = running();
    let of_running = running.iter().filter_map(|status| status.manifest.clone());
    let manifests: BTreeSet<PathBuf> = in_folder(Path::new(MANIFESTS))
        .chain(of_running.map(PathBuf::from))
        .filter(|path| path != own)
        .collect();
    let plans = manifests.iter().filter_map(|path| planned(path));
    let plans = plans.filter(|other| other.app != plan.app);
    let of_plans = plans.flat_map(|other| without_domain(&other));
    let of_plans: Vec<Unconfined> = of_plans.collect();
    let launches = running
        .iter()
        .flat_map(|status| status.tenants.iter().map(|tenant| (&status.app, tenant)));
    let launches = launches.filter_map(|(app, tenant)| {
        let found = launched(app, tenant)?;
        // A tenant is no stranger to itself; its neighbours of the same user are told.
        let is_neighbour =
            |it: &TenantPlan| it.name != tenant.name && it.launch.identity.uid == found.uid;
        (*app != plan.app || plan.tenants.iter().any(is_neighbour)).then_some(found)
    });
    of_plans.into_iter().chain(launches).collect()
}

fn in_folder(folder: &Path) -> impl Iterator<Item = PathBuf> {
    let entries = fs::read_dir(folder).into_iter().flatten().flatten();
    let paths = entries.map(|entry| entry.path());
    paths.filter(|path| path.extension().is_some_and(|it| it == "toml"))
}

fn planned(path: &Path) -> Option<Plan> {
    ManifestFile::at(path).ok()?.plan().ok()
}

fn without_domain(plan: &Plan) -> BTreeSet<Unconfined> {
    let app = &plan.app;
    let tenants = plan.tenants.iter().map(|tenant| &tenant.launch);
    let without = tenants.filter(|launch| !launch.wall.landlock);
    without
        .map(|launch| Unconfined {
            uid: launch.identity.uid,
            who: format!("the application {app} (wall.landlock = false)"),
        })
        .collect()
}

/// What the supervisors that run say.
fn running() -> Vec<AppStatus> {
    let Ok(apps) = app::running() else {
        return Vec::new();
    };
    let asked = super::super::converse(async { Ok(survey(apps, PATIENCE).await) });
    let found = asked.into_iter().flatten();
    found.filter_map(|found| found.status.ok()).collect()
}

/// A program without a domain: its manifest has none, or an earlier version launched it.
fn launched(app: &AppName, tenant: &TenantStatus) -> Option<Unconfined> {
    let pid = tenant.pid?;
    let confined = tenant.confined.as_deref();
    if confined.is_some_and(|by| by.starts_with("landlock")) {
        return None;
    }
    // It may have ended.
    let process = fs::metadata(format!("/proc/{pid}")).ok()?;
    Some(Unconfined {
        uid: process.uid(),
        who: format!("the running program of {app}/{}", tenant.name),
    })
}
