//! The last failure of each tenant, written for the next supervisor: see [`tenantd_host::failures`].

use std::sync::atomic::{AtomicBool, Ordering};

use tenantd_core::name::{AppName, TenantName};
use tenantd_host::failures::{self, Failed};

use super::{HISTORY, Work};

/// Whether the last one could not be written, which is logged once.
static IS_LOST: AtomicBool = AtomicBool::new(false);

/// Keeps the last failure of a tenant for the next supervisor, or forgets it.
pub(crate) fn last_failure(tenant: &TenantName, failed: Option<Failed>) {
    let Some(history) = HISTORY.get() else {
        return;
    };
    let work = Work::Failure(tenant.clone(), failed);
    if history.queue.try_send(work).is_err() {
        tracing::warn!(%tenant, "{tenant}: the next supervisor will not know its last failure: too many lines wait to be written");
    }
}

/// Writes it, on the thread of the history.
pub(super) fn write(app: &AppName, tenant: &TenantName, failed: Option<Failed>) {
    let written = match failed {
        Some(failed) => failures::keep(app, tenant, &failed),
        None => failures::forget(app, tenant),
    };
    let was_lost = IS_LOST.swap(written.is_err(), Ordering::Relaxed);
    if let (Err(error), false) = (written, was_lost) {
        let folder = tenantd_core::layout::FAILURES;
        tracing::error!(
            "cannot write below {folder}/{app}; the next supervisor does not know the last failures until writing succeeds: {error}"
        );
    }
}
