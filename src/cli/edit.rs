//! `add`, `remove` and `set`: add a tenant to the manifest, remove one or change its limits, and reload.
//!
//! The new text is checked before it is written: if it has any problem, the file is left unchanged.

use std::io::Write;
use std::path::{Path, PathBuf};

use anyhow::Context;

use super::args::{Set, Show, Wait};
use super::outcome::Outcome;
use super::progress::{Doing, Progress};
use super::{BadManifest, End, converse, plan, reload};
use tenantd_api::client::app::{self, Selector};
use tenantd_api::client::{ClientError, Connection};
use tenantd_core::manifest::edit::{self, Added, EditError};
use tenantd_core::name::{AppName, TenantName};
use tenantd_core::plan::model::Plan;
use tenantd_daemon::manifest::{ManifestFile, Unfit};
use tenantd_host::replace::{Old, ReplaceError};

/// A change of a manifest's text.
struct Edit {
    text: String,
    /// What is added, in the notation of the manifest.
    entry: Option<String>,
}

/// Adds a tenant with these keys, and reloads.
pub(super) fn add(
    selector: &Selector,
    tenant: &TenantName,
    keys: &[(String, String)],
    wait: Wait,
) -> anyhow::Result<End> {
    let mut line = String::new();
    let (app, path, _) = change_manifest(selector, |text| {
        let Added { text, entry } = edit::add(text, tenant, keys)?;
        line = indented(&entry);
        let entry = Some(entry);
        Ok(Edit { text, entry })
    })?;
    say(
        wait.show,
        &format!("{tenant}: added to {}:\n{line}", path.display()),
    )?;
    take_effect(&app, &path, tenant, Doing::Add, wait)
}

/// Removes a tenant, and reloads. Its datastore stays.
pub(super) fn remove(selector: &Selector, tenant: &TenantName, wait: Wait) -> anyhow::Result<End> {
    let (app, path, before) = change_manifest(selector, |text| {
        let text = edit::remove(text, tenant)?;
        let entry = None;
        Ok(Edit { text, entry })
    })?;
    let file = ManifestFile::at(&path).context("cannot make the path of the manifest absolute")?;
    let old = file.plan_of(before).ok();
    let old = old.and_then(|plan| plan.tenants.into_iter().find(|t| t.name == *tenant));
    let stays = old.map_or(String::new(), |tenant| {
        let source = tenant.datastore.source.display();
        format!("; its datastore stays: {source}")
    });
    let text = format!("{tenant}: removed from {}{stays}", path.display());
    say(wait.show, &text)?;
    take_effect(&app, &path, tenant, Doing::Remove, wait)
}

/// Sets limits of a tenant, and reloads.
pub(super) fn set(selector: &Selector, what: &Set) -> anyhow::Result<End> {
    let Set {
        tenant,
        limits,
        wait,
        permanent: _,
        reset: _,
    } = what;
    let set = limits.iter().map(|(key, value)| format!("{key} = {value}"));
    let set = set.collect::<Vec<_>>().join("\n");
    let (app, path, _) = change_manifest(selector, |text| {
        let text = edit::set(text, tenant, limits)?;
        let entry = Some(set.clone());
        Ok(Edit { text, entry })
    })?;
    let text = format!("{tenant}: set in {}:\n{}", path.display(), indented(&set));
    say(wait.show, &text)?;
    take_effect(&app, &path, tenant, Doing::Set, *wait)
}

fn indented(entry: &str) -> String {
    let lines: Vec<String> = entry.lines().map(|line| format!("  {line}")).collect();
    lines.join("\n")
}

/// Prints a line for people.
fn say(show: Show, line: &str) -> std::io::Result<()> {
    match show.json || show.quiet {
        true => Ok(()),
        false => writeln!(anstream::stdout(), "{line}"),
    }
}

/// The path of the selected manifest.
pub(super) fn manifest(selector: &Selector) -> anyhow::Result<PathBuf> {
    match &selector.config {
        Some(config) => Ok(config.clone()),
        None => {
            let app = app::find(selector)?;
            converse(async { Ok(Connection::open(&app).await?.manifest().await?) })
        }
    }
}

/// The plan of a manifest to which a tenant with these keys is added, if it has none of this name. Returns
/// whether it has one. Nothing is written.
pub(super) fn planned(
    config: &Path,
    tenant: &TenantName,
    keys: &[(String, String)],
) -> anyhow::Result<(Plan, bool)> {
    let before = std::fs::read_to_string(config).with_context(|| config.display().to_string())?;
    let manifest = ManifestFile::at(config).with_context(|| config.display().to_string())?;
    let (text, entry) = match edit::add(&before, tenant, keys) {
        Ok(Added { text, entry }) => (text, Some(entry)),
        Err(EditError::There(_)) => (before.clone(), None),
        Err(error) => return Err(error).with_context(|| config.display().to_string()),
    };
    let plan = manifest.plan_of(text).map_err(|unfit| {
        let older = entry.as_ref().and_then(|_| manifest.plan_of(before).err());
        refused(config, &unfit, older.as_ref(), entry.as_deref())
    })?;
    Ok((plan, entry.is_none()))
}

/// Changes the selected manifest if the result is valid. Returns its application, its path and its
/// text before the change.
fn change_manifest(
    selector: &Selector,
    change: impl FnOnce(&str) -> Result<Edit, EditError>,
) -> anyhow::Result<(AppName, PathBuf, String)> {
    let config = manifest(selector)?;
    let unchanged = || format!("{}: not changed", config.display());
    // It stays locked until it is replaced, so that of two edits the second one sees the first.
    let old = Old::read(&config).with_context(unchanged)?;
    let Edit { text, entry } = change(old.text()).with_context(unchanged)?;
    let manifest = ManifestFile::at(&config).with_context(unchanged)?;
    let before = old.text().to_owned();
    let plan = manifest.plan_of(text.clone()).map_err(|unfit| {
        let older = manifest.plan_of(before.clone()).err();
        refused(&config, &unfit, older.as_ref(), entry.as_deref())
    })?;
    match old.replace(&text) {
        Ok(()) => Ok((plan.app, old.path().to_owned(), before)),
        Err(error @ (ReplaceError::Damaged { .. } | ReplaceError::Residue { .. })) => {
            Err(error).with_context(|| config.display().to_string())
        }
        Err(error) => Err(error).with_context(unchanged),
    }
}

/// The problems that keep a manifest from being changed. If it has some without the change, those
/// are shown: their lines are those of the file.
fn refused(
    config: &Path,
    unfit: &Unfit,
    older: Option<&Unfit>,
    entry: Option<&str>,
) -> BadManifest {
    let BadManifest { mut rendered } = plan::bad(older.unwrap_or(unfit));
    let config = config.display();
    rendered += &match (older, entry) {
        (Some(_), _) => {
            format!("{config}: not changed: it has these problems already; correct them first")
        }
        (None, Some(entry)) => format!(
            "{config}: not changed; with this it would have the problems above:\n{}",
            indented(entry)
        ),
        (None, None) => {
            format!("{config}: not changed; without the tenant it would have the problems above")
        }
    };
    BadManifest { rendered }
}

/// Reloads, if a supervisor runs with this manifest.
fn take_effect(
    app: &AppName,
    path: &Path,
    tenant: &TenantName,
    doing: Doing,
    wait: Wait,
) -> anyhow::Result<End> {
    let without_reload = |text: &str, failed: bool| {
        let mut progress = Progress::new(app, doing, 1, wait.show);
        let outcome = Outcome::pending(tenant, "not reloaded", text.to_owned());
        progress.settled(match failed {
            true => outcome.failed(text).saying(text.to_owned()),
            false => outcome,
        })?;
        anyhow::Ok(progress.finish(false)?)
    };
    converse(async {
        let mut connection = match Connection::open(app).await {
            Ok(connection) => connection,
            Err(
                ClientError::NotRunning { .. }
                | ClientError::Dead { .. }
                | ClientError::Detached { .. },
            ) => {
                let text = "no supervisor runs: the change takes effect when one starts";
                return without_reload(text, false);
            }
            Err(error) => return Err(error).context("the manifest was changed, but not reloaded"),
        };
        let runs = connection.manifest().await?;
        if std::fs::canonicalize(&runs).ok().as_deref() != Some(path) {
            let runs = runs.display();
            let text = format!("not reloaded: the supervisor uses another manifest, {runs}");
            return without_reload(&text, true);
        }
        reload::apply(app, &mut connection, None, (doing, wait))
            .await
            .context("the manifest was changed, but the reload failed")
    })
}
