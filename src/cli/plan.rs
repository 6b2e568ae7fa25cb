//! `plan`: everything that is derived from a manifest.

use std::io::{IsTerminal, Write};
use std::path::Path;

use anyhow::Context;

use super::{BadManifest, End};
use crate::host::facts::Live;
use crate::manifest::Source;
use crate::plan::model::Plan;
use crate::plan::render;

/// Shows the plan of a manifest, as stable text or as JSON.
pub(super) fn plan(config: &Path, json: bool) -> anyhow::Result<End> {
    let plan = read(config)?;
    let text = if json {
        serde_json::to_string_pretty(&plan).context("cannot write the plan as JSON")? + "\n"
    } else {
        render::text(&plan)
    };
    std::io::stdout().lock().write_all(text.as_bytes())?;
    Ok(End::Done)
}

/// Reads a manifest and derives the plan, or gives every problem for a person to read.
pub(super) fn read(config: &Path) -> anyhow::Result<Plan> {
    let bad = |rendered: String| BadManifest { rendered };
    let text = std::fs::read_to_string(config).map_err(|error| {
        bad(format!(
            "{}: the manifest cannot be read: {error}",
            config.display()
        ))
    })?;
    let path = std::path::absolute(config)
        .with_context(|| format!("{}: has no absolute path", config.display()))?;
    let source = Source {
        name: config.display().to_string(),
        folder: path.parent().unwrap_or(&path).to_path_buf(),
        text,
    };
    let colours = std::io::stderr().is_terminal() && std::env::var_os("NO_COLOR").is_none();
    crate::plan::read(&source, &Live).map_err(|problems| bad(problems.render(colours)).into())
}
