//! A hash that identifies changes: `tenantd diff` prints it, and `tenantd reload --expect` applies
//! the changes only if their hash is still the same.
//!
//! It covers all that a reload would do: what changes for all tenants, and for each tenant that
//! changes, every field of its running and of its new plan, what the change interrupts, and whose
//! release it waits for. Tenants that do not change are not covered, and neither is the order of
//! the tenants.
//!
//! It is only compared with hashes that the same program has made. Another version may have other
//! fields, and then the changes have to be shown again.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write;

use super::changes::verb;
use super::derive;
use super::diff::{Changes, Side};
use super::fields;
use super::model::TenantPlan;
use crate::name::TenantName;

/// The hash of the changes from `old` to `new`, as twelve hexadecimal digits; `None` if a running
/// supervisor cannot make them.
#[must_use]
pub fn of(changes: &Changes, old: &Side<'_>, new: &Side<'_>) -> Option<String> {
    if !changes.fixed.is_empty() {
        return None;
    }
    let (old, new) = (named(old), named(new));
    let mut parts = BTreeSet::new();
    for change in &changes.tenants {
        let mut part = format!("{} {}\0", verb(change.change), change.tenant);
        for side in [&old, &new] {
            let plan = side.get(&change.tenant).map(|plan| fingerprint(plan));
            let _ = write!(part, "{plan:x?}\0");
        }
        let after: BTreeSet<&TenantName> = change.after.iter().collect();
        let _ = write!(part, "{:?} {after:?}\0", change.touches);
        parts.insert(part);
    }
    for field in &changes.shared {
        let (before, after) = (&field.before, &field.after);
        parts.insert(format!("{}={before:?} {after:?}\0", field.field));
    }
    for tenant in &changes.retried {
        parts.insert(format!("retry {tenant}\0"));
    }
    let all: String = parts.into_iter().collect();
    Some(format!("{:012x}", derive::hash(&all)))
}

fn named<'a>(side: &Side<'a>) -> BTreeMap<&'a TenantName, &'a TenantPlan> {
    side.tenants
        .iter()
        .map(|plan| (&plan.name, *plan))
        .collect()
}

/// The hash of all fields of a plan, unlike the
/// [fingerprints of a launch](super::effect::fingerprints) with those that change live.
fn fingerprint(plan: &TenantPlan) -> u64 {
    let mut text = String::new();
    fields::tenant(plan, &mut |field| {
        let _ = write!(text, "{}={}\0", field.id(), field.value);
    });
    derive::hash(&text)
}
