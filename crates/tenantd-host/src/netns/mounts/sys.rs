//! Keeps the sysfs of a tenant's network namespace between its launches.
//!
//! Each launch mounts the sysfs with the interfaces of its network namespace. If none is mounted anywhere, the kernel makes
//! a new one, in which nothing was looked up yet, and destroys it while the program ends, before it reports the end. One
//! mount that stays here keeps it, and ends with that of the network namespace.

use std::io;
use std::os::fd::{AsFd, OwnedFd};

use rustix::fs::{CWD, FsWord, Mode, OFlags, mkdir, open, rmdir, statfs};
use rustix::io::Errno;
use rustix::mount::{FsOpenFlags, MoveMountFlags, fsopen, move_mount};
use rustix::thread::{LinkNameSpaceType, move_into_link_name_space};

use crate::launch::sysfs;

/// The folder with a folder per tenant. No tenant's name begins with a dot.
const FOLDER: &str = "/.sys";

/// What statfs(2) says of a sysfs.
const MAGIC: FsWord = 0x6265_6572;

/// Where that of a tenant is.
pub(super) fn place(name: &str) -> String {
    format!("{FOLDER}/{name}")
}

/// Keeps that of a tenant, if its network namespace is kept. `home` is that of this thread, which enters the other one
/// and returns.
pub(super) fn keep(home: &OwnedFd, name: &str) -> io::Result<()> {
    let place = place(name);
    for folder in [FOLDER, &place] {
        match mkdir(folder, Mode::RWXU) {
            Ok(()) | Err(Errno::EXIST) => {}
            Err(errno) => return Err(errno.into()),
        }
    }
    if is_kept(&place)? {
        return Ok(());
    }
    let flags = OFlags::CLOEXEC | OFlags::NOFOLLOW;
    let netns = open(name, flags, Mode::empty())?;
    let kind = Some(LinkNameSpaceType::Network);
    move_into_link_name_space(netns.as_fd(), kind)?;
    let made = fsopen(c"sysfs", FsOpenFlags::FSOPEN_CLOEXEC);
    let made = made.and_then(|context| sysfs(context.as_fd()));
    // A thread that stayed there would keep the network namespace alive.
    move_into_link_name_space(home.as_fd(), kind)?;
    let by_fd = MoveMountFlags::MOVE_MOUNT_F_EMPTY_PATH;
    Ok(move_mount(&made?, c"", CWD, &place, by_fd)?)
}

fn is_kept(place: &str) -> io::Result<bool> {
    Ok(statfs(place)?.f_type == MAGIC)
}

/// Removes the folder of a tenant, in which nothing is mounted any longer.
pub(super) fn remove(name: &str) -> io::Result<()> {
    match rmdir(place(name)) {
        Ok(()) | Err(Errno::NOENT) => Ok(()),
        Err(errno) => Err(errno.into()),
    }
}
