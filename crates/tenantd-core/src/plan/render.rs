//! A plan as text: the output of `tenantd plan`.
//!
//! The text is complete (two plans with the same text are equal) and stable, so that it can be
//! compared. The fields, their names and their values are those of [`fields`], as in `tenantd
//! diff`.

use std::fmt::Write;

use super::fields::{self, Field};
use super::model::{Plan, TenantPlan};

/// Renders a plan.
#[must_use]
pub fn text(plan: &Plan) -> String {
    let mut out = String::new();
    let Plan {
        app,
        network,
        control,
        tenants,
        given: _,
    } = plan;
    let _ = writeln!(out, "application {app}");
    fields::shared(app, network, control, &mut |field| line(&mut out, &field));
    let _ = writeln!(out, "  {:<17} {}", "tenants", tenants.len());
    for tenant in tenants {
        out += "\n";
        out += &self::tenant(tenant);
    }
    out
}

/// Renders one tenant.
#[must_use]
pub fn tenant(tenant: &TenantPlan) -> String {
    let mut out = format!("tenant {}\n", tenant.name);
    fields::tenant(tenant, &mut |field| line(&mut out, &field));
    out
}

fn line(out: &mut String, field: &Field<'_>) {
    let indent = if field.nested { "    " } else { "  " };
    let name = format!("{indent}{}", field.name());
    let _ = writeln!(out, "{name:<19} {}", field.value);
}
