//! How often the counters of a controller began at zero in a cgroup that stays. A controller that is disabled and enabled
//! again, as between two supervisors of a unit, counts from zero, in the same cgroup.
//!
//! The number is in an extended attribute of the cgroup, as `memory=1 io=1`. One is added before a controller is enabled,
//! while there is nothing to read: so no reading has an old number with new counters, whenever this process is killed.

use std::fs;
use std::io;
use std::os::fd::{AsFd, OwnedFd};
use std::path::Path;

use rustix::fs::{XattrFlags, fgetxattr, fsetxattr};
use rustix::io::Errno;
use serde::{Deserialize, Serialize};

use super::folder;

/// The attribute. Each process that may read the cgroup may read it.
const ATTRIBUTE: &str = "user.tenantd.beginnings";

/// The most bytes of its value: all controllers of the kernel with large numbers.
const VALUE_MAX: usize = 512;

/// How often the counters of each controller began again in a cgroup after it was made.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Beginnings {
    /// Those of the controller `cpu`; the time of the processor is no such counter.
    pub cpu: u32,
    /// Those of `memory`.
    pub memory: u32,
    /// Those of `io`.
    pub io: u32,
}

impl Beginnings {
    /// Those of a cgroup.
    ///
    /// # Errors
    /// Those of fgetxattr(2). A kernel before 5.7, which has no such attributes, is no error.
    pub(super) fn of(cgroup: &OwnedFd) -> io::Result<Self> {
        let text = text(cgroup)?;
        let of = |controller| count(&text, controller);
        Ok(Self {
            cpu: of("cpu"),
            memory: of("memory"),
            io: of("io"),
        })
    }
}

/// Notes in each cgroup below a folder that a controller is about to be enabled for it, unless it is enabled.
///
/// # Errors
/// Those of listing the folder, of reading its file, and of fsetxattr(2).
pub(crate) fn begin_below(parent: &Path, controller: &str) -> io::Result<()> {
    let enabled = fs::read_to_string(parent.join("cgroup.subtree_control"))?;
    if enabled.split_whitespace().any(|it| it == controller) {
        return Ok(());
    }
    for entry in fs::read_dir(parent)? {
        let entry = entry?;
        // The files in it are those of the cgroup itself.
        if entry.file_type()?.is_dir()
            && let Some(cgroup) = folder(&entry.path())?
        {
            begin(&cgroup, controller)?;
        }
    }
    Ok(())
}

fn begin(cgroup: &OwnedFd, controller: &str) -> io::Result<()> {
    let before = text(cgroup)?;
    let next = count(&before, controller).saturating_add(1);
    let others = words(&before).filter(|(name, _)| *name != controller);
    let mut value: Vec<String> = others.map(|(name, n)| format!("{name}={n}")).collect();
    value.push(format!("{controller}={next}"));
    let value = value.join(" ");
    let set = fsetxattr(cgroup, ATTRIBUTE, value.as_bytes(), XattrFlags::empty());
    match set {
        Err(Errno::OPNOTSUPP) | Ok(()) => Ok(()),
        Err(errno) => Err(errno.into()),
    }
}

fn text(cgroup: impl AsFd) -> io::Result<String> {
    let mut value = [0_u8; VALUE_MAX];
    match fgetxattr(cgroup, ATTRIBUTE, &mut value[..]) {
        Ok(length) => {
            Ok(String::from_utf8_lossy(value.get(..length).unwrap_or_default()).into_owned())
        }
        Err(Errno::NODATA | Errno::OPNOTSUPP) => Ok(String::new()),
        Err(errno) => Err(errno.into()),
    }
}

fn words(text: &str) -> impl Iterator<Item = (&str, u32)> {
    let words = text.split_ascii_whitespace();
    words.filter_map(|word| {
        let (name, count) = word.split_once('=')?;
        Some((name, count.parse().ok()?))
    })
}

fn count(text: &str, controller: &str) -> u32 {
    let found = words(text).find(|(name, _)| *name == controller);
    found.map_or(0, |(_, count)| count)
}
