//! Objects of System V IPC and POSIX message queues. They belong to a user and not to a process, so they remain when
//! all processes of a tenant have ended: memory that is taken, and data that the next process of that
//! user finds.
//!
//! They are removed only for a user that no other tenant and nobody else has. What the user has made counts,
//! not what its owner is now: the maker may give an object to another user, but not back into its own hands.

use std::fs;
use std::io::ErrorKind;
use std::os::fd::OwnedFd;

use rustix::fs::{AtFlags, Dir, Mode, OFlags, openat, statat, unlinkat};
use rustix::io::Errno;
use rustix::mount::{FsMountFlags, FsOpenFlags, MountAttrFlags, fsconfig_create, fsmount, fsopen};

use crate::launch::raw::{self, SysV};
use tenantd_core::stage::{Failure, Stage};

/// A kind of object, and the file of proc_sysvipc(5) that lists all of it.
struct Kind {
    kind: SysV,
    file: &'static str,
    /// The column with the object's number.
    number: &'static str,
    name: &'static str,
}

const KINDS: [Kind; 3] = [
    Kind {
        kind: SysV::Memory,
        file: "/proc/sysvipc/shm",
        number: "shmid",
        name: "shared memory segment",
    },
    Kind {
        kind: SysV::Semaphores,
        file: "/proc/sysvipc/sem",
        number: "semid",
        name: "semaphore set",
    },
    Kind {
        kind: SysV::Messages,
        file: "/proc/sysvipc/msg",
        number: "msqid",
        name: "message queue",
    },
];

/// Removes all objects that a user has made. Continues after a failure. Returns how many were removed.
pub fn remove(uid: u32) -> (usize, Vec<Failure>) {
    let (mut removed, mut failures) = (0, Vec::new());
    for kind in &KINDS {
        match objects(kind, uid) {
            Ok(objects) => {
                for object in objects {
                    match raw::remove_sysv(kind.kind, object) {
                        // Another process of root has removed it.
                        Ok(()) | Err(Errno::INVAL | Errno::IDRM) => removed += 1,
                        Err(errno) => failures.push(failed(
                            format!("{} {object} of user {uid}", kind.name),
                            errno,
                        )),
                    }
                }
            }
            Err(errno) => failures.push(failed(kind.file.to_owned(), errno)),
        }
    }
    match queues(uid) {
        Ok(number) => removed += number,
        Err(errno) => failures.push(failed(
            format!("the POSIX message queues of user {uid}"),
            errno,
        )),
    }
    (removed, failures)
}

fn failed(object: String, errno: Errno) -> Failure {
    Failure::errno(Stage::Release, object, errno.raw_os_error())
}

/// The numbers of the objects that a user has made. None where the kernel has none of this kind.
fn objects(kind: &Kind, uid: u32) -> Result<Vec<i32>, Errno> {
    let text = match fs::read_to_string(kind.file) {
        Err(error) if error.kind() == ErrorKind::NotFound => return Ok(Vec::new()),
        found => found.map_err(|error| Errno::from_io_error(&error).unwrap_or(Errno::IO))?,
    };
    Ok(listed(&text, kind.number, uid))
}

/// Reads the lines of a table of proc_sysvipc(5), whose first line names the columns.
fn listed(text: &str, number: &str, uid: u32) -> Vec<i32> {
    let mut lines = text.lines().map(str::split_whitespace);
    let heads: Vec<&str> = lines.next().into_iter().flatten().collect();
    let at = |name| heads.iter().position(|head| *head == name);
    let (Some(number), Some(maker)) = (at(number), at("cuid")) else {
        return Vec::new();
    };
    let lines = lines.map(Iterator::collect::<Vec<&str>>);
    let own = lines.filter(|line| line.get(maker).and_then(|it| it.parse().ok()) == Some(uid));
    own.filter_map(|line| line.get(number)?.parse().ok())
        .collect()
}

/// The folder of all POSIX message queues, see mq_overview(7), mounted nowhere. `None` if the kernel has none.
///
/// # Errors
/// Those of fsopen(2), fsconfig(2) and fsmount(2).
pub(crate) fn queue_folder() -> Result<Option<OwnedFd>, Errno> {
    let filesystem = match fsopen(c"mqueue", FsOpenFlags::FSOPEN_CLOEXEC) {
        Err(Errno::NODEV) => return Ok(None),
        found => found?,
    };
    fsconfig_create(&filesystem)?;
    let flags = FsMountFlags::FSMOUNT_CLOEXEC;
    fsmount(&filesystem, flags, MountAttrFlags::MOUNT_ATTR_NOEXEC).map(Some)
}

/// Removes the POSIX message queues of a user, see mq_overview(7).
fn queues(uid: u32) -> Result<usize, Errno> {
    let Some(mount) = queue_folder()? else {
        return Ok(0);
    };
    let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC;
    let root = openat(&mount, ".", flags, Mode::empty())?;
    let mut own = Vec::new();
    for entry in Dir::read_from(&root)? {
        let name = entry?.file_name().to_owned();
        match statat(&root, &*name, AtFlags::SYMLINK_NOFOLLOW) {
            Ok(found) if found.st_uid == uid && ![c".", c".."].contains(&&*name) => own.push(name),
            Ok(_) | Err(Errno::NOENT) => {}
            Err(errno) => return Err(errno),
        }
    }
    for name in &own {
        match unlinkat(&root, &**name, AtFlags::empty()) {
            Ok(()) | Err(Errno::NOENT) => {}
            Err(errno) => return Err(errno),
        }
    }
    Ok(own.len())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_what_the_user_has_made_is_listed() {
        let text = "key shmid perms size cpid lpid nattch uid gid cuid cgid\n\
                    1 7 600 10 1 1 0 70000 1 70000 1\n\
                    2 8 600 10 1 1 0 70000 1 0 0\n\
                    3 9 600 10 1 1 0 0 1 70000 1\n";
        assert_eq!(listed(text, "shmid", 70000), [7, 9]);
        assert_eq!(listed(text, "shmid", 0), [8]);
        assert_eq!(listed("key\n", "shmid", 0), [0_i32; 0]);
        assert_eq!(listed("", "shmid", 0), [0_i32; 0]);
    }
}
