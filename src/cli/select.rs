//! The tenants that the names and patterns of a command line mean, and the names that may have been
//! meant.

use std::collections::BTreeSet;

use tenantd_api::client::pattern::{Pattern, nearest, resolve};
use tenantd_api::client::{ClientError, Connection};
use tenantd_api::wire::AppStatus;
use tenantd_core::name::{AppName, TenantName};

/// Asks the supervisor which tenants are meant. Nothing typed means all, and gives an empty list,
/// as on the wire.
///
/// All names that are unknown are reported; the supervisor reports the first.
pub(super) async fn ask(
    connection: &mut Connection,
    typed: &[Pattern],
) -> anyhow::Result<Vec<TenantName>> {
    if typed.is_empty() {
        return Ok(Vec::new());
    }
    // Names alone cost the supervisor as many tenants as are named, not all that there are.
    if let Some(names) = plain(typed) {
        match connection.status(&names).await {
            Ok(_) => return Ok(names),
            Err(ClientError::UnknownTenant { .. }) => {}
            Err(error) => return Err(error.into()),
        }
    }
    let status = connection.status(&[]).await?;
    meant(&status, typed)
}

/// The status of the tenants that are meant, and perhaps of others, for [`chosen`]. `ask` asks the supervisor for the
/// status of these tenants, or of all if there is none.
///
/// Names alone cost the supervisor as many tenants as are named. Patterns, and unknown names, which are all reported, cost
/// all that there are.
pub(super) async fn status(
    typed: &[Pattern],
    mut ask: impl AsyncFnMut(&[TenantName]) -> Result<AppStatus, ClientError>,
) -> Result<AppStatus, ClientError> {
    match ask(&plain(typed).unwrap_or_default()).await {
        Err(ClientError::UnknownTenant { .. }) => ask(&[]).await,
        asked => asked,
    }
}

/// The typed names, each once; `None` if there is a pattern among them.
pub(super) fn plain(typed: &[Pattern]) -> Option<Vec<TenantName>> {
    let names: Option<Vec<TenantName>> = typed.iter().map(Pattern::name).collect();
    let mut seen = BTreeSet::new();
    names.map(|names| {
        names
            .into_iter()
            .filter(|n| seen.insert(n.clone()))
            .collect()
    })
}

/// The status of the tenants that are meant, in the order of the manifest.
pub(super) fn chosen(mut status: AppStatus, typed: &[Pattern]) -> anyhow::Result<AppStatus> {
    if !typed.is_empty() {
        let meant: BTreeSet<TenantName> = meant(&status, typed)?.into_iter().collect();
        status.tenants.retain(|tenant| meant.contains(&tenant.name));
    }
    Ok(status)
}

fn meant(status: &AppStatus, typed: &[Pattern]) -> anyhow::Result<Vec<TenantName>> {
    let names = status.tenants.iter().map(|tenant| tenant.name.clone());
    let names: Vec<TenantName> = names.collect();
    resolve(&names, typed).map_err(|unmatched| super::unmatched(&status.app, &unmatched))
}

/// Adds to an error which name may have been meant: a tenant's or an application's.
pub(super) fn explain(error: anyhow::Error) -> anyhow::Error {
    match error.downcast_ref() {
        Some(ClientError::UnknownTenant { app, tenant }) => {
            similar_tenant(app, tenant).unwrap_or(error)
        }
        Some(ClientError::NotRunning { app, others }) => match nearest(app.as_str(), others) {
            Some(near) => anyhow::anyhow!("{error}\ndid you mean `--app {near}`?"),
            None => error,
        },
        Some(_) | None => error,
    }
}

/// Adds to the error for several names, some of which are known, that nothing was done to these.
pub(super) fn unchanged(error: anyhow::Error, typed: &[Pattern]) -> anyhow::Error {
    match typed.len() > 1 && !error.is::<ClientError>() {
        true => anyhow::anyhow!("{error}\nno tenant was changed"),
        false => error,
    }
}

fn similar_tenant(app: &AppName, tenant: &str) -> Option<anyhow::Error> {
    let typed = tenant.parse().ok()?;
    let asked = super::converse(async { Ok(Connection::open(app).await?.status(&[]).await?) });
    meant(&asked.ok()?, &[typed]).err()
}
