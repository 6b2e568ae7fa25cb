//! What the files of a cgroup have, compared with limits.

use std::fs;
use std::io::{Error, ErrorKind};
use std::os::unix::fs::{FileTypeExt, MetadataExt};
use std::path::{Path, PathBuf};
use std::sync::OnceLock;

use rustix::fs::{major, minor};

use super::limits::controllers;
use super::present::{SYS, sizes};
use tenantd_core::cgroup::{GroupKey, GroupLimits, KEYS, Named, is_device_number, is_same};
use tenantd_core::stage::{Failure, Stage};

/// What one file of a cgroup has that is not as planned.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Difference {
    /// The limit.
    pub(super) name: String,
    pub(super) file: PathBuf,
    /// What to write.
    pub(super) planned: String,
    pub(super) found: String,
}

/// What is not as planned in the files of a cgroup.
pub(super) fn differences(folder: &Path, limits: &GroupLimits) -> Result<Vec<Difference>, Failure> {
    differences_of(folder, limits, &controllers(folder))
}

/// The same of a cgroup that has these controllers.
pub(super) fn differences_of(
    folder: &Path,
    limits: &GroupLimits,
    present: &[String],
) -> Result<Vec<Difference>, Failure> {
    let mut all = Vec::new();
    if present.is_empty() {
        return Ok(all);
    }
    let page = rustix::param::page_size() as u64;
    for key in KEYS
        .iter()
        .filter(|key| present.iter().any(|it| it == key.controller))
    {
        match key.name {
            "io.max" => devices(folder, key, limits, &mut all)?,
            "hugetlb" => pages(folder, key, limits, page, &mut all)?,
            _ => {
                let file = folder.join(key.file);
                let planned = limits.value(key.name);
                all.extend(difference(key, ("", file), planned, page)?);
            }
        }
    }
    Ok(all)
}

fn difference(
    key: &GroupKey,
    (item, file): (&str, PathBuf),
    planned: Option<&str>,
    page: u64,
) -> Result<Option<Difference>, Failure> {
    let name = Named(key.name, item).to_string();
    let found = match fs::read_to_string(&file) {
        Ok(found) => found,
        // A kernel without it limits nothing, for example swap.
        Err(error) if error.kind() == ErrorKind::NotFound && planned.is_none() => return Ok(None),
        Err(error) => return Err(unreadable(&name, &file, &error)),
    };
    // `io.weight` has a line for each device with a weight of its own.
    let found = found.lines().next().unwrap_or_default().to_owned();
    let wanted = planned.unwrap_or(key.unset);
    if is_same(key, wanted, &found, page) {
        return Ok(None);
    }
    Ok(Some(Difference {
        name,
        file,
        // An empty write is none.
        planned: format!("{wanted}\n"),
        found,
    }))
}

fn unreadable(name: &str, file: &Path, error: &Error) -> Failure {
    let object = format!("{name} ({})", file.display());
    let failure = Failure::errno(
        Stage::Limits,
        object,
        error.raw_os_error().unwrap_or(libc::EIO),
    );
    match error.kind() {
        ErrorKind::NotFound => failure.with("the kernel has no such limit"),
        _ => failure,
    }
}

/// Huge pages have a file for each size.
fn pages(
    folder: &Path,
    key: &GroupKey,
    limits: &GroupLimits,
    page: u64,
    all: &mut Vec<Difference>,
) -> Result<(), Failure> {
    let mut planned: Vec<(&str, &str)> = Vec::new();
    planned.extend(
        limits
            .each()
            .filter(|(it, ..)| *it == key)
            .map(|(_, item, value)| (item, value)),
    );
    for (size, value) in &planned {
        let file = folder.join(key.file.replace("{}", size));
        all.extend(difference(key, (size, file), Some(value), page)?);
    }
    for size in huge_page_sizes(folder).map_err(|error| unreadable(key.name, folder, &error))? {
        if planned.iter().all(|(planned, _)| *planned != size) {
            let file = folder.join(key.file.replace("{}", &size));
            all.extend(difference(key, (&size, file), None, page)?);
        }
    }
    Ok(())
}

/// The sizes of huge pages of the host, which it has from its boot on. The files of a cgroup are listed only if the host
/// does not say it: the cgroup of an application has a folder for each tenant.
fn huge_page_sizes(cgroup: &Path) -> std::io::Result<Vec<String>> {
    static HOSTS: OnceLock<Option<Vec<String>>> = OnceLock::new();
    if let Some(known) = HOSTS.get_or_init(|| sizes(Path::new(SYS))) {
        return Ok(known.clone());
    }
    let names =
        fs::read_dir(cgroup)?.filter_map(|entry| entry.ok()?.file_name().into_string().ok());
    let sizes = names.filter_map(|name| {
        let size = name.strip_prefix("hugetlb.")?.strip_suffix(".max")?;
        (!size.contains('.')).then(|| size.to_owned())
    });
    Ok(sizes.collect())
}

/// `io.max` has a line for each device.
fn devices(
    folder: &Path,
    key: &GroupKey,
    limits: &GroupLimits,
    all: &mut Vec<Difference>,
) -> Result<(), Failure> {
    let file = folder.join(key.file);
    let found = match fs::read_to_string(&file) {
        Ok(found) => found,
        Err(error) if error.kind() == ErrorKind::NotFound => String::new(),
        Err(error) => return Err(unreadable(key.name, &file, &error)),
    };
    let mut planned: Vec<(String, &str, &str)> = Vec::new();
    for (_, item, value) in limits.each().filter(|(it, ..)| *it == key) {
        planned.push((number(key, item)?, item, value));
    }
    let nothing = "rbps=max wbps=max riops=max wiops=max";
    let sorted = |rates: &str| {
        let mut rates: Vec<String> = rates.split_whitespace().map(str::to_owned).collect();
        rates.sort_unstable();
        rates
    };
    for line in found.lines() {
        let (device, rates) = line.split_once(' ').unwrap_or((line, ""));
        let wanted = planned.iter().find(|(number, ..)| number == device);
        let (name, wanted) = wanted.map_or((device, nothing), |(_, item, value)| (*item, *value));
        if sorted(rates) != sorted(wanted) {
            all.push(Difference {
                name: Named(key.name, name).to_string(),
                file: file.clone(),
                planned: format!("{device} {wanted}"),
                found: line.to_owned(),
            });
        }
    }
    for (number, item, value) in &planned {
        let is_there = found
            .lines()
            .any(|line| line.split(' ').next() == Some(number));
        // A device without a limit has no line.
        if !is_there && sorted(value) != sorted(nothing) {
            all.push(Difference {
                name: Named(key.name, item).to_string(),
                file: file.clone(),
                planned: format!("{number} {value}"),
                found: String::new(),
            });
        }
    }
    Ok(())
}

/// The number of a block device, as the kernel writes it.
pub(super) fn number(key: &GroupKey, device: &str) -> Result<String, Failure> {
    if is_device_number(device) {
        return Ok(device.to_owned());
    }
    let name = Named(key.name, device).to_string();
    let found = fs::metadata(device).map_err(|error| {
        let errno = error.raw_os_error().unwrap_or(libc::EIO);
        Failure::errno(Stage::Limits, name.as_str(), errno)
    })?;
    if !found.file_type().is_block_device() {
        return Err(Failure::errno(Stage::Limits, name, libc::ENOTBLK));
    }
    Ok(format!("{}:{}", major(found.rdev()), minor(found.rdev())))
}

#[cfg(test)]
mod tests {
    use super::*;
    use tenantd_core::cgroup::GroupValue;

    #[test]
    fn devices_are_limited_by_their_number() {
        let folder = tempfile::tempdir().unwrap();
        for (name, text) in [
            ("cgroup.controllers", "io\n"),
            ("io.max", "8:0 rbps=max wbps=7 riops=max wiops=max\n"),
        ] {
            fs::write(folder.path().join(name), text).unwrap();
        }
        let found = differences(folder.path(), &GroupLimits::default()).unwrap();
        assert_eq!(
            found[0].planned,
            "8:0 rbps=max wbps=max riops=max wiops=max"
        );
        let mut planned = GroupLimits::default();
        planned.set(
            "io.max",
            &GroupValue([("/dev/null".to_owned(), "rbps=1".to_owned())].into()),
        );
        let failure = differences(folder.path(), &planned).unwrap_err();
        assert_eq!(failure.errno, libc::ENOTBLK);
    }
}
