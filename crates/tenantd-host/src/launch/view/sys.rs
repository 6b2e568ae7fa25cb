//! A tenant's `/sys`: with the interfaces of its own network namespace alone, see sysfs(5), and without what
//! identifies the machine.
//!
//! That of the host shows the names of all links, and the alias of each names a tenant. Which interfaces a
//! sysfs shows depends on the namespace of who mounts it, so the child does that. What the host has mounted
//! below its `/sys`, such as debugfs, is not in it, but for the cgroup file systems.

use std::path::Path;

use super::{exists, on, opened};
use crate::launch::mounts::{self, Mounts};
use crate::launch::templates::MountTemplates;
use tenantd_core::stage::{Failure, Stage};

/// Where programs look for the limits of their cgroup.
const CGROUPS: &str = "/sys/fs/cgroup";

/// Serial numbers and tables of the firmware, and the disks.
const HIDDEN: [&str; 5] = [
    "/sys/firmware",
    "/sys/devices/virtual/dmi",
    "/sys/block",
    "/sys/class/block",
    "/sys/dev/block",
];

/// Adds what the child attaches below it.
pub(super) fn add(templates: &MountTemplates, mounts: &mut Mounts) -> Result<(), Failure> {
    let (stage, sys) = (Stage::Own, Path::new("/sys"));
    mounts.add_sysfs(stage, opened(sys).map_err(on(stage, sys))?, sys)?;
    let cgroups = Path::new(CGROUPS);
    if exists(cgroups) {
        let stage = Stage::Visible;
        let tree = opened(cgroups).and_then(|found| mounts::clone_sealed(&found));
        mounts.add(stage, tree.map_err(on(stage, cgroups))?, cgroups)?;
    }
    let stage = Stage::Hide;
    for path in HIDDEN.iter().map(Path::new).filter(|path| exists(path)) {
        let cover = templates.cover().map_err(on(stage, path))?;
        mounts.add(stage, cover, path)?;
    }
    Ok(())
}
