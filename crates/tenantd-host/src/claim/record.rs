//! The record of a claim, as it is written into its file.

use std::io;
use std::os::unix::fs::MetadataExt;
use std::path::PathBuf;

use serde::{Deserialize, Serialize};

use crate::cgroup::Leaf;

/// A process by its number and its start, which no later process of this boot shares.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Key {
    /// Its process number.
    pub pid: i32,
    /// When it started, in clock ticks since boot: field 22 of proc_pid_stat(5).
    pub start_ticks: u64,
}

/// A cgroup by its path and its number, which no later cgroup of this boot has.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct CgroupKey {
    /// The path of its folder.
    pub path: PathBuf,
    /// The inode of its folder, which is the kernel's number of the cgroup.
    pub id: u64,
}

impl CgroupKey {
    /// The key of the cgroup that holds all processes of a tenant.
    ///
    /// # Errors
    /// Those of statx(2).
    pub fn of(leaf: &Leaf) -> io::Result<Self> {
        let path = leaf.path().to_owned();
        let id = std::fs::metadata(&path)?.ino();
        Ok(Self { path, id })
    }
}

/// Who has a datastore. Only root can read or write it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Record {
    /// The boot of the host: without it, process numbers mean nothing.
    pub boot: String,
    /// The application.
    pub app: String,
    /// The tenant.
    pub tenant: String,
    /// The supervisor that wrote it.
    pub supervisor: Key,
    /// The cgroup with all processes of the tenant; `None` if it has none.
    pub cgroup: Option<CgroupKey>,
    /// The first process of the launch; `None` before there is one.
    pub process: Option<Key>,
}

impl Record {
    /// `APP/TENANT`.
    #[must_use]
    pub fn label(&self) -> String {
        format!("{}/{}", self.app, self.tenant)
    }
}
