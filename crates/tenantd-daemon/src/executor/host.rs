//! The tasks that act on the host: one for each provision, launch and release, so that a slow one
//! does not delay the others. Each task sends its result to the loop as a report. Tasks do not use
//! the inventory and make no decisions.

pub(crate) mod admission;
pub(crate) mod calm;
pub(crate) mod claiming;
pub(crate) mod closing;
mod ends;
pub(crate) mod gate;
pub(crate) mod taking_up;
#[cfg(test)]
mod tests;
mod traffic;

use std::cell::RefCell;
use std::io;
use std::rc::Rc;
use std::sync::Arc;

use rustix::process::Rlimit;
use tokio::task::spawn_local;

use tenantd_api::wire::LogPlace;
use tenantd_core::cgroup::GroupLimits;
use tenantd_core::name::{AppName, TenantName};
use tenantd_core::plan::model::TenantPlan;
use tenantd_core::stage::{Failure, Stage};
use tenantd_core::supervisor::event::LaunchId;
use tenantd_host::cgroup::Leaf;
use tenantd_host::crash;
use tenantd_host::launch::MountTemplates;
use tenantd_host::netns::{self, ClosedNetns, NetnsMounts};
use tenantd_host::network::{Generation, Network, Question};
use tenantd_host::{fifo, hosts_folder, limits, process, want};

use crate::collect::shares::Collector;
pub(crate) use crate::executor::blocking::{blocking, broken};
use crate::executor::blocking::{blocking_change, both};
use crate::executor::cgroups::Cgroups;
use crate::executor::claims::{prove_ended, ready_datastore, unclaimed};
use crate::executor::inventory::Provisioned;
use crate::executor::report::{ReportKind, Reporter};
use crate::executor::takeovers::Takeovers;
use crate::executor::under_way::UnderWay;
use crate::executor::unwanted::Unwanted;
use crate::executor::visitors;
use crate::logs::Logs;
use crate::ready::notices::Notices;
use crate::stretch::{Part, Stretch};

use admission::Admission;
use closing::Leavers;
use ends::remove_objects;
pub(crate) use ends::{named, said};
use taking_up::TakingUp;

/// What all tasks on the host need.
pub(crate) struct Host {
    pub(crate) app: AppName,
    pub(crate) network: Network,
    /// Keeps the tenants' network namespaces alive.
    pub(crate) netns: Arc<NetnsMounts>,
    /// The cgroups; None if tenants are tracked by network namespace.
    pub(crate) cgroups: Option<Arc<Cgroups>>,
    pub(crate) logs: Logs,
    pub(crate) logs_go_to: LogPlace,
    pub(crate) collector: Collector,
    pub(crate) notices: Notices,
    pub(crate) reporter: Reporter,
    /// Counts the tasks that are running.
    pub(crate) under_way: UnderWay,
    /// The limit on open descriptors of a tenant, see [`tenantd_host::limits`].
    pub(crate) descriptors: Rlimit,
    /// The limits of all tenants together.
    pub(crate) total: RefCell<GroupLimits>,
    /// The mounts that all launches share.
    pub(crate) templates: Arc<MountTemplates>,
    pub(crate) stretch: Stretch,
    pub(crate) unwanted: Unwanted,
    pub(crate) visitors: Rc<visitors::Ending>,
    /// Who may take the datastore of another host.
    pub(crate) takeovers: Takeovers,
    /// Tenants whose connections are about to be ended.
    pub(crate) leavers: Rc<Leavers>,
    /// The adopted tenants are being admitted.
    pub(crate) admission: Rc<Admission>,
    pub(crate) taking_up: TakingUp,
}

impl Host {
    /// Sends a report to the loop.
    pub(crate) fn report(&self, tenant: &TenantName, kind: ReportKind) {
        self.reporter.report(tenant, kind);
    }

    /// Starts a task that acts on the host.
    pub(crate) fn spawn(&self, task: impl Future<Output = ()> + 'static) {
        let stretch = self.stretch.clone();
        spawn_local(async move { stretch.share(Part::Host, task).await });
    }

    /// Starts the provision of a tenant: makes everything that its launches need.
    pub(crate) fn provision(self: &Rc<Self>, plan: &Arc<TenantPlan>) {
        let (host, plan, task) = (Rc::clone(self), Arc::clone(plan), self.under_way.begin());
        // The link is planned for this network: a reload may change it meanwhile.
        let generation = self.network.generation();
        self.spawn(async move {
            let _task = task;
            // Residue may have what this tenant needs.
            host.taking_up.calm.end();
            host.taking_up.clearing.wait().await;
            let result = host.build(&plan, generation).await;
            host.report(&plan.name, ReportKind::Provisioned(result));
            crash::point("provision: reported", plan.name.as_str());
        });
    }

    async fn build(
        &self,
        plan: &Arc<TenantPlan>,
        generation: Generation,
    ) -> Result<Provisioned, Failure> {
        let leaf = match &self.cgroups {
            Some(cgroups) => Some(self.new_leaf(cgroups, &plan.name).await?),
            None => None,
        };
        crash::point("provision: leaf made", plan.name.as_str());
        let takeover = self.takeovers.take(&plan.name);
        let question = match ready_datastore(&self.app, plan, takeover).await {
            Ok(question) => question,
            Err(why) => {
                // Pipes and link may belong to a launch that still runs, so they stay.
                self.warn(plan, self.remove_leaf(plan, leaf.as_ref()));
                return Err(why);
            }
        };
        match self.make_resources(plan, (generation, question)).await {
            Ok(inode) => Ok(Provisioned {
                inode,
                has_netns: true,
                leaf,
                used: false,
            }),
            Err(why) => {
                self.warn(plan, self.undo(plan, leaf.as_ref()).await);
                Err(why)
            }
        }
    }

    fn warn(&self, plan: &TenantPlan, failures: Vec<Failure>) {
        for failure in failures {
            tracing::warn!(tenant = %plan.name, "cleaning up a failed provision: {failure}");
        }
    }

    /// Returns the inode of the network namespace.
    async fn make_resources(
        &self,
        plan: &TenantPlan,
        asked: (Generation, Question),
    ) -> Result<u64, Failure> {
        let read_ends = fifo::make(&self.app, &plan.name, plan.launch.identity.uid)?;
        crash::point("provision: pipes made", plan.name.as_str());
        self.logs
            .add(&plan.name, read_ends)
            .map_err(|error| broken(Stage::Log, &plan.name, &error))?;
        self.logs.pace(&plan.name, plan.log_rate);
        self.collector.add(plan).await?;
        crash::point("provision: collected", plan.name.as_str());
        // One that an earlier supervisor made would keep the link of that name.
        self.let_go(plan).await?;
        let netns = self.network.provision_in(plan.link.clone(), asked).await?;
        let inode = netns.inode();
        let kept = self.netns.keep(&plan.name, &netns).await;
        drop(netns);
        if let Err(error) = kept {
            // The kernel destroys it, and with it the link.
            let closed = ClosedNetns::from_inode(inode);
            let left = self.network.release(plan.link.clone(), closed).await;
            self.warn(plan, left.err().into_iter().collect());
            return Err(broken(Stage::Netns, &plan.name, &error));
        }
        crash::point("provision: network made", plan.name.as_str());
        self.give_name(&plan.name);
        let published = hosts_folder::publish(&self.app, &plan.name, &plan.link.addresses);
        if let Err(error) = published {
            let path = hosts_folder::path(&self.app, &plan.name);
            tracing::warn!(tenant = %plan.name, %error, "cannot write {}", path.display());
        }
        crash::point("provision: name given", plan.name.as_str());
        Ok(inode)
    }

    /// Has the network of a tenant watched that an earlier supervisor provisioned.
    pub(crate) fn keep_network(&self, plan: Option<&Arc<TenantPlan>>) {
        let Some(plan) = plan else {
            return;
        };
        let (network, plan) = (self.network.clone(), Arc::clone(plan));
        let admission = Rc::clone(&self.admission);
        let begun = admission.forgone();
        self.spawn(async move {
            admission.wait().await;
            // It is released, or is about to be.
            if admission.has_forgone(&plan.name, begun) {
                return;
            }
            // Boxed when it begins: of thousands of tenants, most wait until here.
            if let Err(why) = Box::pin(network.keep(plan.link.clone())).await {
                tracing::warn!("{why}");
            }
        });
    }

    /// Makes the tenant's name for ip-netns(8), also after an adoption: an earlier name leads to a descriptor of
    /// that supervisor. A failure is logged and has no other effect.
    pub(crate) fn give_name(&self, tenant: &TenantName) {
        if let Err(error) = netns::name::give(&self.app, tenant, &self.netns) {
            let error = anyhow::Error::from(error);
            tracing::warn!(%tenant, "{tenant}: cannot make its name for ip-netns(8): {error:#}");
        }
    }

    /// Removes the log pipes and the cgroup leaf. Continues after a failure.
    pub(super) async fn remove_resources(
        &self,
        plan: &TenantPlan,
        leaf: Option<&Leaf>,
    ) -> Vec<Failure> {
        let mut failures = Vec::new();
        failures.extend(take_name(&self.app, &plan.name).err());
        crash::point("release: name taken", plan.name.as_str());
        failures.extend(remove_objects(plan).await);
        crash::point("release: objects removed", plan.name.as_str());
        let closed = self.collector.remove(&plan.name).await;
        // Its last output cannot be read for now: it stays in the pipes.
        let stays = closed.as_ref().is_err_and(passes);
        failures.extend(closed.err());
        self.notices.remove(&plan.name);
        if !stays {
            self.logs.remove(&plan.name).await;
            crash::point("release: logs closed", plan.name.as_str());
            failures.extend(fifo::remove(&self.app, &plan.name).err());
            crash::point("release: pipes removed", plan.name.as_str());
        }
        failures.extend(self.remove_leaf(plan, leaf));
        crash::point("release: leaf removed", plan.name.as_str());
        failures
    }

    fn remove_leaf(&self, plan: &TenantPlan, leaf: Option<&Leaf>) -> Vec<Failure> {
        let (Some(cgroups), Some(leaf)) = (&self.cgroups, leaf) else {
            return Vec::new();
        };
        let results = [cgroups.watch.remove(&plan.name), leaf.remove()];
        results.into_iter().filter_map(Result::err).collect()
    }

    /// Which processes of an unadopted launch still run, for a tenant that this supervisor has not
    /// provisioned; or why that cannot be found out. None if there are none. Costs one look at the
    /// tenant's folder in the usual case that there is none.
    pub(crate) fn not_adopted(&self, plan: &TenantPlan) -> Option<String> {
        if !fifo::folder(&self.app, &plan.name).exists() {
            return None;
        }
        let Some(cgroups) = &self.cgroups else {
            return unclaimed(&self.app, plan)
                .err()
                .map(|failure| failure.to_string());
        };
        let leaf = cgroups.tree.found(&plan.name)?;
        let pids = match leaf.all_pids() {
            Ok(pids) if pids.is_empty() => return None,
            Ok(pids) => pids,
            Err(failure) => return Some(failure.to_string()),
        };
        let (pids, place) = (process::name_some(&pids), leaf.path().display());
        Some(format!(
            "an earlier launch still runs in {place} ({pids}): end it, for example with kill(1)"
        ))
    }

    /// Removes what an earlier supervisor left of a tenant that this one never provisioned, after
    /// proving that no process of the tenant is left.
    pub(crate) async fn remove_tenant_residue(
        &self,
        plan: &Arc<TenantPlan>,
    ) -> Result<(), Failure> {
        if !fifo::folder(&self.app, &plan.name).exists() {
            return Ok(());
        }
        let tree = self.cgroups.as_ref().map(|cgroups| &cgroups.tree);
        let leaf = tree.and_then(|tree| tree.found(&plan.name));
        prove_ended(&self.app, plan, (leaf.as_ref(), &self.visitors)).await?;
        self.keep_counters(plan, leaf.as_ref()).await;
        let failures = self.remove_resources(plan, leaf.as_ref()).await;
        failures.into_iter().next().map_or(Ok(()), Err)
    }

    /// Releases a tenant: removes its resources, after proving that no process of it is left.
    pub(crate) fn release(self: &Rc<Self>, plan: &Arc<TenantPlan>, provisioned: Provisioned) {
        let (host, plan) = (Rc::clone(self), Arc::clone(plan));
        let task = self.under_way.begin();
        self.spawn(async move {
            let _task = task;
            let result = host.deprovision(&plan, provisioned).await;
            host.report(&plan.name, ReportKind::Released(result));
            crash::point("release: reported", plan.name.as_str());
        });
    }

    async fn deprovision(
        &self,
        plan: &Arc<TenantPlan>,
        mut provisioned: Provisioned,
    ) -> Result<(), (Failure, Provisioned)> {
        // Only for the provision that an operator has asked for.
        self.takeovers.take(&plan.name);
        self.taking_up.claiming.forgo(&plan.name).await;
        let leaf = (provisioned.leaf.as_ref(), &*self.visitors);
        if let Err(why) = prove_ended(&self.app, plan, leaf).await {
            return Err((why, provisioned));
        }
        crash::point("release: nobody left", plan.name.as_str());
        self.keep_counters(plan, provisioned.leaf.as_ref()).await;
        if let Err(why) = self.close_network(plan, &mut provisioned).await {
            return Err((why, provisioned));
        }
        crash::point("release: network gone", plan.name.as_str());
        match self
            .remove_resources(plan, provisioned.leaf.as_ref())
            .await
            .into_iter()
            .next()
        {
            None => Ok(()),
            Some(why) => Err((why, provisioned)),
        }
    }

    /// Applies to the running launch everything in the plan that needs no relaunch.
    pub(crate) fn apply(
        self: &Rc<Self>,
        plan: &Arc<TenantPlan>,
        provisioned: &Provisioned,
        launch: LaunchId,
    ) {
        let (host, plan, provisioned) = (Rc::clone(self), Arc::clone(plan), provisioned.clone());
        let under_way = self.under_way.begin();
        self.spawn(async move {
            let tenant = plan.name.clone();
            let descriptors = host.descriptors;
            let limiter = host.limiter();
            let applied = blocking_change(move || {
                let leaf = provisioned.leaf.as_ref();
                let target = limits::Target {
                    leaf,
                    netns: provisioned.inode,
                    label: plan.name.as_str(),
                };
                // One that is refused keeps no other from being set.
                let limited = limiter.limit_tenant(leaf, &plan);
                both(
                    limited,
                    limits::apply(target, &plan.launch.limits, descriptors),
                )
            })
            .await;
            crash::point("apply: applied", tenant.as_str());
            host.report(&tenant, ReportKind::Applied(launch, applied));
            drop(under_way);
        });
    }
}

/// Removes a tenant's name for ip-netns(8), unless tenantd did not make it, and that for dnsmasq(8).
pub(crate) fn take_name(app: &AppName, tenant: &TenantName) -> Result<(), Failure> {
    let failed = |error| {
        let path = netns::name::path(app, tenant).display().to_string();
        let why = format!("{:#}", anyhow::Error::from(error));
        Failure::detail(Stage::Release, path, why)
    };
    let taken = netns::name::take(app, tenant).map(drop).map_err(failed);
    let withdrawn = hosts_folder::withdraw(app, tenant).map_err(|error| {
        let path = hosts_folder::path(app, tenant).display().to_string();
        Failure::detail(Stage::Release, path, error.to_string())
    });
    taken.and(withdrawn)
}

/// Whether the host lacks something for now.
fn passes(failure: &Failure) -> bool {
    want::error_passes(&io::Error::from_raw_os_error(failure.errno))
}
