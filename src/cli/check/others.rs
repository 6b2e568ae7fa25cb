//! What of other applications, and of launches that run, is in no Landlock domain.

use std::collections::BTreeSet;
use std::fs;
use std::os::unix::fs::MetadataExt;
use std::path::Path;

use crate::cli::applications;
use tenantd_api::wire::TenantStatus;
use tenantd_core::name::AppName;
use tenantd_core::plan::model::{Plan, TenantPlan};
use tenantd_host::doctor::Unconfined;

/// Tenants of other applications, and running programs, that are in no domain. What cannot be read, as
/// without root, is left out: `tenantd check` of that manifest says why.
pub(super) fn unconfined(plan: &Plan, own: &Path) -> BTreeSet<Unconfined> {
    let running = applications::running();
    let plans = applications::plans(&running).filter(|(path, _)| path != own);
    let plans = plans.filter(|(_, other)| other.app != plan.app);
    let of_plans = plans.flat_map(|(_, other)| without_domain(&other));
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
