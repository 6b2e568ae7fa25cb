//! Enters the working directory of a tenant, which the tenant may have replaced.
#![allow(unsafe_code)]

use std::ffi::CStr;
use std::mem::ManuallyDrop;
use std::os::fd::AsFd;

use rustix::fs::{CWD, Mode, OFlags, openat};
use rustix::io::Errno;
use rustix::process::fchdir;

use crate::launch::raw::outcome;
use crate::within;

/// Enters a folder below the root of this process. Call it as the tenant's user. Allocates nothing: the
/// child calls it.
///
/// Symbolic links are followed as from the tenant's root, but no magic links: those in `/proc/PID` lead
/// into the mount namespaces of other processes, and past folders that this process may not pass. Then
/// checks that the folder is below the root: one that is covered, or was reached through a leaked
/// descriptor, has no path from it; see "(unreachable)" in getcwd(2).
///
/// # Errors
/// Those of openat2(2) and getcwd(2); `ELOOP` for a magic link.
pub(crate) fn enter(path: &CStr) -> Result<(), Errno> {
    let flags = OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC;
    // Closed by exec.
    let root = ManuallyDrop::new(openat(CWD, c"/", flags, Mode::empty())?);
    let folder = within::open(root.as_fd(), path, flags)?;
    let folder = ManuallyDrop::new(folder);
    fchdir(folder.as_fd())?;
    let mut buffer = [0_u8; libc::PATH_MAX as usize];
    // SAFETY: the kernel writes at most as many bytes as the buffer has.
    outcome(unsafe { libc::syscall(libc::SYS_getcwd, buffer.as_mut_ptr(), buffer.len()) })?;
    match buffer.first() {
        Some(b'/') => Ok(()),
        Some(_) | None => Err(Errno::NOENT),
    }
}
