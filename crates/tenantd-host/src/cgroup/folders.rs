//! Reads and removes cgroups by their path. One that does not exist is empty.

use std::io::{Error, ErrorKind};
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

use super::failure;
use crate::one_record;
use tenantd_core::stage::Failure;

/// Whether a process is in a cgroup or below it. False if it does not exist.
pub(super) fn is_populated(cgroup: &Path) -> Result<bool, Failure> {
    let path = cgroup.join("cgroup.events");
    match one_record::read(&path) {
        Ok(events) => Ok(events.lines().any(|line| line == "populated 1")),
        Err(error) if is_gone(&error) => Ok(false),
        Err(error) => Err(failure(&path, &error)),
    }
}

/// The processes in these cgroups.
pub(super) fn pids_in(folders: Vec<PathBuf>) -> Result<Vec<i32>, Failure> {
    let mut pids = Vec::new();
    for folder in folders {
        let path = folder.join("cgroup.procs");
        match one_record::read_list(&path) {
            Ok(text) => pids.extend(text.lines().filter_map(|line| line.parse::<i32>().ok())),
            Err(error) if is_gone(&error) => {}
            Err(error) => return Err(failure(&path, &error)),
        }
    }
    Ok(pids)
}

/// How many cgroups are right below one. The kernel counts them in the number of links of the folder.
fn below(folder: &Path) -> Option<u64> {
    let links = std::fs::symlink_metadata(folder).ok()?.nlink();
    // Some filesystems, which cgroups are not on, have always one.
    links.checked_sub(2)
}

/// A cgroup and all cgroups below it, parents first, without `but` and what is below that.
pub(super) fn folders(top: &Path, but: &[PathBuf]) -> Result<Vec<PathBuf>, Failure> {
    let mut folders = vec![top.to_path_buf()];
    let mut next = 0;
    while let Some(folder) = folders.get(next).cloned() {
        next += 1;
        if below(&folder) == Some(0) {
            continue;
        }
        let entries = match std::fs::read_dir(&folder) {
            Ok(entries) => entries,
            Err(error) if is_gone(&error) => continue,
            Err(error) => return Err(failure(&folder, &error)),
        };
        for entry in entries {
            match entry.and_then(|entry| Ok((entry.file_type()?.is_dir(), entry.path()))) {
                Ok((true, path)) if but.contains(&path) => {}
                Ok((true, path)) => folders.push(path),
                Ok((false, _)) => {}
                Err(error) if is_gone(&error) => {}
                Err(error) => return Err(failure(&folder, &error)),
            }
        }
    }
    Ok(folders)
}

/// The cgroups of a leaf but those of its visitors.
pub(super) fn of_program(
    leaf: &Path,
    program: &str,
    visitors: &str,
) -> Result<Vec<PathBuf>, Failure> {
    let program = leaf.join(program);
    // As usual: then all the files in the folders need not be listed.
    if (below(leaf), below(&program)) == (Some(1), Some(0)) {
        return Ok(vec![leaf.to_path_buf(), program]);
    }
    folders(leaf, &[leaf.join(visitors)])
}

/// Removes an empty cgroup. Succeeds if it does not exist.
pub(super) fn remove_folder(folder: &Path) -> Result<(), Error> {
    match std::fs::remove_dir(folder) {
        Err(error) if !is_gone(&error) => Err(error),
        Ok(()) | Err(_) => Ok(()),
    }
}

/// Whether the error means that the cgroup was removed: ENOENT, or ENODEV for an open file of it.
pub(super) fn is_gone(error: &Error) -> bool {
    error.kind() == ErrorKind::NotFound || error.raw_os_error() == Some(libc::ENODEV)
}
