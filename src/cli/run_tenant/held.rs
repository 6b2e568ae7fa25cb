//! The file that one `run --tenant` of a tenant holds a lock on, so that there is no second one.

use std::fs::{self, DirBuilder, File};
use std::io;
use std::os::unix::fs::{DirBuilderExt, MetadataExt, OpenOptionsExt};
use std::path::{Path, PathBuf};

use rustix::fs::{FlockOperation, flock, major, minor};
use rustix::io::Errno;

use tenantd_core::layout::RUNTIME;
use tenantd_core::name::{AppName, TenantName};

/// A lock, until it is dropped.
pub(in super::super) struct Held {
    path: PathBuf,
    /// Holds it.
    _file: File,
}

/// Takes the lock of a tenant. The inner error is the process that has it.
///
/// # Errors
/// Those of open(2) and flock(2).
pub(in super::super) fn hold(
    app: &AppName,
    tenant: &TenantName,
) -> io::Result<Result<Held, String>> {
    let folder = Path::new(RUNTIME).join(".runs").join(app.as_str());
    let path = folder.join(tenant.as_str());
    loop {
        DirBuilder::new()
            .recursive(true)
            .mode(0o700)
            .create(&folder)?;
        let mut options = File::options();
        let options = options.read(true).write(true).create(true).truncate(false);
        let file = match options.mode(0o600).open(&path) {
            Ok(file) => file,
            // The one before has just removed the folder.
            Err(error) if error.kind() == io::ErrorKind::NotFound => continue,
            Err(error) => return Err(error),
        };
        match flock(&file, FlockOperation::NonBlockingLockExclusive) {
            Ok(()) => {}
            Err(Errno::WOULDBLOCK) => match holder(&file)? {
                Some(pid) => return Ok(Err(format!("process {pid}"))),
                // It has just ended.
                None => continue,
            },
            Err(errno) => return Err(errno.into()),
        }
        // The one before may have removed this file.
        let named = fs::metadata(&path).map(|named| named.ino());
        if named.ok() != Some(file.metadata()?.ino()) {
            continue;
        }
        return Ok(Ok(Held { path, _file: file }));
    }
}

/// Which process has the lock, as the kernel says, see proc_locks(5). What a file says would be that of a process
/// before, until the next one has written to it.
fn holder(file: &File) -> io::Result<Option<u32>> {
    let (dev, ino) = (file.metadata()?.dev(), file.metadata()?.ino());
    let object = format!("{:02x}:{:02x}:{ino}", major(dev), minor(dev));
    let locks = fs::read_to_string("/proc/locks")?;
    let mut lines = locks
        .lines()
        .map(|line| line.split_whitespace().collect::<Vec<_>>());
    // Those that wait for it have an arrow in place of the kind.
    let of = lines.find(|words| words.get(1) == Some(&"FLOCK") && words.get(5) == Some(&&*object));
    Ok(of.and_then(|words| words.get(4)?.parse().ok()))
}

impl Drop for Held {
    fn drop(&mut self) {
        // What is left is harmless, and used by the next one.
        drop(fs::remove_file(&self.path));
        for folder in self.path.ancestors().skip(1).take(2) {
            drop(fs::remove_dir(folder));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_holder_is_the_one_of_now() {
        let file = tempfile::NamedTempFile::new().unwrap();
        // What an earlier one has left.
        fs::write(file.path(), "1").unwrap();
        let other = File::open(file.path()).unwrap();
        assert_eq!(holder(&other).unwrap(), None);
        let held = File::open(file.path()).unwrap();
        flock(&held, FlockOperation::NonBlockingLockExclusive).unwrap();
        assert_eq!(holder(&other).unwrap(), Some(std::process::id()));
    }
}
