//! Limits of running processes: prlimit(2) on each process of a tenant.
//!
//! The limits that were set are recorded in a note on the tenant's cgroup leaf. From it the next
//! supervisor learns which limits are applied, and which to reset once the plan no longer sets
//! them. Limits that were never planned are never changed, because the program may have set them
//! itself.
//!
//! A tenant that runs as root may be able to write the note. So the note alone proves nothing: the
//! kernel must confirm that no process has a higher limit than planned. What else a tenant can
//! achieve with the note concerns only its own limits, and lowers them.

use std::collections::BTreeMap;
use std::thread::sleep;
use std::time::{Duration, Instant};

use rustix::io::Errno;
use rustix::process::{Pid, Resource, Rlimit, prlimit};

use crate::cgroup::Leaf;
use crate::crash;
use crate::process;
use tenantd_core::plan::model::Limits;
use tenantd_core::stage::{Failure, Stage};

use super::{KINDS, Kind, Setting};

/// The pause between the two scans that prove that each process has its limits. A child has the
/// limits that its parent had when fork(2) began, and is visible once fork(2) has ended. That takes
/// less than this pause, unless the parent has gigabytes of memory.
const SETTLE: Duration = Duration::from_millis(20);

/// How long [`apply`] follows processes that keep forking.
const PATIENCE: Duration = Duration::from_secs(5);

/// The value in the note while it is unknown whether all processes have a limit.
const UNKNOWN: &str = "?";

/// The processes of a tenant.
#[derive(Debug, Clone, Copy)]
pub struct Target<'a> {
    /// The leaf that holds them; `None` if there is no cgroup tree.
    pub leaf: Option<&'a Leaf>,
    /// The inode of their network namespace.
    pub netns: u64,
    /// `APP/TENANT`, for messages.
    pub label: &'a str,
}

impl Target<'_> {
    fn pids(&self) -> Result<Vec<i32>, Failure> {
        match self.leaf {
            Some(leaf) => leaf.all_pids(),
            None => process::in_netns(self.netns).map_err(|error| {
                let object = format!("the processes of {}", self.label);
                Failure::errno(
                    Stage::Limits,
                    object,
                    error.raw_os_error().unwrap_or_default(),
                )
            }),
        }
    }
}

/// Sets the limits of a tenant on each of its processes, including processes that start meanwhile.
/// Limits that were set before and are no longer planned are reset to those that the supervisor was
/// started with. If the kernel refuses a limit for one process, it is still set on the others.
/// Blocks for some milliseconds, and for up to five seconds if processes keep forking.
///
/// # Errors
/// A [`Failure`] of stage limits that names the first refused limit and its process, or of stage
/// cgroup.
pub fn apply(target: Target<'_>, limits: &Limits, descriptors: Rlimit) -> Result<(), Failure> {
    let wanted = text(limits);
    let Some(leaf) = target.leaf else {
        let settings = KINDS.iter().map(|kind| match kind.planned(limits) {
            Some(value) => (kind.set_to(value), Reset::No),
            None => (kind.set_to(kind.inherited(descriptors)), Reset::Hard),
        });
        return set_all(target, &settings.collect::<Vec<_>>());
    };
    let noted = leaf.note()?;
    if noted == wanted && is_within(leaf, limits)? {
        return Ok(());
    }
    let before = keys(&noted);
    let settings = KINDS.iter().filter_map(|kind| {
        let planned = kind.planned(limits);
        let inherited = before.contains_key(kind.what);
        let inherited = inherited.then(|| kind.inherited(descriptors));
        let value = planned.or(inherited)?;
        Some((kind.set_to(value), Reset::No))
    });
    let settings: Vec<_> = settings.collect();
    let touched = settings.iter().map(|(setting, _)| setting.what);
    let touched = touched.map(|what| (what, UNKNOWN.to_owned()));
    leaf.keep_note(&written(touched))?;
    set_all(target, &settings)?;
    leaf.keep_note(&wanted)
}

/// Whether the processes of a tenant are known to have these limits. A process may have lower ones
/// that it has set itself.
///
/// # Errors
/// A [`Failure`] of stage cgroup.
pub fn is_applied(leaf: Option<&Leaf>, limits: &Limits) -> Result<bool, Failure> {
    match leaf {
        Some(leaf) => Ok(leaf.note()? == text(limits) && is_within(leaf, limits)?),
        None => Ok(*limits == Limits::default()),
    }
}

/// Whether no process in a leaf has a higher hard limit than planned, and so no higher soft limit.
fn is_within(leaf: &Leaf, limits: &Limits) -> Result<bool, Failure> {
    let planned = |kind: &Kind| Some((kind.resource, kind.planned(limits)?.maximum));
    let planned: Vec<_> = KINDS.iter().filter_map(planned).collect();
    if planned.is_empty() {
        return Ok(true);
    }
    let exceeds = |pid, (resource, most): (Resource, Option<u64>)| {
        let has = of_process(pid, resource);
        has.is_some_and(|has| most.is_some_and(|most| has.maximum.is_none_or(|has| has > most)))
    };
    let pids = leaf.pids()?;
    let each = |pid: &i32| planned.iter().any(|limit| exceeds(*pid, *limit));
    Ok(!pids.iter().any(each))
}

/// Records that all processes in a leaf have these limits.
pub(super) fn note(leaf: &Leaf, limits: &Limits) -> Result<(), Failure> {
    leaf.keep_note(&text(limits))
}

/// The text of a note, such as `open files=1024:4096;core files=0:unlimited`.
fn text(limits: &Limits) -> String {
    let planned = KINDS
        .iter()
        .filter_map(|kind| Some((kind.what, shown(kind.planned(limits)?))));
    written(planned)
}

fn written(entries: impl Iterator<Item = (&'static str, String)>) -> String {
    let entries: Vec<String> = entries
        .map(|(what, value)| format!("{what}={value}"))
        .collect();
    entries.join(";")
}

fn keys(noted: &str) -> BTreeMap<&str, &str> {
    noted
        .split(';')
        .filter_map(|entry| entry.split_once('='))
        .collect()
}

fn shown(Rlimit { current, maximum }: Rlimit) -> String {
    let one = |value: Option<u64>| value.map_or_else(|| "unlimited".to_owned(), |v| v.to_string());
    format!("{}:{}", one(current), one(maximum))
}

/// Whether a limit is only reset if tenantd seems to have set it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Reset {
    /// Set it in any case: it is planned, or was set before.
    No,
    /// Reset it only if the hard limit differs from the supervisor's; the rest may be the
    /// program's.
    Hard,
}

/// The result of one scan of all processes.
#[derive(Default)]
struct Look {
    /// Whether a process had other limits.
    changed: bool,
    /// The first failure.
    refused: Option<Failure>,
}

/// Scans until two scans in a row change nothing. That proves that all processes have the limits: a
/// process that started before the first of them inherited them from its parent.
fn set_all(target: Target<'_>, settings: &[(Setting, Reset)]) -> Result<(), Failure> {
    let deadline = Instant::now() + PATIENCE;
    let mut quiet = 0;
    while quiet < 2 {
        let look = look(target, settings)?;
        if let Some(refused) = look.refused.filter(|_| !look.changed) {
            return Err(refused);
        }
        quiet = if look.changed { 0 } else { quiet + 1 };
        if quiet == 1 {
            sleep(SETTLE);
        }
        if Instant::now() >= deadline {
            let object = format!("the processes of {}", target.label);
            return Err(Failure::detail(
                Stage::Limits,
                object,
                "new processes start faster than limits can be set",
            ));
        }
    }
    Ok(())
}

fn look(target: Target<'_>, settings: &[(Setting, Reset)]) -> Result<Look, Failure> {
    let mut look = Look::default();
    for pid in target.pids()? {
        for (setting, reset) in settings {
            match set(pid, target.netns, setting, *reset) {
                Ok(changed) => look.changed |= changed,
                Err(errno) => {
                    let object = format!("{} of process {pid}", setting.what);
                    let failure = || Failure::errno(Stage::Limits, object, errno.raw_os_error());
                    look.refused.get_or_insert_with(failure);
                }
            }
        }
        if look.changed {
            crash::point("apply: one process set", target.label);
        }
    }
    Ok(look)
}

/// Sets one limit of one process. Returns false if it has the limit already or has ended.
/// prlimit(2) takes a process ID, not a pidfd, so the process is checked immediately before; a
/// process ID that is reused within microseconds is not noticed.
fn set(pid: i32, netns: u64, setting: &Setting, reset: Reset) -> Result<bool, Errno> {
    let Some(_held) = process::open_in_netns(pid, netns) else {
        return Ok(false);
    };
    let Some(had) = of_process(pid, setting.resource) else {
        return Ok(false);
    };
    let same = match reset {
        Reset::No => had == setting.value,
        Reset::Hard => had.maximum == setting.value.maximum,
    };
    // prlimit(2) without a process ID would set our own limit.
    let Some(number) = Pid::from_raw(pid).filter(|_| !same) else {
        return Ok(false);
    };
    match prlimit(Some(number), setting.resource, setting.value) {
        Ok(_) => Ok(true),
        Err(Errno::SRCH) => Ok(false),
        Err(errno) => Err(errno),
    }
}

/// Reads a limit of a process from proc_pid_limits(5), which needs no privilege; prlimit(2) needs
/// CAP_SYS_RESOURCE for other users' processes. `None` if the process has ended.
fn of_process(pid: i32, resource: Resource) -> Option<Rlimit> {
    let text = std::fs::read_to_string(format!("/proc/{pid}/limits")).ok()?;
    parse(&text, resource)
}

fn parse(text: &str, resource: Resource) -> Option<Rlimit> {
    let label = match resource {
        Resource::Nofile => "Max open files",
        Resource::Core => "Max core file size",
        Resource::Memlock => "Max locked memory",
        _ => return None,
    };
    let line = text.lines().find_map(|line| line.strip_prefix(label))?;
    let mut words = line.split_ascii_whitespace();
    let mut value = || match words.next()? {
        "unlimited" => Some(None),
        number => number.parse().ok().map(Some),
    };
    Some(Rlimit {
        current: value()?,
        maximum: value()?,
    })
}

#[cfg(test)]
mod tests {
    use rustix::process::getrlimit;

    use super::*;
    use tenantd_core::plan::model::{Bound, Limit};

    #[test]
    fn own_limits_agree_with_getrlimit() {
        let pid = i32::try_from(std::process::id()).unwrap();
        for kind in &KINDS {
            let read = of_process(pid, kind.resource);
            assert_eq!(read, Some(getrlimit(kind.resource)), "{}", kind.what);
        }
        assert_eq!(of_process(-1, Resource::Nofile), None);
        assert_eq!(parse("", Resource::Nofile), None);
    }

    #[test]
    fn a_note_lists_the_limits_that_were_set() {
        let limits = Limits {
            open_files: Some(Limit {
                soft: Bound::Number(1024),
                hard: Bound::Number(4096),
            }),
            core: Some(Limit {
                soft: Bound::Number(0),
                hard: Bound::Unlimited,
            }),
            locked_memory: None,
        };
        let noted = text(&limits);
        assert_eq!(noted, "open files=1024:4096;core files=0:unlimited");
        assert!(keys(&noted).keys().eq(&["core files", "open files"]));
        assert_eq!(text(&Limits::default()), "");
        assert!(keys("").is_empty());
        // Limits that are being set do not count as applied.
        assert_ne!(
            written([("core files", UNKNOWN.to_owned())].into_iter()),
            ""
        );
    }
}
