//! The cgroup v2 leaf of each tenant. It tracks and ends all processes of the tenant, including
//! those that left their parents.
//!
//! The program and the commands of `exec`, its visitors, are in two cgroups below the leaf: a visitor
//! does not keep the program from ending.
//!
//! A [`Leaf`] keeps its path and no descriptor, to need few descriptors per tenant. Controllers are
//! enabled, and limits set, only where the plan has limits, see [`Limiter`].

mod bounds;
mod by_hand;
mod differences;
mod escaped;
mod folders;
mod freeze;
mod leaf;
mod limits;
mod present;
mod pressure;
mod program;
mod reached;
mod reclaim;
pub mod scratch;
mod vacate;
mod visitors;
mod watch;

use std::ffi::CString;
use std::io::{Error, ErrorKind};
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};

use linux_raw_sys::general::CGROUP2_SUPER_MAGIC;
use rustix::fs::{XattrFlags, setxattr};
use rustix::io::Errno;

use tenantd_core::name::{AppName, TenantName};
use tenantd_core::stage::{Failure, Stage};

use super::runtime::{Named, tenants_in};

pub use bounds::{Bounds, DiskUse, Unequal, bounds, leaf_of, unequal};
pub(crate) use by_hand::by_hand_of;
pub use leaf::Leaf;
pub use limits::{Limiter, can_limit};
pub use pressure::{Pressure, RESOURCES, Waited, pressure, trigger};
pub use reached::{LimitWatch, reached};
pub use reclaim::Taken;
pub use vacate::{asked, vacate};
pub use visitors::begin_visit;
pub use watch::Watch;

/// Where the tree may be mounted: alone, or beside the v1 controllers (a hybrid host).
const MOUNTS: [&str; 2] = ["/sys/fs/cgroup", "/sys/fs/cgroup/unified"];

/// The folder of the supervisor itself in a delegated cgroup: a cgroup that has children with
/// controllers may hold no process of its own (cgroups(7), "no internal processes").
pub(crate) const SUPERVISOR: &str = "supervisor";

/// The folder of the leaves in a delegated cgroup.
pub(crate) const TENANTS: &str = "tenants";

/// The attribute of the folder of the leaves with the name of the application.
const APP: &str = "user.tenantd.app";

/// The folder of all applications if no cgroup was delegated.
pub(crate) const TOP: &str = "tenantd";

/// The part of the cgroup tree that belongs to one application.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Tree {
    /// The folder of the leaves.
    base: PathBuf,
    /// The lowest folder above it that tenantd did not make.
    above: PathBuf,
}

impl Tree {
    /// Finds and makes the application's folder. If this process's own cgroup was delegated to it
    /// (a systemd service with `Delegate=yes`), the folder is below that, and this process moves
    /// into a leaf of its own; otherwise it is at the top of the tree. `None` if there is no
    /// writable cgroup v2 tree: processes are tracked by network namespace then.
    ///
    /// # Errors
    /// A [`Failure`] of stage cgroup.
    pub fn find(app: &AppName) -> Result<Option<Self>, Failure> {
        let Some(mount) = mounted() else {
            return Ok(None);
        };
        let own = std::fs::read_to_string("/proc/self/cgroup")
            .map_err(|error| failure(Path::new("/proc/self/cgroup"), &error))?;
        let delegated = own_cgroup(&own)
            .map(|own| mount.join(own.trim_start_matches('/')))
            .and_then(|own| delegated(&own));
        let made = match delegated {
            Some(above) => Self::below(above),
            None => Self::at_top(mount, app),
        };
        let made = made.and_then(|tree| tree.named(app));
        match made {
            Ok(tree) => Ok(Some(tree)),
            Err((_, error)) if cannot_be_written(&error) => Ok(None),
            Err((path, error)) => Err(failure(&path, &error)),
        }
    }

    /// The application's folder at the top of the tree, if an earlier supervisor made it. A folder
    /// below a delegated cgroup can only be found by the service itself.
    #[must_use]
    pub fn left(app: &AppName) -> Option<Self> {
        let above = mounted()?;
        let base = above.join(TOP).join(app.as_str());
        base.is_dir().then(|| Self {
            base,
            above: above.to_path_buf(),
        })
    }

    /// The tenants that have a leaf, and the folders whose names are not valid tenant names.
    ///
    /// # Errors
    /// Those of reading the folder of leaves.
    pub fn all(&self) -> std::io::Result<Named> {
        // The files in it are those of the cgroup itself.
        tenants_in(&self.base, |entry| {
            entry.file_type().is_ok_and(|kind| kind.is_dir())
        })
    }

    fn below(above: PathBuf) -> Result<Self, (PathBuf, Error)> {
        let supervisor = above.join(SUPERVISOR);
        let base = above.join(TENANTS);
        make(&supervisor)?;
        let procs = supervisor.join("cgroup.procs");
        std::fs::write(&procs, "0").map_err(|error| (procs, error))?;
        make(&base)?;
        Ok(Self { base, above })
    }

    fn at_top(mount: &Path, app: &AppName) -> Result<Self, (PathBuf, Error)> {
        let base = mount.join(TOP).join(app.as_str());
        make(&base)?;
        Ok(Self {
            base,
            above: mount.to_path_buf(),
        })
    }

    /// Notes in the folder of the leaves whose they are, for [`vacate`].
    fn named(self, app: &AppName) -> Result<Self, (PathBuf, Error)> {
        let name = app.as_str().as_bytes();
        match setxattr(&self.base, APP, name, XattrFlags::empty()) {
            // Before Linux 5.7.
            Err(Errno::OPNOTSUPP) | Ok(()) => Ok(self),
            Err(errno) => Err((self.base, errno.into())),
        }
    }

    /// The folder of the leaves, for messages.
    #[must_use]
    pub fn path(&self) -> &Path {
        &self.base
    }

    /// Makes the tenant's leaf. An existing empty leaf is recreated.
    ///
    /// # Errors
    /// A [`Failure`] of stage cgroup; `EBUSY` with the processes if an earlier launch still runs.
    pub fn leaf(&self, tenant: &TenantName) -> Result<Leaf, Failure> {
        let path = self.base.join(tenant.as_str());
        let leaf = Leaf::new(path.clone(), tenant.clone());
        let was_there = match std::fs::create_dir(&path) {
            // Nobody has put a process into it yet.
            Ok(()) => return leaf.begin().map(|()| leaf),
            Err(error) => error.kind() == ErrorKind::AlreadyExists,
        };
        make(&path).map_err(|(path, error)| failure(&path, &error))?;
        if leaf.is_occupied()? {
            let pids = super::process::name_some(&leaf.all_pids()?);
            let object = leaf.path().display().to_string();
            let busy = Failure::errno(Stage::Cgroup, object, libc::EBUSY);
            let remedy = "end it first, for example with kill(1)";
            return Err(busy.with(format!(
                "an earlier launch still runs in it ({pids}): {remedy}"
            )));
        }
        if was_there {
            // With its note about an earlier launch.
            leaf.remove()?;
        }
        leaf.recreate()?;
        Ok(leaf)
    }

    /// The tenant's leaf with the processes in it, if an earlier supervisor left one.
    #[must_use]
    pub fn found(&self, tenant: &TenantName) -> Option<Leaf> {
        let path = self.base.join(tenant.as_str());
        path.is_dir().then(|| Leaf::new(path, tenant.clone()))
    }

    /// Removes the empty folders above the leaves. A folder that another application or this
    /// process uses is kept.
    ///
    /// # Errors
    /// A [`Failure`] of stage cgroup.
    pub fn remove(&self) -> Result<(), Failure> {
        let mut folder = self.base.as_path();
        while folder != self.above {
            match std::fs::remove_dir(folder) {
                Ok(()) => {}
                Err(error) if error.kind() == ErrorKind::NotFound => {}
                Err(error) if is_in_use(&error) => return Ok(()),
                Err(error) => return Err(failure(folder, &error)),
            }
            folder = folder.parent().unwrap_or(&self.above);
        }
        Ok(())
    }
}

fn failure(path: &Path, error: &Error) -> Failure {
    let errno = error.raw_os_error().unwrap_or(libc::EIO);
    Failure::errno(Stage::Cgroup, path.display().to_string(), errno)
}

/// Makes the folder and those above it. Another application may remove the same empty parent at
/// this moment, so it is tried again.
fn make(path: &Path) -> Result<(), (PathBuf, Error)> {
    let mut result = std::fs::create_dir_all(path);
    for _ in 0..10 {
        match &result {
            Err(error) if error.kind() == ErrorKind::NotFound => {
                result = std::fs::create_dir_all(path);
            }
            _ => break,
        }
    }
    result.map_err(|error| (path.to_path_buf(), error))
}

/// The mount point of a writable tree. Checks permissions and writes nothing.
#[must_use]
pub fn probe() -> Option<&'static Path> {
    mounted().filter(|mount| rustix::fs::access(*mount, rustix::fs::Access::WRITE_OK).is_ok())
}

/// The mount point of the tree.
pub(crate) fn mounted() -> Option<&'static Path> {
    MOUNTS.iter().map(Path::new).find(|path| {
        rustix::fs::statfs(*path)
            .is_ok_and(|found| u32::try_from(found.f_type) == Ok(CGROUP2_SUPER_MAGIC))
    })
}

fn cannot_be_written(error: &Error) -> bool {
    matches!(
        Errno::from_io_error(error),
        Some(Errno::ACCESS | Errno::PERM | Errno::ROFS)
    )
}

fn is_in_use(error: &Error) -> bool {
    matches!(
        Errno::from_io_error(error),
        Some(Errno::BUSY | Errno::NOTEMPTY)
    )
}

/// This process's cgroup in the v2 tree: the line `0::PATH` of proc_pid_cgroup(5).
pub(crate) fn own_cgroup(text: &str) -> Option<&str> {
    text.lines().find_map(|line| line.strip_prefix("0::"))
}

/// `own`, if it is delegated; its parent, if `own` is the supervisor's leaf in a delegated cgroup.
fn delegated(own: &Path) -> Option<PathBuf> {
    if own.ends_with(SUPERVISOR) {
        let above = own.parent()?;
        return is_delegated(above).then(|| above.to_path_buf());
    }
    is_delegated(own).then(|| own.to_path_buf())
}

/// Whether systemd has delegated the cgroup, see systemd.resource-control(5). Before version 251 it
/// set no attribute, so any service counts as delegated.
fn is_delegated(cgroup: &Path) -> bool {
    let named = cgroup.extension().is_some_and(|end| end == "service");
    named || has_mark(cgroup, "trusted.delegate") || has_mark(cgroup, "user.delegate")
}

fn has_mark(cgroup: &Path, mark: &str) -> bool {
    let Ok(path) = CString::new(cgroup.as_os_str().as_bytes()) else {
        return false;
    };
    let mut value = [0_u8; 8];
    rustix::fs::getxattr(&path, mark, &mut value[..]).is_ok_and(|len| value[..len] == *b"1")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn finds_the_unified_line() {
        let hybrid = "9:name=systemd:/x\n1:cpu:/\n0::/system.slice/tenantd@wiki.service\n";
        assert_eq!(
            own_cgroup(hybrid),
            Some("/system.slice/tenantd@wiki.service")
        );
        assert_eq!(own_cgroup("1:cpu:/\n"), None);
    }

    #[test]
    fn the_cgroup_of_a_service_and_of_its_supervisor_are_delegated() {
        let service = Path::new("/nowhere/tenantd@wiki.service");
        assert_eq!(delegated(service), Some(service.to_path_buf()));
        assert_eq!(
            delegated(&service.join(SUPERVISOR)),
            Some(service.to_path_buf())
        );
        assert_eq!(delegated(Path::new("/nowhere/user.slice")), None);
        assert_eq!(delegated(Path::new("/")), None);
    }
}
