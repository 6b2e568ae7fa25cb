//! What a tenant has used, as the kernel counts it: its cgroup's processor time, memory, input and output, and its
//! link's bytes and packets.
//!
//! Each counter begins at zero with the object that has it, and only grows. So each reading names that object
//! ([`CgroupCounters::id`], [`LinkCounters::index`], and [`boot`]): of one object, the difference of two readings is
//! what was used between them; a reading of another object counts whole. Those of a controller that was disabled
//! meanwhile begin again in the same cgroup ([`Beginnings`]). [`last`] keeps the readings of objects that
//! were removed.
//!
//! Every process of the host may read all of this. What the kernel does not count is `None`, for example the memory of a
//! cgroup whose parent has the memory controller disabled.

use std::fs::{self, File};
use std::io::{self, ErrorKind, Read};
use std::os::fd::OwnedFd;
use std::path::Path;

use rustix::fs::{CWD, Mode, OFlags, fstat, openat};
use rustix::io::Errno;
use serde::{Deserialize, Serialize};

pub(crate) mod beginnings;
mod held;
pub mod last;
mod links;
pub mod measured;
mod trees;

pub use beginnings::Beginnings;
pub use held::{Cgroups, HeldLinks};
pub use links::{Links, of_link};
use trees::Has;
pub use trees::Trees;

/// What was read of a tenant at one moment.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Counters {
    /// Those of its cgroup; `None` if it has none.
    pub cgroup: Option<CgroupCounters>,
    /// Those of its link; `None` if it has none on the host.
    pub link: Option<LinkCounters>,
}

/// The counters of a tenant's cgroup, with those of all cgroups below it, also those that were removed.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct CgroupCounters {
    /// The inode of the cgroup, which no other cgroup has until the next boot.
    pub id: u64,
    /// How often the counters of each controller began at zero since then.
    #[serde(default)]
    pub beginnings: Beginnings,
    /// Processor time in microseconds (`usage_usec` of `cpu.stat`; it needs no controller).
    pub cpu_usec: Option<u64>,
    /// How long processes waited since the quota was used up, in microseconds.
    pub throttled_usec: Option<u64>,
    /// Memory in bytes, now.
    pub memory: Option<u64>,
    /// The most memory in bytes since the cgroup was made.
    pub memory_peak: Option<u64>,
    /// The limit of its memory in bytes; `None` also if there is none.
    pub memory_max: Option<u64>,
    /// Processes that were killed because memory was used up.
    pub oom_kills: Option<u64>,
    /// Bytes that were read from block devices.
    pub io_read: Option<u64>,
    /// Bytes that were written to block devices.
    pub io_written: Option<u64>,
    /// Processes and threads, now.
    pub pids: Option<u64>,
    /// The limit of their number; `None` also if there is none.
    pub pids_max: Option<u64>,
}

/// The counters of a tenant's link, named as the tenant sees them: what it received is `in`.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct LinkCounters {
    /// The number of the link's host end, which the kernel gives to no other link until the next boot.
    pub index: u32,
    /// Bytes that the tenant received.
    pub in_bytes: u64,
    /// Packets that the tenant received.
    pub in_packets: u64,
    /// Bytes that the tenant sent.
    pub out_bytes: u64,
    /// Packets that the tenant sent.
    pub out_packets: u64,
}

/// The id of this boot of the host: objects of another boot are other objects.
///
/// # Errors
/// Those of reading `/proc`.
pub fn boot() -> io::Result<String> {
    let id = fs::read_to_string("/proc/sys/kernel/random/boot_id")?;
    Ok(id.trim_end().to_owned())
}

/// Reads the counters of a cgroup. `None` if there is no such cgroup.
///
/// # Errors
/// Those of reading its files. A file that is missing is no error.
pub fn of_cgroup(path: &Path) -> io::Result<Option<CgroupCounters>> {
    of_cgroup_with(path, Has::ALL)
}

fn of_cgroup_with(path: &Path, has: Has) -> io::Result<Option<CgroupCounters>> {
    let Some(folder) = folder(path)? else {
        return Ok(None);
    };
    let counted = read(&folder, has);
    match counted {
        // It was removed meanwhile: its last counters are kept elsewhere.
        Err(error) if error.raw_os_error() == Some(libc::ENODEV) => Ok(None),
        counted => counted.map(Some),
    }
}

/// The folder of a cgroup; `None` if there is no such cgroup.
fn folder(path: &Path) -> io::Result<Option<OwnedFd>> {
    there(openat(
        CWD,
        path,
        OFlags::DIRECTORY | OFlags::CLOEXEC | OFlags::RDONLY,
        Mode::empty(),
    ))
}

/// A file of a cgroup; `None` if its controller is not enabled.
fn file(folder: &OwnedFd, name: &str) -> io::Result<Option<OwnedFd>> {
    let flags = OFlags::RDONLY | OFlags::CLOEXEC;
    there(openat(folder, name, flags, Mode::empty()))
}

fn there(opened: rustix::io::Result<OwnedFd>) -> io::Result<Option<OwnedFd>> {
    match opened {
        Ok(opened) => Ok(Some(opened)),
        Err(Errno::NOENT) => Ok(None),
        Err(errno) => Err(errno.into()),
    }
}

fn read(folder: &OwnedFd, has: Has) -> io::Result<CgroupCounters> {
    let mut text = String::new();
    let mut counters = CgroupCounters {
        id: fstat(folder)?.st_ino,
        beginnings: Beginnings::of(folder)?,
        ..CgroupCounters::default()
    };
    for source in Source::ALL {
        if source.is_in(has) && load(folder, source.name(), &mut text)? {
            counters.take(source, &text);
        }
    }
    if has.memory && load(folder, "memory.max", &mut text)? {
        counters.memory_max = number(&text);
    }
    if has.pids && load(folder, "pids.current", &mut text)? {
        counters.pids = number(&text);
        if load(folder, "pids.max", &mut text)? {
            counters.pids_max = number(&text);
        }
    }
    Ok(counters)
}

/// A file of a cgroup with counters that are metered.
#[derive(Debug, Clone, Copy)]
enum Source {
    Cpu,
    Memory,
    Peak,
    Events,
    Io,
}

impl Source {
    const ALL: [Self; 5] = [Self::Cpu, Self::Memory, Self::Peak, Self::Events, Self::Io];

    fn name(self) -> &'static str {
        match self {
            Self::Cpu => "cpu.stat",
            Self::Memory => "memory.current",
            Self::Peak => "memory.peak",
            Self::Events => "memory.events",
            Self::Io => "io.stat",
        }
    }

    /// Whether a cgroup may have it.
    fn is_in(self, has: Has) -> bool {
        match self {
            Self::Cpu => true,
            Self::Memory | Self::Events => has.memory,
            Self::Peak => has.memory && has.peak,
            Self::Io => has.io,
        }
    }
}

impl CgroupCounters {
    /// Takes in what a file says.
    fn take(&mut self, source: Source, text: &str) {
        match source {
            Source::Cpu => {
                self.cpu_usec = keyed(text, "usage_usec");
                self.throttled_usec = keyed(text, "throttled_usec");
            }
            Source::Memory => self.memory = number(text),
            Source::Peak => self.memory_peak = number(text),
            Source::Events => self.oom_kills = keyed(text, "oom_kill"),
            Source::Io => {
                self.io_read = Some(summed(text, "rbytes="));
                self.io_written = Some(summed(text, "wbytes="));
            }
        }
    }
}

/// Reads a file of a cgroup; false if its controller is not enabled.
fn load(folder: &OwnedFd, name: &str, text: &mut String) -> io::Result<bool> {
    let Some(file) = file(folder, name)? else {
        return Ok(false);
    };
    text.clear();
    match File::from(file).read_to_string(text) {
        Ok(_) => Ok(true),
        // The kernel was built without what it counts by.
        Err(error) if error.kind() == ErrorKind::Unsupported => Ok(false),
        Err(error) => Err(error),
    }
}

fn number(text: &str) -> Option<u64> {
    text.trim_end().parse().ok()
}

/// The number in the line that begins with this key.
fn keyed(text: &str, key: &str) -> Option<u64> {
    let mut lines = text.lines().filter_map(|line| line.split_once(' '));
    number(lines.find(|(name, _)| *name == key)?.1)
}

/// The sum of a value over all devices.
fn summed(text: &str, key: &str) -> u64 {
    let words = text.split_ascii_whitespace();
    let values = words.filter_map(|word| word.strip_prefix(key)?.parse().ok());
    values.fold(0, u64::saturating_add)
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::fs::MetadataExt;

    #[test]
    fn files_of_a_cgroup_are_read() {
        let stat = "usage_usec 2042\nuser_usec 2000\nthrottled_usec 7\n";
        assert_eq!(keyed(stat, "usage_usec"), Some(2042));
        assert_eq!(keyed(stat, "usage"), None);
        let io = "8:0 rbytes=4096 wbytes=1 rios=1\n259:1 rbytes=1 wbytes=2\n253:0 \n";
        assert_eq!((summed(io, "rbytes="), summed(io, "wbytes=")), (4097, 3));
        assert_eq!((number("42\n"), number("max\n")), (Some(42), None));
    }

    #[test]
    fn what_no_controller_counts_is_absent() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path();
        let only_its_id = of_cgroup(path).unwrap().unwrap();
        assert_eq!(only_its_id.id, fs::metadata(path).unwrap().ino());
        assert_eq!(only_its_id.memory.or(only_its_id.io_read), None);
        fs::write(path.join("memory.current"), "8192\n").unwrap();
        fs::write(path.join("memory.max"), "max\n").unwrap();
        let read = of_cgroup(path).unwrap().unwrap();
        assert_eq!((read.memory, read.memory_max), (Some(8192), None));
        assert_eq!(of_cgroup(&path.join("gone")).unwrap(), None);
    }
}
