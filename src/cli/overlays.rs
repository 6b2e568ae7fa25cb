//! The files of the host that a tenant does not see as they are now, in folders that lie over the
//! host's: all of them for `plan --files`, some for `plan NAME` and `diff`.

use std::fmt::Write as _;
use std::io::Write as _;
use std::path::Path;
use std::time::{Duration, Instant};

use anyhow::Context;
use serde_json::{Value, json};

use super::End;
use super::plan::{check_known, read};
use tenantd_core::name::TenantName;
use tenantd_core::plan::model::{Plan, Seed, TenantPlan};
use tenantd_host::datastore::overlaid::{self, Hidden, Overlaid};

/// How long `plan NAME` and `diff` look. A tenant can make any number of files.
const BRIEF: Duration = Duration::from_secs(1);

/// How long `plan --files` looks.
const LONG: Duration = Duration::from_secs(60);

/// How many files of a tenant `plan NAME` and `diff` show.
const SHOWN: usize = 10;

/// How many tenants `diff` names.
const NAMED: usize = 10;

/// Lists all such files of these tenants, or of all.
pub(super) fn list(config: &Path, names: &[TenantName], json: bool) -> anyhow::Result<End> {
    let (mut plan, _) = read(config)?;
    if !names.is_empty() {
        check_known(config, &plan, names)?;
        plan.tenants.retain(|tenant| names.contains(&tenant.name));
    }
    let deadline = Instant::now() + LONG;
    let mut text = String::new();
    let mut objects = Vec::new();
    for tenant in &plan.tenants {
        let folders = overlaid::examine(&tenant.datastore, deadline)
            .with_context(|| format!("{}: cannot examine its datastore", tenant.name))?;
        match json {
            true => objects.push(object(tenant, &folders)),
            false => write_tenant(&mut text, &tenant.name, &folders, usize::MAX, ""),
        }
    }
    if json {
        let all = json!({ "tenants": objects });
        text = serde_json::to_string_pretty(&all).context("cannot write the files as JSON")? + "\n";
    } else if text.is_empty() {
        text = "no overlay hides a file of the host\n".to_owned();
    }
    std::io::stdout().lock().write_all(text.as_bytes())?;
    Ok(End::Done)
}

/// Some of these files, as text. Empty if there are none, or if they cannot be examined: then a launch
/// says why.
pub(super) fn brief(config: &Path, plan: &Plan) -> String {
    let deadline = Instant::now() + BRIEF;
    let has_overlay = |tenant: &&TenantPlan| {
        let folders = &tenant.datastore.folders;
        folders.iter().any(|folder| folder.seed == Seed::Overlay)
    };
    let mut text = String::new();
    let mut named = 0;
    let mut more = 0;
    for tenant in plan.tenants.iter().filter(has_overlay) {
        let Ok(folders) = overlaid::examine(&tenant.datastore, deadline) else {
            continue;
        };
        if folders.iter().all(is_clean) {
            continue;
        }
        if named == NAMED {
            more += 1;
            continue;
        }
        named += 1;
        let all = format!(
            "tenantd plan --config {} --files {}",
            config.display(),
            tenant.name
        );
        write_tenant(&mut text, &tenant.name, &folders, SHOWN, &all);
    }
    if more > 0 {
        let _ = writeln!(text, "and {more} more tenants");
    }
    text
}

fn is_clean(folder: &Overlaid) -> bool {
    folder.hidden.is_empty() && folder.complete
}

fn write_tenant(text: &mut String, tenant: &TenantName, all: &[Overlaid], most: usize, hint: &str) {
    let mut left = most;
    for folder in all.iter().filter(|folder| !is_clean(folder)) {
        let target = folder.target.display();
        let _ = writeln!(text, "{tenant}: {target} hides files of the host");
        for Hidden { path, done, newer } in folder.hidden.iter().take(left) {
            let newer = if *newer { " (newer on the host)" } else { "" };
            let path = path.to_string_lossy();
            // A tenant chooses names.
            let _ = writeln!(text, "  {:<8} {}{newer}", done.word(), path.escape_debug());
        }
        let rest = folder.hidden.len().saturating_sub(left);
        left = left.saturating_sub(folder.hidden.len());
        if rest > 0 {
            let _ = writeln!(text, "  and {rest} more: `{hint}`");
        }
        if !folder.complete {
            let _ = writeln!(
                text,
                "  and others: not all files could be examined in time"
            );
        }
    }
}

fn object(tenant: &TenantPlan, folders: &[Overlaid]) -> Value {
    let folders = folders.iter().map(|folder| {
        let files = folder.hidden.iter().map(|file| {
            let path = file.path.to_string_lossy();
            json!({ "path": path, "change": file.done.word(), "newer": file.newer })
        });
        json!({
            "folder": folder.target,
            "files": files.collect::<Vec<_>>(),
            "complete": folder.complete,
        })
    });
    json!({ "tenant": tenant.name, "folders": folders.collect::<Vec<_>>() })
}
