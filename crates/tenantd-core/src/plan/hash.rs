//! A hash that identifies changes: `tenantd diff` prints it, and `tenantd reload --expect` applies
//! the changes only if their hash is still the same.
//!
//! It covers all that a reload would do: what changes for all tenants, and for each tenant that
//! changes, every field of its new plan, what the changed fields were before, what the change
//! interrupts, and whose release it waits for. Tenants that do not change are not covered, and
//! neither is the order of the tenants.
//!
//! It is only compared with hashes that the same program has made. Another version may have other
//! fields, and then the changes have to be shown again.
//!
//! The plans of a thousand tenants take ten milliseconds, so [`digests`] are made of those that change, where plans
//! are compared, and [`of`] uses nothing but them and the changes.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write;

use super::changes::verb;
use super::derive;
use super::diff::{Changes, FieldChange};
use super::fields;
use super::model::TenantPlan;
use crate::name::TenantName;

/// A hash of each tenant's plan.
pub type Digests = BTreeMap<TenantName, u64>;

/// The hashes of these tenants' plans, with the fields that change live, unlike the
/// [fingerprints of a launch](super::effect::fingerprints).
pub fn digests<'a>(plans: impl IntoIterator<Item = &'a TenantPlan>) -> Digests {
    let each = plans.into_iter();
    each.map(|tenant| (tenant.name.clone(), digest(tenant)))
        .collect()
}

fn digest(plan: &TenantPlan) -> u64 {
    let mut text = String::new();
    fields::tenant(plan, &mut |field| {
        let _ = write!(text, "{}={}\0", field.id(), field.value);
    });
    derive::hash(&text)
}

/// The hash of the changes to a plan whose changed tenants have these digests, as twelve hexadecimal digits; `None` if a
/// running supervisor cannot make them.
#[must_use]
pub fn of(changes: &Changes, new: &Digests) -> Option<String> {
    if !changes.fixed.is_empty() || !changes.unlaunchable.is_empty() {
        return None;
    }
    let mut parts = BTreeSet::new();
    for change in &changes.tenants {
        let new = new.get(&change.tenant);
        let mut part = format!("{} {} {new:x?}\0", verb(change.change), change.tenant);
        // What does not change is the same in the new plan.
        part.extend(change.fields.iter().map(field));
        let after: BTreeSet<&TenantName> = change.after.iter().collect();
        let _ = write!(part, "{:?} {after:?}\0", change.touches);
        parts.insert(part);
    }
    parts.extend(changes.shared.iter().map(field));
    let retried = changes.retried.iter();
    parts.extend(retried.map(|tenant| format!("retry {tenant}\0")));
    let all: String = parts.into_iter().collect();
    Some(format!("{:012x}", derive::hash(&all)))
}

fn field(change: &FieldChange) -> String {
    let FieldChange {
        field,
        before,
        after,
    } = change;
    format!("{field}={before:?} {after:?}\0")
}
