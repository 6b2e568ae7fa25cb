//! Whether the host has what limits are about: sizes of huge pages, processors, memory nodes and block devices. The
//! kernel refuses what it has not, or takes another value in its place.

use std::fs;
use std::path::Path;

use super::differences::number;
use tenantd_core::cgroup::{GroupLimits, Named, numbers};
use tenantd_core::stage::{Failure, Stage};

/// Where the kernel names all of it.
pub(super) const SYS: &str = "/sys";

/// Whether the host has all of it.
///
/// # Errors
/// A [`Failure`] of stage limits that names what the host has instead.
pub(super) fn present(limits: &GroupLimits) -> Result<(), Failure> {
    present_in(Path::new(SYS), limits)
}

fn present_in(sys: &Path, limits: &GroupLimits) -> Result<(), Failure> {
    for (key, item, value) in limits.each() {
        let why = match key.name {
            "hugetlb" => huge_pages(sys, item),
            "cpu.cpus" => listed(&sys.join("devices/system/cpu"), value, "processor"),
            "cpu.mems" => listed(&sys.join("devices/system/node"), value, "memory node"),
            "io.max" => device(sys, &number(key, item)?),
            _ => None,
        };
        if let Some(why) = why {
            let name = Named(key.name, item).to_string();
            return Err(Failure::detail(Stage::Limits, name, why));
        }
    }
    contradiction(limits)
}

/// More memory that is never taken than there may be.
fn contradiction(limits: &GroupLimits) -> Result<(), Failure> {
    let bytes = |name| limits.value(name)?.parse::<u64>().ok();
    let both = bytes("memory.min").zip(bytes("memory.max"));
    match both {
        Some((min, max)) if min > max => {
            let why = "it is more than memory.max: the tenant would never have as much";
            Err(Failure::detail(Stage::Limits, "memory.min", why))
        }
        Some(_) | None => Ok(()),
    }
}

/// The sizes of huge pages, as cgroups name them.
pub(super) fn sizes(sys: &Path) -> Option<Vec<String>> {
    let folders = fs::read_dir(sys.join("kernel/mm/hugepages")).ok()?;
    let kibibytes = folders.filter_map(Result::ok).filter_map(|entry| {
        let name = entry.file_name();
        let size = name
            .to_str()?
            .strip_prefix("hugepages-")?
            .strip_suffix("kB")?;
        size.parse::<u64>().ok()
    });
    let mut all: Vec<u64> = kibibytes.collect();
    all.sort_unstable();
    let name = |size: u64| match size {
        size if size >= 1 << 20 => format!("{}GB", size >> 20),
        size if size >= 1 << 10 => format!("{}MB", size >> 10),
        size => format!("{size}KB"),
    };
    Some(all.into_iter().map(name).collect())
}

fn huge_pages(sys: &Path, size: &str) -> Option<String> {
    let all = sizes(sys)?;
    if all.iter().any(|it| it == size) {
        return None;
    }
    Some(match all.as_slice() {
        [] => "the host has no huge pages".to_owned(),
        all => format!(
            "the host has no huge pages of this size, but of {}",
            all.join(" and ")
        ),
    })
}

/// A list must have none that cannot be, and one that is there: without any, the kernel takes all of them.
fn listed(folder: &Path, value: &str, what: &str) -> Option<String> {
    let read = |name: &str| {
        let text = fs::read_to_string(folder.join(name)).ok()?;
        Some((numbers(text.trim())?, text.trim().to_owned()))
    };
    let wanted = numbers(value)?;
    let (possible, _) = read("possible")?;
    let (online, shown) = read("online")?;
    if let Some(absent) = wanted.iter().find(|it| !possible.contains(it)) {
        return Some(format!("the host has no {what} {absent}: it has {shown}"));
    }
    let none = !wanted.iter().any(|it| online.contains(it));
    none.then(|| format!("the host has no such {what}: it has {shown}"))
}

fn device(sys: &Path, number: &str) -> Option<String> {
    let all = sys.join("dev/block");
    let device = all.join(number);
    if !all.exists() {
        return None;
    }
    if !device.exists() {
        return Some(format!(
            "the host has no block device {number}: lsblk(8) lists them"
        ));
    }
    let is_part = device.join("partition").exists();
    is_part.then(|| "it is a partition: the kernel limits whole disks, see lsblk(8)".to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;
    use tenantd_core::cgroup::GroupValue;

    fn said(sys: &Path, name: &'static str, item: &str, value: &str) -> String {
        let mut limits = GroupLimits::default();
        limits.set(
            name,
            &GroupValue([(item.to_owned(), value.to_owned())].into()),
        );
        present_in(sys, &limits).map_or_else(|why| why.detail, |()| "present".to_owned())
    }

    #[test]
    fn what_the_host_lacks_is_named_with_what_it_has() {
        let sys = tempfile::tempdir().unwrap();
        for folder in [
            "kernel/mm/hugepages/hugepages-2048kB",
            "kernel/mm/hugepages/hugepages-1048576kB",
            "kernel/mm/hugepages/hugepages-64kB",
            "devices/system/cpu",
            "dev/block/8:0",
            "dev/block/8:1/partition",
        ] {
            fs::create_dir_all(sys.path().join(folder)).unwrap();
        }
        for (file, text) in [("possible", "0-7\n"), ("online", "0-1\n")] {
            fs::write(sys.path().join("devices/system/cpu").join(file), text).unwrap();
        }
        for (name, item, value, expected) in [
            ("hugetlb", "2MB", "0", "present"),
            ("hugetlb", "1GB", "0", "present"),
            ("hugetlb", "3MB", "0", "64KB and 2MB and 1GB"),
            ("cpu.cpus", "", "0-3", "present"),
            ("cpu.cpus", "", "4,5", "no such processor: it has 0-1"),
            ("cpu.cpus", "", "0,8", "no processor 8: it has 0-1"),
            // Without a list of the kernel's, nothing is known.
            ("cpu.mems", "", "9", "present"),
            ("io.max", "8:0", "wbps=1", "present"),
            ("io.max", "8:1", "wbps=1", "partition"),
            ("io.max", "9:9", "wbps=1", "no block device 9:9"),
            ("memory.max", "", "1", "present"),
        ] {
            let said = said(sys.path(), name, item, value);
            assert!(said.contains(expected), "{name} {item} {value}: {said}");
        }
    }

    #[test]
    fn more_memory_than_the_most_is_a_contradiction() {
        let mut limits = GroupLimits::default();
        limits.set("memory.min", &GroupValue::one("8192"));
        for (max, is_good) in [("4096", false), ("8192", true), ("max", true)] {
            limits.set("memory.max", &GroupValue::one(max));
            assert_eq!(present(&limits).is_ok(), is_good, "{max}");
        }
    }
}
