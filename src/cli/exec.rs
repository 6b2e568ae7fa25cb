//! `exec`: replaces this process by a command inside a tenant.

use std::convert::Infallible;
use std::ffi::OsString;
use std::fmt;

use anyhow::Context;

use super::End;
use tenantd_api::client::app::{self, Selector};
use tenantd_api::client::{ClientError, Connection, pattern};
use tenantd_api::wire::{ExecLimit, ExecTarget};
use tenantd_core::name::TenantName;
use tenantd_host::join::{self, JoinError, Target};
use tenantd_host::limits::JoinLimit;

/// tenantd could not run the command: no tenant, no supervisor, or it could not be joined.
const NOT_RUN: u8 = 125;

/// The exit codes of a shell for a command that it cannot run.
const NOT_EXECUTABLE: u8 = 126;
const NOT_FOUND: u8 = 127;

/// The command was not run. The exit codes tell that apart from an end of the command itself.
#[derive(Debug)]
pub struct NotRun(anyhow::Error);

impl NotRun {
    /// The exit code for it.
    #[must_use]
    pub fn code(&self) -> u8 {
        match self.0.downcast_ref::<JoinError>() {
            Some(JoinError::NotFound { .. }) => NOT_FOUND,
            Some(JoinError::NotExecutable { .. }) => NOT_EXECUTABLE,
            Some(JoinError::Gone { .. } | JoinError::Step { .. }) | None => NOT_RUN,
        }
    }
}

impl fmt::Display for NotRun {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        // With its sources, and so it names none of its own.
        write!(f, "{:#}", self.0)
    }
}

impl std::error::Error for NotRun {}

/// Returns only if the command does not run.
pub(super) fn exec(
    selector: &Selector,
    tenant: &TenantName,
    command: &[OsString],
) -> anyhow::Result<End> {
    match run(selector, tenant, command) {
        Err(error) => Err(NotRun(error).into()),
        Ok(never) => match never {},
    }
}

fn run(
    selector: &Selector,
    tenant: &TenantName,
    command: &[OsString],
) -> anyhow::Result<Infallible> {
    let Some((program, arguments)) = command.split_first() else {
        anyhow::bail!("{tenant}: no command given");
    };
    let app = app::find(selector)?;
    let exec_target = super::converse(async {
        let mut connection = Connection::open(&app).await?;
        match connection.enter(tenant).await {
            Err(error @ ClientError::UnknownTenant { .. }) => {
                let tenants = connection.status(&[]).await?.tenants;
                let names: Vec<TenantName> = tenants.into_iter().map(|t| t.name).collect();
                Err(match pattern::resolve(&names, &[tenant.clone().into()]) {
                    Err(unmatched) => super::unmatched(&app, &unmatched),
                    Ok(_) => error.into(),
                })
            }
            entered => Ok(entered?),
        }
    })?;
    join::join(&target(exec_target), program, arguments).with_context(|| tenant.to_string())
}

fn target(exec_target: ExecTarget) -> Target {
    let ExecTarget {
        pid,
        start_ticks,
        cgroup,
        uid,
        gid,
        groups,
        environment,
        working_directory,
        limits,
    } = exec_target;
    let limit = |limit: ExecLimit| JoinLimit {
        resource: limit.resource,
        soft: limit.soft,
        hard: limit.hard,
    };
    Target {
        pid,
        start_ticks,
        cgroup,
        uid,
        gid,
        groups,
        environment,
        working_directory,
        limits: limits.into_iter().flatten().map(limit).collect(),
    }
}
