//! The tenants that the names and patterns of a command line mean, and the names that may have been
//! meant.

use std::collections::BTreeSet;

use tenantd_api::client::pattern::{Pattern, nearest, resolve};
use tenantd_api::client::{ClientError, Connection};
use tenantd_api::wire::AppStatus;
use tenantd_core::name::{AppName, TenantName};

/// How many tenants are asked for by their names. A request has at most [`REQUEST_MAX`](tenantd_api::wire::REQUEST_MAX) bytes, and
/// a command line can have more names.
const NAMED_MAX: usize = 1000;

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
    let status = status(typed, async |names| connection.status(names).await).await?;
    meant(&status, typed)
}

/// The status of the tenants that are meant, and perhaps of others, for [`chosen`]. `ask` asks the supervisor for the
/// status of these tenants, or of all if there is none.
///
/// Names alone cost the supervisor as many tenants as are named. Patterns, and unknown names, which are all reported, cost
/// all that there are.
pub(super) async fn status(
    typed: &[Pattern],
    ask: impl AsyncFnMut(&[TenantName]) -> Result<AppStatus, ClientError>,
) -> Result<AppStatus, ClientError> {
    named(&plain(typed).unwrap_or_default(), ask).await
}

/// The same for names; all, if there is none.
pub(super) async fn named(
    names: &[TenantName],
    mut ask: impl AsyncFnMut(&[TenantName]) -> Result<AppStatus, ClientError>,
) -> Result<AppStatus, ClientError> {
    let few = if names.len() <= NAMED_MAX { names } else { &[] };
    match ask(few).await {
        Err(ClientError::UnknownTenant { .. }) if !few.is_empty() => ask(&[]).await,
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

#[cfg(test)]
mod tests {
    use super::*;
    use tenantd_api::wire::REQUEST_MAX;
    use tenantd_core::name::TENANT_NAME_MAX;

    /// How many names were asked for, one time after the other, of a supervisor that knows none of them.
    fn asked(names: &[TenantName]) -> Vec<usize> {
        let mut asked = Vec::new();
        let refused = super::super::converse(async {
            let ask = async |names: &[TenantName]| {
                asked.push(names.len());
                Err(ClientError::UnknownTenant {
                    app: "wiki".parse().unwrap(),
                    tenant: "acme".to_owned(),
                })
            };
            Ok(named(names, ask).await?)
        });
        assert!(refused.is_err());
        asked
    }

    #[test]
    fn all_are_asked_for_if_a_name_is_unknown_or_there_are_too_many() {
        let names: Vec<TenantName> = (0..=NAMED_MAX)
            .map(|number| format!("t{number}").parse().unwrap())
            .collect();
        assert_eq!(asked(&names[..2]), [2, 0]);
        assert_eq!(asked(&names[..NAMED_MAX]), [NAMED_MAX, 0]);
        assert_eq!(asked(&names), [0]);
        assert_eq!(asked(&[]), [0]);
    }

    #[test]
    fn a_request_has_room_for_as_many_names() {
        let longest: TenantName = "a".repeat(TENANT_NAME_MAX).parse().unwrap();
        let names = vec![longest; NAMED_MAX];
        assert!(serde_json::to_vec(&names).unwrap().len() < REQUEST_MAX / 2);
    }
}
