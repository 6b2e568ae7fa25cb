//! What an attempt needs to know: where the objects are that the command has placed.

use std::net::{IpAddr, Ipv4Addr};
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};

/// The objects that a process of the command has placed, in a tenant or on the host.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(super) struct Placed {
    /// The process, which lives until the end of the test.
    pub(super) pid: i32,
    /// Its user.
    pub(super) uid: u32,
    /// The name of everything that has one.
    pub(super) id: String,
    /// The key of its SysV objects.
    pub(super) key: i32,
    /// Its folder, as the process sees it.
    pub(super) folder: PathBuf,
    /// The same folder, as the host sees it.
    pub(super) on_host: PathBuf,
    /// The number of a descriptor of its file.
    pub(super) descriptor: i32,
    /// The port at which it listens.
    pub(super) port: u16,
    /// The addresses of its network namespace.
    pub(super) addresses: Vec<IpAddr>,
    /// Its folder below `/run`, if it is on the host.
    pub(super) runtime: Option<PathBuf>,
}

impl Placed {
    /// Its file in its folder.
    pub(super) const FILE: &'static str = "file";
    /// Its socket in its folder.
    pub(super) const SOCKET: &'static str = "socket";
    /// Its symbolic link to the root folder of a process on the host.
    pub(super) const LINK: &'static str = "link";

    /// A path in `/proc` of its process.
    pub(super) fn proc(&self, name: &str) -> PathBuf {
        Path::new("/proc").join(self.pid.to_string()).join(name)
    }
}

/// What is tried, and against what.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(super) struct Aim {
    /// The objects in the tenant of the process that tries.
    pub(super) own: Placed,
    /// The objects in the neighbour, on the host, or of the process that stands for the supervisor.
    pub(super) to: Placed,
    /// The application.
    pub(super) app: String,
    /// The address of the host in the tenants' network; none in mode macvlan, where a machine outside has it.
    pub(super) gateway: Option<Ipv4Addr>,
}
