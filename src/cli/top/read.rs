//! Reads the counters of all tenants, as the status names them. Every process of the host may.

use std::collections::BTreeMap;
use std::fs;
use std::io;
use std::path::Path;
use std::time::Instant;

use rustix::param::page_size;

use super::usage::Reading;
use tenantd_api::wire::TenantStatus;
use tenantd_core::name::TenantName;
use tenantd_host::counters::{Counters, Links, Trees};

/// How many levels of cgroups below that of a tenant are looked at for processes.
const DEPTH: usize = 4;

/// The readings of all tenants, and the first error among them.
pub(super) struct Round {
    pub(super) readings: BTreeMap<TenantName, Reading>,
    pub(super) failed: Option<String>,
}

/// Reads them all.
pub(super) fn read(tenants: &[TenantStatus], begun: Instant) -> Round {
    let mut failed = None;
    let mut fail = |what: &str, error: io::Error| {
        failed.get_or_insert_with(|| format!("cannot read {what}: {error}"));
    };
    let links = match Links::all() {
        Ok(links) => Some(links),
        Err(error) => {
            fail("the counters of the host's links", error);
            None
        }
    };
    let trees = Trees::default();
    let mut readings = BTreeMap::new();
    for tenant in tenants {
        let cgroup = tenant.cgroup.as_deref().map(Path::new);
        let counted = match cgroup.map_or(Ok(None), |path| trees.of_cgroup(path)) {
            Ok(counted) => counted,
            Err(error) => {
                fail(&format!("the counters of {}", tenant.name), error);
                None
            }
        };
        let link = match (&links, &tenant.link) {
            (Some(links), Some(name)) => links.named(name).unwrap_or_else(|error| {
                fail(&format!("the link {name}"), error);
                None
            }),
            (None, _) | (_, None) => None,
        };
        let has_memory = counted.is_some_and(|counted| counted.memory.is_some());
        let resident = match cgroup.filter(|_| counted.is_some() && !has_memory) {
            Some(path) => resident(path, DEPTH),
            None => None,
        };
        let reading = Reading {
            at: begun.elapsed(),
            counters: Counters {
                cgroup: counted,
                link,
            },
            resident,
        };
        readings.insert(tenant.name.clone(), reading);
    }
    Round { readings, failed }
}

/// The sum of the resident memory of all processes in a cgroup and below it. Pages that several of them
/// share count several times. `None` if no process can be seen.
fn resident(cgroup: &Path, depth: usize) -> Option<u64> {
    // A cgroup that is missing has no processes: it was removed a moment ago.
    let pids = fs::read_to_string(cgroup.join("cgroup.procs")).unwrap_or_default();
    let mut sum: Option<u64> = None;
    let mut add = |bytes: u64| sum = Some(sum.unwrap_or_default().saturating_add(bytes));
    pids.lines().filter_map(of_process).for_each(&mut add);
    let below = fs::read_dir(cgroup).into_iter().flatten().flatten();
    let folders = below.filter(|entry| entry.file_type().is_ok_and(|kind| kind.is_dir()));
    for folder in folders.filter(|_| depth > 0) {
        resident(&folder.path(), depth - 1)
            .into_iter()
            .for_each(&mut add);
    }
    sum
}

/// The resident memory of a process in bytes, see `proc_pid_statm(5)`. `None` if it has ended, or may not
/// be seen.
fn of_process(pid: &str) -> Option<u64> {
    let text = fs::read_to_string(format!("/proc/{pid}/statm")).ok()?;
    let pages: u64 = text.split(' ').nth(1)?.parse().ok()?;
    Some(pages.saturating_mul(u64::try_from(page_size()).ok()?))
}
