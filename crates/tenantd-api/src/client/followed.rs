//! Follows all supervisors of this host: a subscription to each, so that a reader asks none of them. Each call of
//! [`Followed::find`] looks for supervisors that were started.

use std::cell::RefCell;
use std::collections::BTreeSet;
use std::rc::Rc;
use std::time::Duration;

use futures_util::future::join_all;
use tokio::task::spawn_local;
use tokio::time::timeout;

use super::watch::{Subscription, Watched};
use super::{ClientError, app};
use tenantd_core::name::AppName;

/// How long a supervisor may take to answer.
const PATIENCE: Duration = Duration::from_secs(2);

/// What is made of what supervisors say.
pub trait Listener {
    /// A supervisor says this. The first thing is a snapshot.
    fn take(&mut self, app: &AppName, watched: Watched);

    /// These applications have a control socket, whether a supervisor answers there or not.
    fn on_running(&mut self, _apps: &[AppName]) {}

    /// A supervisor is not followed any longer.
    fn on_lost(&mut self, _app: &AppName) {}
}

/// The supervisors of this host. Clones are the same. Only for a tokio `LocalSet`.
#[derive(Debug, Default)]
pub struct Followed<T>(Rc<RefCell<Inner<T>>>);

#[derive(Debug, Default)]
struct Inner<T> {
    apps: BTreeSet<AppName>,
    listener: T,
}

impl<T> Clone for Followed<T> {
    fn clone(&self) -> Self {
        Self(Rc::clone(&self.0))
    }
}

impl<T: Listener + 'static> Followed<T> {
    /// Subscribes to the supervisors that are there and not followed yet. Returns what went wrong, each with its
    /// subject.
    pub async fn find(&self) -> Vec<String> {
        let running = match app::running() {
            Ok(running) => running,
            Err(error) => return vec![format!("cannot list the applications: {error}")],
        };
        let new = running.iter().filter(|app| !self.is_followed(app));
        let asked = new.map(|app| async move {
            match timeout(PATIENCE, self.follow(app)).await {
                Ok(Ok(())) => None,
                // Its socket is left of one that died: not worth a line each time.
                Ok(Err(error)) if error.is_gone() => None,
                Ok(Err(error)) => Some(format!("{app}: {error}")),
                Err(_) => Some(format!("{app}: its supervisor does not answer")),
            }
        });
        let complaints = join_all(asked).await;
        // After the answers, so that one that was just found is not shown without them.
        self.with(|listener| listener.on_running(&running));
        complaints.into_iter().flatten().collect()
    }

    async fn follow(&self, app: &AppName) -> Result<(), ClientError> {
        let mut subscription = Subscription::open(app, &[]).await?;
        let first = subscription.next().await?;
        self.0.borrow_mut().apps.insert(app.clone());
        self.with(|listener| listener.take(app, first));
        let (this, app) = (self.clone(), app.clone());
        spawn_local(async move {
            while let Ok(watched) = subscription.next().await {
                this.with(|listener| listener.take(&app, watched));
            }
            // The next call looks for a successor.
            this.0.borrow_mut().apps.remove(&app);
            this.with(|listener| listener.on_lost(&app));
        });
        Ok(())
    }

    /// Whether the supervisor of an application is followed.
    #[must_use]
    pub fn is_followed(&self, app: &AppName) -> bool {
        self.0.borrow().apps.contains(app)
    }

    /// Uses what was made of what they said.
    pub fn with<R>(&self, act: impl FnOnce(&mut T) -> R) -> R {
        act(&mut self.0.borrow_mut().listener)
    }
}
