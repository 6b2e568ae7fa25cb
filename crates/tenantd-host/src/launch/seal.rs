//! Makes detached mounts in memory read-only, once they have their files.
//!
//! The kernel refuses that with EBUSY while a descriptor is open for writing, see mount_setattr(2). Each file is
//! closed by then, but a child that another thread makes meanwhile may have a copy of its descriptor, until it
//! closes that or executes a program.

use std::os::fd::{AsFd, OwnedFd};
use std::time::{Duration, Instant};

use rustix::io::Errno;

use super::raw;
use super::trees::{self, READ_ONLY};

/// How long a child may take to close its copies.
const WITHIN: Duration = Duration::from_secs(2);

/// The pause between two attempts.
const PAUSE: Duration = Duration::from_micros(100);

/// Makes a mount read-only, or a read-only copy of it, which has no descriptor that is open for writing.
///
/// # Errors
/// Those of mount_setattr(2) and open_tree(2).
pub(super) fn read_only(tree: OwnedFd) -> Result<OwnedFd, Errno> {
    match raw::mount_setattr(tree.as_fd(), &READ_ONLY) {
        Ok(()) => Ok(tree),
        Err(Errno::BUSY) => match trees::clone_alone(&tree, true) {
            // Before Linux 6.15 a mount that is not attached cannot be copied.
            Err(Errno::INVAL) => set_within(&tree, WITHIN).map(|()| tree),
            copied => copied,
        },
        Err(errno) => Err(errno),
    }
}

/// Makes a mount read-only as soon as nothing is open for writing, but within this time.
fn set_within(tree: &OwnedFd, time: Duration) -> Result<(), Errno> {
    let begun = Instant::now();
    loop {
        match raw::mount_setattr(tree.as_fd(), &READ_ONLY) {
            Err(Errno::BUSY) if begun.elapsed() < time => std::thread::sleep(PAUSE),
            done => return done,
        }
    }
}

#[cfg(test)]
mod as_root {
    use rustix::fs::{Mode, OFlags, openat};

    use super::*;
    use crate::launch::tmpfs::{Owner, Tmpfs};

    const NEW: OFlags = OFlags::WRONLY.union(OFlags::CREATE);

    fn filled() -> (OwnedFd, OwnedFd) {
        let tree = Tmpfs::writable(Owner::ROOT, 4096).mount().unwrap();
        let file = openat(&tree, "file", NEW, Mode::RUSR).unwrap();
        (tree, file)
    }

    #[test]
    fn a_file_that_a_child_has_open_prevents_no_launch() {
        let (tree, file) = filled();
        let refused = raw::mount_setattr(tree.as_fd(), &READ_ONLY);
        assert_eq!(refused, Err(Errno::BUSY));
        let sealed = read_only(tree).unwrap();
        let made = openat(&sealed, "new", NEW, Mode::RUSR).map(drop);
        assert_eq!(made, Err(Errno::ROFS));
        openat(&sealed, "file", OFlags::RDONLY, Mode::empty()).unwrap();
        drop(file);
    }

    #[test]
    fn a_mount_that_cannot_be_copied_waits_for_the_child() {
        let (tree, file) = filled();
        assert_eq!(set_within(&tree, Duration::ZERO), Err(Errno::BUSY));
        drop(file);
        set_within(&tree, Duration::ZERO).unwrap();
        let made = openat(&tree, "new", NEW, Mode::RUSR).map(drop);
        assert_eq!(made, Err(Errno::ROFS));
    }
}
