//! Changes of the addresses, traffic and rates of a tenant that has its link.

use std::rc::Rc;
use std::sync::Arc;

use tenantd_core::name::TenantName;
use tenantd_core::plan::model::{LinkPlan, TenantPlan};
use tenantd_core::stage::{Failure, Stage};
use tenantd_host::crash;

use super::{Host, blocking, broken};

impl Host {
    /// Gives a provisioned tenant the addresses and the traffic of its new plan. A failure is logged: then it has the
    /// traffic that it had, until the next change or provision.
    pub(crate) fn admit(self: &Rc<Self>, plan: &Arc<TenantPlan>) {
        let (host, plan) = (Rc::clone(self), Arc::clone(plan));
        let under_way = self.under_way.begin();
        self.spawn(async move {
            host.admission.wait().await;
            let admitted = host.admit_now(&plan.name, plan.link.clone()).await;
            for failure in [admitted, host.limit_outward(&plan).await].into_iter().filter_map(Result::err) {
                let name = &plan.name;
                tracing::error!(tenant = %name, "{name}: cannot change its addresses or traffic: {failure}");
            }
            crash::point("apply: admitted", plan.name.as_str());
            drop(under_way);
        });
    }

    /// Lets a provisioned tenant send at the rate of its plan.
    pub(crate) async fn limit_outward(&self, plan: &Arc<TenantPlan>) -> Result<(), Failure> {
        let (namespaces, plan) = (Arc::clone(&self.netns), Arc::clone(plan));
        let limited = blocking(move || {
            let opened = namespaces.open(&plan.name);
            let opened = opened.map_err(|error| broken(Stage::EnterNetns, &plan.name, &error))?;
            match opened {
                Some(netns) => tenantd_host::network::limit_outward(&netns, &plan.link),
                None => Ok(()),
            }
        });
        limited.await
    }

    /// The same, for a caller that waits for it.
    pub(crate) async fn admit_now(
        &self,
        tenant: &TenantName,
        link: LinkPlan,
    ) -> Result<(), Failure> {
        let netns = self.netns.open(tenant).map_err(|error| {
            let errno = error.raw_os_error().unwrap_or(libc::EIO);
            Failure::errno(Stage::Netns, tenant.as_str(), errno)
        })?;
        self.network.admit(link, netns).await
    }
}
