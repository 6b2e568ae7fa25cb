//! How often the output of tenants was held back, because they write faster than `log_rate`.

use std::collections::BTreeMap;

use tokio::sync::mpsc;

use super::times;
use crate::executor::inventory::Entry;
use crate::logs::{HeldBack, Logs};
use tenantd_core::name::TenantName;
use tenantd_core::plan::model::{Bound, Measure};

/// The limit in the manifest.
pub(super) const LIMIT: &str = "log_rate";

/// The counts of all tenants whose output was held back.
pub(super) struct Counts {
    notices: mpsc::Receiver<HeldBack>,
    of: BTreeMap<TenantName, u64>,
}

impl Counts {
    /// Counts from now on.
    pub(super) fn of(logs: &Logs) -> Self {
        Self {
            notices: logs.held_back(),
            of: BTreeMap::new(),
        }
    }

    /// The next tenant whose count has grown. Cancelling this loses nothing.
    pub(super) async fn next(&mut self) -> TenantName {
        let Some(HeldBack { tenant, times }) = self.notices.recv().await else {
            // The logs have ended.
            return std::future::pending().await;
        };
        self.of.insert(tenant.clone(), times);
        tenant
    }

    /// The count of a tenant, as those of its cgroup are.
    pub(super) fn count(&self, tenant: &TenantName) -> Option<(String, u64)> {
        let count = self.of.get(tenant).copied()?;
        Some((LIMIT.to_owned(), count))
    }

    /// Its pipes are not read any more.
    pub(super) fn forget(&mut self, tenant: &TenantName) {
        self.of.remove(tenant);
    }
}

/// What happened, as text.
pub(super) fn text(count: u64, entry: Option<&Entry>) -> String {
    let times = times(count);
    let is = entry.map_or_else(String::new, |entry| {
        let rate = Bound::Number(entry.planned().log_rate).shown(Measure::Bytes);
        format!(": {LIMIT} is {rate} a second")
    });
    format!("its program waited {times} until its output was read{is}")
}
