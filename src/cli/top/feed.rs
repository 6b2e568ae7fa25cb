//! The subscription to the tenants' events. Once it ends, it is opened again until a supervisor answers.

use std::time::Duration;

use tokio::time::{Instant, sleep_until};

use tenantd_api::client::ClientError;
use tenantd_api::client::watch::{Subscription, Watched};
use tenantd_core::name::{AppName, TenantName};

/// How often a supervisor is looked for that does not answer.
const AGAIN: Duration = Duration::from_secs(1);

/// The subscription, or when to open it again.
pub(super) struct Feed {
    app: AppName,
    names: Vec<TenantName>,
    state: State,
}

enum State {
    Open(Box<Subscription>),
    Lost(Instant),
}

impl Feed {
    /// Subscribes to these tenants, or to all if there are none.
    ///
    /// # Errors
    /// Those of [`Subscription::open`].
    pub(super) async fn open(app: &AppName, names: Vec<TenantName>) -> Result<Self, ClientError> {
        let open = Subscription::open(app, &names).await?;
        Ok(Self {
            app: app.clone(),
            names,
            state: State::Open(Box::new(open)),
        })
    }

    /// Waits for the next event. An error says why there is none for now: a later call opens the subscription
    /// again, which begins with a snapshot. It is cancel-safe.
    ///
    /// # Errors
    /// Those of [`Subscription::open`] and [`Subscription::next`].
    pub(super) async fn next(&mut self) -> Result<Watched, ClientError> {
        if let State::Lost(until) = self.state {
            sleep_until(until).await;
            match Subscription::open(&self.app, &self.names).await {
                Ok(open) => self.state = State::Open(Box::new(open)),
                Err(error) => return Err(self.lose(error)),
            }
        }
        let next = match &mut self.state {
            State::Open(open) => open.next().await,
            // Not reached: it is open by now.
            State::Lost(_) => std::future::pending().await,
        };
        next.map_err(|error| self.lose(error))
    }

    fn lose(&mut self, error: ClientError) -> ClientError {
        self.state = State::Lost(Instant::now() + AGAIN);
        error
    }
}
