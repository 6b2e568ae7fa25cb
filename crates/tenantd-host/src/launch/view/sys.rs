//! A tenant's `/sys`: with the interfaces of its own network namespace alone, see sysfs(5), and without what
//! identifies the machine.
//!
//! What identifies the machine are serial numbers, tables of the firmware, and names of disks and file systems. They
//! are spread over the folders of its buses, so of `/sys/devices` only processors, memory and what is virtual is there.
//!
//! That of the host shows the names of all links, and the alias of each names a tenant. Which interfaces a
//! sysfs shows depends on the namespace of who mounts it, so the child does that. What the host has mounted
//! below its `/sys`, such as debugfs, is not in it, but for the cgroup file systems.

use std::path::{Path, PathBuf};
use std::sync::OnceLock;
use std::sync::atomic::{AtomicBool, Ordering};
use std::{fs, io};

use rustix::io::Errno;

use super::{exists, on, opened};
use crate::launch::mounts::Mounts;
use crate::launch::templates::Taken;
use crate::launch::templates::spares::Kind;
use crate::launch::trees;
use tenantd_core::plan::model::{DEVICES, LaunchPlan};
use tenantd_core::stage::{Failure, Stage};

/// Where programs look for the limits of their cgroup.
const CGROUPS: &str = "/sys/fs/cgroup";

/// Serial numbers and tables of the firmware, the disks, and file systems by name.
const HIDDEN: [&str; 9] = [
    "/sys/firmware",
    "/sys/hypervisor",
    "/sys/block",
    "/sys/class/block",
    "/sys/dev/block",
    "/sys/fs/btrfs",
    "/sys/fs/ext4",
    "/sys/fs/f2fs",
    "/sys/fs/xfs",
];

/// Of the virtual devices, those that tell of the machine or its disks.
const VIRTUAL: [&str; 4] = [
    "/sys/devices/virtual/block",
    "/sys/devices/virtual/dmi",
    "/sys/devices/virtual/nvme-subsystem",
    "/sys/devices/virtual/nvme-fabrics",
];

/// What of `/sys/devices` is visible, besides the units that count events of processors, of which big machines have many.
const SHOWN: [&str; 2] = ["system", "virtual"];

/// Which of [`HIDDEN`] and [`VIRTUAL`] were there at a launch. They are not looked for again: the child ignores that one is
/// missing.
static SEEN: [AtomicBool; HIDDEN.len() + VIRTUAL.len()] =
    [const { AtomicBool::new(false) }; HIDDEN.len() + VIRTUAL.len()];

/// The folders of buses, as at the first launch. What is plugged in later is in one of them.
static BUSES: OnceLock<Vec<PathBuf>> = OnceLock::new();

fn buses() -> io::Result<Vec<PathBuf>> {
    let mut found = Vec::new();
    for entry in fs::read_dir(DEVICES)? {
        let entry = entry?;
        let name = entry.file_name();
        let subsystem = fs::read_link(entry.path().join("subsystem")).unwrap_or_default();
        let counts = subsystem.ends_with("event_source");
        if entry.file_type()?.is_dir() && !counts && !SHOWN.iter().any(|it| name == *it) {
            found.push(entry.path());
        }
    }
    Ok(found)
}

/// What is covered.
fn hidden(launch: &LaunchPlan) -> Result<Vec<&'static Path>, Failure> {
    let devices = Path::new(DEVICES);
    let shows_devices = launch.view.visible.iter().any(|path| path == devices);
    let all = HIDDEN.iter().chain(VIRTUAL.iter()).map(Path::new);
    let all = all.zip(&SEEN).take(match shows_devices {
        true => HIDDEN.len(),
        false => SEEN.len(),
    });
    let there = all.filter(|(path, seen)| {
        let is_there = seen.load(Ordering::Relaxed) || exists(path);
        seen.store(is_there, Ordering::Relaxed);
        is_there
    });
    let mut there: Vec<&Path> = there.map(|(path, _)| path).collect();
    if shows_devices {
        return Ok(there);
    }
    let known = match BUSES.get() {
        Some(known) => known,
        None => {
            let found = buses().map_err(|error| {
                on(Stage::Hide, devices)(Errno::from_io_error(&error).unwrap_or(Errno::IO))
            })?;
            BUSES.get_or_init(|| found)
        }
    };
    there.extend(known.iter().map(PathBuf::as_path));
    Ok(there)
}

/// Adds what the child attaches below it.
///
/// # Errors
/// A [`Failure`] of the stage of the mount.
pub(super) fn add(
    launch: &LaunchPlan,
    taken: &mut Taken<'_>,
    mounts: &mut Mounts,
) -> Result<(), Failure> {
    let (stage, sys) = (Stage::Own, Path::new("/sys"));
    mounts.add_sysfs(stage, opened(sys).map_err(on(stage, sys))?, sys)?;
    let cgroups = Path::new(CGROUPS);
    if exists(cgroups) {
        let stage = Stage::Visible;
        let tree = opened(cgroups).and_then(|found| trees::clone_sealed(&found));
        mounts.add(stage, tree.map_err(on(stage, cgroups))?, cgroups)?;
    }
    let stage = Stage::Hide;
    for path in hidden(launch)? {
        let cover = taken.own(Kind::Cover).map_err(on(stage, path))?;
        mounts.add_in_sysfs(stage, cover, (sys, path))?;
    }
    Ok(())
}
