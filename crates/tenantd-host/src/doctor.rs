//! Checks whether the host can run tenants, and which features it lacks: the findings of
//! `tenantd check`.
//!
//! It changes nothing on the host. It makes test links in a temporary network namespace.

mod filters;
mod mtu;
mod names;
mod private;
mod room;
mod settings;
mod sockets;
mod tables;
mod total;
mod uids;
mod uplink;
mod wall;

use std::collections::BTreeMap;
use std::fmt;
use std::path::Path;

use rtnetlink::{LinkBridge, LinkVeth};
use rustix::io::Errno;
use rustix::thread::{CapabilitySet, capabilities};

use tenantd_core::plan::model::HostAccess;
use tenantd_core::stage::{Failure, Stage};

use super::cgroup;
use super::netns::{self, Sysctls};
use super::{launch, limits, targets, writers};

pub use filters::filters;
pub use mtu::mtu;
pub use names::names;
pub use private::private;
pub use room::{Crowd, OWN as OWN_DESCRIPTORS, too_many};
pub use settings::{Load, link_programs, network, pressure, settings};
pub use sockets::sockets;
pub use tables::tables;
pub use total::total;
pub use uids::uids;
pub use uplink::uplink;
pub use wall::{Unconfined, of_host, wall};

/// The kernel features that tenantd uses, by the release that introduced them. docs/guide.md has
/// the same table.
const KERNELS: [Release; 3] = [
    // The other system calls of a launch, such as clone3(2) and openat2(2), are older.
    Release {
        version: (5, 11),
        grade: Grade::Bad,
        has: "close_range(2), which keeps programs from inheriting tenantd's descriptors",
    },
    Release {
        version: (5, 12),
        grade: Grade::Weak,
        has: "mount_setattr(2), which makes the host's files read-only for tenants",
    },
    Release {
        version: (5, 14),
        grade: Grade::Weak,
        has: "cgroup.kill, which kills all processes of a tenant at once",
    },
];

/// A kernel release and the feature that it introduced.
struct Release {
    version: (u32, u32),
    /// The grade of a host without the feature.
    grade: Grade,
    has: &'static str,
}

/// The capabilities that tenantd needs, and what for. See capabilities(7).
const NEEDED: [(CapabilitySet, &str); 9] = [
    (
        CapabilitySet::SYS_ADMIN,
        "CAP_SYS_ADMIN (namespaces, mounts)",
    ),
    (CapabilitySet::NET_ADMIN, "CAP_NET_ADMIN (links, addresses)"),
    (CapabilitySet::SETUID, "CAP_SETUID (the tenant's user)"),
    (CapabilitySet::SETGID, "CAP_SETGID (the tenant's group)"),
    (
        CapabilitySet::SETPCAP,
        "CAP_SETPCAP (dropping a tenant's capabilities)",
    ),
    (CapabilitySet::CHOWN, "CAP_CHOWN (the datastore's owner)"),
    (
        CapabilitySet::DAC_OVERRIDE,
        "CAP_DAC_OVERRIDE (the datastore's folder)",
    ),
    (CapabilitySet::KILL, "CAP_KILL (stopping a tenant)"),
    (CapabilitySet::MKNOD, "CAP_MKNOD (a tenant's own /dev)"),
];

/// The severity of a finding.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Grade {
    /// Nothing is missing.
    Good,
    /// Tenants can run, but a feature is missing.
    Weak,
    /// Tenants cannot run.
    Bad,
}

impl fmt::Display for Grade {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(match self {
            Grade::Good => "good",
            Grade::Weak => "weak",
            Grade::Bad => "bad",
        })
    }
}

/// The result of one check.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Finding {
    /// The severity.
    pub grade: Grade,
    /// What was checked, in a word or two.
    pub subject: &'static str,
    /// The result, and what to do about it.
    pub found: String,
    /// A command that mends it.
    pub fix: Option<String>,
}

impl Finding {
    /// A finding without a command that mends it.
    pub fn new(grade: Grade, subject: &'static str, found: impl Into<String>) -> Self {
        Self {
            grade,
            subject,
            found: found.into(),
            fix: None,
        }
    }

    /// With a command that mends it.
    fn fix(mut self, command: impl Into<String>) -> Self {
        self.fix = Some(command.into());
        self
    }
}

/// Runs all checks for a host with these tenants, which may do this with its files.
#[must_use]
pub fn examine(tenants: Crowd, host: HostAccess) -> Vec<Finding> {
    let all = [
        privileges(),
        kernel(&rustix::system::uname().release().to_string_lossy()),
        links(),
        files(host, launch::has_landlock()),
        cgroups(),
        room::descriptors(tenants, room::limit()),
        changeable_limits(limits::is_privileged()),
    ];
    all.into_iter().chain(watches(targets::probe())).collect()
}

/// Whether changes of the host's folders can be watched. None if they can.
fn watches(probed: Result<(), Errno>) -> Option<Finding> {
    let limit = match probed {
        Ok(()) => return None,
        Err(Errno::NOSPC) => "fs.inotify.max_user_watches",
        Err(Errno::MFILE) => "fs.inotify.max_user_instances",
        Err(_) => "see inotify(7)",
    };
    let found = format!(
        "cannot be watched, so a removed or renamed folder that tenants have mounts on is noticed only at \
         their next start: raise the limit ({limit})"
    );
    Some(Finding::new(Grade::Weak, "folders", found))
}

/// Checks who can change a manifest, whose path is absolute. Who can change it can execute any program
/// as root. That may be intended, so it is not refused.
#[must_use]
pub fn manifest(path: &Path) -> Finding {
    let subject = "manifest";
    let open = match writers::of(path) {
        Ok(open) if open.is_empty() => {
            return Finding::new(Grade::Good, subject, "only root can change it");
        }
        Ok(open) => open,
        Err(error) => {
            let found = format!("cannot find out who can change it: {error}");
            return Finding::new(Grade::Weak, subject, found);
        }
    };
    let each = open.iter().map(|open| {
        let who: Vec<String> = open.who.iter().map(ToString::to_string).collect();
        format!("{} can write {}", who.join(" and "), open.path.display())
    });
    let each: Vec<String> = each.collect();
    let found = format!(
        "{}, and so execute any program as root: see chown(1), chmod(1) and setfacl(1)",
        each.join("; ")
    );
    Finding::new(Grade::Weak, subject, found)
}

fn privileges() -> Finding {
    let subject = "privileges";
    let held = match capabilities(None) {
        Ok(sets) => sets.effective,
        Err(errno) => {
            return Finding::new(
                Grade::Bad,
                subject,
                format!("cannot read capabilities: {errno}"),
            );
        }
    };
    let missing: Vec<&str> = NEEDED
        .iter()
        .filter(|(capability, _)| !held.contains(*capability))
        .map(|(_, what)| *what)
        .collect();
    if missing.is_empty() {
        return Finding::new(Grade::Good, subject, "all required capabilities are held");
    }
    let found = format!("missing {}: run tenantd as root", missing.join(", "));
    Finding::new(Grade::Bad, subject, found)
}

fn kernel(release: &str) -> Finding {
    let subject = "kernel";
    let Some((major, minor)) = crate::release::parse(release) else {
        let found = format!("{release}: cannot parse the release number");
        return Finding::new(Grade::Weak, subject, found);
    };
    let missing: Vec<&Release> = KERNELS
        .iter()
        .filter(|needed| (major, minor) < needed.version)
        .collect();
    let Some(grade) = missing.iter().map(|needed| needed.grade).max() else {
        let [.., newest] = KERNELS.map(|needed| needed.version);
        let found = format!(
            "{release} has all features that tenantd uses (since {}.{})",
            newest.0, newest.1
        );
        return Finding::new(Grade::Good, subject, found);
    };
    let features: Vec<String> = missing
        .iter()
        .map(|needed| {
            format!(
                "{}.{} added {}",
                needed.version.0, needed.version.1, needed.has
            )
        })
        .collect();
    let found = format!("{release} lacks features: {}", features.join("; "));
    Finding::new(grade, subject, found)
}

/// Makes a bridge and a veth pair in a temporary network namespace.
fn links() -> Finding {
    match netns::make(&mut Sysctls::default(), &BTreeMap::new(), make_links) {
        Ok(_) => Finding::new(
            Grade::Good,
            "links",
            "network namespaces, veth pairs and bridges can be created",
        ),
        Err(failure) => Finding::new(Grade::Bad, "links", failure.to_string()),
    }
}

fn make_links() -> Result<(), Failure> {
    let broken = |object: &str, error: &dyn fmt::Display| {
        Failure::detail(Stage::Link, object, error.to_string())
    };
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .map_err(|error| broken("", &error))?;
    runtime.block_on(async {
        let (connection, handle, _) =
            rtnetlink::new_connection().map_err(|error| broken("", &error))?;
        tokio::spawn(connection);
        let link = handle.link();
        link.add(LinkBridge::new("probe").build())
            .execute()
            .await
            .map_err(|error| broken("of kind bridge", &error))?;
        link.add(LinkVeth::new("probe0", "probe1").build())
            .execute()
            .await
            .map_err(|error| broken("of kind veth", &error))
    })
}

/// What tenants may do with the host's files.
fn files(host: HostAccess, has_landlock: bool) -> Finding {
    let subject = "files";
    match (host, has_landlock) {
        (HostAccess::Writable, _) => Finding::new(
            Grade::Weak,
            subject,
            "tenants may write to the host's files (`host = \"writable\"`): what they write \
             outside of their datastores is not separate",
        ),
        (HostAccess::ReadOnly, true) => Finding::new(
            Grade::Good,
            subject,
            "read-only for tenants, and so is what the host mounts later (Landlock)",
        ),
        (HostAccess::ReadOnly, false) => Finding::new(
            Grade::Weak,
            subject,
            "read-only for tenants, but they can write to what the host mounts later until the \
             supervisor has made it read-only, and while none runs: Landlock is missing; use Linux \
             5.19 or later with `landlock` among the security modules (lsm= on the kernel's command \
             line)",
        ),
    }
}

fn cgroups() -> Finding {
    let subject = "cgroups";
    match cgroup::probe() {
        Some(path) => {
            let found = format!("processes are tracked in {}", path.display());
            Finding::new(Grade::Good, subject, found)
        }
        None => Finding::new(
            Grade::Weak,
            subject,
            "no writable cgroup v2 tree: a process that leaves its network namespace is not tracked, and \
             only its first process and an inherited lock protect a datastore from a second launch; mount cgroup2 at /sys/fs/cgroup",
        ),
    }
}

fn changeable_limits(privileged: bool) -> Finding {
    let subject = "limits";
    match privileged {
        true => Finding::new(
            Grade::Good,
            subject,
            "limits can be raised, and changed while tenants run",
        ),
        false => Finding::new(
            Grade::Weak,
            subject,
            "without CAP_SYS_RESOURCE, limits cannot be raised above tenantd's own; for tenants \
             that do not run as root, changes take effect at their next start",
        ),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn compares_releases() {
        assert_eq!(kernel("5.10.0-28-amd64").grade, Grade::Bad);
        assert_eq!(kernel("5.11.22").grade, Grade::Weak);
        assert_eq!(kernel("5.14.0").grade, Grade::Good);
        assert_eq!(kernel("6.1.0-13-cloud-amd64").grade, Grade::Good);
        assert_eq!(kernel("10.0").grade, Grade::Good);
        assert_eq!(kernel("next").grade, Grade::Weak);
        assert_eq!(
            kernel("5.12.1").found,
            "5.12.1 lacks features: 5.14 added cgroup.kill, which kills all processes of a tenant \
             at once"
        );
    }

    #[test]
    fn the_guide_names_the_same_releases() {
        let guide = include_str!("../../../docs/guide.md");
        for Release { version, .. } in KERNELS {
            let cell = format!("| {}.{}", version.0, version.1);
            assert!(guide.contains(&cell), "{cell}");
        }
    }

    #[test]
    fn a_writable_host_and_a_kernel_without_landlock_are_weak() {
        let grade = |host, landlock| files(host, landlock).grade;
        assert_eq!(grade(HostAccess::ReadOnly, true), Grade::Good);
        assert_eq!(grade(HostAccess::ReadOnly, false), Grade::Weak);
        assert_eq!(grade(HostAccess::Writable, true), Grade::Weak);
    }

    #[test]
    fn a_reached_limit_of_watches_is_weak() {
        assert!(watches(Ok(())).is_none());
        let found = watches(Err(Errno::NOSPC)).unwrap();
        assert_eq!(found.grade, Grade::Weak);
        assert!(found.found.contains("max_user_watches"), "{}", found.found);
    }
}
