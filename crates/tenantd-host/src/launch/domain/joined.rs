//! The rules about writing of a launch, for a process that has joined the tenant: a launch permits it beneath
//! the mounts that it makes writable, and these are in the mount table of the tenant.
//!
//! So are file systems that the host has mounted after the launch, as the host mounted them. Nothing distinguishes
//! these, so a command of `exec`, `[app.alive]` or `[app.reload]` may write to them as far as its user may.

use std::ffi::CString;
use std::io;
use std::os::fd::AsFd;
use std::os::unix::ffi::OsStringExt;
use std::path::PathBuf;

use landlock::RulesetCreated;
use rustix::fs::{CWD, Mode, OFlags, openat};
use rustix::io::Errno;

use super::STAGE;
use crate::targets::table::writable;
use tenantd_core::stage::Failure;

/// Permits writing beneath each mount of this namespace that is writable.
///
/// # Errors
/// A [`Failure`] of stage landlock.
pub(super) fn permit_writing(ruleset: RulesetCreated) -> Result<RulesetCreated, Failure> {
    let table = "/proc/self/mountinfo";
    let text = std::fs::read(table).map_err(|error: io::Error| {
        let errno = error.raw_os_error().unwrap_or(libc::EIO);
        Failure::errno(STAGE, table, errno)
    })?;
    let lines = text.split(|byte| *byte == b'\n');
    lines.filter_map(writable).try_fold(ruleset, permit)
}

fn permit(ruleset: RulesetCreated, point: PathBuf) -> Result<RulesetCreated, Failure> {
    let object = point.display().to_string();
    let failed = |errno: Errno| Failure::errno(STAGE, object.clone(), errno.raw_os_error());
    let Ok(name) = CString::new(point.into_os_string().into_vec()) else {
        return Ok(ruleset);
    };
    let flags = OFlags::PATH | OFlags::CLOEXEC | OFlags::NOFOLLOW;
    match openat(CWD, &name, flags, Mode::empty()) {
        Ok(beneath) => super::permit_writing(ruleset, beneath.as_fd()),
        // Another mount covers it, so no process can reach it by a path.
        Err(Errno::NOENT | Errno::NOTDIR) => Ok(ruleset),
        Err(errno) => Err(failed(errno)),
    }
}
