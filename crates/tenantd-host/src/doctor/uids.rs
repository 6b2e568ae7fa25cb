//! Whether the users of tenants that have one of their own are nobody else's.

use super::{Finding, Grade};
use crate::uids;
use tenantd_core::plan::model::{Plan, TenantPlan};

/// How many are named.
const NAMED: usize = 5;

/// Checks the numbers of the tenants' own users. `None` if no tenant has one.
#[must_use]
pub fn uids(plan: &Plan) -> Option<Finding> {
    let own = plan.tenants.iter().filter_map(TenantPlan::own_user).count();
    if own == 0 {
        return None;
    }
    let subject = "uids";
    let taken = match uids::taken(plan) {
        Ok(taken) => taken,
        Err(why) => return Some(Finding::new(Grade::Weak, subject, why.to_string())),
    };
    if taken.is_empty() {
        let found = format!(
            "{own} of {} tenants have a user of their own",
            plan.tenants.len()
        );
        return Some(Finding::new(Grade::Good, subject, found));
    }
    let named = taken.iter().take(NAMED).map(|taken| {
        let uids::Taken { uid, tenant, by } = taken;
        format!("{uid}, the user of {tenant}, is also {by}")
    });
    let named: Vec<String> = named.collect();
    let more = match taken.len().saturating_sub(NAMED) {
        0 => String::new(),
        more => format!("; and {more} more"),
    };
    let found = format!(
        "{}{more}: give the other one another number",
        named.join("; ")
    );
    Some(Finding::new(Grade::Weak, subject, found))
}
