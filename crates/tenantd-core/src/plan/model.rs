//! What a plan is made of. Whoever holds a [`Plan`] has nothing left to decide: every name,
//! number, path and mount is in it.

use std::collections::BTreeMap;
use std::fmt;
use std::net::Ipv4Addr;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use ipnetwork::Ipv4Network;
use serde::{Serialize, Serializer};

use super::address::Addresses;
pub use crate::manifest::limit::{Bound, Limit, Measure};
use crate::name::{AppName, IfName, TenantName};

/// One application and all its tenants.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Plan {
    /// The application.
    pub app: AppName,
    /// What its tenants share of the network.
    pub network: NetworkPlan,
    /// The tenants, in the order of the manifest.
    pub tenants: Vec<TenantPlan>,
}

/// How tenants reach the host, and the host them.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Mode {
    /// Each link is a network of two: /32 addresses, one host route per tenant, no shared
    /// layer 2 and no limit on their number.
    Routed,
    /// All host ends are isolated ports of one bridge (at most 1,023, `BR_MAX_PORTS`).
    Bridge,
}

/// The network of an application.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct NetworkPlan {
    /// Routed or bridge.
    pub mode: Mode,
    /// The network that all tenants' addresses lie in.
    pub subnet: Ipv4Network,
    /// The host's own address in it, which every tenant reaches.
    pub gateway: Ipv4Addr,
    /// The link that holds the gateway's address on the host: a bridge, with ports in mode
    /// bridge and without any in mode routed.
    pub hub: EndPlan,
    /// Its ownership mark (the link's alias), `tenantd:APP`.
    pub mark: String,
    /// The largest packet in bytes, the same on the hub and on both ends of every link.
    pub mtu: u32,
}

/// One end of a link.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct EndPlan {
    /// The interface's name.
    pub name: IfName,
    /// Its MAC address, derived from app and tenant: the same everywhere.
    pub mac: MacAddr,
}

/// A MAC address, locally administered and unicast where tenantd derived it (IEEE 802 §8.4).
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
pub struct MacAddr(pub [u8; 6]);

impl fmt::Display for MacAddr {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let [a, b, c, d, e, g] = self.0;
        write!(f, "{a:02x}:{b:02x}:{c:02x}:{d:02x}:{e:02x}:{g:02x}")
    }
}

impl fmt::Debug for MacAddr {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

impl Serialize for MacAddr {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

/// One tenant, whole. What most tenants of an application have in common stands in memory once.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct TenantPlan {
    /// Its name.
    pub name: TenantName,
    /// Its link and addresses.
    pub link: LinkPlan,
    /// Its data.
    pub datastore: DatastorePlan,
    /// Its program.
    pub launch: Arc<LaunchPlan>,
    /// When it starts, stops, restarts and counts as ready.
    pub policy: Arc<Policy>,
}

/// A tenant's veth pair.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct LinkPlan {
    /// The tenant's addresses.
    #[serde(flatten)]
    pub addresses: Addresses,
    /// Bits of the prefix of an IPv4 address on the tenant's end: in mode routed it stands alone
    /// (32), in mode bridge it has the subnet's.
    pub prefix: u8,
    /// The host end.
    pub host: EndPlan,
    /// The tenant end, `eth0`.
    pub tenant: EndPlan,
    /// The ownership mark (the host end's alias), `tenantd:APP/TENANT`.
    pub mark: String,
}

/// Where a tenant's data lies, and where its program looks for it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct DatastorePlan {
    /// The folder on the host.
    pub source: PathBuf,
    /// The part of `source` that tenantd may make: what lies above must be there.
    pub root: Arc<Path>,
    /// The path that the program expects, where `source` is bound.
    pub target: Arc<Path>,
    /// The owner that a new datastore gets.
    pub uid: u32,
    /// The group that a new datastore gets.
    pub gid: u32,
    /// The permissions that a new datastore gets, such as 0o750.
    pub mode: u32,
}

/// All that is needed to start a tenant's program.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct LaunchPlan {
    /// The program's file, absolute.
    pub program: PathBuf,
    /// Its arguments, the first being the name it is called by.
    pub argv: Vec<String>,
    /// Its whole environment.
    pub environment: Arc<BTreeMap<String, String>>,
    /// The folder it starts in, as seen inside the mount namespace.
    pub working_directory: PathBuf,
    /// Who it runs as.
    pub identity: Arc<Identity>,
    /// Empty folders of its own (tmpfs), in the order in which they are mounted.
    pub private: Arc<[PathBuf]>,
    /// Folders that are covered because they hold datastores, in the order in which they are.
    pub hidden: Arc<[PathBuf]>,
    /// What each of its processes may use. A change is set on those that run.
    pub limits: Limits,
}

/// Resource limits, see getrlimit(2). One that is not said is that of the supervisor itself, as it
/// was started.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize)]
pub struct Limits {
    /// How many files may be open (`RLIMIT_NOFILE`).
    pub open_files: Option<Limit>,
    /// The largest core file in bytes (`RLIMIT_CORE`).
    pub core: Option<Limit>,
    /// How many bytes of memory may be locked (`RLIMIT_MEMLOCK`).
    pub locked_memory: Option<Limit>,
}

/// Who a program runs as.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Identity {
    /// The user's name, or its number as text.
    pub user: String,
    /// The user.
    pub uid: u32,
    /// The group.
    pub gid: u32,
    /// Supplementary groups, as initgroups(3) would set them.
    pub groups: Vec<u32>,
}

/// When a tenant starts, stops, restarts and counts as ready: what the supervisor decides by.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Policy {
    /// Whether it is wanted up when the supervisor starts.
    pub autostart: bool,
    /// The signal that asks the program to stop.
    pub stop_signal: StopSignal,
    /// From the stop signal to SIGKILL.
    #[serde(rename = "grace_ms", serialize_with = "millis")]
    pub grace: Duration,
    /// What happens when the program ends unasked.
    pub restart: RestartPolicy,
    /// What makes it ready.
    pub ready: Readiness,
    /// How long it may take to get ready; past that the launch has failed.
    #[serde(rename = "ready_within_ms", serialize_with = "millis")]
    pub ready_within: Duration,
    /// Whether the program leaves its first process behind and goes on in the background: then
    /// its end with status 0 is no end while any of its processes lives.
    pub daemonizes: bool,
}

/// A signal by number, with its name for people.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct StopSignal {
    /// Such as 15.
    pub number: i32,
    /// Such as `SIGTERM`.
    pub name: String,
}

/// What happens when a program ends unasked.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct RestartPolicy {
    /// When it is started again.
    pub when: RestartWhen,
    /// The delay after the first strike. It doubles with each further one.
    #[serde(rename = "delay_ms", serialize_with = "millis")]
    pub delay: Duration,
    /// The longest delay.
    #[serde(rename = "delay_max_ms", serialize_with = "millis")]
    pub delay_max: Duration,
    /// A launch that lived this long clears the strikes.
    #[serde(rename = "healthy_after_ms", serialize_with = "millis")]
    pub healthy_after: Duration,
    /// This many strikes within `window` mark the tenant as failed. 0: never.
    pub strikes: u32,
    /// See `strikes`.
    #[serde(rename = "window_ms", serialize_with = "millis")]
    pub window: Duration,
}

/// When a program that ended unasked is started again.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum RestartWhen {
    /// However it ended.
    Always,
    /// Only if it failed: a status other than 0, or a signal. After status 0 it is wanted down.
    OnFailure,
    /// Not at all: it is held (after a failure) or wanted down (after status 0).
    Never,
}

/// What makes a launch ready.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Readiness {
    /// It was executed.
    Started,
    /// It has lived for this long.
    Lived(#[serde(serialize_with = "millis")] Duration),
    /// This TCP port on the tenant's first address accepts connections.
    Tcp(u16),
    /// It said `READY=1` over its notify socket, see sd_notify(3).
    Notify,
}

fn millis<S: Serializer>(duration: &Duration, serializer: S) -> Result<S::Ok, S::Error> {
    serializer.serialize_u64(u64::try_from(duration.as_millis()).unwrap_or(u64::MAX))
}
