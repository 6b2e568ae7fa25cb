//! Wrappers for the system calls that neither rustix nor nix has.
#![allow(unsafe_code)]

use std::ffi::CStr;
use std::os::fd::{AsRawFd, BorrowedFd, FromRawFd, OwnedFd};

use linux_raw_sys::general::mount_attr;
use linux_raw_sys::landlock::{landlock_path_beneath_attr, landlock_rule_type};
use rustix::io::Errno;

use crate::process::Ended;

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

/// A child that has stopped.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Stop {
    /// The number of its thread.
    pub(crate) pid: i32,
    /// Whether it stopped because this process traces it.
    pub(crate) is_traced: bool,
    /// The signal that it stopped at.
    pub(crate) signal: i32,
}

/// What has happened to a child, or to a thread that this process traces.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Change {
    /// It has stopped.
    Stopped(i32),
    /// It has ended.
    Ended(i32),
}

/// What has happened to one child, or to any: then the kernel goes through all of them. `None` if nothing has. It
/// is the same again until the stop is [noted](note_stop), or the child [reaped](reap).
pub(crate) fn change(of: Option<i32>) -> Result<Option<Change>, Errno> {
    let (kind, id) = match of {
        Some(pid) => (libc::P_PID, number(pid)?),
        None => (libc::P_ALL, 0),
    };
    let options = libc::WEXITED | libc::WSTOPPED | libc::WNOHANG | libc::WNOWAIT;
    Ok(wait(kind, id, options)?.map(|found| match found.code {
        libc::CLD_TRAPPED | libc::CLD_STOPPED => Change::Stopped(found.pid),
        _ => Change::Ended(found.pid),
    }))
}

/// Notes that a child has stopped, so that this is not reported again. `None` if it has not, or not since.
pub(crate) fn note_stop(pid: i32) -> Result<Option<Stop>, Errno> {
    let found = wait(libc::P_PID, number(pid)?, libc::WSTOPPED | libc::WNOHANG)?;
    Ok(found.map(|found| Stop {
        pid: found.pid,
        is_traced: found.code == libc::CLD_TRAPPED,
        signal: found.status & 0x7f,
    }))
}

fn number(pid: i32) -> Result<libc::id_t, Errno> {
    libc::id_t::try_from(pid).map_err(|_| Errno::INVAL)
}

/// Reaps a child, or a thread that this process traces. `None` if it has not ended, or is none.
pub(crate) fn reap(pid: i32) -> Result<Option<Ended>, Errno> {
    let found = wait(libc::P_PID, number(pid)?, libc::WEXITED | libc::WNOHANG)?;
    Ok(found.map(|found| match found.code {
        libc::CLD_EXITED => Ended::Status(found.status),
        libc::CLD_KILLED | libc::CLD_DUMPED => Ended::Signal(found.status),
        _ => Ended::Unknown,
    }))
}

/// What waitid(2) says of a child.
struct Waited {
    pid: i32,
    code: i32,
    status: i32,
}

/// waitid(2) for all kinds of children (`__WALL`): also for those that end without SIGCHLD.
fn wait(kind: libc::idtype_t, id: libc::id_t, options: i32) -> Result<Option<Waited>, Errno> {
    // SAFETY: a siginfo_t is a C struct, for which zeros are a value: no process.
    let mut found: libc::siginfo_t = unsafe { std::mem::zeroed() };
    // SAFETY: `found` is a siginfo_t, which the kernel writes; the call touches no other memory.
    let result = unsafe { libc::waitid(kind, id, &raw mut found, options | libc::__WALL) };
    match outcome(libc::c_long::from(result)) {
        Ok(()) => {}
        Err(Errno::CHILD) => return Ok(None),
        Err(errno) => return Err(errno),
    }
    // SAFETY: waitid(2) fills in these fields, or has left the zeros.
    let (pid, status) = unsafe { (found.si_pid(), found.si_status()) };
    Ok((pid != 0).then_some(Waited {
        pid,
        code: found.si_code,
        status,
    }))
}

/// Ends the tracing of a stopped process, which continues with the signal that it stopped at. Only
/// the thread that traces it can do so.
///
/// A process that asked to be traced gets a SIGTRAP when it executes another program (ptrace(2)). It
/// has no such signal without a tracer, and would be killed, so that one is not passed on.
pub(crate) fn release_traced(pid: i32, signal: i32) -> Result<(), Errno> {
    let is_of_exec = signal == libc::SIGTRAP && is_sent_by_itself(pid)?;
    let signal = if is_of_exec { 0 } else { signal };
    let none: *mut libc::c_void = std::ptr::null_mut();
    // SAFETY: PTRACE_DETACH takes the signal as a number in place of an address, and touches no
    // memory of this process.
    let result = unsafe {
        libc::syscall(
            libc::SYS_ptrace,
            libc::PTRACE_DETACH,
            pid,
            none,
            libc::c_long::from(signal),
        )
    };
    outcome(result)
}

/// Whether the signal that a traced process stopped at has that process as its sender.
fn is_sent_by_itself(pid: i32) -> Result<bool, Errno> {
    // SAFETY: a siginfo_t is a C struct, for which zeros are a value.
    let mut about: libc::siginfo_t = unsafe { std::mem::zeroed() };
    let none: *mut libc::c_void = std::ptr::null_mut();
    // SAFETY: `about` is a siginfo_t, which the kernel writes; the call touches no other memory.
    let result = unsafe {
        libc::syscall(
            libc::SYS_ptrace,
            libc::PTRACE_GETSIGINFO,
            pid,
            none,
            &raw mut about,
        )
    };
    outcome(result)?;
    // SAFETY: with SI_USER, the kernel has filled in the sender.
    Ok(about.si_code == libc::SI_USER && unsafe { about.si_pid() } == pid)
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

/// A kind of objects of System V IPC, see sysvipc(7).
#[derive(Debug, Clone, Copy)]
pub(crate) enum SysV {
    Memory,
    Semaphores,
    Messages,
}

/// Removes an object of System V IPC: `IPC_RMID` of shmctl(2), semctl(2) or msgctl(2).
pub(crate) fn remove_sysv(kind: SysV, number: i32) -> Result<(), Errno> {
    // SAFETY: these calls take a number and a command, and with IPC_RMID the kernel does not use the pointer.
    let result = unsafe {
        match kind {
            SysV::Memory => libc::shmctl(number, libc::IPC_RMID, std::ptr::null_mut()),
            SysV::Semaphores => libc::semctl(number, 0, libc::IPC_RMID),
            SysV::Messages => libc::msgctl(number, libc::IPC_RMID, std::ptr::null_mut()),
        }
    };
    outcome(result.into())
}

/// close_range(2), in a table of descriptors that no other code uses.
pub(crate) fn close_range(first: u32, last: u32, flags: u32) -> Result<(), Errno> {
    // SAFETY: close_range touches no memory. What it closes are copies of the calling process or thread, which has a
    // table of its own, or gets it with this call, and does not use them.
    outcome(unsafe { libc::syscall(libc::SYS_close_range, first, last, flags) })
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

/// open_tree_attr(2), since Linux 6.15: opens a copy of what is mounted at `folder`, with these attributes.
pub(super) fn open_tree_attr(
    folder: BorrowedFd<'_>,
    flags: u32,
    attr: &mount_attr,
) -> Result<OwnedFd, Errno> {
    /// Its number, the same for all architectures, which libc does not have.
    const OPEN_TREE_ATTR: libc::c_long = 467;
    // SAFETY: the descriptor is open as long as it is borrowed, the path is a C string, `attr` points to a
    // mount_attr of exactly the size that is given, and both are only read during the call.
    let result = unsafe {
        libc::syscall(
            OPEN_TREE_ATTR,
            folder.as_raw_fd(),
            c"".as_ptr(),
            flags,
            std::ptr::from_ref(attr),
            size_of::<mount_attr>(),
        )
    };
    outcome(result)?;
    let opened = i32::try_from(result).map_err(|_| Errno::OVERFLOW)?;
    // SAFETY: the call succeeded, so the kernel has stored a new descriptor that nothing else owns.
    Ok(unsafe { OwnedFd::from_raw_fd(opened) })
}

/// landlock_restrict_self(2). Allocates nothing: the child calls it.
pub(super) fn landlock_restrict_self(ruleset: BorrowedFd<'_>) -> Result<(), Errno> {
    // SAFETY: the descriptor is open as long as it is borrowed, and the call touches no memory.
    let result = unsafe { libc::syscall(libc::SYS_landlock_restrict_self, ruleset.as_raw_fd(), 0) };
    outcome(result)
}

/// landlock_add_rule(2): permits `access`, of `LANDLOCK_ACCESS_FS_`, beneath a folder or to a file.
pub(super) fn landlock_permit(
    ruleset: BorrowedFd<'_>,
    beneath: BorrowedFd<'_>,
    access: u64,
) -> Result<(), Errno> {
    let rule = landlock_path_beneath_attr {
        allowed_access: access,
        parent_fd: beneath.as_raw_fd(),
    };
    // SAFETY: both descriptors are open as long as they are borrowed. The call reads one rule of the type that is
    // given, which outlives it, and touches no other memory of ours.
    let result = unsafe {
        libc::syscall(
            libc::SYS_landlock_add_rule,
            ruleset.as_raw_fd(),
            landlock_rule_type::LANDLOCK_RULE_PATH_BENEATH as libc::c_int,
            &raw const rule,
            0,
        )
    };
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
