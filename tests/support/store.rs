//! Observes a datastore, to check that a tenant never has two launches.

use std::collections::BTreeSet;
use std::fs;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

use rustix::fs::{StatVfsMountFlags, statvfs};

use super::place::{SRV, script};

/// Writes a program that executes its arguments, and records if another launch has the same
/// datastore. It detects this with a lock of its own, so that even a short overlap is noticed.
/// `before` is a command to run first.
pub fn guard(data: &str, before: &str) -> String {
    let text = format!(
        "{before}\nexec 9>>{data}/guard\nflock -n 9 || echo $$ >>{data}/twofold\nexec \"$@\""
    );
    script("guard", &text);
    format!("{SRV}/guard")
}

/// The datastore of one tenant.
#[derive(Debug, Clone)]
pub struct Store(PathBuf);

impl Store {
    pub fn of(app: &str, tenant: &str) -> Self {
        Self(format!("/var/lib/tenantd/{app}/{tenant}").into())
    }

    /// Whether a launch ever found another one on this datastore.
    pub fn had_two_launches(&self) -> bool {
        self.0.join("twofold").exists()
    }

    /// The processes that have it mounted writable at `data`, where their program looks for it. A
    /// rehearsal of a launch has it read-only, and may run beside the tenant's program.
    pub fn users(&self, data: &str) -> Vec<i32> {
        // A process that has just ended has no mounts.
        let identity = |path: &Path| fs::metadata(path).map(|found| (found.dev(), found.ino()));
        let Ok(wanted) = identity(&self.0) else {
            return Vec::new();
        };
        let has_it = |pid: &i32| {
            let there = format!("/proc/{pid}/root{data}");
            identity(Path::new(&there)).is_ok_and(|it| it == wanted) && is_writable(&there)
        };
        let numbers = fs::read_dir("/proc").unwrap().filter_map(|entry| {
            let name = entry.ok()?.file_name();
            name.to_str()?.parse().ok()
        });
        numbers.filter(has_it).collect()
    }

    /// The launches among these processes: each is a session of its own.
    pub fn launches(&self, data: &str) -> BTreeSet<i32> {
        let sessions = self.users(data).into_iter().filter_map(|pid| {
            let stat = fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
            // The fields after the name, which may contain any character: state, parent, group,
            // session.
            let (_, rest) = stat.rsplit_once(')')?;
            rest.split_whitespace().nth(3)?.parse().ok()
        });
        sessions.collect()
    }
}

fn is_writable(folder: &str) -> bool {
    statvfs(folder).is_ok_and(|system| !system.f_flag.contains(StatVfsMountFlags::RDONLY))
}
