//! Takes network namespaces out of the mount namespace, several with one call.
//!
//! When a mount is removed, the kernel waits until no processor uses it: some milliseconds each, and much longer than
//! all the rest takes. It waits once for a mount with all that is mounted in it. So those that end together are moved
//! into a folder that is a mount itself, and that is removed.

use std::io;

use rustix::fs::{Access, Mode, OFlags, access, mkdir, open, unlink};
use rustix::io::Errno;
use rustix::mount::{MountFlags, UnmountFlags, mount, mount_move, unmount};

use super::sys;

/// The folder of those that end. No tenant's name begins with a dot.
const FOLDER: &str = "/.ended";

/// The network namespaces that end together.
#[derive(Debug)]
pub(super) struct Ended {
    /// Whether there are several, so that the folder is worth its mount.
    several: bool,
    /// How many files are in the folder, which is a mount if there are any.
    files: usize,
}

impl Ended {
    pub(super) fn new(several: bool) -> Self {
        let files = 0;
        Self { several, files }
    }

    /// Takes the one with this name out, if there is one, and its sysfs. They end at the latest with [`Ended::end`].
    pub(super) fn take(&mut self, name: &str) -> io::Result<()> {
        let sysfs = sys::place(name);
        // Then there are two.
        self.several |= access(&sysfs, Access::EXISTS).is_ok();
        if !self.several || self.is_moved(name, Self::file).is_err() {
            detach(name)?;
        }
        if self.several {
            if self.is_moved(&sysfs, Self::folder).is_err() {
                detach(&sysfs)?;
            }
            sys::remove(name)?;
        }
        match unlink(name) {
            Ok(()) | Err(Errno::NOENT) => Ok(()),
            Err(errno) => Err(errno.into()),
        }
    }

    fn is_moved(
        &mut self,
        from: &str,
        make: impl FnOnce(&str) -> rustix::io::Result<()>,
    ) -> rustix::io::Result<()> {
        if self.files == 0 {
            match mkdir(FOLDER, Mode::RWXU) {
                Ok(()) | Err(Errno::EXIST) => {}
                Err(errno) => return Err(errno),
            }
            let flags = MountFlags::NOSUID | MountFlags::NODEV | MountFlags::NOEXEC;
            mount("tenantd", FOLDER, "tmpfs", flags, Some(c"mode=0700"))?;
        }
        self.files += 1;
        let place = format!("{FOLDER}/{}", self.files);
        make(&place)?;
        mount_move(from, &place)
    }

    fn file(path: &str) -> rustix::io::Result<()> {
        let flags = OFlags::CREATE | OFlags::EXCL | OFlags::CLOEXEC;
        open(path, flags, Mode::RUSR).map(drop)
    }

    fn folder(path: &str) -> rustix::io::Result<()> {
        mkdir(path, Mode::RWXU)
    }

    /// Ends those that were taken. The kernel destroys each once no process is in it and nobody has it open.
    pub(super) fn end(self) -> io::Result<()> {
        match self.files {
            0 => Ok(()),
            _ => detach(FOLDER).map(drop),
        }
    }
}

/// Ends those that a supervisor had taken out when it was killed.
pub(super) fn end_left() -> io::Result<()> {
    while detach(FOLDER)? {}
    Ok(())
}

/// Removes a mount with all that is mounted in it. Returns whether there was one.
fn detach(path: &str) -> io::Result<bool> {
    // Not busy: it may be open somewhere, such as in `ip netns exec`.
    match unmount(path, UnmountFlags::DETACH | UnmountFlags::NOFOLLOW) {
        Ok(()) => Ok(true),
        // EINVAL: it is not mounted.
        Err(Errno::NOENT | Errno::INVAL) => Ok(false),
        Err(errno) => Err(errno.into()),
    }
}

#[cfg(test)]
mod as_root {
    use std::fs;
    use std::os::fd::OwnedFd;
    use std::path::Path;
    use std::thread;

    use nix::sched::{CloneFlags, setns, unshare};
    use rustix::fs::openat;

    use super::super::NetnsMounts;
    use super::*;
    use crate::netns::Netns;
    use tenantd_core::name::AppName;

    fn app() -> AppName {
        "wiki".parse().unwrap()
    }

    /// Keeps three network namespaces that nothing else keeps alive.
    fn three() -> NetnsMounts {
        let mounts = NetnsMounts::new(&app(), Path::new("/tmp")).unwrap();
        for tenant in ["one", "two", "three"] {
            let made = thread::spawn(|| {
                unshare(CloneFlags::CLONE_NEWNET).unwrap();
                let own = fs::File::open("/proc/thread-self/ns/net").unwrap();
                Netns::from_fd(own.into()).unwrap()
            });
            let made = made.join().unwrap();
            mounts.keep_now(&tenant.parse().unwrap(), &made).unwrap();
        }
        mounts
    }

    /// Calls `act` in the mount namespace, as its thread does, with a way to count the mounts below a folder there.
    fn within(mounts: &NetnsMounts, act: impl FnOnce(&dyn Fn(&str) -> usize) + Send + 'static) {
        let namespace: OwnedFd = mounts.namespace().try_clone_to_owned().unwrap();
        let visit = thread::spawn(move || {
            let flags = OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC;
            let own = open("/proc/thread-self", flags, Mode::empty()).unwrap();
            unshare(CloneFlags::CLONE_FS).unwrap();
            setns(namespace, CloneFlags::CLONE_NEWNS).unwrap();
            act(&|below| {
                let all = openat(&own, "mountinfo", OFlags::CLOEXEC, Mode::empty()).unwrap();
                let all = io::read_to_string(fs::File::from(all)).unwrap();
                let targets = all.lines().filter_map(|line| line.split(' ').nth(4));
                targets.filter(|target| target.starts_with(below)).count()
            });
        });
        visit.join().unwrap();
    }

    #[test]
    fn several_end_with_one_call() {
        let mounts = three();
        within(&mounts, |count| {
            let mut ended = Ended::new(true);
            for name in ["one", "unknown", "two"] {
                ended.take(name).unwrap();
            }
            assert_eq!((count("/.ended"), count("/t")), (3, 1));
            ended.end().unwrap();
            assert_eq!((count("/.ended"), count("/t")), (0, 1));
            let mut alone = Ended::new(false);
            alone.take("three").unwrap();
            assert_eq!(count("/"), 1, "only the namespace's own");
            alone.end().unwrap();
        });
        assert!(mounts.tenants().unwrap().is_empty());
    }

    #[test]
    fn what_a_killed_supervisor_had_taken_out_ends() {
        let mounts = three();
        within(&mounts, |_| {
            let mut ended = Ended::new(true);
            ended.take("one").unwrap();
            ended.take("two").unwrap();
        });
        let passed = mounts.namespace().try_clone_to_owned().unwrap();
        drop(mounts);
        let next = NetnsMounts::from_fd(&app(), passed).unwrap();
        assert_eq!(next.tenants().unwrap(), ["three".parse().unwrap()]);
        within(&next, |count| assert_eq!(count("/.ended"), 0));
    }
}
