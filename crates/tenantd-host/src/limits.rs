//! Resource limits, see getrlimit(2): those of the supervisor itself, and those of its tenants, at
//! their launch and while they run.
//!
//! The supervisor needs more open files than the usual 1,024; its tenants are to see what they would
//! without it, unless the manifest says something else.

mod live;

use rustix::io::Errno;
use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
use rustix::thread::{CapabilitySet, capabilities};

use tenantd_core::plan::facts::Ceilings;
use tenantd_core::plan::model::{Bound, Limit, Limits};
use tenantd_core::stage::Failure;

use super::cgroup::Leaf;

pub use live::{Target, apply, is_applied};

/// A limit that a process is to have.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Setting {
    pub(super) resource: Resource,
    /// What it limits, in words.
    pub(super) what: &'static str,
    pub(super) value: Rlimit,
}

/// What a plan may limit.
const KINDS: [Kind; 3] = [
    Kind {
        resource: Resource::Nofile,
        what: "open files",
        of: |limits| limits.open_files,
    },
    Kind {
        resource: Resource::Core,
        what: "core files",
        of: |limits| limits.core,
    },
    Kind {
        resource: Resource::Memlock,
        what: "locked memory",
        of: |limits| limits.locked_memory,
    },
];

struct Kind {
    resource: Resource,
    what: &'static str,
    of: fn(&Limits) -> Option<Limit>,
}

impl Kind {
    fn planned(&self, limits: &Limits) -> Option<Rlimit> {
        (self.of)(limits).map(rlimit)
    }

    fn set_to(&self, value: Rlimit) -> Setting {
        Setting {
            resource: self.resource,
            what: self.what,
            value,
        }
    }

    /// What a process has of which nothing is planned: what the supervisor was started with, and
    /// `descriptors` of open files, since it has raised its own limit on those.
    fn inherited(&self, descriptors: Rlimit) -> Rlimit {
        match self.resource {
            Resource::Nofile => descriptors,
            other => getrlimit(other),
        }
    }
}

fn rlimit(Limit { soft, hard }: Limit) -> Rlimit {
    let value = |bound| match bound {
        Bound::Number(number) => Some(number),
        Bound::Unlimited => None,
    };
    Rlimit {
        current: value(soft),
        maximum: value(hard),
    }
}

fn bound(value: Option<u64>) -> Bound {
    value.map_or(Bound::Unlimited, Bound::Number)
}

/// What a launch sets before its program is executed: what is planned, and the limit on open files
/// in any case.
pub(super) fn at_launch(limits: &Limits, descriptors: Rlimit) -> Vec<Setting> {
    let setting = |kind: &Kind| {
        let planned = kind.planned(limits);
        let nofile = (kind.resource == Resource::Nofile).then_some(descriptors);
        planned.or(nofile).map(|value| kind.set_to(value))
    };
    KINDS.iter().filter_map(setting).collect()
}

/// Notes in a leaf that what is launched in it has these limits from its start.
///
/// # Errors
/// A [`Failure`] of stage cgroup.
pub(super) fn note_launch(leaf: &Leaf, limits: &Limits) -> Result<(), Failure> {
    live::note(leaf, limits)
}

/// Raises this process's limit on open files (`RLIMIT_NOFILE`) as far as it may, and gives what it
/// was: that is the tenants'. A program may rely on a small one, for it closes all that there could
/// be, or calls select(2).
///
/// # Errors
/// Those of setrlimit(2).
pub fn raise() -> Result<Rlimit, Errno> {
    let before = getrlimit(Resource::Nofile);
    let raised = Rlimit {
        current: before.maximum,
        maximum: before.maximum,
    };
    setrlimit(Resource::Nofile, raised)?;
    Ok(before)
}

/// Sets it back to what [`raise`] found, for a program that raises it itself. What is open stays.
///
/// # Errors
/// Those of setrlimit(2).
pub fn lower(before: Rlimit) -> Result<(), Errno> {
    setrlimit(Resource::Nofile, before)
}

/// The highest hard limits that this process, or a child of it, may set: its own, or with
/// CAP_SYS_RESOURCE any, but for open files no more than fs.nr_open.
#[must_use]
pub fn ceilings() -> Ceilings {
    let privileged = is_privileged();
    let own = |resource| match privileged {
        true => Bound::Unlimited,
        false => bound(getrlimit(resource).maximum),
    };
    let files = own(Resource::Nofile);
    Ceilings {
        open_files: nr_open().map_or(files, |most| files.min(Bound::Number(most))),
        core: own(Resource::Core),
        locked_memory: own(Resource::Memlock),
    }
}

/// Whether this process may set limits above its own, and those of other users' processes:
/// CAP_SYS_RESOURCE in the first user namespace, where setrlimit(2) asks for it.
pub(super) fn is_privileged() -> bool {
    let held =
        capabilities(None).is_ok_and(|sets| sets.effective.contains(CapabilitySet::SYS_RESOURCE));
    let all = std::fs::read_to_string("/proc/self/uid_map");
    held && all.is_ok_and(|map| map.split_ascii_whitespace().eq(["0", "0", "4294967295"]))
}

fn nr_open() -> Option<u64> {
    let text = std::fs::read_to_string("/proc/sys/fs/nr_open").ok()?;
    text.trim().parse().ok()
}
