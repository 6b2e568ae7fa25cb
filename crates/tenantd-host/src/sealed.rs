//! A copy of the program that this process executes, to which nobody can write.
//!
//! A process of root in a tenant without a Landlock domain can open the file of each program that runs there by
//! `/proc/PID/exe`, through the mount of the host, and would write to that of the host (CVE-2019-5736). So where
//! this program itself runs in a tenant, it runs from a copy.

use std::fs::File;
use std::io;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd};
use std::path::PathBuf;

use rustix::fs::{MemfdFlags, SealFlags, fcntl_add_seals, memfd_create};
use rustix::io::Errno;

/// The file of the program that this process executes.
pub const ITSELF: &str = "/proc/self/exe";

/// A sealed copy, see memfd_create(2). It exists as long as it is open or executed.
#[derive(Debug)]
pub struct SealedCopy(File);

impl SealedCopy {
    /// Makes one.
    ///
    /// # Errors
    /// Those of memfd_create(2), and of reading and writing.
    pub fn make() -> io::Result<Self> {
        let flags = MemfdFlags::CLOEXEC | MemfdFlags::ALLOW_SEALING;
        // Before Linux 6.3 each such file can be executed, and the flag does not exist.
        let made = match memfd_create("tenantd", flags | MemfdFlags::EXEC) {
            Err(Errno::INVAL) => memfd_create("tenantd", flags),
            made => made,
        };
        let mut copy = File::from(made?);
        io::copy(&mut File::open(ITSELF)?, &mut copy)?;
        let seals = SealFlags::WRITE | SealFlags::GROW | SealFlags::SHRINK | SealFlags::SEAL;
        fcntl_add_seals(&copy, seals)?;
        Ok(Self(copy))
    }

    /// Its path, for this process and one that it starts.
    #[must_use]
    pub fn path(&self) -> PathBuf {
        PathBuf::from(format!("/proc/self/fd/{}", self.0.as_raw_fd()))
    }
}

impl AsFd for SealedCopy {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.0.as_fd()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nobody_can_write_to_the_copy() {
        let copy = SealedCopy::make().unwrap();
        let reopened = File::options().write(true).open(copy.path());
        let written = reopened.and_then(|mut file| io::Write::write_all(&mut file, b"x"));
        assert_eq!(written.unwrap_err().kind(), io::ErrorKind::PermissionDenied);
        let length = File::open(ITSELF).unwrap().metadata().unwrap().len();
        assert_eq!(copy.0.metadata().unwrap().len(), length);
    }
}
