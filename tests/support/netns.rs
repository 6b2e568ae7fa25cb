//! The network namespaces that a supervisor keeps alive: mounts in a folder that it has open.

use std::collections::BTreeMap;
use std::fs;
use std::os::unix::fs::MetadataExt;
use std::path::PathBuf;

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

/// The folder in proc of the thread that is in the mount namespace with them.
pub fn holder(supervisor: u32) -> PathBuf {
    let tasks = fs::read_dir(format!("/proc/{supervisor}/task")).unwrap();
    let mut tasks = tasks.map(|task| task.unwrap().path());
    let is_it = |task: &PathBuf| {
        fs::read_to_string(task.join("comm")).is_ok_and(|name| name == "netns-mounts\n")
    };
    tasks.find(is_it).expect("there is no such thread")
}
