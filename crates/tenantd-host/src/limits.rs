//! Resource limits, see getrlimit(2): those of the supervisor, and those of tenants at their launch
//! and while they run.
//!
//! The supervisor needs more than the usual 1,024 open files and raises its own limit. Tenants get
//! the limits that the supervisor was started with, unless the manifest sets others.

mod live;

use std::io;

use rustix::io::Errno;
use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
use rustix::thread::{CapabilitySet, capabilities};

use tenantd_core::plan::facts::Ceilings;
use tenantd_core::plan::model::{Bound, Limit, Limits};
use tenantd_core::stage::Failure;

use super::cgroup::Leaf;

pub use live::{Target, apply, is_applied};

/// One limit to set on a process.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Setting {
    pub(super) resource: Resource,
    /// The resource, for messages.
    pub(super) what: &'static str,
    pub(super) value: Rlimit,
}

/// The resources that a plan can limit.
const KINDS: [Kind; 3] = [
    Kind {
        resource: Resource::Nofile,
        key: "open_files",
        what: "open files",
        of: |limits| limits.open_files,
    },
    Kind {
        resource: Resource::Core,
        key: "core",
        what: "core files",
        of: |limits| limits.core,
    },
    Kind {
        resource: Resource::Memlock,
        key: "locked_memory",
        what: "locked memory",
        of: |limits| limits.locked_memory,
    },
];

struct Kind {
    resource: Resource,
    /// The key in `limits` of the manifest.
    key: &'static str,
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

    /// The limit of a process if none is planned: the one that the supervisor was started with. For
    /// open files that is `descriptors`, because the supervisor has raised its own. There are no core
    /// files.
    fn inherited(&self, descriptors: Rlimit) -> Rlimit {
        match self.resource {
            Resource::Nofile => descriptors,
            Resource::Core => NO_CORE,
            other => getrlimit(other),
        }
    }
}

/// The limit for no core files: 1 byte is less than the smallest one. Unlike 0, it also keeps a program
/// that `kernel.core_pattern` names (core(5)) from getting one.
pub(super) const NO_CORE: Rlimit = Rlimit {
    current: Some(1),
    maximum: Some(1),
};

impl Setting {
    /// Sets the limit of this process.
    ///
    /// # Errors
    /// Those of setrlimit(2).
    pub(super) fn set(&self) -> Result<(), Errno> {
        let Rlimit { current, maximum } = self.value;
        let is_no_core = self.resource == Resource::Core && maximum == NO_CORE.maximum;
        match setrlimit(self.resource, Rlimit { current, maximum }) {
            // The limit is 0 already, and this process may not raise it.
            Err(Errno::PERM) if is_no_core => Ok(()),
            set => set,
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

/// The limits that a launch sets before it executes the program: the planned ones, and always those
/// on open files and core files.
pub(super) fn at_launch(limits: &Limits, descriptors: Rlimit) -> Vec<Setting> {
    let setting = |kind: &Kind| {
        let planned = kind.planned(limits);
        let is_always = matches!(kind.resource, Resource::Nofile | Resource::Core);
        let other = is_always.then(|| kind.inherited(descriptors));
        planned.or(other).map(|value| kind.set_to(value))
    };
    KINDS.iter().filter_map(setting).collect()
}

/// A limit of a tenant, for a process that joins it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct JoinLimit {
    /// The resource, by its key in `limits` of the manifest.
    pub resource: String,
    /// The soft limit; None if there is none.
    pub soft: Option<u64>,
    /// The hard limit; None if there is none.
    pub hard: Option<u64>,
}

/// The limits that a launch has: those of the plan, and for all others those that the supervisor
/// was started with.
#[must_use]
pub fn at_join(limits: &Limits, descriptors: Rlimit) -> Vec<JoinLimit> {
    let limit = |kind: &Kind| {
        let planned = kind.planned(limits);
        let value = planned.unwrap_or_else(|| kind.inherited(descriptors));
        JoinLimit {
            resource: kind.key.to_owned(),
            soft: value.current,
            hard: value.maximum,
        }
    };
    KINDS.iter().map(limit).collect()
}

/// Sets a limit of this process.
///
/// # Errors
/// Those of setrlimit(2); `Unsupported` for a resource that only a later version knows.
pub(super) fn set(limit: &JoinLimit) -> io::Result<()> {
    let kind = KINDS.iter().find(|kind| kind.key == limit.resource);
    let kind = kind.ok_or(io::ErrorKind::Unsupported)?;
    let setting = kind.set_to(Rlimit {
        current: limit.soft,
        maximum: limit.hard,
    });
    Ok(setting.set()?)
}

/// Records in a leaf that a program launched in it has these limits.
///
/// # Errors
/// A [`Failure`] of stage cgroup.
pub(super) fn note_launch(leaf: &Leaf, limits: &Limits) -> Result<(), Failure> {
    live::note(leaf, limits)
}

/// Raises this process's limit on open files (`RLIMIT_NOFILE`) to the hard limit. Returns the
/// previous one, which the tenants get: a program may rely on a small limit, because it closes all
/// possible descriptors or calls select(2).
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

/// Restores the limit that [`raise`] returned, before another program is executed that raises it
/// itself. Open descriptors are kept.
///
/// # Errors
/// Those of setrlimit(2).
pub fn lower(before: Rlimit) -> Result<(), Errno> {
    setrlimit(Resource::Nofile, before)
}

/// The highest hard limits that this process or a child of it may set: its own, or with
/// CAP_SYS_RESOURCE any. For open files, fs.nr_open is the maximum.
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

/// Whether this process may set limits above its own, and limits of other users' processes: that
/// needs CAP_SYS_RESOURCE in the initial user namespace, see setrlimit(2).
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
