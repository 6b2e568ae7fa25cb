//! `schema`: the JSON schema of the manifest.

use std::io::Write;

use anyhow::Context;

use super::End;

/// Prints the JSON schema of the manifest.
pub(super) fn schema() -> anyhow::Result<End> {
    let schema = serde_json::to_string_pretty(&tenantd_core::manifest::schema())
        .context("cannot write the schema as JSON")?;
    writeln!(std::io::stdout().lock(), "{schema}")?;
    Ok(End::Done)
}
