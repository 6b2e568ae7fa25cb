//! Whether the limits of all tenants together can be set.

use super::{Finding, Grade};
use crate::cgroup;
use tenantd_core::plan::model::Plan;

/// Checks `[app.total]`. `None` if the host has the controllers that it needs.
#[must_use]
pub fn total(plan: &Plan) -> Option<Finding> {
    let why = cgroup::can_limit(&plan.control.total).err()?;
    let found = format!("{why}: no tenant can be started with this [app.total]");
    Some(Finding::new(Grade::Bad, "total", found))
}
