//! Whether tenants reach a name server.

use super::{Finding, Grade};
use crate::launch::lookup;
use tenantd_core::plan::model::{Plan, TenantPlan};
use tenantd_core::plan::names::{NameFile, text};
use tenantd_core::plan::traffic::Outbound;

/// How many tenants are named.
const NAMED: usize = 4;

/// Checks which tenants reach no name server. `None` if each does, or the host's files cannot be read.
#[must_use]
pub fn names(plan: &Plan) -> Option<Finding> {
    let host = lookup::host_names().ok()?;
    let without = |tenant: &&TenantPlan| {
        let link = &tenant.link;
        link.names.resolv == NameFile::Own && text::asked(&host, link).is_empty()
    };
    let found: Vec<&TenantPlan> = plan.tenants.iter().filter(without).collect();
    if found.is_empty() {
        return None;
    }
    let is_meant = |tenant: &&TenantPlan| tenant.link.traffic.outbound == Outbound::None;
    let named = found.iter().take(NAMED).map(|tenant| tenant.name.as_str());
    let mut named = named.collect::<Vec<_>>().join(", ");
    if let more @ 1.. = found.len().saturating_sub(NAMED) {
        named += &format!(" and {more} more");
    }
    let (grade, help) = match found.iter().all(is_meant) {
        true => (
            Grade::Good,
            "allow one by `outbound`, or by `host_services = [\"dns\"]`",
        ),
        false => (
            Grade::Weak,
            "allow one by `egress`, or name one that they reach by `resolv = { nameservers = [...] }`",
        ),
    };
    let found = format!(
        "{named}: no name server can be reached, so look-ups fail at once; if they need names, {help}"
    );
    Some(Finding::new(grade, "names", found))
}
