//! Files of `/proc` that say which machine it is, as tenants see them: what has started its kernel, its disks, and the
//! id of this boot, in place of which they read another one, the same for all tenants and until the next boot.

use std::fs::File;
use std::io::{self, Write};
use std::os::fd::OwnedFd;

use rustix::fs::{Mode, OFlags, openat, stat};
use rustix::io::Errno;
use rustix::mount::{MountAttrFlags, OpenTreeFlags, open_tree};

use crate::launch::seal;
use crate::launch::tmpfs::{Owner, PLAIN, Tmpfs};
use tenantd_core::machine_id;

/// Below `/proc`.
const BOOT_ID: &str = "sys/kernel/random/boot_id";

/// Files that are empty. The first names the disk with `/`.
const EMPTY: [&str; 3] = ["cmdline", "partitions", "diskstats"];

/// The names of the files in the folder in memory.
const FILES: [&str; 2] = ["empty", "boot_id"];

/// The bytes of the folder in memory.
const SIZE: u64 = 16 << 10;

/// The mounts, with the paths below `/proc` to attach them to. `None` before Linux 6.15, which cannot mount a part of
/// what is not attached.
///
/// # Errors
/// Those of the system calls.
pub(super) fn files() -> io::Result<Option<Vec<(&'static str, OwnedFd)>>> {
    let boot = std::fs::read_to_string(format!("/proc/{BOOT_ID}"))?;
    let boot = machine_id::parse(&boot).ok_or(io::ErrorKind::InvalidData)?;
    let boot = machine_id::dashed(machine_id::derived(boot, "tenantd"));
    let [empty, boot_id] = FILES;
    let tmpfs = Tmpfs {
        owner: Owner::ROOT,
        size: SIZE,
        inodes: None,
        attributes: PLAIN.union(MountAttrFlags::MOUNT_ATTR_NOEXEC),
    };
    let tree = tmpfs.mount()?;
    for (name, text) in [(empty, "\n".to_owned()), (boot_id, format!("{boot}\n"))] {
        let flags = OFlags::WRONLY | OFlags::CREATE | OFlags::CLOEXEC;
        let file = openat(&tree, name, flags, Mode::from_raw_mode(0o444))?;
        rustix::fs::fchmod(&file, Mode::from_raw_mode(0o444))?;
        File::from(file).write_all(text.as_bytes())?;
    }
    let tree = seal::read_only(tree)?;
    let all = EMPTY.map(|path| (path, empty)).into_iter();
    let mut made = Vec::new();
    for (path, name) in all.chain([(BOOT_ID, boot_id)]) {
        // A kernel without block devices has no file for them.
        if matches!(stat(format!("/proc/{path}")), Err(Errno::NOENT)) {
            continue;
        }
        let flags = OpenTreeFlags::OPEN_TREE_CLONE | OpenTreeFlags::OPEN_TREE_CLOEXEC;
        match open_tree(&tree, name, flags) {
            Err(Errno::INVAL) => return Ok(None),
            file => made.push((path, file?)),
        }
    }
    Ok(Some(made))
}
