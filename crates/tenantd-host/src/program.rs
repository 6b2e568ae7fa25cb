//! Identifies the file of a program, to notice a launch whose program was replaced on disk.

mod form;

use std::io;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::MetadataExt;
use std::path::Path;

use tenantd_core::plan::derive;

pub use form::explain;

/// A fingerprint of the file that a path named: a hash of device, inode, size and modification
/// time. A package manager replaces the file, which changes the inode; writing in place changes the
/// size or the time.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ProgramFile(u64);

impl ProgramFile {
    /// Restores the fingerprint from [`ProgramFile::number`].
    #[must_use]
    pub fn from_number(number: u64) -> Self {
        Self(number)
    }

    /// The fingerprint as a number, for the state file.
    #[must_use]
    pub fn number(self) -> u64 {
        self.0
    }

    /// The fingerprint of the file that `path` names now. Follows symbolic links.
    ///
    /// # Errors
    /// Those of stat(2). The call may block on a slow filesystem.
    pub fn at(path: &Path) -> io::Result<Self> {
        let found = std::fs::metadata(path)?;
        let (device, inode, size) = (found.dev(), found.ino(), found.size());
        let (seconds, nanoseconds) = (found.mtime(), found.mtime_nsec());
        Ok(Self(derive::hash(&format!(
            "{device} {inode} {size} {seconds}.{nanoseconds:09}"
        ))))
    }
}

/// Whether a process runs a file that has been replaced or removed since it was executed. False if that
/// cannot be found out, as when the process has ended.
///
/// This finds what [`ProgramFile`] does not: the program that a script executes.
#[must_use]
pub fn is_replaced(pid: i32) -> bool {
    let Ok(file) = std::fs::read_link(format!("/proc/{pid}/exe")) else {
        return false;
    };
    // See proc_pid_exe(5). What never had a name was not replaced.
    let name = file.as_os_str().as_bytes();
    name.ends_with(b" (deleted)") && !name.starts_with(b"/memfd:")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_replaced_file_is_noticed() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("wiki");
        std::fs::write(&path, "1.0").unwrap();
        let first = ProgramFile::at(&path).unwrap();
        assert_eq!(ProgramFile::at(&path).unwrap(), first);
        // As dpkg(1) does it.
        let new = folder.path().join("wiki.dpkg-new");
        std::fs::write(&new, "1.1").unwrap();
        std::fs::rename(&new, &path).unwrap();
        let second = ProgramFile::at(&path).unwrap();
        assert_ne!(second, first);
        std::fs::write(&path, "1.1.1").unwrap();
        assert_ne!(ProgramFile::at(&path).unwrap(), second);
        let link = folder.path().join("link");
        std::os::unix::fs::symlink(&path, &link).unwrap();
        assert_eq!(
            ProgramFile::at(&link).unwrap(),
            ProgramFile::at(&path).unwrap()
        );
        std::fs::remove_file(&path).unwrap();
        let gone = ProgramFile::at(&link).unwrap_err();
        assert_eq!(gone.kind(), io::ErrorKind::NotFound);
    }
}
