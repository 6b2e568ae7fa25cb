//! The doctor looks at the host: can tenants be made here, and what will they have to do without?
//! It changes nothing; what it tries, it tries in a namespace of its own that is gone at once.

use std::fmt;

use rtnetlink::{LinkBridge, LinkVeth};
use rustix::process::{Resource, getrlimit};
use rustix::thread::{CapabilitySet, capabilities};

use tenantd_core::stage::{Failure, Stage};

use super::cgroup;
use super::limits;
use super::netns::{self, Sysctls};

/// What tenantd asks of the kernel: from which release, and what it goes without on older ones.
/// docs/guide.md says the same.
const KERNELS: [Release; 3] = [
    // All of a launch is there from here: clone3(2) with its flags and openat2(2) are older.
    Release {
        version: (5, 11),
        grade: Grade::Bad,
        has: "close_range(2): no program inherits what tenantd holds open",
    },
    Release {
        version: (5, 12),
        grade: Grade::Weak,
        has: "mount_setattr(2): set-user-id programs and devices in a datastore have no effect",
    },
    Release {
        version: (5, 14),
        grade: Grade::Weak,
        has: "cgroup.kill: a tenant is killed at one stroke, not process by process",
    },
];

/// A release of the kernel that brought something.
struct Release {
    version: (u32, u32),
    /// How bad it is to be without.
    grade: Grade,
    has: &'static str,
}

/// What provisions and launches need, each with what it is needed for, see capabilities(7).
const NEEDED: [(CapabilitySet, &str); 8] = [
    (
        CapabilitySet::SYS_ADMIN,
        "CAP_SYS_ADMIN (namespaces, mounts)",
    ),
    (CapabilitySet::NET_ADMIN, "CAP_NET_ADMIN (links, addresses)"),
    (CapabilitySet::SETUID, "CAP_SETUID (the tenant's user)"),
    (CapabilitySet::SETGID, "CAP_SETGID (the tenant's group)"),
    (
        CapabilitySet::SETPCAP,
        "CAP_SETPCAP (what tenants may not do)",
    ),
    (CapabilitySet::CHOWN, "CAP_CHOWN (the datastore's owner)"),
    (
        CapabilitySet::DAC_OVERRIDE,
        "CAP_DAC_OVERRIDE (the datastore's folder)",
    ),
    (CapabilitySet::KILL, "CAP_KILL (stopping a tenant)"),
];

/// Descriptors for a supervisor without tenants.
const DESCRIPTORS_OWN: u64 = 64;

/// Descriptors for each tenant.
const DESCRIPTORS_PER_TENANT: u64 = 4;

/// How bad a finding is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Grade {
    /// As it should be.
    Good,
    /// Tenants run, but with less than they could have.
    Weak,
    /// Tenants cannot be run.
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

/// One thing that was looked at.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Finding {
    /// How bad it is.
    pub grade: Grade,
    /// What was looked at, in a word or two.
    pub subject: &'static str,
    /// What was found, and what to do about it.
    pub found: String,
}

impl Finding {
    fn new(grade: Grade, subject: &'static str, found: impl Into<String>) -> Self {
        Self {
            grade,
            subject,
            found: found.into(),
        }
    }
}

/// Looks at everything that running this many tenants needs.
#[must_use]
pub fn examine(tenants: usize) -> Vec<Finding> {
    vec![
        privileges(),
        kernel(&rustix::system::uname().release().to_string_lossy()),
        links(),
        cgroups(),
        descriptors(tenants as u64, getrlimit(Resource::Nofile).maximum),
        changeable_limits(limits::is_privileged()),
    ]
}

fn privileges() -> Finding {
    let subject = "privileges";
    let held = match capabilities(None) {
        Ok(sets) => sets.effective,
        Err(errno) => {
            return Finding::new(Grade::Bad, subject, format!("cannot be read: {errno}"));
        }
    };
    let missing: Vec<&str> = NEEDED
        .iter()
        .filter(|(capability, _)| !held.contains(*capability))
        .map(|(_, what)| *what)
        .collect();
    if missing.is_empty() {
        return Finding::new(Grade::Good, subject, "all that is needed");
    }
    let found = format!("missing {}: run tenantd as root", missing.join(", "));
    Finding::new(Grade::Bad, subject, found)
}

fn kernel(release: &str) -> Finding {
    let subject = "kernel";
    let mut numbers = release
        .split(|c: char| !c.is_ascii_digit())
        .map(str::parse::<u32>);
    let (Some(Ok(major)), Some(Ok(minor))) = (numbers.next(), numbers.next()) else {
        let found = format!("{release} is no release that can be compared");
        return Finding::new(Grade::Weak, subject, found);
    };
    let missing: Vec<&Release> = KERNELS
        .iter()
        .filter(|needed| (major, minor) < needed.version)
        .collect();
    let Some(grade) = missing.iter().map(|needed| needed.grade).max() else {
        let [.., newest] = KERNELS.map(|needed| needed.version);
        let found = format!(
            "{release}: all that tenantd uses is there since {}.{}",
            newest.0, newest.1
        );
        return Finding::new(Grade::Good, subject, found);
    };
    let words: Vec<String> = missing
        .iter()
        .map(|needed| {
            format!(
                "{}.{} brought {}",
                needed.version.0, needed.version.1, needed.has
            )
        })
        .collect();
    let found = format!("{release} is older than it should be: {}", words.join("; "));
    Finding::new(grade, subject, found)
}

/// Makes a bridge and a veth pair in a network namespace that goes away with them.
fn links() -> Finding {
    match netns::make(&mut Sysctls::default(), make_links) {
        Ok(_) => Finding::new(
            Grade::Good,
            "links",
            "network namespaces, veth pairs and bridges can be made",
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
            "no cgroup v2 tree can be written to: processes are tracked by network namespace, and \
             a program that leaves its namespace is lost sight of; mount cgroup2 at /sys/fs/cgroup",
        ),
    }
}

fn descriptors(tenants: u64, limit: Option<u64>) -> Finding {
    let subject = "descriptors";
    let needed = DESCRIPTORS_OWN + DESCRIPTORS_PER_TENANT * tenants;
    match limit {
        Some(limit) if limit < needed => {
            let found = format!(
                "{tenants} tenants need {needed}, the limit is {limit}: raise LimitNOFILE= of the \
                 unit, or `ulimit -Hn`"
            );
            Finding::new(Grade::Bad, subject, found)
        }
        Some(limit) => Finding::new(
            Grade::Good,
            subject,
            format!("{needed} are needed, {limit} may be open"),
        ),
        None => Finding::new(Grade::Good, subject, "as many as are needed"),
    }
}

fn changeable_limits(privileged: bool) -> Finding {
    let subject = "limits";
    match privileged {
        true => Finding::new(
            Grade::Good,
            subject,
            "can be raised, and changed while tenants run",
        ),
        false => Finding::new(
            Grade::Weak,
            subject,
            "without CAP_SYS_RESOURCE, none is raised above tenantd's own, and those of tenants \
             that run as another user than root change at their next start alone",
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
            "5.12.1 is older than it should be: 5.14 brought cgroup.kill: a tenant is killed at \
             one stroke, not process by process"
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
    fn counts_descriptors() {
        assert_eq!(descriptors(10, Some(103)).grade, Grade::Bad);
        assert_eq!(descriptors(10, Some(104)).grade, Grade::Good);
        assert_eq!(descriptors(10, None).grade, Grade::Good);
    }
}
