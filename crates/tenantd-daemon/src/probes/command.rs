//! A command that asks a program, in its tenant.

use tenantd_core::name::{AppName, TenantName};
use tenantd_host::process::Ended;

use crate::executor::visit::{self, NOT_RUN};

/// Whether the command exits with status 0.
pub(super) async fn run(app: &AppName, tenant: &TenantName, argv: &[String]) -> Result<(), String> {
    match visit::run(app, tenant, argv, None).await? {
        // That says nothing about the program: the supervisor is just being upgraded, for example.
        Ended::Status(NOT_RUN) => {
            tracing::warn!(%tenant, "{tenant}: cannot run the command of [app.alive]");
            Ok(())
        }
        ended => visit::failure(ended).map_or(Ok(()), Err),
    }
}
