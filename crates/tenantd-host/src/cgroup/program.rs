//! The part of a leaf that the launches of its tenant are cloned into: opened, made and made again.

use std::io::Error;
use std::os::fd::OwnedFd;
use std::path::PathBuf;

use rustix::fs::{CWD, Mode, OFlags, openat};
use rustix::io::Errno;

use super::{Leaf, failure};
use tenantd_core::stage::Failure;

/// Its name.
pub(super) const PROGRAM: &str = "program";

impl Leaf {
    /// Opens the part of the program, for `CLONE_INTO_CGROUP` of clone(2). Makes it if it is missing.
    ///
    /// # Errors
    /// A [`Failure`] of stage cgroup.
    pub fn fd(&self) -> Result<OwnedFd, Failure> {
        let path = self.program();
        let flags = OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC;
        let open = || openat(CWD, &path, flags, Mode::empty());
        let opened = match open() {
            Err(Errno::NOENT) => {
                self.begin()?;
                open()
            }
            opened => opened,
        };
        opened.map_err(|errno| failure(&path, &errno.into()))
    }

    /// Makes the part of the program in a leaf that is new.
    ///
    /// # Errors
    /// A [`Failure`] of stage cgroup.
    pub(super) fn begin(&self) -> Result<(), Failure> {
        super::make(&self.program()).map_err(|(path, error)| failure(&path, &error))
    }

    pub(super) fn program(&self) -> PathBuf {
        self.path().join(PROGRAM)
    }

    /// Removes the empty parts of the leaf and makes that of the program again. Once `cgroup.kill`
    /// was written to a cgroup, Linux 6.18 kills every process that clone(2) puts directly into it
    /// (measured: it compares a count of kills with that of the parent's cgroup). The leaf itself,
    /// which no process is cloned into, stays.
    ///
    /// # Errors
    /// A [`Failure`] of stage cgroup; `EBUSY` if a process is in it.
    pub fn recreate(&self) -> Result<(), Failure> {
        let path = self.program();
        // Most often it is all that there is. What else there is, or why it cannot be removed, is found below.
        let _removed = std::fs::remove_dir(&path);
        self.remove_below(1)?;
        if self.is_occupied()? {
            let busy = Error::from_raw_os_error(libc::EBUSY);
            return Err(self.in_use(self.path(), &busy)?);
        }
        self.begin()
    }
}
