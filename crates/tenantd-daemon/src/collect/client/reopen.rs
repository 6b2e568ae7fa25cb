//! The next collector, with the tenants of the one before: the supervisor opens their pipes again, as far as
//! it has descriptors, and passes them on. What fails is tried again.

use std::fmt::Display;
use std::fs::File;
use std::io;

use tokio::time::{Instant, sleep_until};

use super::{AGAIN, Client, add, start};
use tenantd_core::name::TenantName;

/// How many descriptors stay free while pipes are opened. Without them no collector could be started, and
/// what was opened for it would never be closed.
const SPARE: usize = 64;

impl Client {
    /// Starts another collector, with the same tenants.
    pub(super) async fn again(&mut self) -> io::Result<()> {
        self.watch_again();
        self.link.kill();
        self.link.reap().await;
        sleep_until(self.link.begun + AGAIN).await;
        self.link.begun = Instant::now();
        self.link = start(&self.app, self.number).await?;
        for (tenant, told) in self.tenants.clone() {
            if let Err(error) = self.open_again(&tenant) {
                self.postpone(&tenant, &error);
            }
            let again = add(&tenant, Some(told), None);
            let answer = self.exchange(&again).await?;
            if let Some(why) = answer.error {
                tracing::error!(%tenant, "{tenant}: cannot make the socket at its /dev/log: {why}");
            }
        }
        Ok(())
    }

    /// Opens the tenants' pipes, which the collector holds no longer. Without descriptors for all of them,
    /// the others are opened one by one for the next collector.
    fn watch_again(&self) {
        let _spare = match reserve() {
            Ok(spare) => spare,
            Err(error) => return tracing::warn!(%error, "cannot read the tenants' output for now"),
        };
        for tenant in self.tenants.keys() {
            if let Err(error) = self.ends.watch_again(tenant) {
                return tracing::warn!(%tenant, %error, "{tenant}: cannot read its output for now");
            }
        }
    }

    /// Opens the pipes of one tenant, if they are not open.
    fn open_again(&self, tenant: &TenantName) -> io::Result<()> {
        if !self.ends.lacks(tenant) {
            return Ok(());
        }
        let _spare = reserve()?;
        self.ends.watch_again(tenant)
    }

    /// The collector does not hold the pipes of a tenant: [`Client::try_again`].
    pub(super) fn postpone(&mut self, tenant: &TenantName, why: &dyn Display) {
        if self.later.insert(tenant.clone()) {
            tracing::warn!(
                %tenant,
                "{tenant}: cannot pass its output to the log collector, trying again every second: {why}"
            );
        }
    }

    /// Passes on the pipes that the collector does not hold yet.
    pub(super) async fn try_again(&mut self) {
        for tenant in self.later.clone() {
            if let Err(error) = self.open_again(&tenant) {
                tracing::debug!(%tenant, %error, "{tenant}: still cannot read its output");
                continue;
            }
            if let Err(error) = self.exchange(&add(&tenant, None, None)).await {
                tracing::warn!(%error, "no answer from the log collector");
                break;
            }
            // One of them may not be readable any more: then this process keeps the other.
            if !self.ends.has_both(&tenant) {
                self.later.remove(&tenant);
            }
        }
        self.tried = Instant::now();
    }
}

/// Descriptors that are closed once pipes have been opened.
fn reserve() -> io::Result<Vec<File>> {
    let first = File::open("/dev/null")?;
    let mut spare = Vec::with_capacity(SPARE);
    for _ in 1..SPARE {
        spare.push(first.try_clone()?);
    }
    spare.push(first);
    Ok(spare)
}
