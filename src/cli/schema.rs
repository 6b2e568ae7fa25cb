//! `schema`: the JSON schema of the manifest.

use super::End;

/// Prints it.
pub(super) fn schema() -> anyhow::Result<End> {
    anyhow::bail!("this tenantd has no schema yet")
}
