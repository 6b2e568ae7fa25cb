//! `add` and `remove`: one tenant more or less in the manifest, and then a reload.
//!
//! The new text is planned before it is written: with any problem the file stays as it is.

use std::io::Write;
use std::path::{Path, PathBuf};

use anyhow::Context;

use super::{End, converse, plan, reload, replace};
use tenantd_api::client::app::{self, Selector};
use tenantd_api::client::{ClientError, Connection};
use tenantd_core::manifest::edit::{self, EditError};
use tenantd_core::name::{AppName, TenantName};
use tenantd_daemon::manifest::ManifestFile;

/// Adds a tenant with these keys.
pub(super) fn add(
    selector: &Selector,
    tenant: &TenantName,
    keys: &[(String, String)],
    no_wait: bool,
) -> anyhow::Result<End> {
    let change = |text: &str| edit::add(text, tenant, keys);
    let (app, path, _) = change_manifest(selector, change)?;
    say(&format!("{tenant}: added to {}", path.display()))?;
    take_effect(&app, &path, no_wait)
}

/// Removes a tenant; its data stays.
pub(super) fn remove(
    selector: &Selector,
    tenant: &TenantName,
    no_wait: bool,
) -> anyhow::Result<End> {
    let (app, path, before) = change_manifest(selector, |text| edit::remove(text, tenant))?;
    let file = ManifestFile::at(&path).context("the manifest has no absolute path")?;
    let old = file.plan_of(before).ok();
    let old = old.and_then(|plan| plan.tenants.into_iter().find(|t| t.name == *tenant));
    let stays = old.map_or(String::new(), |tenant| {
        let source = tenant.datastore.source.display();
        format!("; its datastore stays: {source}")
    });
    say(&format!("{tenant}: removed from {}{stays}", path.display()))?;
    take_effect(&app, &path, no_wait)
}

fn say(line: &str) -> std::io::Result<()> {
    writeln!(anstream::stdout(), "{line}")
}

/// Changes the manifest that is meant, if what comes of it is good. Gives its application, where it
/// lies, and its text before.
fn change_manifest(
    selector: &Selector,
    change: impl FnOnce(&str) -> Result<String, EditError>,
) -> anyhow::Result<(AppName, PathBuf, String)> {
    let config = match &selector.config {
        Some(config) => config.clone(),
        None => {
            let app = app::find(selector)?;
            converse(async { Ok(Connection::open(&app).await?.manifest().await?) })?
        }
    };
    // A link stays a link: the file that it leads to is replaced.
    let failed = || format!("{}: the manifest cannot be read", config.display());
    let path = std::fs::canonicalize(&config).with_context(failed)?;
    let old = replace::Old::read(&path).with_context(failed)?;
    let text = change(old.text()).with_context(|| config.display().to_string())?;
    let manifest = ManifestFile::at(&config).with_context(failed)?;
    let good = manifest.plan_of(text.clone());
    let plan = good.map_err(|unfit| plan::bad(&unfit))?;
    let before = old.text().to_owned();
    old.replace(&text)
        .with_context(|| format!("{}: the manifest was not changed", path.display()))?;
    Ok((plan.app, path, before))
}

/// Reloads, where the supervisor of this manifest runs.
fn take_effect(app: &AppName, path: &Path, no_wait: bool) -> anyhow::Result<End> {
    converse(async {
        let mut connection = match Connection::open(app).await {
            Ok(connection) => connection,
            Err(ClientError::NotRunning { .. } | ClientError::Dead { .. }) => {
                say(&format!(
                    "{app}: no supervisor runs: it takes effect when one is started"
                ))?;
                return Ok(End::Done);
            }
            Err(error) => return Err(error).context("the manifest was changed, but not reloaded"),
        };
        let runs = connection.manifest().await?;
        if std::fs::canonicalize(&runs).ok().as_deref() != Some(path) {
            let runs = runs.display();
            say(&format!(
                "{app}: its supervisor runs {runs}: nothing was reloaded"
            ))?;
            return Ok(End::NotAsWanted);
        }
        reload::apply(app, &mut connection, no_wait)
            .await
            .context("the manifest was changed, and this came of its reload")
    })
}
