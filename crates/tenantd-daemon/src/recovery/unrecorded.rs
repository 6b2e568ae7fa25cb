//! Unrecorded launches: what proves that a launch of which nothing is written down is a tenant's.
//!
//! The state file may be gone or damaged while tenants live. What the kernel says of them has to do then:
//! the oldest process of the tenant's cgroup, or, where there are no cgroups, the one that signed the
//! lock of its datastore; the network namespace that the tenant's marked link leads to, and no other;
//! and the lock, which is held, and signed in the tenant's name. What lacks one of these is not
//! adopted: it is left alone, and the log says what to do. A few system calls for each such tenant,
//! and nothing for any other.

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
use tenantd_host::lock::Signature;
use tenantd_host::netns::Netns;
use tenantd_host::network::Way;
use tenantd_host::{datastore, fifo, lock, process};

use crate::clock;
use crate::executor::host::blocking;
use crate::executor::inventory::Process;
use crate::recovery::Recovery;
use crate::recovery::survivors::{Survivor, oldest, open_process};
use crate::state_file::record::{Made, ProcessKey, Record};

/// What is assumed of a launch of which nothing is written down.
#[derive(Debug, Clone, Copy)]
pub(crate) struct UnrecordedLaunch {
    /// Its name, which nobody else has.
    pub(crate) launch: LaunchId,
    /// Whether it is wanted up whatever the manifest says: somebody started it, and nobody is known
    /// to have stopped it.
    pub(crate) wanted: bool,
}

/// Why a launch is not adopted.
#[derive(Debug, thiserror::Error)]
enum Unproved {
    #[error("nobody holds the lock of its datastore {0}")]
    Unlocked(String),
    #[error("the lock of its datastore is held by {0}")]
    Foreign(String),
    #[error("the process that signed the lock of its datastore is there no more")]
    Gone,
    #[error("no link bears its mark {0}")]
    NoLink(String),
    #[error("its network namespace is not the one that its link leads to")]
    Elsewhere,
    #[error("{0}")]
    Failed(#[from] Failure),
    #[error("it cannot be looked at: {0}")]
    Unseen(#[from] io::Error),
}

impl Recovery {
    /// What lives of a tenant of which nothing is written down, as far as it is proved to be the
    /// tenant's; or what is left of it.
    pub(crate) async fn adopt_unrecorded(
        &self,
        plan: &TenantPlan,
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
            Ok(Some((first, signed))) => match self.prove(plan, &first, signed, unrecorded).await {
                Ok(record) => return self.adopt_proved(plan, record),
                Err(why) => (Some(first.pid), why),
            },
            Err(why) => (None, why),
        };
        let who = first.map_or_else(String::new, |pid| format!(" (process {pid})"));
        tracing::warn!(
            %tenant,
            "{tenant}: it is not adopted{who}: nothing is written down of its launch, and {why}. It \
             is left alone: end it, for example with kill(1), and it is started anew"
        );
        None
    }

    fn adopt_proved(&self, plan: &TenantPlan, record: Record) -> Option<Survivor> {
        let tenant = &plan.name;
        let survivor = self.survivor(plan, Some(record));
        if let Some(survivor) = &survivor
            && survivor.found.fate == Fate::Lives
            && survivor.found.outdated.is_none()
        {
            tracing::warn!(
                %tenant,
                "{tenant}: nothing is written down of its launch, but cgroup, network and lock prove \
                 it to be this tenant's: it serves on. Whether its manifest changed meanwhile is not \
                 known: `tenantd restart {tenant}` launches it by that of today"
            );
        }
        survivor
    }

    /// The process that is the first of a launch by all that is known, with what the lock of its
    /// datastore was signed with.
    async fn candidate(
        &self,
        plan: &TenantPlan,
        leaf: Option<&Leaf>,
    ) -> Result<Option<(Process, Option<Signature>)>, Unproved> {
        let may_live = match leaf {
            Some(leaf) => leaf.is_populated()?,
            None => {
                self.host.cgroups.is_none() && fifo::folder(&self.host.app, &plan.name).exists()
            }
        };
        if !may_live {
            return Ok(None);
        }
        let signed = signature(plan).await?;
        let Some(leaf) = leaf else {
            let Some(signed) = signed else {
                return Ok(None);
            };
            let key = signed.pid.and_then(ProcessKey::of);
            let first = key.map(open_process).transpose()?.flatten();
            return Ok(Some((first.ok_or(Unproved::Gone)?, Some(signed))));
        };
        Ok(oldest(leaf)?.map(|first| (first, signed)))
    }

    /// A record of a launch that is proved to be this tenant's.
    async fn prove(
        &self,
        plan: &TenantPlan,
        first: &Process,
        signed: Option<Signature>,
        unrecorded: UnrecordedLaunch,
    ) -> Result<Record, Unproved> {
        let source = || plan.datastore.source.display().to_string();
        let signed = signed.ok_or_else(|| Unproved::Unlocked(source()))?;
        if signed.label != lock::label(&self.host.app, &plan.name) {
            return Err(Unproved::Foreign(signed.label));
        }
        let netns = File::open(format!("/proc/{}/ns/net", first.pid))?;
        let netns = Arc::new(Netns::from_fd(netns.into())?);
        // It was this process's, whose number is nobody else's as long as it lives.
        if process::is_over(&first.fd).map_err(io::Error::from)? {
            return Err(Unproved::Gone);
        }
        let inode = netns.inode();
        let addresses = match self.host.network.way(plan.link.clone(), netns).await? {
            Way::Here { addresses } => addresses,
            Way::Elsewhere => return Err(Unproved::Elsewhere),
            Way::NoLink => return Err(Unproved::NoLink(plan.link.mark.clone())),
        };
        let mut made = Made::by(plan);
        if addresses.as_ref() != Some(&plan.link.addresses) {
            // The one change that shows.
            made.by.reprovision = Fingerprints::NONE.reprovision;
            made.holds = addresses.map(|addresses| Holding {
                addresses,
                source: Some(plan.datastore.source.clone()),
            });
        }
        let started_at = clock::at_ticks(first.start_ticks);
        let checkpoint = Checkpoint::of_launch(unrecorded.launch, started_at, false, 0);
        // One that goes to the background has left others behind.
        let is_first = signed.pid == Some(first.pid) || !plan.policy.daemonizes;
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
        })
    }
}

/// What the lock of a tenant's datastore is signed with; nothing if nobody holds it.
async fn signature(plan: &TenantPlan) -> Result<Option<Signature>, Failure> {
    let path = plan.datastore.source.clone();
    // It may lie on a filesystem that hangs.
    blocking(move || match datastore::open(&path) {
        Ok(datastore) => lock::holder_of(datastore.as_fd(), &path),
        Err(rustix::io::Errno::NOENT) => Ok(None),
        Err(errno) => {
            let object = path.display().to_string();
            Err(Failure::errno(Stage::Lock, object, errno.raw_os_error()))
        }
    })
    .await
}
