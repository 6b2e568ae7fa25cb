//! Asks the supervisors of several applications at once, and waits for each no longer than it was
//! told to.

use std::time::Duration;

use futures_util::future::join_all;

use crate::name::AppName;
use crate::wire::AppStatus;

use super::{ClientError, Connection};

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
    join_all(apps.into_iter().map(|app| ask(app, limit))).await
}

async fn ask(app: AppName, limit: Duration) -> Found {
    let answer = async { Connection::open(&app).await?.status(&[]).await };
    let status = match tokio::time::timeout(limit, answer).await {
        Ok(answer) => answer,
        Err(_) => Err(ClientError::Silent {
            app: app.clone(),
            limit,
        }),
    };
    Found { app, status }
}
