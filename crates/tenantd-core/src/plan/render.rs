//! A plan as text: what `tenantd plan` prints.
//!
//! Complete, so that two plans with one text are one plan, and stable, so that texts can be
//! compared. The fields, their names and their values are those of [`fields`], as in `tenantd diff`.

use std::fmt::Write;

use super::fields::{self, Field};
use super::model::Plan;

/// The whole plan.
#[must_use]
pub fn text(plan: &Plan) -> String {
    let mut out = String::new();
    let Plan {
        app,
        network,
        tenants,
    } = plan;
    let _ = writeln!(out, "application {app}");
    fields::shared(app, network, &mut |field| line(&mut out, &field));
    let _ = writeln!(out, "  {:<17} {}", "tenants", tenants.len());
    for tenant in tenants {
        let _ = writeln!(out, "\ntenant {}", tenant.name);
        fields::tenant(tenant, &mut |field| line(&mut out, &field));
    }
    out
}

fn line(out: &mut String, field: &Field<'_>) {
    let indent = if field.nested { "    " } else { "  " };
    let name = format!("{indent}{}", field.name());
    let _ = writeln!(out, "{name:<19} {}", field.value);
}
