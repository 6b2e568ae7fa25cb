//! `reload-app`: makes the programs of tenants read their configuration again, and prints what became of
//! each.

use super::End;
use super::args::ReloadApp;
use super::outcome::{Became, Outcome};
use super::progress::{Doing, Progress};
use super::select;
use tenantd_api::client::Connection;
use tenantd_api::wire::AppReloaded;
use tenantd_core::name::AppName;

pub(super) fn reload(app: &AppName, what: &ReloadApp) -> anyhow::Result<End> {
    super::converse(async {
        let mut connection = Connection::open(app).await?;
        let typed = &what.which.names;
        let tenants = select::ask(&mut connection, typed).await;
        let tenants = tenants.map_err(|error| select::unchanged(error, typed))?;
        let reloaded = connection.reload_app(&tenants).await?;
        let mut progress = Progress::new(app, Doing::ReloadApp, reloaded.len(), what.show);
        for one in &reloaded {
            progress.settled(outcome(one))?;
        }
        Ok(progress.finish(false)?)
    })
}

fn outcome(reloaded: &AppReloaded) -> Outcome {
    let AppReloaded {
        tenant,
        by,
        pid,
        refused,
        failed,
    } = reloaded;
    if let Some(reason) = refused {
        return Outcome::refused(tenant, reason);
    }
    let by = by.as_deref().unwrap_or("nothing");
    let text = match (failed, pid) {
        (Some(_), _) => format!("not reloaded by {by}"),
        (None, Some(pid)) => format!("reloaded: {by} sent to its main process {pid}"),
        (None, None) => format!("reloaded by {by}"),
    };
    let outcome = Outcome::without_state(tenant, Became::Done, text).with_pid(*pid);
    match failed {
        Some(reason) => outcome.failed(reason),
        None => outcome,
    }
}
