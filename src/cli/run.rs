//! `run`: the supervisor itself.

use std::path::Path;

use super::End;

/// Runs all tenants of a manifest until a signal stops them.
pub(super) fn run(config: &Path) -> anyhow::Result<End> {
    anyhow::bail!("{}: this tenantd has no supervisor yet", config.display())
}
