//! Pressure: which tenant waits for the processor, a disk or memory, and which one uses most of it.
//!
//! The kernel notifies for the folder of all tenants' cgroups: one descriptor for each resource, whatever the number of
//! tenants. Then the tenants' own counts are read, twice within a second, on another thread. Without pressure
//! there is no timer and no wake-up.

use std::collections::{BTreeMap, VecDeque};
use std::fs::File;
use std::io;
use std::path::{Path, PathBuf};
use std::time::Duration;

use tokio::io::Interest;
use tokio::io::unix::AsyncFd;
use tokio::sync::mpsc::{UnboundedReceiver, UnboundedSender, unbounded_channel};
use tokio::task::{JoinSet, spawn_blocking};
use tokio::time::Instant;

use tenantd_api::wire::Starved;
use tenantd_core::name::TenantName;
use tenantd_host::cgroup::{RESOURCES, pressure, trigger};
use tenantd_host::counters::of_cgroup;

use crate::clock;
use crate::executor::inventory::Inventory;

/// For how much of two seconds some process waits before the kernel notifies.
const PART: Duration = Duration::from_millis(500);

/// The time between the two readings.
const BETWEEN: Duration = Duration::from_secs(1);

/// How long nothing is read after a tenant was found that waits for what another uses, and how often it is told at most
/// that one waits for what it uses itself.
const REST: Duration = Duration::from_secs(30);

/// How long nothing is read after any other reading: another tenant may begin to wait.
const SHORT_REST: Duration = Duration::from_secs(5);

/// The least part of the time that counts as waiting, in percent.
const LEAST: u32 = 10;

/// What was seen.
enum Seen {
    /// The kernel notified.
    Felt(&'static str),
    /// What each tenant waited for and used in between.
    Read(&'static str, Vec<Reading>),
}

/// How long the processes of a tenant waited, in microseconds, and how much they used: microseconds of processor time,
/// or bytes.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Reading {
    tenant: TenantName,
    waited: u64,
    used: u64,
}

/// The triggers of the kernel, and what was found.
pub(super) struct Pressure {
    seen: UnboundedReceiver<Seen>,
    sender: UnboundedSender<Seen>,
    /// The triggers and the reading under way, which end with this value.
    tasks: JoinSet<()>,
    is_begun: bool,
    felt: VecDeque<&'static str>,
    /// No reading before.
    rests: BTreeMap<&'static str, Instant>,
    /// It is not told before that a tenant waits for what it uses itself.
    told: BTreeMap<&'static str, Instant>,
    found: BTreeMap<TenantName, Starved>,
}

impl Pressure {
    pub(super) fn new() -> Self {
        let (sender, seen) = unbounded_channel();
        Self {
            seen,
            sender,
            tasks: JoinSet::new(),
            is_begun: false,
            felt: VecDeque::new(),
            rests: BTreeMap::new(),
            told: BTreeMap::new(),
            found: BTreeMap::new(),
        }
    }

    /// Watches the folder of all tenants' cgroups, from the first tenant on. A kernel that does not measure pressure has
    /// no files for it; `tenantd doctor` says so.
    pub(super) fn begin(&mut self, leaf: &Path) {
        let Some(all) = leaf.parent().filter(|_| !self.is_begun) else {
            return;
        };
        self.is_begun = true;
        for resource in RESOURCES {
            match triggered(all, resource) {
                Ok(file) => {
                    let sender = self.sender.clone();
                    self.tasks.spawn_local(watch(resource, file, sender));
                }
                Err(error) => tracing::debug!(%error, "no notification of pressure by {resource}"),
            }
        }
    }

    /// What a tenant waited for.
    pub(super) fn of_tenant(&self, tenant: &TenantName) -> Option<&Starved> {
        self.found.get(tenant)
    }

    /// Forgets what a tenant waited for.
    pub(super) fn forget(&mut self, tenant: &TenantName) {
        self.found.remove(tenant);
    }

    /// Waits until the kernel has notified, or the tenants were read. Returns a tenant that waits. Cancelling this loses
    /// nothing.
    pub(super) async fn next(&mut self) -> Option<TenantName> {
        match self.seen.recv().await {
            Some(Seen::Felt(resource)) => self.felt.push_back(resource),
            Some(Seen::Read(resource, readings)) => return self.judge(resource, &readings),
            // This value has a sender.
            None => {}
        }
        None
    }

    /// Reads the tenants, if the kernel has notified.
    pub(super) fn look(&mut self, inventory: &Inventory) {
        // Readings that have ended.
        while self.tasks.try_join_next().is_some() {}
        while let Some(resource) = self.felt.pop_front() {
            let now = Instant::now();
            if self.rests.get(resource).is_some_and(|until| now < *until) {
                continue;
            }
            self.rests.insert(resource, now + SHORT_REST);
            let leaves = leaves(inventory);
            let sender = self.sender.clone();
            self.tasks.spawn_local(async move {
                if let Some(readings) = between(resource, leaves).await {
                    let _ended = sender.send(Seen::Read(resource, readings));
                }
            });
        }
    }

    fn judge(&mut self, resource: &'static str, readings: &[Reading]) -> Option<TenantName> {
        let found = judged(readings, BETWEEN)?;
        let (tenant, percent, by) = found;
        let now = Instant::now();
        let by_itself = by.as_ref().is_none_or(|(by, _)| *by == tenant);
        if by_itself && self.told.get(resource).is_some_and(|until| now < *until) {
            return None;
        }
        match by_itself {
            true => self.told.insert(resource, now + REST),
            false => self.rests.insert(resource, now + REST),
        };
        let text = text(resource, &tenant, percent, by.as_ref());
        tracing::warn!(%tenant, "{tenant}: {text}");
        self.found.retain(|_, starved| starved.resource != resource);
        let starved = Starved {
            time: clock::date(clock::now()).to_string(),
            resource: resource.to_owned(),
            percent,
            by: by.map(|(by, _)| by.to_string()),
            text,
        };
        self.found.insert(tenant.clone(), starved);
        Some(tenant)
    }
}

fn triggered(cgroup: &Path, resource: &str) -> io::Result<AsyncFd<File>> {
    let file = trigger(cgroup, resource, PART)?;
    #[expect(
        deprecated,
        reason = "its successor is unsafe for the sake of types that may change their \
                  descriptor; a File keeps its own open until it is dropped"
    )]
    AsyncFd::with_interest(file, Interest::PRIORITY)
}

async fn watch(resource: &'static str, file: AsyncFd<File>, sender: UnboundedSender<Seen>) {
    while let Ok(mut guard) = file.ready(Interest::PRIORITY).await {
        let is_gone = guard.ready().is_error();
        guard.clear_ready();
        if is_gone || sender.send(Seen::Felt(resource)).is_err() {
            return;
        }
    }
}

fn leaves(inventory: &Inventory) -> Vec<(TenantName, PathBuf)> {
    let leaf = |name: &TenantName| {
        let provisioned = inventory.get(name)?.provisioned.as_ref()?;
        Some((name.clone(), provisioned.leaf.as_ref()?.path().to_owned()))
    };
    inventory.executed().filter_map(leaf).collect()
}

/// What each tenant waited for and used within [`BETWEEN`]. `None` if it cannot be read.
async fn between(
    resource: &'static str,
    leaves: Vec<(TenantName, PathBuf)>,
) -> Option<Vec<Reading>> {
    let (first, leaves) = readings(resource, leaves).await?;
    tokio::time::sleep(BETWEEN).await;
    let (second, _) = readings(resource, leaves).await?;
    let first: BTreeMap<TenantName, (u64, u64)> = first
        .into_iter()
        .map(|it| (it.tenant, (it.waited, it.used)))
        .collect();
    let grown = second.into_iter().filter_map(|it| {
        let (waited, used) = first.get(&it.tenant)?;
        Some(Reading {
            waited: it.waited.saturating_sub(*waited),
            // Memory is held, and not used up.
            used: match resource {
                "memory" => it.used,
                _ => it.used.saturating_sub(*used),
            },
            tenant: it.tenant,
        })
    });
    Some(grown.collect())
}

type Leaves = Vec<(TenantName, PathBuf)>;

async fn readings(resource: &'static str, leaves: Leaves) -> Option<(Vec<Reading>, Leaves)> {
    let read = move || {
        let each = leaves
            .iter()
            .filter_map(|(tenant, leaf)| reading(resource, tenant, leaf).ok()?);
        let all: Vec<Reading> = each.collect();
        (all, leaves)
    };
    spawn_blocking(read).await.ok()
}

/// `None` for a tenant that was released meanwhile.
fn reading(resource: &str, tenant: &TenantName, leaf: &Path) -> io::Result<Option<Reading>> {
    let (Some(pressure), Some(counters)) = (pressure(leaf)?.remove(resource), of_cgroup(leaf)?)
    else {
        return Ok(None);
    };
    let used = match resource {
        "cpu" => counters.cpu_usec,
        "memory" => counters.memory,
        _ => counters
            .io_read
            .zip(counters.io_written)
            .map(|(read, written)| read + written),
    };
    Ok(Some(Reading {
        tenant: tenant.clone(),
        waited: pressure.some.total,
        used: used.unwrap_or_default(),
    }))
}

/// A tenant, for which part of the time it waited, and the one that used most, with how much.
type Judged = (TenantName, u32, Option<(TenantName, u64)>);

/// The tenant that waited longest, if it did for a part of the time that counts: one that does not use most of it itself,
/// if there is one.
fn judged(readings: &[Reading], time: Duration) -> Option<Judged> {
    let used = readings.iter().filter(|it| it.used > 0);
    let by = used
        .max_by_key(|it| it.used)
        .map(|it| (it.tenant.clone(), it.used));
    let percent = |it: &Reading| {
        let percent = u128::from(it.waited) * 100 / time.as_micros().max(1);
        u32::try_from(percent).unwrap_or(u32::MAX).min(100)
    };
    let waits = |it: &&Reading| percent(it) >= LEAST;
    let is_other = |it: &&Reading| by.as_ref().is_none_or(|(by, _)| *by != it.tenant);
    let longest = |it: &&Reading| (is_other(it), it.waited);
    let waited = readings.iter().filter(waits).max_by_key(longest)?;
    Some((waited.tenant.clone(), percent(waited), by))
}

fn text(
    resource: &str,
    tenant: &TenantName,
    percent: u32,
    by: Option<&(TenantName, u64)>,
) -> String {
    let what = match resource {
        "cpu" => "a processor",
        "io" => "a disk",
        other => other,
    };
    let much = |used: u64| match resource {
        "cpu" => format!("{} % of one processor", used / 10_000),
        "io" => format!("{} KiB a second", used >> 10),
        _ => format!("{} MiB", used >> 20),
    };
    let of = match by {
        Some((by, used)) if by == tenant => format!("; it uses most itself, {}", much(*used)),
        Some((by, used)) => format!("; {by} uses most, {}", much(*used)),
        None => String::new(),
    };
    format!("its processes wait for {what} {percent} % of the time{of}")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn who_waits_longest_and_who_uses_most_is_told() {
        let reading = |tenant: &str, waited, used| Reading {
            tenant: tenant.parse().unwrap(),
            waited,
            used,
        };
        let of = |readings: &[Reading]| {
            let (tenant, percent, by) = judged(readings, BETWEEN)?;
            Some(text("cpu", &tenant, percent, by.as_ref()))
        };
        // One that uses much waits too, and longer.
        let eats = reading("bolt", 950_000, 1_800_000);
        assert_eq!(
            of(&[reading("acme", 450_000, 70_000), eats.clone()]).unwrap(),
            "its processes wait for a processor 45 % of the time; bolt uses most, 180 % of one processor"
        );
        assert_eq!(
            of(&[reading("acme", 1000, 0), eats]).unwrap(),
            "its processes wait for a processor 95 % of the time; it uses most itself, 180 % of one processor"
        );
        assert_eq!(of(&[reading("acme", 90_000, 1)]), None);
        assert_eq!(of(&[]), None);
    }
}
