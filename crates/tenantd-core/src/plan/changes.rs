//! The difference between two plans as text: what `tenantd diff` prints.
//!
//! Stable, so that texts can be compared; values are those of `tenantd plan`.

use std::fmt::Write;

use super::diff::{Change, Changes, FieldChange, TenantChange};
use super::fields::{LABEL_DATASTORE, Touches};
use crate::name::TenantName;

/// What is different, what that takes, and how much stays as it is.
#[must_use]
pub fn text(changes: &Changes) -> String {
    let mut out = String::new();
    if !changes.fixed.is_empty() {
        out += "cannot change while the supervisor runs\n";
        write_fields(&mut out, &changes.fixed, "");
        return out;
    }
    for change in &changes.tenants {
        let _ = writeln!(out, "{} {}", verb(change.change), change.tenant);
        let note = match change.change {
            Change::Remove => " (stays)",
            Change::Reprovision | Change::Relaunch | Change::Live | Change::Add => "",
        };
        write_fields(&mut out, &change.fields, note);
        write_touches(&mut out, change);
        write_after(&mut out, change);
        out += "\n";
    }
    for tenant in &changes.retried {
        let _ = writeln!(out, "retry {tenant}");
        let _ = writeln!(out, "  {:<17} {}\n", "touches", touched(Touches::Processes));
    }
    out + &summary(changes) + "\n"
}

/// One line that says how many tenants change in which way.
#[must_use]
pub fn summary(changes: &Changes) -> String {
    if changes.is_empty() {
        return "nothing changes".to_owned();
    }
    let kinds = [
        (Change::Remove, "to remove"),
        (Change::Reprovision, "to reprovision"),
        (Change::Relaunch, "to relaunch"),
        (Change::Live, "to change live"),
        (Change::Add, "to add"),
    ];
    let mut words: Vec<String> = Vec::new();
    for (kind, word) in kinds {
        let count = changes.tenants.iter().filter(|c| c.change == kind).count();
        if count > 0 {
            words.push(format!("{count} {word}"));
        }
    }
    if !changes.retried.is_empty() {
        words.push(format!("{} to try again", changes.retried.len()));
    }
    let unchanged = changes.unchanged.saturating_sub(changes.retried.len());
    words.push(format!("{unchanged} unchanged"));
    words.join(", ")
}

/// One line that says what happens to a tenant and which fields cause it, without their values:
/// an environment may hold what is nobody's business.
#[must_use]
pub fn line(change: &TenantChange) -> String {
    let TenantChange {
        tenant,
        change,
        fields,
        after,
        touches,
    } = change;
    let fields: Vec<&str> = fields.iter().map(|field| field.field.as_str()).collect();
    let what = match change {
        Change::Remove => format!("{tenant}: removed, its datastore stays"),
        Change::Add => format!("{tenant}: added"),
        Change::Reprovision => format!("{tenant}: reprovisioned for {}", fields.join(", ")),
        Change::Relaunch => format!("{tenant}: relaunched for {}", fields.join(", ")),
        // Whether the host takes it is known later.
        Change::Live if touches.is_some_and(Touches::is_applied) => {
            format!(
                "{tenant}: to be set on its processes: {}",
                fields.join(", ")
            )
        }
        Change::Live => format!("{tenant}: changed live: {}", fields.join(", ")),
    };
    if after.is_empty() {
        return what;
    }
    let names: Vec<&str> = after.iter().map(TenantName::as_str).collect();
    format!("{what}; once released: {}", names.join(", "))
}

/// One line that says that a live change is tried again which the host refused before.
#[must_use]
pub fn retry_line(tenant: &TenantName) -> String {
    format!("{tenant}: what was refused before is tried again on its processes")
}

/// What happens, in the word of the lexicon.
#[must_use]
pub fn verb(change: Change) -> &'static str {
    match change {
        Change::Remove => "remove",
        Change::Reprovision => "reprovision",
        Change::Relaunch => "relaunch",
        Change::Live => "live",
        Change::Add => "add",
    }
}

/// Why a reload is refused that would change what cannot change.
#[must_use]
pub fn refusal(fixed: &[FieldChange]) -> String {
    let each = fixed.iter().map(|field| {
        let (before, after) = sides(field);
        format!("{} ({before} → {after})", field.field)
    });
    let each: Vec<String> = each.collect();
    format!(
        "what all tenants share cannot change while they run: {}: nothing was changed; undo that, \
         or stop the supervisor and start it again",
        each.join(", ")
    )
}

fn write_fields(out: &mut String, fields: &[FieldChange], datastore_note: &str) {
    for field in fields {
        let name = &field.field;
        let note = if name == LABEL_DATASTORE {
            datastore_note
        } else {
            ""
        };
        let _ = match (&field.before, &field.after) {
            (Some(before), Some(after)) => writeln!(out, "  {name:<17} {before} → {after}"),
            (None, Some(value)) => writeln!(out, "  {name:<17} + {value}"),
            (Some(value), None) => writeln!(out, "  {name:<17} - {value}{note}"),
            (None, None) => Ok(()),
        };
    }
}

fn write_touches(out: &mut String, change: &TenantChange) {
    if let Some(touches) = change.touches {
        let _ = writeln!(out, "  {:<17} {}", "touches", touched(touches));
    }
}

/// What a live change touches, in words.
fn touched(touches: Touches) -> &'static str {
    match touches {
        Touches::Nothing => "nothing that runs",
        Touches::Policy => "what the supervisor decides by",
        Touches::Processes => "the processes that run, without a restart",
    }
}

fn write_after(out: &mut String, change: &TenantChange) {
    if change.after.is_empty() {
        return;
    }
    let names: Vec<&str> = change.after.iter().map(TenantName::as_str).collect();
    let _ = writeln!(out, "  {:<18}{}", "once released", names.join(", "));
}

fn sides(field: &FieldChange) -> (&str, &str) {
    let FieldChange { before, after, .. } = field;
    (
        before.as_deref().unwrap_or("none"),
        after.as_deref().unwrap_or("none"),
    )
}
