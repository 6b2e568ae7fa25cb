//! Limits and settings of the host that many tenants reach, and the line that mends each.
//!
//! The kernel counts what is listed here for the whole host, so the load is that of all applications.

mod link_programs;
mod network;
mod pressure;

use std::fs;
use std::path::Path;

use super::{Finding, Grade};
use tenantd_core::plan::model::{LinkPlan, Mode, Plan};
use tenantd_core::plan::traffic::Outbound;

pub use link_programs::link_programs;
pub use pressure::pressure;

/// What all applications of the host need together.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Load {
    /// The number of tenants.
    pub tenants: u64,
    /// The number of those in mode bridge.
    pub bridged: u64,
    /// The number of those that have traffic with others which the host forwards, by IPv4.
    pub forwarded: u64,
    /// The number of those that have such traffic by IPv6.
    pub forwarded6: u64,
    /// The number of those in mode bridge that publish ports.
    pub published: u64,
}

impl Load {
    /// So many tenants, of which nothing is known: each may need all.
    #[must_use]
    pub fn any(tenants: u64) -> Self {
        Self {
            tenants,
            bridged: tenants,
            forwarded: tenants,
            forwarded6: 0,
            published: tenants,
        }
    }

    /// The tenants of a plan.
    #[must_use]
    pub fn of(plan: &Plan) -> Self {
        let count = |is: &dyn Fn(&LinkPlan) -> bool| {
            let links = plan.tenants.iter().map(|tenant| &tenant.link);
            links.filter(|link| is(link)).count() as u64
        };
        let tenants = plan.tenants.len() as u64;
        let is_bridge = plan.network.mode == Mode::Bridge;
        // Packets of macvlans do not pass the host.
        let passes = !matches!(plan.network.mode, Mode::Macvlan | Mode::Port);
        let is_forwarded = |link: &LinkPlan, four: bool| {
            let has_one = link.addresses.iter().any(|it| it.is_ipv4() == four);
            let mut published = link.traffic.publish.iter().map(|port| port.address);
            let others = |it: std::net::IpAddr| it.is_ipv4() == four && !it.is_loopback();
            passes && has_one && (link.traffic.outbound != Outbound::None || published.any(others))
        };
        Self {
            tenants,
            bridged: if is_bridge { tenants } else { 0 },
            forwarded: count(&|link| is_forwarded(link, true)),
            forwarded6: count(&|link| is_forwarded(link, false)),
            published: count(&|link| is_bridge && !link.traffic.publish.is_empty()),
        }
    }
}

impl std::ops::Add for Load {
    type Output = Self;

    fn add(self, other: Self) -> Self {
        Self {
            tenants: self.tenants + other.tenants,
            bridged: self.bridged + other.bridged,
            forwarded: self.forwarded + other.forwarded,
            forwarded6: self.forwarded6 + other.forwarded6,
            published: self.published + other.published,
        }
    }
}

/// A number that the kernel allows of something on the whole host.
struct Ceiling {
    /// Its path below `/proc/sys`.
    path: &'static str,
    subject: &'static str,
    /// What it counts.
    counts: &'static str,
    /// What a host needs without tenants, and what each tenant may need more.
    need: fn(&Load) -> u64,
}

/// The tasks and folders that a tenant is reckoned with: a small server with a few workers and a few folders. One
/// that needs more is not refused; the host's limit is then reached earlier.
const TASKS: u64 = 8;
const FOLDERS: u64 = 4;
/// The tracked connections that a tenant is reckoned with, those that have ended lately included.
const CONNECTIONS: u64 = 256;

const CEILINGS: &[Ceiling] = &[
    Ceiling {
        path: "kernel/pid_max",
        subject: "processes",
        counts: "process numbers",
        need: |load| 1024 + TASKS * load.tenants,
    },
    Ceiling {
        path: "kernel/threads-max",
        subject: "threads",
        counts: "processes and threads",
        need: |load| 1024 + TASKS * load.tenants,
    },
    Ceiling {
        path: "fs/inotify/max_user_watches",
        subject: "watches",
        counts: "watched folders of root",
        need: |load| 256 + FOLDERS * load.tenants,
    },
    Ceiling {
        path: "fs/mount-max",
        subject: "mounts",
        counts: "mounts in a namespace",
        // Its network namespace, and the sysfs of that.
        need: |load| 1024 + 2 * load.tenants,
    },
    Ceiling {
        path: "user/max_net_namespaces",
        subject: "network namespaces",
        counts: "namespaces of root",
        need: |load| 64 + load.tenants,
    },
    Ceiling {
        path: "user/max_mnt_namespaces",
        subject: "mount namespaces",
        counts: "namespaces of root",
        need: |load| 64 + load.tenants,
    },
    Ceiling {
        path: "kernel/keys/root_maxkeys",
        subject: "keyrings",
        counts: "keys of root",
        need: |load| 256 + load.tenants,
    },
    Ceiling {
        path: "net/ipv4/neigh/default/gc_thresh3",
        subject: "IPv4 neighbours",
        counts: "temporary entries",
        // Those of mode routed are permanent and do not count.
        need: |load| 128 + 2 * load.bridged,
    },
    Ceiling {
        path: "net/ipv6/neigh/default/gc_thresh3",
        subject: "IPv6 neighbours",
        counts: "temporary entries",
        need: |load| 128 + 2 * load.bridged,
    },
    Ceiling {
        path: "net/netfilter/nf_conntrack_max",
        subject: "connections",
        counts: "tracked connections",
        need: |load| 4096 + CONNECTIONS * load.tenants,
    },
];

/// Something of which the kernel says how much is used and how much there may be.
struct Used {
    subject: &'static str,
    counts: &'static str,
    /// The paths below `/proc/sys` of both.
    used: &'static str,
    most: &'static str,
}

/// A pool is said to be short from this percentage on.
const SHORT: u64 = 75;

const POOLS: &[Used] = &[
    Used {
        subject: "connection tracking",
        counts: "tracked connections",
        used: "net/netfilter/nf_conntrack_count",
        most: "net/netfilter/nf_conntrack_max",
    },
    Used {
        subject: "asynchronous I/O",
        counts: "requests of io_setup(2)",
        used: "fs/aio-nr",
        most: "fs/aio-max-nr",
    },
    Used {
        subject: "open files",
        counts: "open files of the host",
        used: "fs/file-nr",
        most: "fs/file-max",
    },
];

/// Where the kernel tells its settings: `/proc/sys`, or another folder in tests.
#[derive(Clone, Copy)]
struct Settings<'a>(&'a Path);

impl Settings<'_> {
    /// The first word of a setting. None if the kernel does not have it, or not in this network namespace.
    fn word(self, path: &str) -> Option<String> {
        let text = fs::read_to_string(self.0.join(path)).ok()?;
        text.split_whitespace().next().map(str::to_owned)
    }

    fn number(self, path: &str) -> Option<u64> {
        self.word(path)?.parse().ok()
    }
}

/// The line that changes a setting until the next boot. The path is one below `/proc/sys`.
fn set(path: &str, value: impl std::fmt::Display) -> String {
    format!("sysctl -w {}={value}", path.replace('/', "."))
}

/// Holds the limits and settings of this host against a load. Those that the kernel does not have are left out.
#[must_use]
pub fn settings(load: &Load) -> Vec<Finding> {
    of(load, Settings(Path::new("/proc/sys")))
}

/// Which settings of this host's network keep the tenants of a load from what their manifest allows.
#[must_use]
pub fn network(load: &Load) -> Vec<Finding> {
    let all = network::network(load, Settings(Path::new("/proc/sys")));
    all.filter(|finding| finding.grade != Grade::Good).collect()
}

fn of(load: &Load, settings: Settings<'_>) -> Vec<Finding> {
    let ceilings = CEILINGS
        .iter()
        .filter_map(|one| ceiling(one, load, settings));
    let pools = POOLS.iter().filter_map(|one| pool(one, settings));
    let network = network::network(load, settings);
    ceilings.chain(pools).chain(network).collect()
}

fn ceiling(one: &Ceiling, load: &Load, settings: Settings<'_>) -> Option<Finding> {
    let most = settings.number(one.path)?;
    let need = (one.need)(load);
    let found = format!("{most} {} allowed, {need} needed", one.counts);
    Some(match most < need {
        true => Finding::new(Grade::Weak, one.subject, found)
            .fix(set(one.path, need.next_power_of_two())),
        false => Finding::new(Grade::Good, one.subject, found),
    })
}

fn pool(one: &Used, settings: Settings<'_>) -> Option<Finding> {
    let (used, most) = (settings.number(one.used)?, settings.number(one.most)?);
    let found = format!("{used} of {most} {} in use", one.counts);
    Some(
        match used.saturating_mul(100) >= most.saturating_mul(SHORT) {
            true => Finding::new(Grade::Weak, one.subject, found)
                .fix(set(one.most, most.saturating_mul(2))),
            false => Finding::new(Grade::Good, one.subject, found),
        },
    )
}

#[cfg(test)]
pub(super) mod tests {
    use super::*;

    /// Settings in a folder, as the kernel writes them.
    pub(in crate::doctor::settings) fn with(values: &[(&str, &str)]) -> tempfile::TempDir {
        let folder = tempfile::tempdir().unwrap();
        for (path, value) in values {
            let path = folder.path().join(path);
            fs::create_dir_all(path.parent().unwrap()).unwrap();
            fs::write(path, format!("{value}\n")).unwrap();
        }
        folder
    }

    fn found(load: Load, values: &[(&str, &str)]) -> Vec<Finding> {
        let folder = with(values);
        of(&load, Settings(folder.path()))
    }

    fn bridged(tenants: u64) -> Load {
        Load {
            tenants,
            bridged: tenants,
            ..Load::default()
        }
    }

    #[test]
    fn a_ceiling_below_the_need_has_the_line_that_raises_it() {
        let values = [("kernel/pid_max", "32768")];
        let few = found(bridged(100), &values);
        assert_eq!((few[0].grade, &few[0].fix), (Grade::Good, &None));
        let many = found(bridged(5000), &values);
        assert_eq!(many[0].grade, Grade::Weak);
        assert_eq!(many[0].found, "32768 process numbers allowed, 41024 needed");
        assert_eq!(
            many[0].fix.as_deref(),
            Some("sysctl -w kernel.pid_max=65536")
        );
    }

    #[test]
    fn permanent_neighbours_do_not_count() {
        let values = [("net/ipv4/neigh/default/gc_thresh3", "1024")];
        let grade = |load| found(load, &values)[0].grade;
        assert_eq!(grade(bridged(448)), Grade::Good);
        assert_eq!(grade(bridged(449)), Grade::Weak);
        let routed = Load {
            tenants: 9000,
            ..Load::default()
        };
        assert_eq!(grade(routed), Grade::Good);
    }

    #[test]
    fn a_pool_that_is_nearly_used_up_is_said() {
        let used = |used| {
            let values = [("fs/aio-nr", used), ("fs/aio-max-nr", "65536")];
            found(Load::default(), &values).remove(0)
        };
        assert_eq!(used("49151").grade, Grade::Good);
        let short = used("49152");
        assert_eq!(short.grade, Grade::Weak);
        assert_eq!(short.fix.as_deref(), Some("sysctl -w fs.aio-max-nr=131072"));
        // The first of three numbers is that of the open files.
        let files = [("fs/file-nr", "100\t0\t100"), ("fs/file-max", "100")];
        assert_eq!(found(Load::default(), &files)[0].grade, Grade::Weak);
    }

    #[test]
    fn what_the_kernel_does_not_have_is_left_out() {
        assert_eq!(found(bridged(5000), &[]), []);
    }

    #[test]
    fn this_kernel_has_the_ceilings() {
        let here = Settings(Path::new("/proc/sys"));
        for one in CEILINGS.iter().filter(|one| !one.path.starts_with("net/")) {
            assert!(here.number(one.path).is_some(), "{}", one.path);
        }
    }
}
