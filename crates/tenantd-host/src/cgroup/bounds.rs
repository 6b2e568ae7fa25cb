//! What the kernel has of the limits of a cgroup, what it counts there, and how often a limit was reached.
//!
//! All of it is read when it is asked for, by the process that asks: every one of the host may.

use std::collections::BTreeMap;
use std::fs;
use std::io::{self, ErrorKind};
use std::path::{Path, PathBuf};

use serde::Serialize;

use super::differences::{Difference, differences};
use super::limits::{controllers, why_lacking};
use super::pressure::{Pressure, pressure};
use super::{mounted, own_cgroup};
use crate::counters::{CgroupCounters, of_cgroup};
use tenantd_core::cgroup::{GroupKey, GroupLimits, GroupValue, Named, shown};
use tenantd_core::stage::Failure;

/// The controllers that count something for `status`, in the order of its lines.
const COUNTING: [&str; 4] = ["memory", "cpu", "pids", "io"];

/// What a cgroup uses, and what it is limited to.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize)]
pub struct Bounds {
    /// What is used.
    #[serde(flatten)]
    pub counters: CgroupCounters,
    /// How often its processes had to wait since the quota was used up.
    pub throttled: Option<u64>,
    /// How often a process or thread could not be made, because of `pids.max`.
    pub pids_refused: Option<u64>,
    /// What its processes waited for, by resource. Empty if the kernel does not measure it.
    pub pressure: BTreeMap<&'static str, Pressure>,
    /// Each limit that is set, by its key, in the notation of the manifest.
    pub limits: BTreeMap<String, String>,
    /// What the filesystem counts of the datastore, if it has a quota. The caller adds it, and its limits.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub disk: Option<DiskUse>,
    /// Why something is not counted, by the controller that would.
    pub uncounted: BTreeMap<&'static str, String>,
}

/// What a datastore uses.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
pub struct DiskUse {
    /// Bytes.
    pub bytes: u64,
    /// Files and folders; `None` if the filesystem does not count them.
    pub files: Option<u64>,
    /// The most bytes.
    pub most: Option<u64>,
}

/// Reads what a cgroup has. `None` if there is no such cgroup.
///
/// # Errors
/// Those of reading its files. A file that is missing is no error.
pub fn bounds(cgroup: &Path) -> io::Result<Option<Bounds>> {
    let Some(counters) = of_cgroup(cgroup)? else {
        return Ok(None);
    };
    let set = match differences(cgroup, &GroupLimits::default()) {
        Ok(set) => set,
        // It was removed meanwhile.
        Err(failure) if [libc::ENODEV, libc::ENOENT].contains(&failure.errno) => return Ok(None),
        Err(failure) => return Err(io::Error::other(failure.to_string())),
    };
    let present = controllers(cgroup);
    let lacks = |name: &&str| !present.iter().any(|it| it == name);
    let why = |name: &'static str| (name, why_uncounted(name));
    Ok(Some(Bounds {
        counters,
        throttled: counted(cgroup, "cpu.stat", "nr_throttled")?,
        pids_refused: counted(cgroup, "pids.events", "max")?,
        pressure: pressure(cgroup)?,
        limits: set.iter().map(in_words).collect(),
        disk: None,
        uncounted: COUNTING.into_iter().filter(lacks).map(why).collect(),
    }))
}

/// The number in the line of a file that begins with this key. `None` without that file.
fn counted(cgroup: &Path, file: &str, key: &str) -> io::Result<Option<u64>> {
    let text = match fs::read_to_string(cgroup.join(file)) {
        Ok(text) => text,
        Err(error) if error.kind() == ErrorKind::NotFound => return Ok(None),
        Err(error) if error.raw_os_error() == Some(libc::ENODEV) => return Ok(None),
        Err(error) => return Err(error),
    };
    let mut lines = text.lines().filter_map(|line| line.split_once(' '));
    let value = lines.find(|(name, _)| *name == key);
    Ok(value.and_then(|(_, number)| number.trim().parse().ok()))
}

/// A limit that differs from none: its key, and its value.
fn in_words(set: &Difference) -> (String, String) {
    (set.name.clone(), worded(&set.name, &set.found))
}

/// A value of the kernel's in the notation of the manifest.
fn worded(name: &str, value: &str) -> String {
    let key = name.split(' ').next().and_then(GroupKey::named);
    // A line of `io.max` begins with the device.
    let value = match key {
        Some(key) if key.name == "io.max" => value.split_once(' ').map_or(value, |(_, it)| it),
        Some(_) | None => value,
    };
    let value = value.trim_end();
    key.map_or_else(|| value.to_owned(), |key| shown(key, value))
}

/// Why a cgroup does not have a controller.
fn why_uncounted(controller: &str) -> String {
    let Some(mount) = mounted() else {
        return "the host has no cgroup tree of version 2".to_owned();
    };
    match controllers(mount).iter().any(|it| it == controller) {
        true => "no limit needs its controller, so it is not enabled".to_owned(),
        false => why_lacking(controller),
    }
}

/// A limit of a cgroup that is not as planned, both in the notation of the manifest.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Unequal {
    /// Its key, and its item.
    pub name: String,
    /// What is planned.
    pub planned: String,
    /// What the kernel has.
    pub found: String,
}

/// The limits of a cgroup that are not as planned.
///
/// # Errors
/// A [`Failure`] of stage limits: what cannot be read.
pub fn unequal(cgroup: &Path, limits: &GroupLimits) -> Result<Vec<Unequal>, Failure> {
    let present = controllers(cgroup);
    let is_there = |key: &GroupKey| present.iter().any(|it| it == key.controller);
    let absent = limits
        .each()
        .filter(|(key, ..)| key.is_of_cgroup() && !is_there(key));
    let absent = absent.map(|(key, item, value)| Unequal {
        name: Named(key.name, item).to_string(),
        planned: shown(key, value),
        found: format!("the cgroup lacks the controller {}", key.controller),
    });
    let mut all: Vec<Unequal> = absent.collect();
    let mut there = GroupLimits::default();
    for (key, item, value) in limits.each().filter(|(key, ..)| is_there(key)) {
        let value = [(item.to_owned(), value.to_owned())].into();
        there.set(key.name, &GroupValue(value));
    }
    for one in differences(cgroup, &there)? {
        all.push(Unequal {
            planned: worded(&one.name, &one.planned),
            found: match one.found.is_empty() {
                true => "not set".to_owned(),
                false => worded(&one.name, &one.found),
            },
            name: one.name,
        });
    }
    Ok(all)
}

/// The cgroup of the tenant that a process belongs to: the leaf, with the parts below it. `None` without a
/// tree of version 2.
///
/// # Errors
/// Those of reading `/proc`.
pub fn leaf_of(pid: u32) -> io::Result<Option<PathBuf>> {
    let text = fs::read_to_string(format!("/proc/{pid}/cgroup"))?;
    let part = mounted().zip(own_cgroup(&text));
    let part = part.map(|(mount, own)| mount.join(own.trim_start_matches('/')));
    Ok(part.and_then(|part| match part.ends_with("program") {
        true => part.parent().map(Path::to_owned),
        false => None,
    }))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn cgroup(files: &[(&str, &str)]) -> tempfile::TempDir {
        let folder = tempfile::tempdir().unwrap();
        for (name, text) in files {
            fs::write(folder.path().join(name), text).unwrap();
        }
        folder
    }

    #[test]
    fn what_is_set_and_what_happened_is_read() {
        let folder = cgroup(&[
            ("cgroup.controllers", "cpu memory pids\n"),
            (
                "cpu.stat",
                "usage_usec 7\nnr_throttled 3\nthrottled_usec 9\n",
            ),
            ("cpu.max", "150000 100000\n"),
            ("cpu.weight", "100\n"),
            ("memory.current", "4096\n"),
            ("memory.max", "536870912\n"),
            ("memory.high", "max\n"),
            ("memory.swap.max", "0\n"),
            ("memory.low", "0\n"),
            ("memory.min", "0\n"),
            ("memory.oom.group", "1\n"),
            ("pids.max", "40\n"),
            ("pids.events", "max 12\n"),
        ]);
        let found = bounds(folder.path()).unwrap().unwrap();
        assert_eq!((found.throttled, found.pids_refused), (Some(3), Some(12)));
        let limits: Vec<_> = found
            .limits
            .iter()
            .map(|(k, v)| format!("{k} {v}"))
            .collect();
        assert_eq!(
            limits,
            [
                "cpu.quota 150 %",
                "memory.group_kill true",
                "memory.max 512 MiB",
                "memory.swap 0",
                "pids.max 40"
            ]
        );
        let uncounted: Vec<_> = found.uncounted.keys().copied().collect();
        assert_eq!(uncounted, ["io"]);
        assert_eq!(bounds(&folder.path().join("gone")).unwrap(), None);
    }

    #[test]
    fn limits_are_compared_with_a_plan() {
        let folder = cgroup(&[("cgroup.controllers", "pids\n"), ("pids.max", "40\n")]);
        let mut limits = GroupLimits::default();
        limits.set("memory.max", &GroupValue::one("1048576"));
        let found = unequal(folder.path(), &limits).unwrap();
        let found: Vec<_> = found
            .into_iter()
            .map(|it| [it.name, it.planned, it.found])
            .collect();
        let lacks = "the cgroup lacks the controller memory";
        assert_eq!(
            found,
            [
                ["memory.max", "1 MiB", lacks],
                ["pids.max", "unlimited", "40"]
            ]
        );
    }
}
