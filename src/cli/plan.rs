//! `plan`: everything that is derived from a manifest.

use std::path::Path;

use super::End;

/// Shows the plan of a manifest, as stable text or as JSON.
pub(super) fn plan(config: &Path, json: bool) -> anyhow::Result<End> {
    let form = if json { "as JSON" } else { "as text" };
    anyhow::bail!("{}: this tenantd cannot plan {form} yet", config.display())
}
