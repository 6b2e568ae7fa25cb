//! Observes what a program asks of the kernel: a seccomp filter of the kind that notifies, see
//! seccomp_unotify(2).
//!
//! Only calls that are rare in any program, and those that open a file for writing, are notified. Each
//! is continued, so the program does what it would do anyway. A notification is no wall: a program can
//! change what its arguments point to afterwards.
#![allow(unsafe_code)]

use std::mem::MaybeUninit;
use std::os::fd::{AsRawFd, FromRawFd, OwnedFd};

use rustix::io::Errno;

use super::raw::{last_errno, outcome};

/// The calls that are notified whatever their arguments.
const CALLS: &[libc::c_long] = &[
    libc::SYS_execve,
    libc::SYS_execveat,
    libc::SYS_setuid,
    libc::SYS_setreuid,
    libc::SYS_setresuid,
    libc::SYS_setgid,
    libc::SYS_setregid,
    libc::SYS_setresgid,
    libc::SYS_setgroups,
    libc::SYS_bind,
    libc::SYS_connect,
    libc::SYS_chroot,
    libc::SYS_mknodat,
    libc::SYS_mount,
    libc::SYS_unshare,
    libc::SYS_setns,
    libc::SYS_sethostname,
    libc::SYS_mlockall,
    libc::SYS_reboot,
    libc::SYS_socket,
    libc::SYS_fchown,
    libc::SYS_fchownat,
    libc::SYS_fchmodat,
    libc::SYS_mkdirat,
    libc::SYS_unlinkat,
    libc::SYS_renameat2,
    libc::SYS_renameat,
    libc::SYS_linkat,
    libc::SYS_symlinkat,
    libc::SYS_truncate,
    #[cfg(target_arch = "x86_64")]
    libc::SYS_chown,
    #[cfg(target_arch = "x86_64")]
    libc::SYS_lchown,
    #[cfg(target_arch = "x86_64")]
    libc::SYS_chmod,
    #[cfg(target_arch = "x86_64")]
    libc::SYS_mknod,
    #[cfg(target_arch = "x86_64")]
    libc::SYS_mkdir,
    #[cfg(target_arch = "x86_64")]
    libc::SYS_rmdir,
    #[cfg(target_arch = "x86_64")]
    libc::SYS_unlink,
    #[cfg(target_arch = "x86_64")]
    libc::SYS_rename,
    #[cfg(target_arch = "x86_64")]
    libc::SYS_link,
    #[cfg(target_arch = "x86_64")]
    libc::SYS_symlink,
];

/// The calls that are notified if they open for writing: the number, and which argument has the flags.
const OPENING: &[(libc::c_long, u32)] = &[
    (libc::SYS_openat, 2),
    #[cfg(target_arch = "x86_64")]
    (libc::SYS_open, 1),
];

/// The flags of open(2) that write or make a file.
const WRITING: libc::c_int = libc::O_ACCMODE | libc::O_CREAT | libc::O_TRUNC;

/// The architecture in a filter, see `AUDIT_ARCH` in linux/audit.h. Calls of another one, such as those
/// of 32-bit programs, are not observed.
#[cfg(target_arch = "x86_64")]
const ARCHITECTURE: u32 = 0xc000_003e;
#[cfg(target_arch = "aarch64")]
const ARCHITECTURE: u32 = 0xc000_00b7;
#[cfg(target_arch = "riscv64")]
const ARCHITECTURE: u32 = 0xc000_00f3;
#[cfg(not(any(
    target_arch = "x86_64",
    target_arch = "aarch64",
    target_arch = "riscv64"
)))]
const ARCHITECTURE: u32 = 0;

/// Where the architecture and the arguments are in `struct seccomp_data`. The lower half of an
/// argument comes first: all architectures above are little-endian.
const AT_ARCHITECTURE: u32 = 4;
const AT_ARGUMENTS: u32 = 16;

/// A call that waits to be continued.
#[derive(Debug, Clone, Copy)]
pub struct Call {
    id: u64,
    /// The thread that made it.
    pub thread: i32,
    /// Its number, see `SYS_` in libc.
    pub number: libc::c_long,
    /// Its arguments.
    pub arguments: [u64; 6],
}

/// The notifications of all processes under a filter.
#[derive(Debug)]
pub struct Calls(OwnedFd);

impl From<OwnedFd> for Calls {
    fn from(listener: OwnedFd) -> Self {
        Self(listener)
    }
}

impl Calls {
    /// Waits for the next call. `None` if no process is under the filter any more.
    ///
    /// # Errors
    /// Those of poll(2) and of `SECCOMP_IOCTL_NOTIF_RECV`.
    pub fn next(&self) -> Result<Option<Call>, Errno> {
        use rustix::event::{PollFd, PollFlags, poll};
        loop {
            let mut wanted = [PollFd::new(&self.0, PollFlags::IN)];
            match poll(&mut wanted, None) {
                Ok(_) => {}
                Err(Errno::INTR) => continue,
                Err(errno) => return Err(errno),
            }
            if !wanted[0].revents().contains(PollFlags::IN) {
                return Ok(None);
            }
            match self.receive() {
                // The process was killed, or a signal interrupted its call.
                Err(Errno::NOENT | Errno::INTR) => {}
                other => return other.map(Some),
            }
        }
    }

    fn receive(&self) -> Result<Call, Errno> {
        // SAFETY: seccomp_notif consists of integers, and the kernel wants it to be all zeros.
        let mut found: libc::seccomp_notif = unsafe { MaybeUninit::zeroed().assume_init() };
        // SAFETY: the descriptor is open, and the number of the request holds the size of `found`,
        // which the kernel writes.
        let result = unsafe {
            libc::ioctl(
                self.0.as_raw_fd(),
                libc::SECCOMP_IOCTL_NOTIF_RECV,
                std::ptr::from_mut(&mut found),
            )
        };
        outcome(result.into())?;
        Ok(Call {
            id: found.id,
            thread: i32::try_from(found.pid).map_err(|_| Errno::OVERFLOW)?,
            number: found.data.nr.into(),
            arguments: found.data.args,
        })
    }

    /// Lets the kernel carry out a call.
    ///
    /// # Errors
    /// Those of `SECCOMP_IOCTL_NOTIF_SEND`; not if the process has ended meanwhile.
    pub fn go_on(&self, call: &Call) -> Result<(), Errno> {
        let mut answer = libc::seccomp_notif_resp {
            id: call.id,
            val: 0,
            error: 0,
            flags: u32::try_from(libc::SECCOMP_USER_NOTIF_FLAG_CONTINUE)
                .map_err(|_| Errno::OVERFLOW)?,
        };
        // SAFETY: the descriptor is open, and the number of the request holds the size of `answer`,
        // which the kernel only reads.
        let result = unsafe {
            libc::ioctl(
                self.0.as_raw_fd(),
                libc::SECCOMP_IOCTL_NOTIF_SEND,
                std::ptr::from_mut(&mut answer),
            )
        };
        match outcome(result.into()) {
            Ok(()) | Err(Errno::NOENT) => Ok(()),
            Err(errno) => Err(errno),
        }
    }
}

/// Puts this process, which has one thread, and all that it starts under the filter. Returns the
/// descriptor of the notifications, which is close-on-exec. Another process must answer them: what
/// this process calls from now on waits for that.
///
/// # Errors
/// Those of seccomp(2); it needs Linux 5.5 and `CAP_SYS_ADMIN`.
pub fn begin() -> Result<OwnedFd, Errno> {
    let filter = filter();
    let program = libc::sock_fprog {
        len: u16::try_from(filter.len()).map_err(|_| Errno::INVAL)?,
        filter: filter.as_ptr().cast_mut(),
    };
    let listener = u32::try_from(libc::SECCOMP_FILTER_FLAG_NEW_LISTENER).unwrap_or_default();
    // A signal does not interrupt a call that is being looked at, since Linux 5.19.
    let wait = u32::try_from(libc::SECCOMP_FILTER_FLAG_WAIT_KILLABLE_RECV).unwrap_or_default();
    match install(&program, listener | wait) {
        Err(Errno::INVAL) => install(&program, listener),
        other => other,
    }
}

fn install(program: &libc::sock_fprog, flags: u32) -> Result<OwnedFd, Errno> {
    // SAFETY: `program` points to as many instructions as it says, and both are only read during the
    // call.
    let fd = unsafe {
        libc::syscall(
            libc::SYS_seccomp,
            libc::SECCOMP_SET_MODE_FILTER,
            flags,
            std::ptr::from_ref(program),
        )
    };
    if fd < 0 {
        return Err(last_errno());
    }
    let fd = i32::try_from(fd).map_err(|_| Errno::OVERFLOW)?;
    // SAFETY: the call succeeded, so this is a new descriptor that nothing else owns.
    Ok(unsafe { OwnedFd::from_raw_fd(fd) })
}

/// The filter, see "Berkeley packet filter" in the kernel's Documentation/networking/filter.rst.
fn filter() -> Vec<libc::sock_filter> {
    const LOAD: u32 = libc::BPF_LD | libc::BPF_W | libc::BPF_ABS;
    const IF_EQUAL: u32 = libc::BPF_JMP | libc::BPF_JEQ | libc::BPF_K;
    const IF_BITS: u32 = libc::BPF_JMP | libc::BPF_JSET | libc::BPF_K;
    const RETURN: u32 = libc::BPF_RET | libc::BPF_K;
    let code = |number: libc::c_long| u32::try_from(number).unwrap_or(u32::MAX);
    // Each opening call has three instructions; then "allow" and "notify".
    let end = 3 + CALLS.len() + 3 * OPENING.len();
    let (allow, notify) = (end, end + 1);
    let mut filter = Vec::new();
    let mut push = |code: u32, k: u32, yes: Option<usize>, no: Option<usize>| {
        let here = filter.len() + 1;
        let jump = |to: Option<usize>| {
            let distance = to.map_or(0, |to| to - here);
            u8::try_from(distance).unwrap_or(u8::MAX)
        };
        filter.push(libc::sock_filter {
            code: u16::try_from(code).unwrap_or_default(),
            jt: jump(yes),
            jf: jump(no),
            k,
        });
    };
    push(LOAD, AT_ARCHITECTURE, None, None);
    push(IF_EQUAL, ARCHITECTURE, None, Some(allow));
    push(LOAD, 0, None, None);
    for number in CALLS {
        push(IF_EQUAL, code(*number), Some(notify), None);
    }
    for (index, (number, argument)) in OPENING.iter().enumerate() {
        let next = 3 + CALLS.len() + 3 * (index + 1);
        push(IF_EQUAL, code(*number), None, Some(next));
        push(LOAD, AT_ARGUMENTS + 8 * argument, None, None);
        push(IF_BITS, WRITING.unsigned_abs(), Some(notify), Some(allow));
    }
    push(RETURN, libc::SECCOMP_RET_ALLOW, None, None);
    push(RETURN, libc::SECCOMP_RET_USER_NOTIF, None, None);
    filter
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_jump_leaves_the_filter() {
        let filter = filter();
        for (index, step) in filter.iter().enumerate() {
            for jump in [step.jt, step.jf] {
                assert!(index + 1 + usize::from(jump) <= filter.len(), "{index}");
                assert_ne!(jump, u8::MAX);
            }
        }
    }
}
