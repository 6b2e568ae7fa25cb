//! Mends what of running tenants differs from their plans, on request: `tenantd verify --repair`.
//!
//! The net thread mends links, addresses, routes and the firewall, and a thread for blocking work the limits. What only
//! a restart mends is not touched.

use std::fs::File;
use std::rc::Rc;
use std::sync::Arc;

use tokio::sync::oneshot;

use tenantd_api::wire::Repaired;
use tenantd_api::wire::varlink::RepairedList;
use tenantd_core::name::TenantName;
use tenantd_core::plan::model::TenantPlan;
use tenantd_core::stage::{Failure, Stage};
use tenantd_host::limits;
use tenantd_host::netns::Netns;
use tenantd_host::network::Network;

use crate::executor::blocking::blocking_change;
use crate::executor::inventory::Provisioned;
use crate::requests::answer::Tenants;
use crate::requests::queue::Unknown;

/// What is mended of a tenant.
struct Target {
    plan: Arc<TenantPlan>,
    provisioned: Provisioned,
    /// Its first process.
    pid: i32,
}

/// Mends these tenants, and what all of them share. Answers when that is done.
pub(super) fn begin(
    tenants: Tenants<'_>,
    names: &[TenantName],
    reply: oneshot::Sender<Result<RepairedList, Unknown>>,
) {
    let names = match tenants.names(names) {
        Ok(names) => names,
        Err(unknown) => return drop(reply.send(Err(unknown))),
    };
    let target = |name: &TenantName| {
        let entry = tenants.executor.inventory().get(name)?;
        let process = entry.running.as_ref()?.process.as_ref()?;
        // A later plan with another address is for the next provision.
        let next = entry.next.as_ref();
        let next = next.filter(|it| it.link.addresses == entry.plan.link.addresses);
        Some(Target {
            plan: Arc::clone(next.unwrap_or(&entry.plan)),
            provisioned: entry.provisioned.clone()?,
            pid: process.pid,
        })
    };
    let targets: Vec<Target> = names.iter().filter_map(target).collect();
    let host = tenants.executor.host();
    let (network, descriptors) = (host.network.clone(), host.descriptors);
    let (limiter, admission) = (host.limiter(), Rc::clone(&host.admission));
    host.spawn(async move {
        admission.wait().await;
        let shared = network.restore().await.err().map(|why| why.to_string());
        let mut all = Vec::with_capacity(targets.len());
        for target in targets {
            let tenant = target.plan.name.clone();
            let of_network = repair_network(&network, &target).await.err();
            let limiter = limiter.clone();
            let of_limits = blocking_change(move || {
                let Target {
                    plan, provisioned, ..
                } = target;
                let target = limits::Target {
                    leaf: provisioned.leaf.as_ref(),
                    netns: provisioned.inode,
                    label: plan.name.as_str(),
                };
                limiter.limit_tenant(provisioned.leaf.as_ref(), &plan)?;
                limits::apply(target, &plan.launch.limits, descriptors)
            });
            let of_limits = of_limits.await.err();
            let failed: Vec<String> = [of_network, of_limits]
                .iter()
                .flatten()
                .map(ToString::to_string)
                .collect();
            tracing::info!(%tenant, "{tenant}: mended what differs from the plan, as requested");
            all.push(Repaired {
                tenant,
                failed: (!failed.is_empty()).then(|| failed.join("; ")),
            });
        }
        let _gone = reply.send(Ok(RepairedList {
            shared,
            tenants: all,
        }));
    });
}

async fn repair_network(network: &Network, target: &Target) -> Result<(), Failure> {
    let Target {
        plan,
        provisioned,
        pid,
    } = target;
    let path = format!("/proc/{pid}/ns/net");
    let netns = File::open(&path).and_then(|file| Netns::from_fd(file.into()));
    let netns = netns.map_err(|error| {
        let errno = error.raw_os_error().unwrap_or_default();
        Failure::errno(Stage::EnterNetns, path.as_str(), errno)
    })?;
    if netns.inode() != provisioned.inode {
        let why = "its program is in another network namespace: restart it";
        return Err(Failure::detail(Stage::EnterNetns, path, why));
    }
    network.repair(plan.link.clone(), netns).await
}
