//! Opens a path as a process with another root would, without magic links.

use std::os::fd::{BorrowedFd, OwnedFd};

use rustix::fs::{Mode, OFlags, ResolveFlags, openat2};
use rustix::io::Errno;
use rustix::path::Arg;

/// How often a path is resolved again.
const TRIES: usize = 1000;

/// Opens `path` below `root`, which is its root: neither `..` nor a symbolic link leads out of it. Allocates nothing if
/// the path is a C string.
///
/// The kernel gives up (`EAGAIN`) if anything on the host is renamed or mounted while it follows a `..`. Then the
/// path is resolved again.
///
/// # Errors
/// Those of openat2(2); `ELOOP` for a magic link.
pub(crate) fn open(
    root: BorrowedFd<'_>,
    path: impl Arg + Copy,
    flags: OFlags,
) -> Result<OwnedFd, Errno> {
    let within = ResolveFlags::IN_ROOT.union(ResolveFlags::NO_MAGICLINKS);
    let mut tries: usize = 0;
    loop {
        match openat2(root, path, flags, Mode::empty(), within) {
            Err(Errno::AGAIN) if tries < TRIES => tries = tries.saturating_add(1),
            outcome => return outcome,
        }
    }
}

#[cfg(test)]
mod tests {
    use std::fs;
    use std::os::fd::AsFd;
    use std::sync::atomic::{AtomicBool, Ordering};

    use super::*;

    #[test]
    fn renames_elsewhere_keep_no_path_from_being_opened() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path();
        fs::create_dir(path.join("inner")).unwrap();
        fs::write(path.join("file"), "").unwrap();
        let root = fs::File::open(path).unwrap();
        let is_done = AtomicBool::new(false);
        std::thread::scope(|scope| {
            scope.spawn(|| {
                let names = ["one", "other"].map(|name| path.join(name));
                fs::write(&names[0], "").unwrap();
                while !is_done.load(Ordering::Relaxed) {
                    fs::rename(&names[0], &names[1]).unwrap();
                    fs::rename(&names[1], &names[0]).unwrap();
                }
            });
            let refused = (0..2000).find_map(|_| {
                let flags = OFlags::PATH | OFlags::CLOEXEC;
                let path = c"inner/../inner/../inner/../inner/../file";
                open(root.as_fd(), path, flags).err()
            });
            is_done.store(true, Ordering::Relaxed);
            assert_eq!(refused, None);
        });
    }
}
