//! The network namespaces that a supervisor keeps alive: mounts in a folder that it has open.

use std::collections::BTreeMap;
use std::fs;
use std::os::unix::fs::MetadataExt;

/// The inode of each, by its tenant.
pub fn kept(supervisor: u32) -> BTreeMap<String, u64> {
    let open = fs::read_dir(format!("/proc/{supervisor}/fd")).unwrap();
    let folders = open.filter_map(|fd| fs::read_dir(fd.ok()?.path()).ok());
    let files = folders.flatten().filter_map(|file| {
        let file = file.ok()?;
        // Namespaces are in one file system.
        let found = fs::metadata(file.path()).ok()?;
        let is_one = found.dev() == fs::metadata("/proc/self/ns/net").ok()?.dev();
        is_one.then(|| (file.file_name().into_string().unwrap(), found.ino()))
    });
    files.collect()
}
