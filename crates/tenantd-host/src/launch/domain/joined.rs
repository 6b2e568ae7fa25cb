//! The rules about writing of a launch, for a process that has joined the tenant: a launch permits it beneath
//! the mounts that it makes writable, and these are in the mount table of the tenant.
//!
//! So are file systems that the host has mounted after the launch, as the host mounted them. Nothing distinguishes
//! these, so a command of `exec`, `[app.alive]` or `[app.reload]` may write to them as far as its user may.

use std::ffi::{CString, OsString};
use std::io;
use std::os::fd::AsFd;
use std::os::unix::ffi::OsStringExt;
use std::path::PathBuf;

use landlock::RulesetCreated;
use rustix::fs::{CWD, Mode, OFlags, openat};
use rustix::io::Errno;

use super::STAGE;
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

/// The mount point in a line of proc_pid_mountinfo(5), if the mount is writable.
fn writable(line: &[u8]) -> Option<PathBuf> {
    let mut fields = line.split(|byte| *byte == b' ').skip(4);
    let point = fields.next()?;
    let mut options = fields.next()?.split(|byte| *byte == b',');
    options
        .any(|option| option == b"rw")
        .then(|| PathBuf::from(OsString::from_vec(unescaped(point))))
}

/// Blanks, line ends and backslashes are written as three octal digits.
fn unescaped(point: &[u8]) -> Vec<u8> {
    let mut bytes = Vec::with_capacity(point.len());
    let mut rest = point;
    while let Some((first, after)) = rest.split_first() {
        let digits = after.get(..3).filter(|_| *first == b'\\');
        let code = digits
            .and_then(|digits| std::str::from_utf8(digits).ok())
            .and_then(|digits| u8::from_str_radix(digits, 8).ok());
        bytes.push(code.unwrap_or(*first));
        rest = match code {
            Some(_) => after.get(3..).unwrap_or_default(),
            None => after,
        };
    }
    bytes
}

#[cfg(test)]
mod tests {
    use super::*;

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
