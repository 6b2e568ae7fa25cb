//! The types of a plan. A [`Plan`] contains every name, number, path and mount that is needed to
//! run the tenants.

mod control;
mod files;
mod link;
mod mac;
mod restart;
mod subnet;

use std::collections::BTreeMap;
use std::net::Ipv4Addr;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use ipnetwork::Ipv4Network;
use serde::Serialize;

use super::address::Addresses;
use super::alive::Alive;
pub use super::idmap::{IdMap, Swap};
use super::phase::{Commands, PhasePolicies};
pub use super::process::ProcessAttributes;
use super::reload::AppReload;
pub use super::success::{StopSignal, SuccessExit};
pub use super::traffic::{Firewall, TrafficPlan};
pub use super::wall::WallPlan;
pub use crate::cgroup::GroupLimits;
use crate::manifest::engine::Engine;
pub use crate::manifest::limit::{Bound, Limit, Measure};
use crate::manifest::storage::Storage;
pub use crate::manifest::value::Interface;
use crate::name::{AppName, TenantName};
pub use control::{ControlPlan, Operator, Reader};
pub use files::{FilePlan, LogFiles};
pub use link::{EndPlan, LinkPlan};
pub use mac::MacAddr;
pub use restart::{RestartPolicy, RestartWhen};
pub use subnet::{Subnet6, UplinkPlan};

/// One application and all its tenants.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Plan {
    /// The application.
    pub app: AppName,
    /// The network that its tenants share.
    pub network: NetworkPlan,
    /// Who may use the control socket.
    pub control: ControlPlan,
    /// The tenants, in the order of the manifest.
    pub tenants: Vec<TenantPlan>,
    /// Which of their addresses were found for them, because the manifest says `auto`.
    pub given: BTreeMap<TenantName, Addresses>,
}

/// How tenants are connected to the host.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Mode {
    /// Each link is a point-to-point network: /32 addresses, one host route per tenant, no shared
    /// layer 2, and no limit on the number of tenants.
    Routed,
    /// All host ends are isolated ports of one bridge (at most 1,023, `BR_MAX_PORTS`).
    Bridge,
    /// Each tenant has a macvlan of an interface of the host. Its host end only bears the mark.
    Macvlan,
    /// All host ends are isolated ports of a bridge that the host has.
    #[serde(rename = "bridge")]
    Port,
}

/// The network of an application.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NetworkPlan {
    /// The mode.
    pub mode: Mode,
    /// The interface of the host in mode macvlan, or the bridge of the host, and only then.
    pub parent: Option<Interface>,
    /// The network of all tenants' addresses.
    pub subnet: Ipv4Network,
    /// The host's address in the subnet, which all tenants can reach; with a parent the router's.
    pub gateway: Ipv4Addr,
    /// The same of IPv6, if tenants can have such addresses.
    pub ipv6: Option<Subnet6>,
    /// The link of the host by which others reach addresses of tenants that are in none of the subnets.
    pub uplink: Option<UplinkPlan>,
    /// The link with the gateway's address on the host: a bridge, which has ports only in mode
    /// bridge.
    pub hub: EndPlan,
    /// Its ownership mark (the link's alias), `tenantd:APP`.
    pub mark: String,
    /// The MTU in bytes of the hub and of both ends of every link.
    pub mtu: u32,
    /// Whether the manifest says it. Else it is that of the interface by which the host reaches others.
    pub mtu_given: bool,
    /// Whether the firewall is made.
    pub firewall: Firewall,
}

impl NetworkPlan {
    /// The upper half of the groups of all links of tenantd.
    pub const GROUPS: u32 = super::derive::GROUPS;

    /// The group of the hub and of the host ends.
    #[must_use]
    pub fn group(&self) -> u32 {
        super::derive::group(&self.mark)
    }

    /// The name of the application.
    #[must_use]
    pub fn app(&self) -> &str {
        self.mark.strip_prefix("tenantd:").unwrap_or(&self.mark)
    }
}

/// The plan of one tenant. Parts that tenants have in common are stored once.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TenantPlan {
    /// Its name.
    pub name: TenantName,
    /// Its link and addresses.
    pub link: LinkPlan,
    /// Its datastore.
    pub datastore: DatastorePlan,
    /// Its program.
    pub launch: Arc<LaunchPlan>,
    /// Its variables. What they are used for is in the other parts.
    pub vars: Arc<BTreeMap<String, String>>,
    /// The log files that its program writes, to follow.
    pub logs: Arc<[LogFiles]>,
    /// How many bytes of its output are read a second.
    pub log_rate: u64,
    /// When it starts, stops, restarts and is ready.
    pub policy: Arc<Policy>,
}

/// Where a tenant's data is on the host, and where its program expects it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DatastorePlan {
    /// The folder on the host.
    pub source: PathBuf,
    /// The topmost part of `source` that tenantd may create. Its parent must exist.
    pub root: Arc<Path>,
    /// The path that the program expects, where the data is mounted.
    pub target: Option<Arc<Path>>,
    /// Further folders that the program expects.
    pub folders: Arc<[FolderPlan]>,
    /// The owner of a new datastore, as the host sees it.
    pub uid: u32,
    /// The group of a new datastore, as the host sees it.
    pub gid: u32,
    /// As whose the tenant sees the files, if not as the host does.
    pub map: Option<IdMap>,
    /// The mode of a new datastore, such as 0o750.
    pub mode: u32,
    /// Whether it is never made.
    pub must_exist: bool,
    /// Whether it is not used in the filesystem of `/`.
    pub mounted: bool,
}

impl DatastorePlan {
    /// Whether a new datastore has a folder for each path that the program expects. Otherwise it is
    /// mounted itself, at the only one.
    #[must_use]
    pub fn is_tree(&self) -> bool {
        self.target.is_none() || !self.folders.is_empty()
    }

    /// The paths at which the program finds its data.
    pub fn targets(&self) -> impl Iterator<Item = &Path> {
        let folders = self.folders.iter().map(|folder| folder.target.as_path());
        self.target.as_deref().into_iter().chain(folders)
    }

    /// Where a file of the program is, if it is in the datastore.
    #[must_use]
    pub fn place_of(&self, path: &Path) -> Option<PathBuf> {
        let target = self.targets().find(|target| path.starts_with(target))?;
        match self.is_tree() {
            true => Some(self.place(path)),
            false => Some(self.source.join(path.strip_prefix(target).ok()?)),
        }
    }

    /// Where the folder for a path that the program expects is, in a datastore with several.
    #[must_use]
    pub fn place(&self, target: &Path) -> PathBuf {
        self.source.join(target.strip_prefix("/").unwrap_or(target))
    }
}

/// A folder that the program expects, and how it is made for a tenant that has none yet.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct FolderPlan {
    /// The path that the program expects.
    pub target: PathBuf,
    /// What a new folder contains.
    pub seed: Seed,
    /// The owner of a new folder. `None`: that of the host's folder, or of a new datastore.
    pub uid: Option<u32>,
    /// The group of a new folder. `None`: that of the host's folder, or of a new datastore.
    pub gid: Option<u32>,
    /// The mode of a new folder. `None`: that of the host's folder, or of a new datastore.
    pub mode: Option<u32>,
}

/// What a new folder contains.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Seed {
    /// Nothing.
    Empty,
    /// A copy of the host's folder with the same path.
    Copy,
    /// A copy of this folder of the host.
    Template(PathBuf),
    /// The changes to the host's folder with the same path, over which it is mounted.
    Overlay,
}

/// Everything that is needed to start a tenant's program.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LaunchPlan {
    /// The program's file, absolute.
    pub program: PathBuf,
    /// Its arguments, beginning with `argv[0]`.
    pub argv: Vec<String>,
    /// Its complete environment.
    pub environment: Arc<BTreeMap<String, String>>,
    /// Its secrets: the files of the host, by name.
    pub secrets: Arc<BTreeMap<String, PathBuf>>,
    /// Its working directory, as seen inside the mount namespace.
    pub working_directory: PathBuf,
    /// Who it runs as.
    pub identity: Arc<Identity>,
    /// What it sees of the host.
    pub view: Arc<ViewPlan>,
    /// Private folders (tmpfs), in the order in which they are mounted.
    pub private: Arc<[PathBuf]>,
    /// Folders that are hidden because they contain datastores, in the order of mounting.
    pub hidden: Arc<[PathBuf]>,
    /// Files that it has for itself.
    pub files: Arc<Vec<FilePlan>>,
    /// Resource limits of each process. Changes are applied to running processes.
    pub limits: Limits,
    /// Limits of its cgroup. Changes are written to it while the tenant runs.
    pub group: Arc<GroupLimits>,
    /// Attributes of the first process, which others inherit.
    pub process: ProcessAttributes,
    /// What separates its processes from others.
    pub wall: WallPlan,
    /// The commands that run before it.
    pub commands: Arc<Commands>,
    /// The words of the commands that run in the tenant beside it, of `[app.alive]` and `[app.reload]`: a launch
    /// does not hide what they name. What they are is in the policy.
    pub visits: Arc<Vec<String>>,
}

/// What a tenant sees of the host's files.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ViewPlan {
    /// What it may do with them.
    pub host: HostAccess,
    /// Paths of the host that it may write to, without those that are inside another one.
    pub shared: Vec<PathBuf>,
    /// Paths of the host that it sees below private folders, in the order of mounting.
    pub visible: Vec<PathBuf>,
    /// The maximum size in bytes of each private folder and of each of [`OWN`].
    pub private_size: u64,
    /// The modes of private folders that do not have that of what they cover.
    pub private_modes: BTreeMap<PathBuf, u32>,
}

/// What tenants may do with the files of the host.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum HostAccess {
    /// Read them. A tenant has folders of its own at the paths of [`OWN`].
    ReadOnly,
    /// Write wherever their user can.
    Writable,
}

/// The paths at which each tenant has an empty folder of its own while the host is read-only:
/// programs expect to be able to write there. `/dev` has the usual devices.
pub const OWN: [&str; 5] = ["/dev", "/dev/shm", "/run", "/tmp", "/var/tmp"];

/// Folders elsewhere in which services of the host have sockets by which they take orders. They are covered for
/// each tenant, with what `visible` or `shared` names in them.
pub const CONTROL: [&str; 5] = [
    "/var/lib/incus",
    "/var/lib/kubelet",
    "/var/lib/libvirt",
    "/var/lib/lxd",
    "/var/snap",
];

/// Files with the id of the machine, see machine-id(5). A tenant sees one of its own, unless they are visible.
pub const MACHINE_IDS: [&str; 2] = ["/etc/machine-id", "/var/lib/dbus/machine-id"];

/// The devices of the machine. A tenant does not see them, unless this folder is visible.
pub const DEVICES: &str = "/sys/devices";

/// Resource limits, see getrlimit(2). A limit that is `None` is inherited from the supervisor, as
/// it was started.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Limits {
    /// The maximum number of open files (`RLIMIT_NOFILE`).
    pub open_files: Option<Limit>,
    /// The maximum size of a core file in bytes (`RLIMIT_CORE`).
    pub core: Option<Limit>,
    /// The maximum of locked memory in bytes (`RLIMIT_MEMLOCK`).
    pub locked_memory: Option<Limit>,
}

/// Who a program runs as.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Identity {
    /// The user's name, or its number as text.
    pub user: String,
    /// The user.
    pub uid: u32,
    /// The group.
    pub gid: u32,
    /// Supplementary groups, as initgroups(3) would set them.
    pub groups: Vec<u32>,
    /// Whether no other tenant of the host and no other user has this user: `per-tenant`.
    pub own: bool,
}

/// When a tenant starts, stops, restarts and is ready. The supervisor decides by it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Policy {
    /// Whether it is wanted up when the supervisor starts.
    pub autostart: bool,
    /// What starts and stops it. Unless it is the supervisor, `autostart` is false.
    pub engine: Engine,
    /// Which hosts reach its data.
    pub storage: Storage,
    /// The signal that asks the program to stop.
    pub stop_signal: StopSignal,
    /// The time from the stop signal to SIGKILL.
    pub grace: Duration,
    /// What happens when the program exits without a request.
    pub restart: RestartPolicy,
    /// When it is ready.
    pub ready: Readiness,
    /// The time limit to become ready. When it is over, the launch has failed.
    pub ready_within: Duration,
    /// Whether the program forks and continues in the background. Then status 0 of the first process does
    /// not end the launch while others run. The end of its main process does, if that is found.
    pub daemonizes: bool,
    /// The file with the number of the main process, as the tenant sees it.
    pub pid_file: Option<PathBuf>,
    /// The commands that run before the program.
    pub phases: PhasePolicies,
    /// How it is asked whether it is alive, while it is ready.
    pub alive: Option<Alive>,
    /// How often it sends `WATCHDOG=1` to its notify socket at least, while it is ready.
    pub watchdog: Option<Duration>,
    /// How it is made to read its configuration again.
    pub reload: Option<AppReload>,
}

/// When a launch is ready.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Readiness {
    /// Once its program was executed.
    Started,
    /// Once it has run for this long.
    Lived(Duration),
    /// Once this TCP port on the tenant's first address accepts connections.
    Tcp(u16),
    /// Once it has sent `READY=1` to its notify socket, see sd_notify(3).
    Notify,
}
