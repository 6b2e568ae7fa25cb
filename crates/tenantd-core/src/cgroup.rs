//! The limits of a tenant: which the manifest has, the file that each is written to, and how its values are read and
//! shown. All but those of [`DISK`] are of its cgroup, see the kernel's Documentation/admin-guide/cgroup-v2.rst.

pub mod by_hand;

use std::collections::BTreeMap;
use std::fmt;

/// The period of `cpu.max` in microseconds.
pub const PERIOD: u64 = 100_000;

/// What a value of a limit is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Form {
    /// Bytes, or `"unlimited"`.
    Bytes,
    /// A number of things, or `"unlimited"`.
    Count,
    /// A share of processor time: a percentage or a number of processors.
    Quota,
    /// A weight from 1 to 10000 relative to that of others.
    Weight,
    /// Numbers and ranges of numbers.
    List,
    /// `true` or `false`.
    Flag,
    /// A table with one table of rates for each block device.
    Devices,
    /// A table with a size for each size of huge pages.
    Pages,
    /// Bytes on a disk, or `"unlimited"`.
    Space,
    /// A number of files, or `"unlimited"`.
    Files,
}

/// One limit.
#[derive(Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct GroupKey {
    /// Its key below `limits` of the manifest, such as `memory.max`.
    pub name: &'static str,
    /// The controller that has it; empty for a limit of the datastore.
    pub controller: &'static str,
    /// The file that it is written to. `{}` stands for the size of huge pages.
    pub file: &'static str,
    /// What the file has in a new cgroup, which means that nothing is limited.
    pub unset: &'static str,
}

/// The first part of the names of limits of the datastore.
pub const DISK: &str = "disk";

/// All limits, by name.
pub static KEYS: [GroupKey; 16] = [
    key("cpu.cpus", "cpuset", "cpuset.cpus", ""),
    key("cpu.mems", "cpuset", "cpuset.mems", ""),
    key("cpu.quota", "cpu", "cpu.max", "max 100000"),
    key("cpu.weight", "cpu", "cpu.weight", "100"),
    key("disk.files", "", "", "max"),
    key("disk.max", "", "", "max"),
    key("hugetlb", "hugetlb", "hugetlb.{}.max", "max"),
    key("io.max", "io", "io.max", ""),
    key("io.weight", "io", "io.weight", "default 100"),
    key("memory.group_kill", "memory", "memory.oom.group", "0"),
    key("memory.high", "memory", "memory.high", "max"),
    key("memory.low", "memory", "memory.low", "0"),
    key("memory.max", "memory", "memory.max", "max"),
    key("memory.min", "memory", "memory.min", "0"),
    key("memory.swap", "memory", "memory.swap.max", "max"),
    key("pids.max", "pids", "pids.max", "max"),
];

const fn key(
    name: &'static str,
    controller: &'static str,
    file: &'static str,
    unset: &'static str,
) -> GroupKey {
    GroupKey {
        name,
        controller,
        file,
        unset,
    }
}

impl GroupKey {
    /// Whether it is one of a cgroup. The others are of the datastore.
    #[must_use]
    pub fn is_of_cgroup(&self) -> bool {
        !self.controller.is_empty()
    }

    /// The limit with this name.
    #[must_use]
    pub fn named(name: &str) -> Option<&'static GroupKey> {
        KEYS.iter().find(|key| key.name == name)
    }
}

/// A value as the kernel reads it. For [`Form::Devices`] and [`Form::Pages`], one for each device or size.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct GroupValue(pub BTreeMap<String, String>);

impl GroupValue {
    /// A value without parts.
    #[must_use]
    pub fn one(value: impl Into<String>) -> Self {
        Self(BTreeMap::from([(String::new(), value.into())]))
    }
}

/// Which of several values a limit has: none for most limits, a block device, or a size of huge pages.
type Item = String;

/// The limits of a cgroup that are set. All others are not limited.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct GroupLimits(BTreeMap<(&'static str, Item), String>);

impl GroupLimits {
    /// Sets a limit.
    pub fn set(&mut self, name: &'static str, value: &GroupValue) {
        for (item, value) in &value.0 {
            self.0.insert((name, item.clone()), value.clone());
        }
    }

    /// Sets a limit, and none of its items that were set before.
    pub fn replace(&mut self, name: &'static str, value: &GroupValue) {
        self.0.retain(|(other, _), _| *other != name);
        self.set(name, value);
    }

    /// Whether none is set.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// Those of the cgroup.
    #[must_use]
    pub fn of_cgroup(&self) -> Self {
        let is_of_cgroup =
            |name: &&'static str| GroupKey::named(name).is_some_and(GroupKey::is_of_cgroup);
        let mut all = self.clone();
        all.0.retain(|(name, _), _| is_of_cgroup(name));
        all
    }

    /// Those of the datastore.
    #[must_use]
    pub fn of_disk(&self) -> DiskLimits {
        let number = |name| self.value(name).and_then(|value| value.parse().ok());
        DiskLimits {
            bytes: number("disk.max"),
            files: number("disk.files"),
        }
    }

    /// Each limit that is set: its key, its item (empty for most), and its value as the kernel reads it.
    pub fn each(&self) -> impl Iterator<Item = (&'static GroupKey, &str, &str)> {
        self.0.iter().filter_map(|((name, item), value)| {
            GroupKey::named(name).map(|key| (key, item.as_str(), value.as_str()))
        })
    }

    /// The value of a limit, or of an item of it, as the kernel reads it.
    #[must_use]
    pub fn of(&self, name: &'static str, item: &str) -> Option<&str> {
        self.0.get(&(name, item.to_owned())).map(String::as_str)
    }

    /// The value of a limit without items, as the kernel reads it.
    #[must_use]
    pub fn value(&self, name: &'static str) -> Option<&str> {
        self.0.get(&(name, String::new())).map(String::as_str)
    }

    /// The controllers that they need, each once.
    #[must_use]
    pub fn controllers(&self) -> Vec<&'static str> {
        let mut all: Vec<_> = self.each().map(|(key, ..)| key.controller).collect();
        all.retain(|controller| !controller.is_empty());
        all.sort_unstable();
        all.dedup();
        all
    }
}

/// The limits of a datastore.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct DiskLimits {
    /// The most bytes; `None`: unlimited.
    pub bytes: Option<u64>,
    /// The most files and folders; `None`: unlimited.
    pub files: Option<u64>,
}

impl DiskLimits {
    /// Whether nothing is limited.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        *self == Self::default()
    }
}

/// The name of a limit with its item, as messages have it.
pub struct Named<'a>(pub &'static str, pub &'a str);

impl fmt::Display for Named<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.0)?;
        match self.1 {
            "" => Ok(()),
            item => write!(f, " {item}"),
        }
    }
}

/// A number of bytes in the notation of the manifest.
fn bytes(text: &str) -> String {
    let units = [
        ("TiB", 1 << 40),
        ("GiB", 1 << 30),
        ("MiB", 1 << 20),
        ("KiB", 1 << 10),
    ];
    match text.parse::<u64>() {
        Err(_) | Ok(0) => text.to_owned(),
        Ok(bytes) => {
            let unit = units.iter().find(|(_, size)| bytes.is_multiple_of(*size));
            let (unit, size) = unit.copied().unwrap_or(("B", 1));
            format!("{} {unit}", bytes / size)
        }
    }
}

/// A value of the kernel's in the notation of the manifest.
#[must_use]
pub fn shown(key: &GroupKey, value: &str) -> String {
    match (key.name, value) {
        ("cpu.weight" | "cpu.cpus" | "cpu.mems", _) => value.to_owned(),
        ("memory.group_kill", "1") => "true".to_owned(),
        ("memory.group_kill", _) => "false".to_owned(),
        ("io.weight", _) => value.trim_start_matches("default ").to_owned(),
        ("io.max", _) => value.to_owned(),
        ("cpu.quota", _) => percent(value),
        (_, "max") => "unlimited".to_owned(),
        _ if is_unlimited(value) => "unlimited".to_owned(),
        ("pids.max" | "disk.files", _) => value.to_owned(),
        _ => bytes(value),
    }
}

/// The notation of `cpu.max` as a percentage of one processor.
fn percent(value: &str) -> String {
    let mut words = value.split(' ');
    let quota = words.next().and_then(|word| word.parse::<u64>().ok());
    let period = words.next().and_then(|word| word.parse::<u64>().ok());
    match (quota, period.filter(|period| *period > 0)) {
        (Some(quota), Some(period)) => {
            let thousandths = quota.saturating_mul(100_000) / period;
            let (whole, rest) = (thousandths / 1000, thousandths % 1000);
            match rest {
                0 => format!("{whole} %"),
                _ => format!("{whole}.{rest:03} %"),
            }
        }
        _ => "unlimited".to_owned(),
    }
}

/// Whether a size is more than there can be: a new cgroup has such a number for huge pages instead of `max`.
fn is_unlimited(size: &str) -> bool {
    size.parse::<u64>().is_ok_and(|bytes| bytes >= 1 << 62)
}

/// Whether what a file of a cgroup has is what was written to it. The kernel rounds sizes to whole pages,
/// and writes lists of processors and limits of devices in its own form.
#[must_use]
pub fn is_same(key: &GroupKey, planned: &str, found: &str, page: u64) -> bool {
    let found = found.trim_end();
    let bytes = |text: &str| text.parse::<u64>().ok().map(|bytes| bytes / page.max(1));
    let is_size = matches!(key.controller, "memory" | "hugetlb") && key.name != "memory.group_kill";
    if planned == found || (planned == "max" && is_size && is_unlimited(found)) {
        return true;
    }
    match key.name {
        "cpu.cpus" | "cpu.mems" => numbers(planned) == numbers(found),
        _ if is_size => bytes(planned).is_some_and(|planned| Some(planned) == bytes(found)),
        _ => false,
    }
}

/// The numbers of a list such as `0-2,5`.
#[must_use]
pub fn numbers(list: &str) -> Option<Vec<u32>> {
    let mut all = Vec::new();
    for part in list.split(',').filter(|part| !part.is_empty()) {
        let (first, last) = part.split_once('-').unwrap_or((part, part));
        let (first, last) = (first.trim().parse().ok()?, last.trim().parse::<u32>().ok()?);
        if first > last || last > 65_535 {
            return None;
        }
        all.extend(first..=last);
    }
    all.sort_unstable();
    all.dedup();
    Some(all)
}

/// Whether this is the number of a device, such as `8:0`.
#[must_use]
pub fn is_device_number(text: &str) -> bool {
    let is_number = |text: &str| text.parse::<u32>().is_ok() && !text.starts_with('+');
    text.split_once(':')
        .is_some_and(|(major, minor)| is_number(major) && is_number(minor))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn values_are_shown_as_the_manifest_has_them() {
        for (name, value, words) in [
            ("memory.max", "536870912", "512 MiB"),
            ("memory.swap", "0", "0"),
            ("memory.high", "max", "unlimited"),
            ("hugetlb", "9223372036854771712", "unlimited"),
            ("memory.group_kill", "1", "true"),
            ("cpu.quota", "150000 100000", "150 %"),
            ("cpu.quota", "2500 100000", "2.500 %"),
            ("cpu.quota", "max 100000", "unlimited"),
            ("cpu.cpus", "0-3", "0-3"),
            ("io.weight", "default 50", "50"),
            ("pids.max", "200", "200"),
            ("disk.max", "10737418240", "10 GiB"),
            ("disk.files", "5000", "5000"),
        ] {
            let key = GroupKey::named(name).unwrap();
            assert_eq!(shown(key, value), words, "{name}");
        }
    }

    #[test]
    fn the_kernel_rounds_sizes_and_sorts_lists() {
        let same = |name: &str, planned, found| {
            is_same(GroupKey::named(name).unwrap(), planned, found, 4096)
        };
        assert!(same("memory.max", "5000", "4096\n"));
        assert!(!same("memory.max", "8192", "4096\n"));
        assert!(!same("memory.max", "4096", "max\n"));
        assert!(same("hugetlb", "max", "9223372036854771712\n"));
        assert!(!same("hugetlb", "9223372036854771712", "max\n"));
        assert!(!same("memory.group_kill", "1", "0\n"));
        assert!(same("memory.group_kill", "1", "1\n"));
        assert!(same("cpu.cpus", "1,0", "0-1\n"));
        assert!(!same("cpu.cpus", "0", "0-1\n"));
        assert!(same("pids.max", "7", "7\n"));
        assert!(!same("pids.max", "7", "70\n"));
    }

    #[test]
    fn limits_of_the_datastore_need_no_controller() {
        let mut all = GroupLimits::default();
        all.set("disk.max", &GroupValue::one("1048576"));
        all.set("disk.files", &GroupValue::one("max"));
        assert!(all.of_cgroup().is_empty() && all.controllers().is_empty());
        let limits = all.of_disk();
        assert_eq!((limits.bytes, limits.files), (Some(1 << 20), None));
        all.set("pids.max", &GroupValue::one("9"));
        assert_eq!(all.of_cgroup().value("pids.max"), Some("9"));
    }

    #[test]
    fn keys_are_sorted_and_lists_are_bounded() {
        assert!(KEYS.is_sorted_by_key(|key| key.name));
        assert_eq!(numbers("0-2,5"), Some(vec![0, 1, 2, 5]));
        assert_eq!(numbers(""), Some(Vec::new()));
        assert_eq!(numbers("0-99999999"), None);
        assert_eq!(numbers("2-1"), None);
    }
}
