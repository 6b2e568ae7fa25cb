//! The service of each connection.

use std::sync::Arc;

use tokio::sync::Semaphore;
use tokio::sync::watch::Receiver;

use super::Service;
use crate::requests::control::admission::Admitted;
use crate::requests::control::deputies::Deputies;
use crate::requests::queue::RequestQueue;
use tenantd_core::name::AppName;

impl Service {
    pub(in crate::requests::control) fn new(
        app: AppName,
        queue: RequestQueue,
        deputies: Deputies,
    ) -> Self {
        Self {
            app,
            queue,
            deputies,
            peer: None,
            judge: None,
            closed: None,
            subscriptions: Arc::new(Semaphore::new(0)),
            limit: 0,
        }
    }

    /// The service for a connection of this peer.
    pub(in crate::requests::control) fn of(&self, peer: &Admitted, closed: &Receiver<()>) -> Self {
        Self {
            app: self.app.clone(),
            queue: match peer.client() {
                None => self.queue.clone(),
                Some(client) => self.queue.of(client),
            },
            deputies: self.deputies.clone(),
            peer: peer.pid,
            judge: Some(peer.judge.clone()),
            closed: Some(closed.clone()),
            subscriptions: Arc::clone(&peer.subscriptions),
            limit: peer.limit.subscriptions,
        }
    }
}
