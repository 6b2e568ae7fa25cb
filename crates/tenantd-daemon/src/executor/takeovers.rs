//! Who may take over the datastore of another host.

use std::cell::RefCell;
use std::collections::BTreeMap;
use std::rc::Rc;
use std::time::{Duration, Instant};

use tenantd_core::name::TenantName;

use crate::requests::answer::Tenants;
use crate::requests::queue::Unknown;

/// How long it is allowed without a start.
const LIMIT: Duration = Duration::from_secs(60);

/// The tenants whose next provision may do so, and since when. Clones share them.
#[derive(Debug, Clone, Default)]
pub(crate) struct Takeovers(Rc<RefCell<BTreeMap<TenantName, Instant>>>);

impl Takeovers {
    /// Allows it once, for a minute.
    pub(crate) fn allow(&self, tenant: &TenantName) {
        self.0.borrow_mut().insert(tenant.clone(), Instant::now());
    }

    /// Allows it no longer. Returns whether it was allowed.
    pub(crate) fn take(&self, tenant: &TenantName) -> bool {
        let allowed = self.0.borrow_mut().remove(tenant);
        allowed.is_some_and(|since| since.elapsed() < LIMIT)
    }
}

impl Tenants<'_> {
    /// Allows it to these tenants, or to all if none is named.
    pub(crate) fn allow_takeover(self, tenants: &[TenantName]) -> Result<(), Unknown> {
        let takeovers = &self.executor.host().takeovers;
        let names = self.names(tenants)?;
        names.iter().for_each(|tenant| takeovers.allow(tenant));
        Ok(())
    }
}
