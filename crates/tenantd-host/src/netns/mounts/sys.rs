//! Keeps the sysfs of a tenant's network namespace between its launches.
//!
//! Each launch mounts the sysfs with the interfaces of its network namespace. If none is mounted anywhere, the kernel makes
//! a new one, in which nothing was looked up yet, and destroys it while the program ends, before it reports the end. One
//! mount that stays here keeps it, and ends with that of the network namespace.

use std::io;
use std::os::fd::{AsFd, OwnedFd};
use std::thread;

use rustix::fs::{CWD, FsWord, Mode, OFlags, mkdir, open, rmdir, statfs};
use rustix::io::Errno;
use rustix::mount::{FsOpenFlags, MoveMountFlags, fsopen, move_mount};
use rustix::thread::{LinkNameSpaceType, move_into_link_name_space};

use super::STACK;
use crate::launch::sysfs;

/// The folder with a folder per tenant. No tenant's name begins with a dot.
const FOLDER: &str = "/.sys";

/// What statfs(2) says of a sysfs.
const MAGIC: FsWord = 0x6265_6572;

/// Where that of a tenant is.
pub(super) fn place(name: &str) -> String {
    format!("{FOLDER}/{name}")
}

/// Keeps that of a tenant, if its network namespace is kept. `home` is the network namespace of this thread.
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
    let made = made_in(&netns, home)?;
    let by_fd = MoveMountFlags::MOVE_MOUNT_F_EMPTY_PATH;
    Ok(move_mount(&made, c"", CWD, &place, by_fd)?)
}

/// Makes a sysfs in a network namespace, on a temporary thread. This one does not enter it: the way back may fail, and a
/// thread that stayed there would keep the network namespace alive.
fn made_in(netns: &OwnedFd, home: &OwnedFd) -> io::Result<OwnedFd> {
    let make = || {
        let kind = Some(LinkNameSpaceType::Network);
        move_into_link_name_space(netns.as_fd(), kind)?;
        let made = fsopen(c"sysfs", FsOpenFlags::FSOPEN_CLOEXEC);
        let made = made.and_then(|context| sysfs(context.as_fd()));
        // The kernel may still be ending a thread that was joined. So it leaves, if it can.
        let _stays = move_into_link_name_space(home.as_fd(), kind);
        Ok(made?)
    };
    thread::scope(|scope| {
        let maker = thread::Builder::new().name("netns-sysfs".to_owned());
        let maker = maker.stack_size(STACK).spawn_scoped(scope, make)?;
        maker
            .join()
            .unwrap_or_else(|panic| std::panic::resume_unwind(panic))
    })
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

#[cfg(test)]
mod as_root {
    use std::fs::File;
    use std::os::unix::fs::MetadataExt;

    use nix::sched::{CloneFlags, unshare};
    use rustix::fs::fstatfs;

    use super::super::HOME;
    use super::*;

    #[test]
    fn without_a_way_back_this_thread_is_not_in_the_network_namespace() {
        let own = || File::open(HOME).unwrap();
        let tenant = thread::spawn(move || {
            unshare(CloneFlags::CLONE_NEWNET).unwrap();
            own()
        });
        let tenant = OwnedFd::from(tenant.join().unwrap());
        // setns(2) refuses a mount namespace.
        let refused = OwnedFd::from(File::open("/proc/thread-self/ns/mnt").unwrap());
        let before = own().metadata().unwrap().ino();
        let made = made_in(&tenant, &refused).unwrap();
        assert_eq!(fstatfs(made).unwrap().f_type, MAGIC);
        assert_eq!(own().metadata().unwrap().ino(), before);
    }
}
