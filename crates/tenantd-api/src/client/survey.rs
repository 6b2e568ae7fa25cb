//! Asks the supervisors of several applications at once, each with a time limit.

use std::time::Duration;

use futures_util::future::join_all;

use crate::wire::AppStatus;
use tenantd_core::name::{AppName, TenantName};

use super::{ClientError, Connection};

/// A sensible time limit for one answer. A supervisor answers within milliseconds, also while it
/// starts hundreds of tenants.
pub const PATIENCE: Duration = Duration::from_secs(5);

/// The result for one application.
#[derive(Debug)]
pub struct Found {
    /// The application.
    pub app: AppName,
    /// Its state, or why the state is unknown.
    pub status: Result<AppStatus, ClientError>,
}

/// Asks all these applications for their state, at the same time. The results are in the order of
/// `apps`; each takes at most `limit`.
pub async fn survey(apps: Vec<AppName>, limit: Duration) -> Vec<Found> {
    let asked = apps.into_iter().map(|app| async move {
        let status = ask(&app, &[], limit).await;
        Found { app, status }
    });
    join_all(asked).await
}

/// Asks one application for the state of these tenants, or of all if the list is empty.
///
/// # Errors
/// [`ClientError::Silent`] if there is no answer within `limit`. See [`ClientError`] for the
/// others.
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
