//! Whether `private` lists folders that are a tenant's own anyway.

use super::{Finding, Grade};
use tenantd_core::plan::model::{HostAccess, OWN, Plan};

/// Checks the private folders. `None` if each of them is needed.
#[must_use]
pub fn private(plan: &Plan) -> Option<Finding> {
    // The same for all tenants.
    let launch = &plan.tenants.first()?.launch;
    let view = &launch.view;
    if view.host == HostAccess::Writable {
        return None;
    }
    let listed = launch.private.iter().filter(|path| {
        let is_own = OWN.iter().any(|own| path.as_os_str() == *own);
        is_own && !view.private_modes.contains_key(*path)
    });
    let listed: Vec<String> = listed.map(|path| path.display().to_string()).collect();
    if listed.is_empty() {
        return None;
    }
    let found = format!(
        "{} {} a tenant's own without being listed in `private`",
        listed.join(" and "),
        if listed.len() == 1 { "is" } else { "are" }
    );
    Some(Finding::new(Grade::Good, "private", found))
}
