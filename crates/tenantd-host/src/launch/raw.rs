//! Wrappers for the system calls that neither rustix nor nix has.
#![allow(unsafe_code)]

use std::ffi::CStr;
use std::os::fd::{AsRawFd, BorrowedFd};

use linux_raw_sys::general::mount_attr;
use rustix::io::Errno;

/// pidfd_send_signal(2) by number: rustix only takes signals that have a name.
pub(crate) fn pidfd_send_signal(pidfd: BorrowedFd<'_>, signal: i32) -> Result<(), Errno> {
    let no_info: *const libc::siginfo_t = std::ptr::null();
    // SAFETY: the descriptor is open as long as it is borrowed; a null siginfo asks the kernel to
    // fill in its own, and no flags are set. Nothing of ours is written to.
    let result = unsafe {
        libc::syscall(
            libc::SYS_pidfd_send_signal,
            pidfd.as_raw_fd(),
            signal,
            no_info,
            0,
        )
    };
    outcome(result)
}

/// Returns the wait(2) status of a process that its parent has waited for: `PIDFD_GET_INFO` of
/// ioctl_pidfd(2), since Linux 6.15. `None` if the parent has not waited for it yet.
pub(crate) fn exit_status(pidfd: BorrowedFd<'_>) -> Result<Option<i32>, Errno> {
    // SAFETY: all of its fields are integers, for which zeros are a value.
    let mut found: libc::pidfd_info = unsafe { std::mem::zeroed() };
    found.mask = u64::from(libc::PIDFD_INFO_EXIT);
    // SAFETY: the descriptor is open as long as it is borrowed, and the number of the request
    // holds the size of what `found` points to, which the kernel reads and writes.
    let result = unsafe {
        libc::ioctl(
            pidfd.as_raw_fd(),
            libc::PIDFD_GET_INFO,
            std::ptr::from_mut(&mut found),
        )
    };
    if result < 0 {
        return Err(last_errno());
    }
    let is_known = found.mask & u64::from(libc::PIDFD_INFO_EXIT) != 0;
    Ok(is_known.then_some(found.exit_code))
}

/// The UUID of the filesystem that a file is on: `FS_IOC_GETFSUUID` of linux/fs.h, since Linux 6.9.
/// `None` if it has none or the kernel is older.
pub(crate) fn filesystem_uuid(file: BorrowedFd<'_>) -> Result<Option<[u8; 16]>, Errno> {
    #[repr(C)]
    struct FsUuid {
        length: u8,
        uuid: [u8; 16],
    }
    /// `_IOR(0x15, 0, struct fsuuid2)`.
    const GET: libc::Ioctl = 0x8011_1500_u32 as libc::Ioctl;
    let mut found = FsUuid {
        length: 0,
        uuid: [0; 16],
    };
    // SAFETY: the descriptor is open as long as it is borrowed, and the number of the request holds
    // the size of what `found` points to, which the kernel writes.
    let result = unsafe { libc::ioctl(file.as_raw_fd(), GET, std::ptr::from_mut(&mut found)) };
    if result == 0 {
        return Ok((found.length == 16).then_some(found.uuid));
    }
    match last_errno() {
        Errno::NOTTY | Errno::INVAL | Errno::OPNOTSUPP | Errno::NOSYS => Ok(None),
        errno => Err(errno),
    }
}

/// Refuses messages with descriptors on a unix socket that is not bound yet: `SO_PASSRIGHTS`, since
/// Linux 6.16.
pub(crate) fn refuse_descriptors(socket: BorrowedFd<'_>) -> Result<(), Errno> {
    /// `SO_PASSRIGHTS` of asm-generic/socket.h, which libc does not have.
    const SO_PASSRIGHTS: libc::c_int = 83;
    let no: libc::c_int = 0;
    let len: libc::socklen_t = 4;
    // SAFETY: the descriptor is open as long as it is borrowed, and `no` is an int of the length
    // that is given, which is only read during the call.
    let result = unsafe {
        libc::setsockopt(
            socket.as_raw_fd(),
            libc::SOL_SOCKET,
            SO_PASSRIGHTS,
            std::ptr::from_ref(&no).cast(),
            len,
        )
    };
    outcome(libc::c_long::from(result))
}

/// mount_setattr(2) on the mount that `tree` is open on, and on those below it.
pub(crate) fn mount_setattr(tree: BorrowedFd<'_>, attr: &mount_attr) -> Result<(), Errno> {
    let flags = libc::AT_EMPTY_PATH | libc::AT_RECURSIVE;
    mount_setattr_at(tree.as_raw_fd(), c"", flags, attr)
}

/// mount_setattr(2) on the mount at a path. Allocates nothing: the child calls it.
pub(crate) fn mount_setattr_at(
    folder: i32,
    path: &CStr,
    flags: i32,
    attr: &mount_attr,
) -> Result<(), Errno> {
    // SAFETY: the path is a C string, `attr` points to a mount_attr of exactly the size that is
    // given, and both are only read during the call.
    let result = unsafe {
        libc::syscall(
            libc::SYS_mount_setattr,
            folder,
            path.as_ptr(),
            flags,
            std::ptr::from_ref(attr),
            size_of::<mount_attr>(),
        )
    };
    outcome(result)
}

/// landlock_restrict_self(2). Allocates nothing: the child calls it.
pub(super) fn landlock_restrict_self(ruleset: BorrowedFd<'_>) -> Result<(), Errno> {
    // SAFETY: the descriptor is open as long as it is borrowed, and the call touches no memory.
    let result = unsafe { libc::syscall(libc::SYS_landlock_restrict_self, ruleset.as_raw_fd(), 0) };
    outcome(result)
}

/// The version of the Landlock interface, see landlock_create_ruleset(2).
pub(super) fn landlock_version() -> Result<u32, Errno> {
    const VERSION: u32 = 1;
    let none: *const libc::c_void = std::ptr::null();
    // SAFETY: with this flag the call takes no attributes and touches no memory of ours.
    let result = unsafe { libc::syscall(libc::SYS_landlock_create_ruleset, none, 0, VERSION) };
    outcome(result)?;
    u32::try_from(result).map_err(|_| Errno::OVERFLOW)
}

/// Whether the kernel has a capability of this number, see PR_CAPBSET_READ(2const).
pub(super) fn knows_capability(number: u32) -> bool {
    let unused: libc::c_ulong = 0;
    // SAFETY: PR_CAPBSET_READ takes a number and touches no memory of ours.
    let read = unsafe {
        libc::prctl(
            libc::PR_CAPBSET_READ,
            libc::c_ulong::from(number),
            unused,
            unused,
            unused,
        )
    };
    read >= 0
}

/// The errno of a system call that gave `result` through libc's syscall(2).
pub(super) fn outcome(result: libc::c_long) -> Result<(), Errno> {
    if result < 0 {
        Err(last_errno())
    } else {
        Ok(())
    }
}

/// The errno that libc has just stored for this thread. Allocates nothing.
pub(super) fn last_errno() -> Errno {
    // SAFETY: __errno_location always gives the address of this thread's errno.
    Errno::from_raw_os_error(unsafe { *libc::__errno_location() })
}
