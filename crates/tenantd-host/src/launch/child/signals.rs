//! The signals of the child: ignored ones and the mask are inherited.
#![allow(unsafe_code)]

use std::mem::MaybeUninit;
use std::sync::OnceLock;

use linux_raw_sys::general::kernel_sigaction;
use rustix::io::Errno;

use crate::launch::memory::for_child;
use crate::launch::raw::outcome;

/// The highest signal number of the kernel (`_NSIG`), and the bytes of its signal set.
const SIGNALS: libc::c_int = 64;
const SIGNAL_SET: usize = 8;

/// The signals that this process ignores, and that a child must reset. It changes none of them after its start.
/// SIGPIPE is not among them: see [`reset_signals`].
pub(in crate::launch) fn ignored() -> Result<&'static [libc::c_int], Errno> {
    static IGNORED: OnceLock<Vec<libc::c_int>> = OnceLock::new();
    if let Some(ignored) = IGNORED.get() {
        return Ok(ignored);
    }
    let mut ignored = Vec::new();
    for signal in resettable() {
        if is_ignored(signal)? {
            ignored.push(signal);
        }
    }
    Ok(IGNORED.get_or_init(|| for_child(|| ignored.clone())))
}

fn resettable() -> impl Iterator<Item = libc::c_int> {
    let kept = [libc::SIGKILL, libc::SIGSTOP, libc::SIGPIPE];
    (1..=SIGNALS).filter(move |signal| !kept.contains(signal))
}

/// Resets ignored signals and the signal mask, which are inherited through clone and exec.
/// `CLONE_CLEAR_SIGHAND` has reset the handlers already. SIGPIPE stays ignored until the report is
/// written: if the supervisor has died by then, the launch continues.
pub(crate) fn reset_signals() -> Result<(), Errno> {
    resettable().try_for_each(reset_signal)?;
    reset_mask()
}

/// The same, of which these are ignored.
pub(super) fn reset_ignored(ignored: &[libc::c_int]) -> Result<(), Errno> {
    for signal in ignored {
        reset_signal(*signal)?;
    }
    reset_mask()
}

fn reset_mask() -> Result<(), Errno> {
    let none: u64 = 0;
    let old: *mut u64 = std::ptr::null_mut();
    // SAFETY: `none` is a signal set of the size that is given, and the old one is not asked for.
    outcome(unsafe {
        libc::syscall(
            libc::SYS_rt_sigprocmask,
            libc::SIG_SETMASK,
            &raw const none,
            old,
            SIGNAL_SET,
        )
    })
}

/// Whether this process ignores a signal.
fn is_ignored(signal: libc::c_int) -> Result<bool, Errno> {
    // SAFETY: as in `reset_signal`: all-zero bytes are a sigaction.
    let mut present: kernel_sigaction = unsafe { MaybeUninit::zeroed().assume_init() };
    let none: *const kernel_sigaction = std::ptr::null();
    // SAFETY: no new sigaction is given, `present` is one of the kernel's own layout, and the size is that of
    // the kernel's signal set.
    outcome(unsafe {
        libc::syscall(
            libc::SYS_rt_sigaction,
            signal,
            none,
            &raw mut present,
            SIGNAL_SET,
        )
    })?;
    let handler = present
        .sa_handler_kernel
        .map_or(0, |handler| handler as usize);
    Ok(handler == libc::SIG_IGN)
}

/// Resets one signal that may be ignored.
pub(super) fn reset_signal(signal: libc::c_int) -> Result<(), Errno> {
    // SAFETY: kernel_sigaction consists of integers and optional pointers, for which all-zero
    // bytes are a value: SIG_DFL, no flags, no restorer, an empty mask.
    let default: kernel_sigaction = unsafe { MaybeUninit::zeroed().assume_init() };
    let old: *mut kernel_sigaction = std::ptr::null_mut();
    // SAFETY: `default` is a sigaction of the kernel's own layout, the old one is not asked
    // for, and the size is that of the kernel's signal set. SIG_DFL runs none of our code.
    outcome(unsafe {
        libc::syscall(
            libc::SYS_rt_sigaction,
            signal,
            &raw const default,
            old,
            SIGNAL_SET,
        )
    })
}
