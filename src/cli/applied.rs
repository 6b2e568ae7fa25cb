//! What runs of an application whose manifest is applied.

use std::path::PathBuf;

use anyhow::bail;

use super::{converse, select};
use tenantd_api::client::Connection;
use tenantd_api::client::pattern::Pattern;
use tenantd_api::wire::{StateWord, TenantStatus};
use tenantd_core::name::AppName;

/// The path of the manifest, and those of the typed tenants that run, perhaps with others, in its order.
///
/// # Errors
/// That of the supervisor; or what runs is not what the manifest says.
pub(super) fn running(
    app: &AppName,
    typed: &[Pattern],
) -> anyhow::Result<(PathBuf, Vec<TenantStatus>)> {
    converse(async {
        let mut connection = Connection::open(app).await?;
        let manifest = connection.manifest().await?;
        if !connection.diff().await?.is_empty() {
            bail!("{app}: the manifest is not what runs: `tenantd reload` first");
        }
        let asked = select::status(typed, async |names| connection.status(names).await).await;
        let up = asked?
            .tenants
            .into_iter()
            .filter(|it| it.state == StateWord::Up);
        Ok((manifest, up.collect()))
    })
}
