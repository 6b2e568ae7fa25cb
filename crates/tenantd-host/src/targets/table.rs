//! The mount tables: when the host's changes, and what has arrived writable in a tenant's.
//!
//! A mount of the host arrives in each tenant's namespace with the host's flags, so a tenant without
//! Landlock could write to it. It is made read-only there, see mount_setattr(2). Until then the tenant
//! can write to it.

use std::ffi::{CString, OsString};
use std::fs::File;
use std::io::{self, Read};
use std::os::fd::OwnedFd;
use std::os::unix::ffi::OsStringExt;
use std::path::{Path, PathBuf};

use linux_raw_sys::general::{MOUNT_ATTR_RDONLY, mount_attr};
use rustix::fs::{Mode, OFlags, openat};
use rustix::io::Errno;
use tokio::io::Interest;
use tokio::io::unix::AsyncFd;

use crate::launch::raw;

/// The mount table of this process, to wait for changes of it.
#[derive(Debug)]
pub struct MountTable(AsyncFd<File>);

impl MountTable {
    /// Opens the table, on the current tokio runtime.
    ///
    /// # Errors
    /// Those of open(2) and epoll_ctl(2).
    ///
    /// # Panics
    /// Outside a tokio runtime.
    pub fn open() -> io::Result<Self> {
        let file = File::open("/proc/self/mountinfo")?;
        #[expect(
            deprecated,
            reason = "its successor is unsafe for the sake of types that may change their \
                      descriptor; a File keeps its own open until it is dropped"
        )]
        let file = AsyncFd::with_interest(file, Interest::PRIORITY)?;
        Ok(Self(file))
    }

    /// Waits until something was mounted or unmounted, see proc_pid_mounts(5). Cancelling this loses
    /// nothing.
    ///
    /// # Errors
    /// Those of epoll(7).
    pub async fn changed(&self) -> io::Result<()> {
        self.0.ready(Interest::PRIORITY).await?.clear_ready();
        Ok(())
    }
}

/// One mount that was made read-only, or could not be.
#[derive(Debug)]
pub struct Sealed {
    /// Where it is mounted.
    pub path: PathBuf,
    /// Whether it is read-only now: `EBUSY` if a process has a file of it open for writing.
    pub result: Result<(), Errno>,
}

/// The folder of proc(5) of the host, from which the calling thread's table is read wherever it is.
pub(super) fn proc() -> io::Result<OwnedFd> {
    Ok(File::open("/proc")?.into())
}

/// Makes all mounts that the host has made since the launch read-only in the calling thread's
/// namespace. What lies below `targets` is the tenant's own.
pub(super) fn seal(proc: &OwnedFd, targets: &[PathBuf]) -> io::Result<Vec<Sealed>> {
    let flags = OFlags::RDONLY | OFlags::CLOEXEC;
    let mut table = Vec::new();
    File::from(openat(proc, "thread-self/mountinfo", flags, Mode::empty())?)
        .read_to_end(&mut table)?;
    let lines = table.split(|byte| *byte == b'\n');
    let arrived = lines.filter_map(writable_copy);
    let foreign = arrived.filter(|path| !targets.iter().any(|target| path.starts_with(target)));
    Ok(foreign
        // The launch leaves it writable.
        .filter(|path| path != Path::new("/proc"))
        .map(|path| Sealed {
            result: make_read_only(&path),
            path,
        })
        .collect())
}

/// The mount point of a line of the table, if the mount is writable and the copy of one of the host.
fn writable_copy(line: &[u8]) -> Option<PathBuf> {
    let mut optional = line.split(|byte| *byte == b' ').skip(6);
    let mut optional = optional.by_ref().take_while(|field| *field != b"-");
    let is_copy = optional.any(|field| field.starts_with(b"master:"));
    writable(line).filter(|_| is_copy)
}

/// The mount point of a line of the table, if the mount is writable.
pub(crate) fn writable(line: &[u8]) -> Option<PathBuf> {
    let mut fields = line.split(|byte| *byte == b' ').skip(4);
    let point = fields.next()?;
    let mut options = fields.next()?.split(|byte| *byte == b',');
    options
        .any(|option| option == b"rw")
        .then(|| unescaped(point))
}

/// The mount point of a line of the table, if the mount has one of these types.
pub(crate) fn mount_of(line: &[u8], types: &[&[u8]]) -> Option<PathBuf> {
    let mut fields = line.split(|byte| *byte == b' ');
    let point = fields.nth(4)?;
    let kind = fields.skip_while(|field| *field != b"-").nth(1)?;
    types.contains(&kind).then(|| unescaped(point))
}

/// A path of the table, in which a space is `\040`.
fn unescaped(text: &[u8]) -> PathBuf {
    let mut path = Vec::with_capacity(text.len());
    let mut rest = text;
    while let Some((&byte, after)) = rest.split_first() {
        let octal = after.get(..3).filter(|_| byte == b'\\');
        let octal = octal.and_then(|it| std::str::from_utf8(it).ok());
        match octal.and_then(|it| u8::from_str_radix(it, 8).ok()) {
            Some(escaped) => {
                path.push(escaped);
                rest = &after[3..];
            }
            None => {
                path.push(byte);
                rest = after;
            }
        }
    }
    OsString::from_vec(path).into()
}

fn make_read_only(path: &Path) -> Result<(), Errno> {
    use std::os::unix::ffi::OsStrExt;
    let path = CString::new(path.as_os_str().as_bytes()).map_err(|_| Errno::INVAL)?;
    let read_only = mount_attr {
        attr_set: MOUNT_ATTR_RDONLY.into(),
        attr_clr: 0,
        propagation: 0,
        userns_fd: 0,
    };
    // Otherwise looking at the mount point of autofs would mount something.
    let flags = libc::AT_NO_AUTOMOUNT | libc::AT_SYMLINK_NOFOLLOW;
    raw::mount_setattr_at(libc::AT_FDCWD, &path, flags, &read_only)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_writable_copies_of_the_hosts_mounts_count() {
        let copy = |line: &str| writable_copy(line.as_bytes());
        let line = |flags, how| {
            format!("36 35 98:0 /mnt1 /mnt\\040two {flags},noatime {how} - ext3 /dev/root rw")
        };
        let path = Some(PathBuf::from("/mnt two"));
        assert_eq!(copy(&line("rw", "master:1")), path);
        assert_eq!(copy(&line("rw", "shared:3 master:1")), path);
        assert_eq!(copy(&line("ro", "master:1")), None);
        assert_eq!(copy(&line("rw", "shared:1")), None);
        assert_eq!(copy("36 35 98:0 / /own rw - tmpfs tmpfs rw,master:1"), None);
        assert_eq!(copy(""), None);
        let of = |types| mount_of(line("rw", "master:1").as_bytes(), types);
        assert_eq!(of(&[b"ext2", b"ext3"]), path);
        assert_eq!(of(&[b"ext"]), None);
        assert_eq!(unescaped(b"a\\134b\\"), PathBuf::from("a\\b\\"));
    }

    #[test]
    fn writable_mounts_are_found() {
        let line = |point: &str, options: &str| {
            format!("36 35 98:0 / {point} {options} master:1 - ext3 /dev/root rw").into_bytes()
        };
        let found = |point: &str, options: &str| writable(&line(point, options));
        assert_eq!(found("/tmp", "rw,nosuid"), Some("/tmp".into()));
        assert_eq!(found("/a\\040b", "nosuid,rw"), Some("/a b".into()));
        assert_eq!(found("/", "ro,rwx"), None);
        assert_eq!(writable(b""), None);
    }
}
