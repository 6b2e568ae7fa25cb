//! Starts and stops a tenant by the supervisor of this host, and waits for it.

use anyhow::bail;

use super::super::ocf::left::{self, Left};
use super::super::{converse, outcome};
use tenantd_api::client::Connection;
use tenantd_api::client::watch::{Became, Waiting};
use tenantd_api::wire::{Answer, StateWord, TenantStatus, Verb, Want};
use tenantd_core::name::{AppName, TenantName};

/// How it is.
pub(super) fn status(app: &AppName, tenant: &TenantName) -> anyhow::Result<TenantStatus> {
    converse(async {
        let mut connection = Connection::open(app).await?;
        let status = connection.status(std::slice::from_ref(tenant)).await?;
        match status.tenants.into_iter().next() {
            Some(status) => Ok(status),
            None => bail!("{tenant}: the supervisor does not have it: `tenantd reload`"),
        }
    })
}

/// Whether it is wanted up.
pub(super) fn is_wanted(status: &TenantStatus) -> bool {
    status.want == Want::Up
}

/// Starts it, and waits until it is ready.
pub(super) fn start(app: &AppName, tenant: &TenantName, permanent: bool) -> anyhow::Result<String> {
    let status = asked(app, tenant, Verb::Start, permanent)?;
    match status {
        Some(status) if status.state == StateWord::Up => Ok(outcome::state(&status)),
        Some(status) => bail!("{tenant}: not ready: {}", outcome::state(&status)),
        None => bail!("{tenant}: a reload removed it"),
    }
}

/// Stops it, and proves that no process of it is left.
pub(super) fn stop(app: &AppName, tenant: &TenantName, permanent: bool) -> anyhow::Result<()> {
    if let Some(status) = asked(app, tenant, Verb::Stop, permanent)?
        && status.state != StateWord::Down
    {
        bail!("{tenant}: not stopped: {}", outcome::state(&status));
    }
    match left::of(app, tenant) {
        Left::Nothing => Ok(()),
        Left::Some(what) => bail!("{tenant}: not stopped: there is {what}"),
        Left::Unknown(why) => bail!("{tenant}: whether it is stopped is unknown: {why}"),
    }
}

fn asked(
    app: &AppName,
    tenant: &TenantName,
    verb: Verb,
    permanent: bool,
) -> anyhow::Result<Option<TenantStatus>> {
    converse(async {
        let tenants = std::slice::from_ref(tenant);
        let mut connection = Connection::open(app).await?;
        for answered in connection.act(verb, tenants, permanent).await? {
            if let Answer::Refused { reason } = answered.answer {
                bail!("{tenant}: refused: {reason}");
            }
        }
        let mut waiting = Waiting::new(app, tenants, super::super::act::until(verb));
        Ok(match waiting.next().await? {
            Some(Became::Reached(status)) => Some(*status),
            Some(Became::Gone(..)) | None => None,
        })
    })
}
