//! `upgrade`: has the supervisor execute the program on disk in its own process, and waits until the
//! new program answers.

use std::io::Write;
use std::time::Duration;

use super::End;
use tenantd_api::client::{ClientError, Connection};
use tenantd_core::name::AppName;

/// How long it may take: the preflight, the tasks under way, and the start.
const LIMIT: Duration = Duration::from_secs(60);

pub(super) fn upgrade(app: &AppName) -> anyhow::Result<End> {
    let upgraded = async { Connection::open(app).await?.upgrade().await };
    let (begun, now) = super::converse(async {
        match tokio::time::timeout(LIMIT, upgraded).await {
            Ok(upgraded) => Ok(upgraded?),
            Err(_) => Err(ClientError::Silent {
                app: app.clone(),
                limit: LIMIT,
            }
            .into()),
        }
    })?;
    writeln!(
        anstream::stdout(),
        "{app}: upgraded from {} to {}, still with pid {}",
        begun.from,
        now.version,
        now.pid
    )?;
    Ok(End::Done)
}
