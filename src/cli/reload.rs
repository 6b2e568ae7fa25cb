//! `reload` and `diff`: applies the differences between the manifest and the running plan, or only
//! shows them.

use std::io::Write;

use anyhow::Context;

use super::act::{gone, outcome};
use super::{BadManifest, End};
use tenantd_api::client::watch::{Until, wait};
use tenantd_api::client::{ClientError, Connection};
use tenantd_api::wire::{StateWord, TenantStatus};
use tenantd_core::name::{AppName, TenantName};
use tenantd_core::plan::changes;
use tenantd_core::plan::diff::{Change, Changes};
use tenantd_core::plan::fields::Touches;

/// Has the supervisor read the manifest again and apply the differences.
pub(super) fn reload(app: &AppName, no_wait: bool) -> anyhow::Result<End> {
    super::converse(async {
        let mut connection = Connection::open(app).await?;
        apply(app, &mut connection, no_wait).await
    })
}

/// Has a supervisor reload, prints the changes, and waits until the changed tenants have settled.
pub(super) async fn apply(
    app: &AppName,
    connection: &mut Connection,
    no_wait: bool,
) -> anyhow::Result<End> {
    let changes = understood(connection.reload().await)?;
    let mut out = anstream::stdout();
    for change in &changes.tenants {
        writeln!(out, "{}", changes::line(change))?;
    }
    for tenant in &changes.retried {
        writeln!(out, "{}", changes::retry_line(tenant))?;
    }
    if changes.is_empty() {
        writeln!(out, "{}", changes::summary(&changes))?;
    }
    if no_wait {
        return Ok(End::Done);
    }
    let changed = changes.tenants.iter().filter(|c| c.change != Change::Live);
    let changed: Vec<TenantName> = changed.map(|change| change.tenant.clone()).collect();
    let settled = wait(app, &changed, Until::Settled).await?;
    for tenant in &settled.gone {
        writeln!(out, "{}", gone(tenant))?;
    }
    for tenant in &settled.reached {
        writeln!(out, "{}", outcome(tenant))?;
    }
    let applied = applied(app, connection, &changes).await?;
    for tenant in &applied {
        writeln!(out, "{}", live_outcome(tenant))?;
    }
    let mut refused = applied.iter().filter(|tenant| tenant.unapplied.is_some());
    let as_wanted = settled.reached.iter().all(TenantStatus::is_as_wanted);
    Ok(if as_wanted && refused.next().is_none() {
        End::Done
    } else {
        End::NotAsWanted
    })
}

/// The tenants with a live change that the host had to apply to running processes, once the result
/// is known.
async fn applied(
    app: &AppName,
    connection: &mut Connection,
    changes: &Changes,
) -> Result<Vec<TenantStatus>, ClientError> {
    let live = changes.tenants.iter().filter(|change| {
        change.change == Change::Live && change.touches.is_some_and(Touches::is_applied)
    });
    let live = live.map(|change| &change.tenant);
    let names: Vec<TenantName> = live.chain(&changes.retried).cloned().collect();
    if names.is_empty() {
        return Ok(Vec::new());
    }
    let tenants = connection.status(&names).await?.tenants;
    let under_way = tenants.iter().filter(|tenant| tenant.applying);
    let under_way: Vec<TenantName> = under_way.map(|tenant| tenant.name.clone()).collect();
    if under_way.is_empty() {
        return Ok(tenants);
    }
    wait(app, &under_way, Until::Settled).await?;
    Ok(connection.status(&names).await?.tenants)
}

/// The result of a live change, in one line.
fn live_outcome(tenant: &TenantStatus) -> String {
    let name = &tenant.name;
    match (&tenant.unapplied, tenant.state) {
        (Some(failure), _) => format!("{name}: not applied: {failure}"),
        (None, StateWord::Up) => format!("{name}: applied to its processes"),
        (None, state) => format!("{name}: {}: takes effect at its next launch", state.word()),
    }
}

/// Shows what a reload would do.
pub(super) fn diff(app: &AppName, json: bool, exit_code: bool) -> anyhow::Result<End> {
    let changes = super::converse(async {
        let mut connection = Connection::open(app).await?;
        understood(connection.diff().await)
    })?;
    let text = if json {
        serde_json::to_string_pretty(&changes).context("cannot write the changes as JSON")? + "\n"
    } else {
        changes::text(&changes)
    };
    std::io::stdout().lock().write_all(text.as_bytes())?;
    Ok(match exit_code && !changes.is_empty() {
        true => End::NotAsWanted,
        false => End::Done,
    })
}

/// Turns problems of the manifest into [`BadManifest`], which has an exit code of its own.
fn understood(changes: Result<Changes, ClientError>) -> anyhow::Result<Changes> {
    changes.map_err(|error| match error {
        ClientError::BadManifest { problems: rendered } => BadManifest { rendered }.into(),
        other => other.into(),
    })
}
