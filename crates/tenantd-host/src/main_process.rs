//! The main process of a program that put itself into the background, or that names another one.
//!
//! Everything here is said by a tenant, which is hostile: a number counts only while the process that has
//! it is in the tenant's cgroup, and a path is resolved below the tenant's own root, without magic links
//! (openat2(2)).

use std::collections::HashSet;
use std::io;
use std::os::fd::{AsFd, OwnedFd};
use std::path::Path;

use rustix::fs::{FileType, Mode, OFlags, fstat};
use rustix::io::Errno;
use rustix::process::{Pid, PidfdFlags, pidfd_open};

use crate::cgroup::Leaf;
use crate::process;
use crate::within;

/// The longest file with a process number, in bytes. Some have more lines, as PostgreSQL's.
const FILE_MAX: usize = 4096;

/// Opens a process of a leaf. Returns its start time and a pidfd; `None` if no process of the leaf has
/// this number.
///
/// # Errors
/// Those of pidfd_open(2) and of reading the leaf.
pub fn open_in(leaf: &Leaf, pid: i32) -> io::Result<Option<(u64, OwnedFd)>> {
    let Some(number) = Pid::from_raw(pid).filter(|_| pid > 0) else {
        return Ok(None);
    };
    let pidfd = match pidfd_open(number, PidfdFlags::NONBLOCK) {
        Ok(pidfd) => pidfd,
        // No such process, or the number of a thread.
        Err(Errno::SRCH | Errno::INVAL | Errno::NOENT) => return Ok(None),
        Err(errno) => return Err(errno.into()),
    };
    // With a pidfd open, a number that is in the leaf was not used again.
    let pids = leaf.pids().map_err(io::Error::other)?;
    let start_ticks = process::start_ticks(pid).filter(|_| pids.contains(&pid));
    Ok(start_ticks.map(|ticks| (ticks, pidfd)))
}

/// The number in a file at a tenant's path, as a process of its leaf sees it; `None` if there is no such
/// file yet, or no number in it.
///
/// # Errors
/// Those of reading the leaf, and of openat2(2) and read(2), but not that the file does not exist.
pub fn read_pid_file(leaf: &Leaf, path: &Path) -> io::Result<Option<i32>> {
    for pid in leaf.pids().map_err(io::Error::other)? {
        let root = format!("/proc/{pid}/root");
        let flags = OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC;
        let root = match rustix::fs::open(root, flags, Mode::empty()) {
            Ok(root) => root,
            // It has just ended.
            Err(Errno::NOENT | Errno::SRCH) => continue,
            Err(errno) => return Err(errno.into()),
        };
        // With its root open: a number that is in the leaf now was not used again.
        if leaf.pids().map_err(io::Error::other)?.contains(&pid) {
            return read_below(&root, path);
        }
    }
    Ok(None)
}

fn read_below(root: &OwnedFd, path: &Path) -> io::Result<Option<i32>> {
    let below = path.strip_prefix("/").unwrap_or(path);
    // Without waiting, if it is a FIFO.
    let flags = OFlags::RDONLY | OFlags::NONBLOCK | OFlags::NOCTTY | OFlags::CLOEXEC;
    let file = match within::open(root.as_fd(), below, flags) {
        Ok(file) => file,
        Err(Errno::NOENT | Errno::NOTDIR) => return Ok(None),
        Err(errno) => return Err(errno.into()),
    };
    if FileType::from_raw_mode(fstat(&file)?.st_mode) != FileType::RegularFile {
        return Err(io::Error::other("it is not a regular file"));
    }
    let mut text = [0; FILE_MAX];
    let len = rustix::io::read(&file, &mut text)?;
    Ok(number(&text[..len]))
}

/// The number in the first line.
fn number(text: &[u8]) -> Option<i32> {
    let line = text.split(|byte| *byte == b'\n').next()?;
    let number: i32 = std::str::from_utf8(line).ok()?.trim().parse().ok()?;
    (number > 0).then_some(number)
}

/// The only process of a leaf whose parent is not in it: that of a program that put itself into the
/// background, if its other processes are children of this one. `None` if there are several.
///
/// # Errors
/// Those of reading the leaf.
pub fn guess(leaf: &Leaf) -> io::Result<Option<i32>> {
    let pids = leaf.pids().map_err(io::Error::other)?;
    let all: HashSet<i32> = pids.iter().copied().collect();
    let is_first = |pid: &i32| {
        // One that has just ended is none.
        process::parent(*pid).is_some_and(|parent| !all.contains(&parent))
    };
    let mut first = pids.into_iter().filter(is_first);
    let one = first.next();
    Ok(one.filter(|_| first.next().is_none()))
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::symlink;

    use super::*;

    #[test]
    fn the_number_is_in_the_first_line() {
        assert_eq!(number(b"4711\n"), Some(4711));
        assert_eq!(number(b"  4711 \n/var/lib/x\n5432\n"), Some(4711));
        for nothing in [
            b"".as_slice(),
            b"\n4711",
            b"0\n",
            b"-4\n",
            b"47x",
            b"99999999999",
            b"\xff",
        ] {
            assert_eq!(number(nothing), None);
        }
    }

    #[test]
    fn a_path_stays_below_the_root() {
        let place = tempfile::tempdir().unwrap();
        let root = place.path().join("root");
        std::fs::create_dir_all(root.join("run")).unwrap();
        std::fs::write(place.path().join("outside"), "1\n").unwrap();
        std::fs::write(root.join("run/inside"), "2\n").unwrap();
        symlink("../../outside", root.join("run/up")).unwrap();
        symlink("/run/inside", root.join("run/link")).unwrap();
        symlink("/proc/self/root", root.join("run/magic")).unwrap();
        let opened = OwnedFd::from(std::fs::File::open(&root).unwrap());
        let read = |path: &str| read_below(&opened, Path::new(path));
        assert_eq!(read("/run/inside").unwrap(), Some(2));
        assert_eq!(read("/run/link").unwrap(), Some(2));
        assert_eq!(read("/run/up").unwrap(), None);
        assert_eq!(read("/run/magic/etc/passwd").unwrap(), None);
        assert_eq!(read("/run/none").unwrap(), None);
        assert!(read("/run").is_err());
    }
}
