//! The tenants for which something is being done, and a wait for the end of that.

use std::cell::RefCell;
use std::collections::BTreeSet;
use std::rc::Rc;

use tokio::sync::Notify;

use tenantd_core::name::TenantName;

/// The tenants for which something is being done.
#[derive(Debug, Default)]
pub(crate) struct Busy {
    tenants: RefCell<BTreeSet<TenantName>>,
    over: Notify,
}

/// It is being done for a tenant. Dropping this ends that.
#[derive(Debug)]
#[must_use = "it is over once this is dropped"]
pub(crate) struct UnderWay(Rc<Busy>, TenantName);

impl Busy {
    /// Begins. `None` if it is being done for that tenant already.
    pub(crate) fn begin(self: &Rc<Self>, tenant: &TenantName) -> Option<UnderWay> {
        let is_first = self.tenants.borrow_mut().insert(tenant.clone());
        is_first.then(|| UnderWay(Rc::clone(self), tenant.clone()))
    }

    /// Whether it is being done for a tenant.
    pub(crate) fn has(&self, tenant: &TenantName) -> bool {
        self.tenants.borrow().contains(tenant)
    }

    /// Waits until it is not being done for a tenant. Cancel-safe.
    pub(crate) async fn wait(&self, tenant: &TenantName) {
        loop {
            let over = self.over.notified();
            if !self.has(tenant) {
                return;
            }
            over.await;
        }
    }
}

impl Drop for UnderWay {
    fn drop(&mut self) {
        let Self(busy, tenant) = self;
        busy.tenants.borrow_mut().remove(tenant);
        busy.over.notify_waiters();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn the_second_waits() {
        let busy = Rc::new(Busy::default());
        let [acme, bolt]: [TenantName; 2] = ["acme", "bolt"].map(|name| name.parse().unwrap());
        busy.wait(&acme).await;
        let first = busy.begin(&acme).unwrap();
        assert!(busy.begin(&acme).is_none());
        assert!(busy.has(&acme) && !busy.has(&bolt));
        busy.wait(&bolt).await;
        let early = tokio::select! {
            biased;
            () = busy.wait(&acme) => true,
            () = std::future::ready(()) => false,
        };
        assert!(!early);
        let (waiting, ends) = (busy.wait(&acme), async { drop(first) });
        tokio::join!(waiting, ends);
        assert!(busy.begin(&acme).is_some());
    }
}
