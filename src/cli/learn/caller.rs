//! A process that made a system call: its memory, its user, and the files as it sees them.

use std::fs::{self, File};
use std::os::fd::OwnedFd;
use std::os::unix::ffi::OsStringExt;
use std::os::unix::fs::FileExt;
use std::path::{Component, Path, PathBuf};

use rustix::fs::{
    CWD, FileType, Mode, OFlags, ResolveFlags, Stat, StatVfsMountFlags, fstat, fstatvfs, openat,
    openat2,
};

/// The longest path, see PATH_MAX.
const PATH_MAX: usize = 4096;

/// A process. Everything about it may be gone already; then there is nothing to learn from it.
pub(super) struct Caller {
    thread: i32,
    pub(super) uid: u32,
    pub(super) gid: u32,
    groups: Vec<u32>,
}

/// A file as a process sees it.
pub(super) struct Found {
    pub(super) stat: Stat,
    pub(super) read_only: bool,
}

impl Found {
    pub(super) fn kind(&self) -> FileType {
        FileType::from_raw_mode(self.stat.st_mode)
    }
}

impl Caller {
    pub(super) fn of(thread: i32) -> Option<Self> {
        let status = fs::read_to_string(format!("/proc/{thread}/status")).ok()?;
        let numbers = |key: &str| -> Vec<u32> {
            let line = status.lines().find_map(|line| line.strip_prefix(key));
            let words = line.unwrap_or_default().split_whitespace();
            words.filter_map(|word| word.parse().ok()).collect()
        };
        Some(Self {
            thread,
            // The effective ones.
            uid: *numbers("Uid:").get(1)?,
            gid: *numbers("Gid:").get(1)?,
            groups: numbers("Groups:"),
        })
    }

    /// Bytes of its memory: at most `length`.
    pub(super) fn memory(&self, at: u64, length: usize) -> Vec<u8> {
        let mut bytes = vec![0; length];
        let file = File::open(format!("/proc/{}/mem", self.thread));
        let read = file.and_then(|file| file.read_at(&mut bytes, at));
        bytes.truncate(read.unwrap_or_default());
        bytes
    }

    /// A path in its memory, as it sees it: absolute, without `..`. `folder` is what a relative one is
    /// relative to, or AT_FDCWD.
    pub(super) fn path(&self, folder: u64, at: u64) -> Option<PathBuf> {
        // Not across a page that may not be mapped.
        let mut bytes = Vec::new();
        while bytes.len() < PATH_MAX {
            let at = at + u64::try_from(bytes.len()).ok()?;
            let rest = usize::try_from(4096 - at % 4096).ok()?;
            let read = self.memory(at, rest);
            if let Some(end) = read.iter().position(|byte| *byte == 0) {
                bytes.extend_from_slice(&read[..end]);
                break;
            }
            if read.is_empty() {
                return None;
            }
            bytes.extend(read);
        }
        let path = PathBuf::from(std::ffi::OsString::from_vec(bytes));
        // Only the lower half is the descriptor.
        let number = i32::from_ne_bytes(u32::try_from(folder & 0xffff_ffff).ok()?.to_ne_bytes());
        let link = match number {
            _ if path.is_absolute() => "root".to_owned(),
            libc::AT_FDCWD => "cwd".to_owned(),
            number => format!("fd/{number}"),
        };
        let base = fs::read_link(format!("/proc/{}/{link}", self.thread)).ok()?;
        let path = base.join(path.strip_prefix("/").unwrap_or(&path));
        Some(without_dots(&path))
    }

    /// What is at a path, as the process sees it. `None` if there is nothing.
    pub(super) fn find(&self, path: &Path) -> Option<Found> {
        let root = self.root()?;
        let flags = OFlags::PATH | OFlags::CLOEXEC;
        let found = openat2(root, path, flags, Mode::empty(), ResolveFlags::IN_ROOT).ok()?;
        let mount = fstatvfs(&found).ok()?;
        Some(Found {
            stat: fstat(&found).ok()?,
            read_only: mount.f_flag.contains(StatVfsMountFlags::RDONLY),
        })
    }

    fn root(&self) -> Option<OwnedFd> {
        // `path` is from the root of the mount namespace: the first process's of the launch.
        let path = format!("/proc/{}/root", self.thread);
        openat(CWD, path, OFlags::PATH | OFlags::CLOEXEC, Mode::empty()).ok()
    }

    /// Whether its user may write to a file, apart from read-only mounts.
    pub(super) fn may_write(&self, found: &Found) -> bool {
        let (mode, owner, group) = (found.stat.st_mode, found.stat.st_uid, found.stat.st_gid);
        match self.uid {
            0 => true,
            uid if uid == owner => mode & 0o200 != 0,
            _ if group == self.gid || self.groups.contains(&group) => mode & 0o020 != 0,
            _ => mode & 0o002 != 0,
        }
    }
}

fn without_dots(path: &Path) -> PathBuf {
    let mut clean = PathBuf::from("/");
    for part in path.components() {
        match part {
            Component::Normal(part) => clean.push(part),
            Component::ParentDir => {
                clean.pop();
            }
            Component::RootDir | Component::CurDir | Component::Prefix(_) => {}
        }
    }
    clean
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reads_a_path_of_a_process() {
        let me = Caller::of(i32::try_from(std::process::id()).unwrap()).unwrap();
        let text = c"a/../b";
        let cwd = u64::from(libc::AT_FDCWD.cast_unsigned());
        let found = me.path(cwd, text.as_ptr().addr() as u64).unwrap();
        assert_eq!(found, std::env::current_dir().unwrap().join("b"));
        let text = c"/proc/../etc";
        let found = me.path(cwd, text.as_ptr().addr() as u64).unwrap();
        assert_eq!(found, Path::new("/etc"));
        assert_eq!(me.find(&found).unwrap().kind(), FileType::Directory);
        assert!(me.find(Path::new("/no/such")).is_none());
    }
}
