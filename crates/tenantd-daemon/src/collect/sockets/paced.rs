//! Sockets of tenants that send faster than `log_rate`: nothing is received there for a while, and the programs wait.

use std::collections::BTreeSet;
use std::io;
use std::sync::PoisonError;
use std::time::Instant;

use rustix::event::{Timespec, epoll};

use super::{Socket, Sockets};
use tenantd_core::name::TenantName;

impl Sockets {
    /// Receives so many bytes a second of a tenant's messages from now on.
    pub(in crate::collect) fn pace(&self, tenant: &TenantName, rate: u64) {
        if let Some(socket) = self.open().get(tenant) {
            let mut pace = socket.pace.lock().unwrap_or_else(PoisonError::into_inner);
            pace.set(rate);
        }
    }

    /// Receives the messages again that had to wait. Returns how long the next ones have to.
    pub(super) fn end_waiting(
        &self,
        waiting: &mut BTreeSet<(Instant, u64)>,
    ) -> io::Result<Option<Timespec>> {
        let now = Instant::now();
        while let Some(&(at, key)) = waiting.first() {
            if at > now {
                return Ok(Timespec::try_from(at - now).ok());
            }
            waiting.pop_first();
            let socket = self.open().by_key.get(&key).cloned();
            if let Some(socket) = socket {
                self.watch(&socket, key, epoll::EventFlags::IN)?;
            }
        }
        Ok(None)
    }

    pub(super) fn watch(
        &self,
        socket: &Socket,
        key: u64,
        how: epoll::EventFlags,
    ) -> io::Result<()> {
        let data = epoll::EventData::new_u64(key);
        Ok(epoll::modify(&self.epoll, &socket.inbox, data, how)?)
    }
}
