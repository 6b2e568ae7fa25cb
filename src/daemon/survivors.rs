//! Survivors: launches that an earlier supervisor started and that outlived it.
//!
//! Each is proved to be what its record says (process number with start time, network namespace,
//! cgroup) and then adopted: its namespace, pipes and cgroup are taken up as they are, and nothing
//! of it is touched. What cannot be proved is not adopted, and its datastore's lock keeps a second
//! launch away.

use std::fs::File;
use std::io;
use std::os::unix::fs::MetadataExt;
use std::rc::Rc;
use std::sync::Arc;

use rustix::process::{Pid, PidfdFlags, pidfd_open};

use crate::crash;
use crate::host::cgroup::Leaf;
use crate::host::fifo;
use crate::host::launch::ready_fd::ReadyFd;
use crate::host::netns::Netns;
use crate::host::process::{self, Ended};
use crate::plan::model::TenantPlan;
use crate::supervisor::event::{Found, LaunchId};

use super::clock;
use super::launch::await_end;
use super::ledger::{Process, Running, Standing};
use super::record::{self, Record};
use super::report::News;
use super::site::Site;

/// A launch that was found, and all that is known of it.
pub(super) struct Survivor {
    pub(super) found: Found,
    pub(super) standing: Standing,
    pub(super) running: Running,
}

impl Site {
    /// The launch of a tenant that outlived an earlier supervisor, if there is one. What is in the
    /// way of adopting it is logged, and shows again when the tenant is provisioned.
    pub(super) fn survivor(&self, plan: &TenantPlan) -> Option<Survivor> {
        match self.find(plan) {
            Ok(survivor) => survivor,
            Err(error) => {
                let tenant = &plan.name;
                tracing::warn!(%tenant, "{tenant}: what an earlier supervisor left cannot be adopted: {error}");
                None
            }
        }
    }

    fn find(&self, plan: &TenantPlan) -> io::Result<Option<Survivor>> {
        let tenant = &plan.name;
        let leaf = self.populated_leaf(plan)?;
        if self.cgroups.is_some() && leaf.is_none() {
            return record::forget(&self.app, tenant).map(|()| None);
        }
        let record = Record::read(&self.app, tenant)?;
        let first = match &record {
            Some(record) => hold(record)?,
            None => None,
        };
        // Whoever lives knows the network namespace.
        let anyone = match (&first, &leaf) {
            (Some(first), _) => Some(first.pid),
            (None, Some(leaf)) => eldest(&leaf.pids().map_err(io::Error::other)?),
            (None, None) => None,
        };
        let Some(anyone) = anyone else {
            return record::forget(&self.app, tenant).map(|()| None);
        };
        let netns = Netns::from_fd(File::open(format!("/proc/{anyone}/ns/net"))?.into())?;
        if record
            .as_ref()
            .is_some_and(|record| record.netns != netns.inode())
        {
            return Err(io::Error::other("its processes left its network namespace"));
        }
        let outlets =
            fifo::make(&self.app, tenant, plan.launch.identity.uid).map_err(io::Error::other)?;
        self.logs.add(tenant, outlets)?;
        if let (Some(cgroups), Some(leaf)) = (&self.cgroups, &leaf) {
            cgroups.watch.add(leaf).map_err(io::Error::other)?;
        }
        crash::point("adopt: taken up", tenant.as_str());
        let standing = Standing {
            inode: netns.inode(),
            netns: Some(Arc::new(netns)),
            leaf,
            used: true,
        };
        Ok(Some(self.adopt(plan, record, first, standing)))
    }

    fn populated_leaf(&self, plan: &TenantPlan) -> io::Result<Option<Leaf>> {
        let leaf = self.cgroups.as_ref().and_then(|c| c.tree.found(&plan.name));
        match leaf {
            Some(leaf) if leaf.is_populated().map_err(io::Error::other)? => Ok(Some(leaf)),
            Some(_) | None => Ok(None),
        }
    }

    fn adopt(
        &self,
        plan: &TenantPlan,
        record: Option<Record>,
        first: Option<Process>,
        standing: Standing,
    ) -> Survivor {
        let eldest = standing
            .leaf
            .as_ref()
            .and_then(|leaf| eldest(&leaf.pids().ok()?));
        let found = match record {
            Some(record) => Found {
                launch: record.launch,
                started_at: record.started_at,
                ready: record.ready,
                restarts: record.restarts,
                outdated: record.plan != record::fingerprint(plan),
            },
            // Its supervisor died between the start and the record.
            None => Found {
                launch: unrecorded(eldest.unwrap_or_default()),
                started_at: clock::now(),
                ready: false,
                restarts: 0,
                outdated: true,
            },
        };
        let process = first.map(Rc::new);
        self.follow_survivor(plan, found.launch, process.clone());
        Survivor {
            found,
            standing,
            running: Running {
                launch: found.launch,
                process,
                program: None,
                readiness: None,
                started_at: found.started_at,
                executed: true,
                said_ready: found.ready,
            },
        }
    }

    /// Reports the end of a first process that an earlier supervisor started; at once, if it ended
    /// between the two, unless it was to leave the others behind.
    fn follow_survivor(&self, plan: &TenantPlan, launch: LaunchId, process: Option<Rc<Process>>) {
        match process {
            Some(process) => await_end(&self.reporter, &plan.name, launch, process),
            None if plan.policy.daemonizes => {}
            None => self.report(&plan.name, News::Ended(launch, Ended::Unknown)),
        }
    }
}

/// The first process of a record, if it still lives and is the one: held first and looked at
/// second, so that a number used again is noticed.
fn hold(record: &Record) -> io::Result<Option<Process>> {
    let Some(pid) = Pid::from_raw(record.pid) else {
        return Ok(None);
    };
    let held = match pidfd_open(pid, PidfdFlags::NONBLOCK) {
        Ok(held) => held,
        Err(rustix::io::Errno::SRCH) => return Ok(None),
        Err(errno) => return Err(errno.into()),
    };
    let is_it = process::start_ticks(record.pid) == Some(record.start_ticks)
        && std::fs::metadata(format!("/proc/{}/ns/net", record.pid))
            .is_ok_and(|netns| netns.ino() == record.netns);
    if !is_it {
        return Ok(None);
    }
    Ok(Some(Process {
        pid: record.pid,
        fd: ReadyFd::new(held)?,
    }))
}

/// A name for a launch that was never written down, which no other one has: above all that
/// supervisors count, and with the number of a process of it.
fn unrecorded(pid: i32) -> LaunchId {
    LaunchId((1 << 48) + u64::from(pid.unsigned_abs()))
}

/// The process that started first.
fn eldest(pids: &[i32]) -> Option<i32> {
    let started = pids
        .iter()
        .filter_map(|&pid| Some((process::start_ticks(pid)?, pid)));
    started.min().map(|(_, pid)| pid)
}
