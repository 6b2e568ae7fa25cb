//! `upgrade`: has the supervisor execute the program on disk in its own process, and waits until the
//! new program answers.

use std::io::Write;
use std::time::Duration;

use anyhow::bail;

use super::{End, select};
use tenantd_api::client::{ClientError, Connection};
use tenantd_api::wire::TenantStatus;
use tenantd_core::name::{AppName, TenantName};
use tenantd_core::plan::diff::Change;

/// How long it may take: the preflight, the tasks under way, and the start.
const LIMIT: Duration = Duration::from_secs(60);

/// How many tenants are named.
const NAMED: usize = 5;

/// Upgrades the supervisor. The new program reads the manifest: unless `apply` is set, that must interrupt no tenant.
pub(super) fn upgrade(app: &AppName, apply: bool) -> anyhow::Result<End> {
    if !apply {
        let interrupted = super::converse(in_time(app, interrupted(app)))?;
        if !interrupted.is_empty() {
            bail!(refusal(&interrupted));
        }
    }
    let upgraded = async { Connection::open(app).await?.upgrade().await };
    let (begun, now) = super::converse(in_time(app, upgraded))?;
    writeln!(
        anstream::stdout(),
        "{app}: upgraded from {} to {}, still with pid {}",
        begun.from,
        now.version,
        now.pid
    )?;
    Ok(End::Done)
}

async fn in_time<T>(
    app: &AppName,
    answer: impl Future<Output = Result<T, ClientError>>,
) -> anyhow::Result<T> {
    match tokio::time::timeout(LIMIT, answer).await {
        Ok(answer) => Ok(answer?),
        Err(_) => Err(ClientError::Silent {
            app: app.clone(),
            limit: LIMIT,
        }
        .into()),
    }
}

/// The tenants that run, and that the new program would end or start again because of the manifest.
async fn interrupted(app: &AppName) -> Result<Vec<TenantName>, ClientError> {
    let mut connection = Connection::open(app).await?;
    let changes = match connection.diff().await {
        Ok(changes) => changes,
        // The manifest has problems: the preflight says which. Or the supervisor that is to be replaced says something
        // that this version does not understand.
        Err(
            ClientError::Refused { .. }
            | ClientError::BadManifest { .. }
            | ClientError::Protocol { .. },
        ) => return Ok(Vec::new()),
        Err(error) => return Err(error),
    };
    let interrupts = [Change::Remove, Change::Reprovision, Change::Relaunch];
    let changed = changes.tenants.into_iter();
    let changed = changed.filter(|it| interrupts.contains(&it.change));
    let names: Vec<TenantName> = changed.map(|it| it.tenant).collect();
    if names.is_empty() {
        return Ok(names);
    }
    let found = select::named(&names, async |names| connection.status(names).await).await?;
    let running = found.tenants.into_iter().filter(runs);
    Ok(running.map(|tenant| tenant.name).collect())
}

fn runs(tenant: &TenantStatus) -> bool {
    tenant.pid.is_some()
}

fn refusal(tenants: &[TenantName]) -> String {
    let named: Vec<&str> = tenants.iter().take(NAMED).map(TenantName::as_str).collect();
    let mut named = named.join(", ");
    if tenants.len() > NAMED {
        named.push_str(&format!(" and {} more", tenants.len() - NAMED));
    }
    format!(
        "not upgraded: the new program would also apply the changes of the manifest, which interrupt {named}. `tenantd diff` \
         shows them; type `tenantd reload` first, or `tenantd upgrade --apply`"
    )
}
