//! `learn --manifest`: runs the program of a manifest, compares what it did with what its tenants have,
//! and keeps the list beside the manifest.

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};

use anyhow::Context;
use serde_json::json;
use std::io::Write;

use super::order::{Tree, Use};
use super::scratch_run::{Ended, Signals};
use super::{on_host, order, run, show};
use crate::cli::args::Learn;
use crate::cli::{End, init, plan};
use tenantd_core::learn::{self, Findings, Learned};
use tenantd_core::plan::model::TenantPlan;
use tenantd_host::replace::Old;

/// Compares one tenant of a manifest.
pub(super) fn compare(
    asked: &Learn,
    manifest: &Path,
    usage: &Use,
    signals: &Signals,
) -> anyhow::Result<End> {
    let (plan, file) = plan::read(manifest)?;
    let tenant = match &asked.tenant {
        Some(name) => plan.tenants.iter().find(|tenant| tenant.name == *name),
        None => plan.tenants.first(),
    };
    let missing = || match &asked.tenant {
        Some(name) => format!("{}: it has no tenant {name}", manifest.display()),
        None => format!("{}: it has no tenant to run", manifest.display()),
    };
    let tenant = tenant.with_context(missing)?;
    let text = fs::read_to_string(file.path()).with_context(|| manifest.display().to_string())?;
    let text = learn::of_manifest(&text, tenant.name.as_str())
        .with_context(|| manifest.display().to_string())?;
    super::note(&format!(
        "run of {}/{}, where all writes succeed and none reaches the host",
        plan.app, tenant.name
    ));
    let mut first = order(Tree::Union, &plan.app, &tenant.name, text, asked);
    first.usage = usage.clone();
    // Beside the manifest, whose folder is part of what it may refer to.
    let name = format!(".{}.learn", plan.app);
    first.place = file.path().with_file_name(name);
    first.folders = given(tenant);
    first.ready_within += tenant.policy.ready_within;
    first.stop_within += tenant.policy.grace;
    let seen = match run(first, signals)? {
        Ended::Seen(seen) => seen,
        Ended::Interrupted => return Ok(End::Interrupted),
    };
    let findings = Findings::of(&seen, &tenant.launch.identity.user, &on_host);
    anstream::eprint!("{}", show::findings(&seen, &findings));
    // What the manifest gives did not reach the union: the program uses it as far as is known.
    let own: BTreeSet<PathBuf> = tenant.datastore.targets().map(Path::to_owned).collect();
    let learned = Learned::new(tenant.launch.program.clone(), &findings.paths() | &own);
    let faults = faults(&seen, &findings, &learned, tenant);
    for fault in &faults {
        anstream::eprintln!("{fault}");
    }
    if seen.ended.is_none() {
        keep(file.path(), &learned)?;
    }
    if asked.json {
        let whole = json!({ "folders": learned.folders, "seen": seen, "faults": faults });
        let text = serde_json::to_string_pretty(&whole).context("cannot write JSON")?;
        writeln!(anstream::stdout(), "{text}")?;
    }
    if faults.is_empty() {
        super::note("the manifest gives each tenant all that was written");
    }
    Ok(match faults.is_empty() {
        true => End::Done,
        false => End::NotAsWanted,
    })
}

/// The folders that a tenant has: they exist in the tree of the scratch run.
fn given(tenant: &TenantPlan) -> Vec<PathBuf> {
    let targets = tenant.datastore.targets().map(Path::to_owned);
    let private = tenant.launch.private.iter().cloned();
    let hidden = tenant.launch.hidden.iter().cloned();
    targets.chain(private).chain(hidden).collect()
}

/// What the manifest does not give.
fn faults(
    seen: &learn::Seen,
    findings: &Findings,
    learned: &Learned,
    tenant: &TenantPlan,
) -> Vec<String> {
    let mut faults: Vec<String> = show::ended(seen).into_iter().collect();
    faults.extend(seen.client.as_ref().and_then(show::client));
    let missing = learned.missing(tenant).into_iter();
    faults.extend(missing.map(|path| {
        let found = findings.folders.iter().find(|folder| folder.path == path);
        let path = show::path(path);
        let line = found.map_or_else(|| format!("{path:?}"), learn::entry);
        format!("it writes to {path}, which its tenants do not have: add {line} to `folders`")
    }));
    let has = |path: &PathBuf| {
        tenant
            .launch
            .private
            .iter()
            .any(|own| path.starts_with(own))
    };
    let private = findings.private.iter().filter(|path| !has(path));
    faults.extend(private.map(|path| {
        let path = show::path(path);
        format!("it needs {path}, which its tenants do not have: add \"{path}\" to `private`")
    }));
    let files = findings.files.iter().map(|path| show::path(path));
    faults.extend(files.map(|path| format!("it writes the file {path}: in a tenant that fails")));
    faults
}

/// Writes the list of folders beside a manifest, with the manifest's owner. What an earlier list has
/// stays: another run may have done something else.
pub(super) fn keep(manifest: &Path, learned: &Learned) -> anyhow::Result<()> {
    let path = Learned::beside(manifest);
    let shown = || format!("{}: not written", path.display());
    let mut learned = learned.clone();
    if !path.exists() {
        return init::write_new(&path, &learned.text(), 0o600);
    }
    let old = Old::read(&path).with_context(shown)?;
    if let Ok(before) = Learned::read(old.text())
        && before.program == learned.program
    {
        learned.folders.extend(before.folders);
    }
    old.replace(&learned.text()).with_context(shown)
}
