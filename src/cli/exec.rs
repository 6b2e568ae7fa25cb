//! `exec`: replaces this process by a command inside a tenant.

use std::convert::Infallible;
use std::ffi::OsString;

use anyhow::Context;

use super::End;
use tenantd_api::client::Connection;
use tenantd_api::wire::ExecTarget;
use tenantd_core::name::{AppName, TenantName};
use tenantd_host::join::{self, Target};

/// Returns only if the command does not run.
pub(super) fn exec(
    app: &AppName,
    tenant: &TenantName,
    command: &[OsString],
) -> anyhow::Result<End> {
    let Some((program, arguments)) = command.split_first() else {
        anyhow::bail!("{tenant}: no command given");
    };
    let exec_target = super::converse(async {
        let mut connection = Connection::open(app).await?;
        Ok(connection.enter(tenant).await?)
    })?;
    let never: Infallible =
        join::join(&target(exec_target), program, arguments).with_context(|| tenant.to_string())?;
    match never {}
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
    } = exec_target;
    Target {
        pid,
        start_ticks,
        cgroup,
        uid,
        gid,
        groups,
        environment,
        working_directory,
    }
}
