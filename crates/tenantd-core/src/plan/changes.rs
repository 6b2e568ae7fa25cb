//! The difference between two plans as text: the output of `tenantd diff`.
//!
//! The output is stable, so that scripts can compare it. Values look as in `tenantd plan`.

use std::collections::BTreeSet;
use std::fmt::Write;

use serde_json::{Value, json};

use super::data::KeyChange;
use super::diff::{Change, Changes, FieldChange, FileDiff, TenantChange, Unlaunchable};
use super::fields::{
    LABEL_DATASTORE, LABEL_FILE_AT, LABEL_FOLDER, LABEL_TARGET, LABELS_NETWORK, Touches,
};
use crate::name::{AppName, TenantName};

/// How many tenants that could not be launched are shown: often all fail for the same reason.
const UNLAUNCHABLE_SHOWN: usize = 10;

/// The whole output: each change with its effect, and a summary.
#[must_use]
pub fn text(changes: &Changes) -> String {
    let mut out = String::new();
    if !changes.fixed.is_empty() {
        out += "a reload would be refused: this cannot change while the supervisor runs\n";
        write_fields(&mut out, &changes.fixed, "");
        out += "\nput the old values back, or restart the supervisor, which stops all tenants\n";
        return out;
    }
    let (exchanged, live): (Vec<_>, Vec<_>) =
        changes.shared.iter().cloned().partition(is_of_network);
    for (head, fields) in [
        ("application, live", live),
        (
            "network, exchanged once its tenants are released",
            exchanged,
        ),
    ] {
        if !fields.is_empty() {
            let _ = writeln!(out, "{head}");
            write_fields(&mut out, &fields, "");
            out += "\n";
        }
    }
    for change in &changes.tenants {
        let _ = writeln!(out, "{} {}", verb(change.change), change.tenant);
        let note = match change.change {
            Change::Remove => " (kept)",
            Change::Reprovision | Change::Relaunch | Change::Live | Change::Add => "",
        };
        write_fields(&mut out, &change.fields, note);
        write_files(&mut out, &change.files);
        write_touches(&mut out, change);
        write_after(&mut out, change);
        out += "\n";
    }
    for tenant in &changes.retried {
        let _ = writeln!(out, "retry {tenant}");
        let _ = writeln!(out, "  {:<17} {}\n", "touches", touched(Touches::Processes));
    }
    out += &summary(changes);
    out += "\n";
    if !changes.unlaunchable.is_empty() {
        let _ = writeln!(
            out,
            "\na reload would be refused: {}",
            unlaunchable(changes)
        );
    }
    if let Some(hash) = changes.hash.as_ref().filter(|_| !changes.is_empty()) {
        let _ = writeln!(out, "to apply exactly this: tenantd reload --expect {hash}");
    }
    out
}

/// The whole output as JSON, with the keys and the values of the manifest.
#[must_use]
pub fn json(changes: &Changes) -> Value {
    let Changes {
        fixed,
        shared,
        tenants,
        unchanged,
        retried,
        hash,
        fixed_keys,
        unlaunchable,
    } = changes;
    let tenants = tenants.iter().map(|tenant| {
        let TenantChange {
            tenant,
            change,
            fields,
            after,
            touches,
            keys,
            files,
        } = tenant;
        json!({
            "tenant": tenant,
            "change": change,
            "keys": self::keys(keys, fields),
            "after": after,
            "touches": touches,
            "files": files,
        })
    });
    json!({
        "fixed": keys(fixed_keys, fixed),
        "shared": keys(&[], shared),
        "tenants": tenants.collect::<Vec<_>>(),
        "unchanged": unchanged,
        "retried": retried,
        "unlaunchable": unlaunchable,
        "hash": hash,
    })
}

/// The changed keys; or, from a supervisor that does not send them, the fields.
fn keys(keys: &[KeyChange], fields: &[FieldChange]) -> Vec<Value> {
    if !keys.is_empty() {
        return keys.iter().map(|key| json!(key)).collect();
    }
    let fields = fields.iter().map(|field| {
        let FieldChange {
            field,
            before,
            after,
        } = field;
        json!({ "key": field, "before": before, "after": after })
    });
    fields.collect()
}

/// One line with the number of tenants per kind of change.
#[must_use]
pub fn summary(changes: &Changes) -> String {
    if changes.is_empty() {
        return "no changes".to_owned();
    }
    let kinds = [
        (Change::Remove, "to remove"),
        (Change::Reprovision, "to reprovision"),
        (Change::Relaunch, "to relaunch"),
        (Change::Live, "to change live"),
        (Change::Add, "to add"),
    ];
    let mut words: Vec<String> = Vec::new();
    let (exchanged, live): (Vec<_>, Vec<_>) =
        changes.shared.iter().partition(|it| is_of_network(it));
    for (fields, word) in [
        (live, "application to change live"),
        (exchanged, "network to exchange"),
    ] {
        if !fields.is_empty() {
            words.push(word.to_owned());
        }
    }
    for (kind, word) in kinds {
        let count = changes.tenants.iter().filter(|c| c.change == kind).count();
        if count > 0 {
            words.push(format!("{count} {word}"));
        }
    }
    if !changes.retried.is_empty() {
        words.push(format!("{} to retry", changes.retried.len()));
    }
    let unchanged = changes.unchanged.saturating_sub(changes.retried.len());
    words.push(format!("{unchanged} unchanged"));
    words.join(", ")
}

/// One line that says what happens to a tenant and which fields cause it. Values are left out,
/// because an environment may contain secrets.
#[must_use]
pub fn line(change: &TenantChange) -> String {
    let TenantChange {
        tenant,
        change,
        fields,
        after,
        touches,
        keys: _,
        files: _,
    } = change;
    let fields: Vec<&str> = fields.iter().map(|field| field.field.as_str()).collect();
    let what = match change {
        Change::Remove => format!("{tenant}: removed, datastore kept"),
        Change::Add => format!("{tenant}: added"),
        Change::Reprovision => format!("{tenant}: reprovisioned because of {}", fields.join(", ")),
        Change::Relaunch => format!("{tenant}: relaunched because of {}", fields.join(", ")),
        // The host has not confirmed it yet.
        Change::Live if touches.is_some_and(Touches::is_applied) => {
            format!("{tenant}: applying live: {}", fields.join(", "))
        }
        Change::Live => format!("{tenant}: changed live: {}", fields.join(", ")),
    };
    if after.is_empty() {
        return what;
    }
    let names: Vec<&str> = after.iter().map(TenantName::as_str).collect();
    format!("{what}; waits for the release of {}", names.join(", "))
}

/// One line that says what changed for all tenants, if anything did.
#[must_use]
pub fn shared_line(app: &AppName, changes: &Changes) -> Option<String> {
    let (exchanged, live): (Vec<_>, Vec<_>) =
        changes.shared.iter().partition(|it| is_of_network(it));
    let said = [
        (live, "changed live"),
        (
            exchanged,
            "its network is exchanged once its tenants are released, because of",
        ),
    ]
    .into_iter()
    .filter(|(fields, _)| !fields.is_empty())
    .map(|(fields, what)| {
        let fields: Vec<&str> = fields.iter().map(|it| it.field.as_str()).collect();
        format!("{what}: {}", fields.join(", "))
    });
    let said: Vec<String> = said.collect();
    (!said.is_empty()).then(|| format!("{app}: {}", said.join("; ")))
}

/// Whether a field that all tenants share is one of their network.
fn is_of_network(change: &FieldChange) -> bool {
    LABELS_NETWORK.contains(&change.field.as_str())
}

/// One line that says that a live change, refused before, is retried.
#[must_use]
pub fn retry_line(tenant: &TenantName) -> String {
    format!("{tenant}: retrying the live change that was refused before")
}

/// The verb for a change, as `tenantd diff` prints it.
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

/// Why a reload is refused after which tenants could not be launched: each with the reason.
#[must_use]
pub fn unlaunchable(changes: &Changes) -> String {
    let shown = changes.unlaunchable.iter().take(UNLAUNCHABLE_SHOWN);
    let mut seen = BTreeSet::new();
    let each: Vec<String> = shown
        .map(|one| {
            let Unlaunchable { tenant, why, place } = one;
            // Often all tenants fail for the same reason.
            let place = place.as_ref().filter(|place| seen.insert(*place));
            let excerpt = place.map(|place| format!("\n{}", place.excerpt));
            let excerpt = excerpt.unwrap_or_default();
            format!("{tenant} could not be launched: {why}{excerpt}")
        })
        .collect();
    let more = changes.unlaunchable.len() - each.len();
    let rest = match more {
        0 => String::new(),
        more => format!("\nand {more} more tenants"),
    };
    format!("{}{rest}", each.join("\n"))
}

/// Why a reload is refused that would change what all tenants share.
#[must_use]
pub fn refusal(fixed: &[FieldChange]) -> String {
    let each = fixed.iter().map(|field| {
        let (before, after) = sides(field);
        format!("{} ({before} → {after})", field.field)
    });
    let each: Vec<String> = each.collect();
    format!(
        "reload refused, nothing was changed: this cannot change while the supervisor runs: {}; put \
         the old values back, or restart the supervisor, which stops all tenants",
        each.join(", ")
    )
}

fn write_fields(out: &mut String, fields: &[FieldChange], datastore_note: &str) {
    for field in fields {
        let name = &field.field;
        let first = name.split(' ').next();
        let note = if name == LABEL_DATASTORE {
            datastore_note
        } else if name == LABEL_TARGET || first == Some(LABEL_FOLDER) {
            kept(field, fields)
        } else if name.starts_with(&format!("{LABEL_FILE_AT} ")) {
            " (kept)"
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

fn write_files(out: &mut String, files: &[FileDiff]) {
    for FileDiff { path, diff } in files {
        let _ = writeln!(out, "  changes of {path}");
        for line in diff.lines() {
            let _ = writeln!(out, "    {line}");
        }
    }
}

/// What becomes of the data at a path that the program no longer expects.
fn kept(gone: &FieldChange, fields: &[FieldChange]) -> &'static str {
    let path = match gone.field.split_once(' ') {
        Some((LABEL_FOLDER, path)) => Some(path),
        _ => gone.before.as_deref(),
    };
    let still = |field: &&FieldChange| {
        let now = match field.field.split_once(' ') {
            Some((LABEL_FOLDER, path)) => field.after.as_ref().map(|_| path),
            _ if field.field == LABEL_TARGET => field.after.as_deref(),
            _ => None,
        };
        now.is_some() && now == path
    };
    match fields.iter().find(still) {
        Some(field) if field.field == LABEL_TARGET => " (kept, and mounted by `path`)",
        Some(_) => " (kept, and mounted by `folders`)",
        None => " (kept, but no longer mounted)",
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
        Touches::Nothing => "nothing that is running",
        Touches::Policy => "the supervisor's policy",
        Touches::Processes => "running processes, without a restart",
        Touches::Firewall => "the firewall, without a restart",
        Touches::Rate => "the rates of the tenant's link, without a restart",
        Touches::Names => "/etc/hosts and resolv.conf of the tenant, without a restart",
        Touches::Addresses => "its addresses, without a restart",
    }
}

fn write_after(out: &mut String, change: &TenantChange) {
    if change.after.is_empty() {
        return;
    }
    let names: Vec<&str> = change.after.iter().map(TenantName::as_str).collect();
    let _ = writeln!(out, "  {:<18}{}", "waits for", names.join(", "));
}

fn sides(field: &FieldChange) -> (&str, &str) {
    let FieldChange { before, after, .. } = field;
    (
        before.as_deref().unwrap_or("none"),
        after.as_deref().unwrap_or("none"),
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_an_earlier_supervisor_sends_is_shown_with_its_own_names() {
        let earlier = json!({
            "fixed": [],
            "tenants": [{
                "tenant": "acme",
                "change": "live",
                "fields": [{ "field": "grace", "before": "10s", "after": "5s" }],
                "after": [],
            }],
            "unchanged": 2,
        });
        let changes: Changes = serde_json::from_value(earlier).unwrap();
        assert_eq!(
            json(&changes)["tenants"][0]["keys"],
            json!([{ "key": "grace", "before": "10s", "after": "5s" }])
        );
    }
}
