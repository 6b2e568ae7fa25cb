//! `plan`: shows everything that is derived from a manifest.

use std::io::{IsTerminal, Write};
use std::path::Path;

use anyhow::Context;

use super::{BadManifest, End, overlays};
use tenantd_core::manifest::Source;
use tenantd_core::manifest::suggest::closest;
use tenantd_core::name::TenantName;
use tenantd_core::plan::model::{Plan, TenantPlan};
use tenantd_core::plan::{data, render};
use tenantd_daemon::manifest::{ManifestFile, Unfit};
use tenantd_host::datastore::survey;

/// At most this many tenants with a new datastore are named.
const NAMED: usize = 10;

/// Shows the plan of a manifest or of some of its tenants, as stable text or as JSON.
pub(super) fn plan(config: &Path, names: &[TenantName], json: bool) -> anyhow::Result<End> {
    let (mut plan, _) = read(config)?;
    if !names.is_empty() {
        check_known(config, &plan, names)?;
        plan.tenants.retain(|tenant| names.contains(&tenant.name));
    }
    let text = if json {
        serde_json::to_string_pretty(&data::plan(&plan)).context("cannot write the plan as JSON")?
            + "\n"
    } else if names.is_empty() {
        render::text(&plan)
    } else {
        let tenants: Vec<String> = plan.tenants.iter().map(render::tenant).collect();
        tenants.join("\n")
    };
    std::io::stdout().lock().write_all(text.as_bytes())?;
    if !json {
        say_stores(&plan)?;
        // Those of all tenants are many.
        if !names.is_empty() {
            let hidden = overlays::brief(config, &plan);
            std::io::stderr().lock().write_all(hidden.as_bytes())?;
        }
    }
    Ok(End::Done)
}

/// Names the tenants whose datastores the first start makes, and those whose init command does not run.
/// This is no part of the plan, which says nothing about what exists on the host.
fn say_stores(plan: &Plan) -> std::io::Result<()> {
    let mut err = std::io::stderr().lock();
    if let Some(names) = listed(&survey::new(plan)) {
        writeln!(err, "datastores to be made at the first start: {names}")?;
    }
    if let Some(names) = listed(&survey::kept(plan)) {
        writeln!(
            err,
            "datastores with data, for which `init` does not run: {names}"
        )?;
    }
    Ok(())
}

fn listed(tenants: &[&TenantPlan]) -> Option<String> {
    let names = tenants.iter().take(NAMED).map(|it| it.name.as_str());
    let names = names.collect::<Vec<_>>().join(", ");
    match tenants.len() {
        0 => None,
        all if all > NAMED => Some(format!("{names} and {} more", all - NAMED)),
        _ => Some(names),
    }
}

/// Names all tenants that the manifest does not have, each with a similar one that it has.
pub(super) fn check_known(config: &Path, plan: &Plan, names: &[TenantName]) -> anyhow::Result<()> {
    let known = || plan.tenants.iter().map(|tenant| tenant.name.as_str());
    let unknown = names
        .iter()
        .filter(|name| !known().any(|known| known == name.as_str()));
    let unknown: Vec<String> = unknown
        .map(|name| match closest(name.as_str(), known()) {
            Some(near) => format!("{name} (did you mean {near}?)"),
            None => name.to_string(),
        })
        .collect();
    if unknown.is_empty() {
        return Ok(());
    }
    let s = if unknown.len() == 1 { "" } else { "s" };
    anyhow::bail!(
        "{}: has no tenant{s} {}",
        config.display(),
        unknown.join(", ")
    )
}

/// Reads a manifest and derives the plan, or returns all problems, rendered for a person.
pub(super) fn read(config: &Path) -> anyhow::Result<(Plan, ManifestFile)> {
    let (plan, _, manifest) = read_text(config)?;
    Ok((plan, manifest))
}

/// The same, with the text of the manifest.
pub(super) fn read_text(config: &Path) -> anyhow::Result<(Plan, Source, ManifestFile)> {
    read_by(config, ManifestFile::read)
}

/// The same as [`read`], for the supervisor: the users of tenants are recorded.
pub(super) fn read_to_run(config: &Path) -> anyhow::Result<(Plan, ManifestFile)> {
    let (plan, _, manifest) = read_by(config, ManifestFile::read_to_run)?;
    Ok((plan, manifest))
}

fn read_by(
    config: &Path,
    read: fn(&ManifestFile) -> Result<(Plan, Source), Unfit>,
) -> anyhow::Result<(Plan, Source, ManifestFile)> {
    let manifest = ManifestFile::at(config)
        .with_context(|| format!("{}: cannot make the path absolute", config.display()))?;
    match read(&manifest) {
        Ok((plan, source)) => Ok((plan, source, manifest)),
        // Not the exit code of a bad manifest, after which the unit is not started again.
        Err(unfit) if unfit.passes() => Err(unfit.into()),
        Err(unfit) => Err(bad(&unfit).into()),
    }
}

/// The problems of a manifest, rendered for standard error.
pub(super) fn bad(unfit: &Unfit) -> BadManifest {
    let colours = std::io::stderr().is_terminal() && std::env::var_os("NO_COLOR").is_none();
    BadManifest {
        rendered: unfit.render(colours),
    }
}
