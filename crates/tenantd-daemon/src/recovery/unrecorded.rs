//! Unrecorded launches: adopts a running launch without a record of it.
//!
//! The state file may be missing or damaged while tenants run. Then three facts, together, prove
//! that a launch is a tenant's:
//!
//! * its first process is the oldest process in the tenant's cgroup or, without cgroups, the
//!   process in the claim of the tenant's datastore;
//! * this process is in the network namespace to which the link with the tenant's mark leads;
//! * the claim of the datastore has the tenant's name, this cgroup and this process. If an earlier
//!   version made the launch, the inherited lock of the datastore is held, and signed with the name.
//!
//! If one of them is missing, the launch is not adopted and not touched, and the log says what to
//! do. This costs a few system calls for each such tenant, and none for any other.

use std::fs::File;
use std::io;
use std::os::fd::AsFd;
use std::sync::Arc;

use tenantd_core::plan::effect::Fingerprints;
use tenantd_core::plan::holders::Holding;
use tenantd_core::plan::model::TenantPlan;
use tenantd_core::stage::{Failure, Stage};
use tenantd_core::supervisor::checkpoint::{Checkpoint, Fate};
use tenantd_core::supervisor::event::LaunchId;
use tenantd_host::cgroup::Leaf;
use tenantd_host::claim::{self, CgroupKey, Holder};
use tenantd_host::netns::Netns;
use tenantd_host::network::LinkTarget;
use tenantd_host::{datastore, fifo, lock, process};

use crate::clock;
use crate::executor::host::blocking;
use crate::executor::inventory::Process;
use crate::recovery::Recovery;
use crate::recovery::processes::{oldest, open_process};
use crate::recovery::survivors::Survivor;
use crate::state_file::record::{Made, ProcessKey, Record};

/// What is assumed of a launch without a record.
#[derive(Debug, Clone, Copy)]
pub(crate) struct UnrecordedLaunch {
    /// The number it gets, which no other launch has.
    pub(crate) launch: LaunchId,
    /// Whether it is wanted up even if the manifest says `autostart = false`: it was started, and
    /// no permanent want says otherwise.
    pub(crate) wanted: bool,
}

/// Which proof is missing.
#[derive(Debug, thiserror::Error)]
enum Unproved {
    #[error("no claim says that its datastore {0} is in use")]
    Unclaimed(String),
    #[error("its datastore is claimed by {0}")]
    Foreign(String),
    #[error("the claim of its datastore has another cgroup")]
    OtherCgroup,
    #[error("the process in the claim of its datastore has ended")]
    Gone,
    #[error("no link has its mark {0}")]
    NoLink(String),
    #[error("its link leads to another network namespace")]
    Elsewhere,
    #[error("{0}")]
    Failed(#[from] Failure),
    #[error("it cannot be inspected: {0}")]
    Unseen(#[from] io::Error),
}

impl Recovery {
    /// What is left of a tenant without a record: its launch, if it runs and is proved to be the
    /// tenant's, or its resources.
    pub(crate) async fn adopt_unrecorded(
        &self,
        plan: &Arc<TenantPlan>,
        unrecorded: UnrecordedLaunch,
    ) -> Option<Survivor> {
        let tenant = &plan.name;
        let leaf = self
            .host
            .cgroups
            .as_ref()
            .and_then(|c| c.tree.found(tenant));
        let (first, why) = match self.candidate(plan, leaf.as_ref()).await {
            Ok(None) => return self.survivor(plan, None),
            Ok(Some((first, holder))) => {
                let claim = (leaf.as_ref(), holder);
                match self.prove(plan, &first, claim, unrecorded).await {
                    Ok(record) => return self.adopt_proved(plan, &record),
                    Err(why) => (Some(first.pid), why),
                }
            }
            Err(why) => (None, why),
        };
        let who = first.map_or_else(String::new, |pid| format!(" (process {pid})"));
        tracing::warn!(
            %tenant,
            "{tenant}: not adopted{who}: its launch has no record, and {why}. It is left alone: \
             end it, for example with kill(1), and the tenant is started again"
        );
        None
    }

    fn adopt_proved(&self, plan: &Arc<TenantPlan>, record: &Record) -> Option<Survivor> {
        let tenant = &plan.name;
        let survivor = self.survivor(plan, Some(record));
        if let Some(survivor) = &survivor
            && survivor.found.fate == Fate::Lives
            && survivor.found.outdated.is_none()
        {
            tracing::warn!(
                %tenant,
                "{tenant}: adopted without a record: cgroup, network and claim prove that the \
                 launch is this tenant's. It keeps running. Changes to its manifest since then cannot be \
                 detected: `tenantd restart {tenant}` applies today's"
            );
        }
        survivor
    }

    /// The process that is probably the first of a launch, with the holder of the datastore.
    async fn candidate(
        &self,
        plan: &TenantPlan,
        leaf: Option<&Leaf>,
    ) -> Result<Option<(Process, Option<Holder>)>, Unproved> {
        let may_live = match leaf {
            Some(leaf) => leaf.is_populated()?,
            None => {
                self.host.cgroups.is_none() && fifo::folder(&self.host.app, &plan.name).exists()
            }
        };
        if !may_live {
            return Ok(None);
        }
        let holder = holder(plan).await?;
        let Some(leaf) = leaf else {
            let Some(holder) = holder else {
                return Ok(None);
            };
            let key = holder.first.and_then(ProcessKey::of);
            let first = key.map(open_process).transpose()?.flatten();
            return Ok(Some((first.ok_or(Unproved::Gone)?, Some(holder))));
        };
        Ok(oldest(leaf)?.map(|first| (first, holder)))
    }

    /// Proves that a launch is this tenant's, and makes a record of it.
    async fn prove(
        &self,
        plan: &TenantPlan,
        first: &Process,
        (leaf, holder): (Option<&Leaf>, Option<Holder>),
        unrecorded: UnrecordedLaunch,
    ) -> Result<Record, Unproved> {
        let source = || plan.datastore.source.display().to_string();
        let holder = holder.ok_or_else(|| Unproved::Unclaimed(source()))?;
        if holder.label != lock::label(&self.host.app, &plan.name) {
            return Err(Unproved::Foreign(holder.label));
        }
        if let (Some(claimed), Some(leaf)) = (&holder.cgroup, leaf)
            && CgroupKey::of(leaf)?.id != claimed.id
        {
            return Err(Unproved::OtherCgroup);
        }
        let netns = File::open(format!("/proc/{}/ns/net", first.pid))?;
        let netns = Arc::new(Netns::from_fd(netns.into())?);
        // The process is still alive, so its number, and the namespace read by it, were its own.
        if process::is_over(&first.fd).map_err(io::Error::from)? {
            return Err(Unproved::Gone);
        }
        let inode = netns.inode();
        let addresses = match self
            .host
            .network
            .link_target(plan.link.clone(), netns)
            .await?
        {
            LinkTarget::Here { addresses } => addresses,
            LinkTarget::Elsewhere => return Err(Unproved::Elsewhere),
            LinkTarget::NoLink => return Err(Unproved::NoLink(plan.link.mark.clone())),
        };
        let mut made = Made::by(plan);
        if addresses.as_ref() != Some(&plan.link.addresses) {
            // The only change of the plan that can be seen from outside.
            made.by.reprovision = Fingerprints::NONE.reprovision;
            made.holds = addresses.map(|addresses| Holding {
                addresses,
                source: Some(plan.datastore.source.clone()),
            });
        }
        let started_at = clock::at_ticks(first.start_ticks);
        let checkpoint = Checkpoint::of_launch(unrecorded.launch, started_at, false, 0);
        // The first process of a tenant that daemonizes has ended already.
        let is_first = holder.first == Some(first.pid) || !plan.policy.daemonizes;
        if !is_first_of(&holder, first) && !plan.policy.daemonizes {
            return Err(Unproved::Gone);
        }
        Ok(Record {
            tenant: plan.name.clone(),
            checkpoint: if unrecorded.wanted {
                checkpoint.requested()
            } else {
                checkpoint
            },
            process: is_first.then_some(ProcessKey {
                pid: first.pid,
                start_ticks: first.start_ticks,
            }),
            netns: inode,
            made,
            program: None,
            view: None,
            main: None,
            statement: crate::ready::notice::Statement::default(),
        })
    }
}

/// Whether a process is the first of the launch that has a datastore. The lock of a launch that an
/// earlier version made says so by its copies only.
fn is_first_of(holder: &Holder, first: &Process) -> bool {
    holder.by_lock || holder.first == Some(first.pid)
}

/// The launch that uses the datastore of a tenant.
async fn holder(plan: &TenantPlan) -> Result<Option<Holder>, Failure> {
    let path = plan.datastore.source.clone();
    // The datastore may be on a filesystem that hangs.
    blocking(move || match datastore::open(&path) {
        Ok(datastore) => claim::holder_of(datastore.as_fd(), &path),
        Err(rustix::io::Errno::NOENT) => Ok(None),
        Err(errno) => {
            let object = path.display().to_string();
            Err(Failure::errno(Stage::Lock, object, errno.raw_os_error()))
        }
    })
    .await
}
