//! `plan`: shows everything that is derived from a manifest.

use std::io::{IsTerminal, Write};
use std::path::Path;

use anyhow::Context;

use super::{BadManifest, End};
use tenantd_core::plan::model::Plan;
use tenantd_core::plan::render;
use tenantd_daemon::manifest::{ManifestFile, Unfit};

/// Shows the plan of a manifest, as stable text or as JSON.
pub(super) fn plan(config: &Path, json: bool) -> anyhow::Result<End> {
    let (plan, _) = read(config)?;
    let text = if json {
        serde_json::to_string_pretty(&plan).context("cannot write the plan as JSON")? + "\n"
    } else {
        render::text(&plan)
    };
    std::io::stdout().lock().write_all(text.as_bytes())?;
    Ok(End::Done)
}

/// Reads a manifest and derives the plan, or returns all problems, rendered for a person.
pub(super) fn read(config: &Path) -> anyhow::Result<(Plan, ManifestFile)> {
    let manifest = ManifestFile::at(config)
        .with_context(|| format!("{}: cannot make the path absolute", config.display()))?;
    match manifest.plan() {
        Ok(plan) => Ok((plan, manifest)),
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
