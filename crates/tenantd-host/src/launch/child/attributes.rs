//! What a process inherits through clone(2) and execve(2) and does not restore: each attribute gets
//! the planned or a fixed value, so that a tenant is the same whatever started tenantd. The keyring of
//! the session is a new one: keys of root and of other tenants are in the inherited one.
//!
//! Signals, session, limits, identity, capabilities and descriptors are stages of their own.

#![allow(unsafe_code)]

use std::mem::ManuallyDrop;
use std::num::NonZeroU64;

use rustix::fs::{CWD, Mode, OFlags, openat};
use rustix::io::Errno;
use rustix::process::{setpriority_process, umask};
use rustix::thread::set_current_timer_slack;

use super::Fault;
use crate::launch::raw::outcome;
use tenantd_core::plan::model::ProcessAttributes;
use tenantd_core::stage::Stage;

/// The names of the attributes, in the order in which they are set.
pub(in crate::launch) const NAMES: [&str; 13] = [
    "session keyring",
    "file mode creation mask",
    "scheduling policy",
    "nice value",
    "I/O priority",
    "processor affinity",
    "memory policy",
    "timer slack",
    "execution domain",
    "OOM score adjustment",
    "secure bits",
    "inheritable capabilities",
    "ambient capabilities",
];

/// The places of those names that are not set here.
pub(super) const SECURE_BITS: u16 = 10;
pub(super) const INHERITABLE: u16 = 11;
pub(super) const AMBIENT: u16 = 12;

/// The timer slack in nanoseconds of a process that nobody has changed, see prctl(2).
const TIMER_SLACK: Option<NonZeroU64> = NonZeroU64::new(50_000);

/// Bytes of a set of 8,192 processors, the most that a kernel can be built for.
const PROCESSORS: usize = 1024;

/// Sets all of them, as root. `oom_score_adj` is the adjustment as text.
pub(super) fn set(planned: &ProcessAttributes, oom_score_adj: &[u8]) -> Result<(), Fault> {
    let all: [(bool, Result<(), Errno>); SECURE_BITS as usize] = [
        (true, join_keyring()),
        (false, set_umask(planned.umask)),
        (true, plain_scheduling()),
        (planned.nice == 0, setpriority_process(None, planned.nice)),
        (true, plain_io_priority()),
        (true, all_processors()),
        (true, plain_memory_policy()),
        (false, set_current_timer_slack(TIMER_SLACK)),
        (false, plain_domain()),
        (
            planned.oom_score_adj == 0,
            write_oom_score_adj(oom_score_adj),
        ),
    ];
    let mut number: u16 = 0;
    for (is_default, result) in all {
        match result {
            Ok(()) => {}
            // The privilege is missing: what tenantd itself has stays, as the reference says.
            Err(Errno::PERM | Errno::ACCESS) if is_default => {}
            Err(errno) => return Err(Fault(Stage::Attributes, number, errno)),
        }
        number = number.saturating_add(1);
    }
    Ok(())
}

/// A new session keyring, see keyctl_join_session_keyring(3). It counts for root, whose quota is large.
pub(crate) fn join_keyring() -> Result<(), Errno> {
    let name: *const libc::c_char = std::ptr::null();
    let operation = libc::c_long::from(libc::KEYCTL_JOIN_SESSION_KEYRING);
    // SAFETY: without a name the call only takes a number.
    match outcome(unsafe { libc::syscall(libc::SYS_keyctl, operation, name) }) {
        // The kernel has no keys.
        Err(Errno::NOSYS) => Ok(()),
        joined => joined,
    }
}

fn set_umask(mask: u32) -> Result<(), Errno> {
    let _previous = umask(Mode::from_raw_mode(mask));
    Ok(())
}

fn plain_scheduling() -> Result<(), Errno> {
    let priority: libc::c_int = 0;
    // SAFETY: the kernel reads one integer, the static priority, during the call.
    outcome(unsafe {
        libc::syscall(
            libc::SYS_sched_setscheduler,
            0,
            libc::SCHED_OTHER,
            &raw const priority,
        )
    })
}

/// The class and priority that follow from the nice value, see ioprio_set(2).
fn plain_io_priority() -> Result<(), Errno> {
    // IOPRIO_WHO_PROCESS, this process, IOPRIO_CLASS_NONE.
    let (who, process, class): (libc::c_int, libc::c_int, libc::c_int) = (1, 0, 0);
    // SAFETY: the call takes only numbers.
    match outcome(unsafe { libc::syscall(libc::SYS_ioprio_set, who, process, class) }) {
        // The kernel has no block devices.
        Err(Errno::NOSYS) => Ok(()),
        set => set,
    }
}

/// All processors that the cgroup permits.
fn all_processors() -> Result<(), Errno> {
    let all = [0xff_u8; PROCESSORS];
    // SAFETY: the kernel reads at most as many bytes as are given.
    outcome(unsafe { libc::syscall(libc::SYS_sched_setaffinity, 0, all.len(), all.as_ptr()) })
}

fn plain_memory_policy() -> Result<(), Errno> {
    let nodes: *const libc::c_ulong = std::ptr::null();
    let none: libc::c_ulong = 0;
    // SAFETY: MPOL_DEFAULT takes no set of nodes.
    match outcome(unsafe {
        libc::syscall(libc::SYS_set_mempolicy, libc::MPOL_DEFAULT, nodes, none)
    }) {
        // The kernel is built without NUMA.
        Err(Errno::NOSYS) => Ok(()),
        set => set,
    }
}

/// See personality(2).
fn plain_domain() -> Result<(), Errno> {
    let plain: libc::c_ulong = 0;
    // SAFETY: the call takes only a number.
    outcome(unsafe { libc::syscall(libc::SYS_personality, plain) })
}

/// Lowering it needs CAP_SYS_RESOURCE, see proc_pid_oom_score_adj(5).
fn write_oom_score_adj(text: &[u8]) -> Result<(), Errno> {
    let flags = OFlags::WRONLY | OFlags::CLOEXEC;
    let file = openat(CWD, c"/proc/self/oom_score_adj", flags, Mode::empty())?;
    // Not closed here; exec closes it.
    let file = ManuallyDrop::new(file);
    rustix::io::write(&*file, text).map(drop)
}
