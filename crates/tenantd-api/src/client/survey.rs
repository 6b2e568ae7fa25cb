//! Asks the supervisors of several applications at once, and waits for each no longer than it was
//! told to.

use std::time::Duration;

use futures_util::future::join_all;

use crate::wire::AppStatus;
use tenantd_core::name::{AppName, TenantName};

use super::{ClientError, Connection};

/// How long a supervisor may take to say its state before it counts as one that does not. It answers
/// within milliseconds, also while it starts hundreds of tenants.
pub const PATIENCE: Duration = Duration::from_secs(5);

/// What was learnt of one application.
#[derive(Debug)]
pub struct Found {
    /// Which.
    pub app: AppName,
    /// Its state, or why that is not known.
    pub status: Result<AppStatus, ClientError>,
}

/// Asks them all, in their order.
pub async fn survey(apps: Vec<AppName>, limit: Duration) -> Vec<Found> {
    let asked = apps.into_iter().map(|app| async move {
        let status = ask(&app, &[], limit).await;
        Found { app, status }
    });
    join_all(asked).await
}

/// Asks one of them for the state of these tenants, or of all if none is named.
///
/// # Errors
/// See [`ClientError`].
pub async fn ask(
    app: &AppName,
    tenants: &[TenantName],
    limit: Duration,
) -> Result<AppStatus, ClientError> {
    let answer = async { Connection::open(app).await?.status(tenants).await };
    match tokio::time::timeout(limit, answer).await {
        Ok(answer) => answer,
        Err(_) => Err(ClientError::Silent {
            app: app.clone(),
            limit,
        }),
    }
}
