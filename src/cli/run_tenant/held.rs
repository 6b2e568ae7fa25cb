//! The file that one `run --tenant` of a tenant holds a lock on, so that there is no second one.

use std::fs::{self, DirBuilder, File};
use std::io::{self, Read, Write};
use std::os::unix::fs::{DirBuilderExt, MetadataExt, OpenOptionsExt};
use std::path::{Path, PathBuf};

use rustix::fs::{FlockOperation, flock};
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
        let mut file = match options.mode(0o600).open(&path) {
            Ok(file) => file,
            // The one before has just removed the folder.
            Err(error) if error.kind() == io::ErrorKind::NotFound => continue,
            Err(error) => return Err(error),
        };
        match flock(&file, FlockOperation::NonBlockingLockExclusive) {
            Ok(()) => {}
            Err(Errno::WOULDBLOCK) => {
                let mut pid = String::new();
                file.read_to_string(&mut pid)?;
                return Ok(Err(format!("process {pid}")));
            }
            Err(errno) => return Err(errno.into()),
        }
        // The one before may have removed this file.
        let named = fs::metadata(&path).map(|named| named.ino());
        if named.ok() != Some(file.metadata()?.ino()) {
            continue;
        }
        file.set_len(0)?;
        write!(file, "{}", std::process::id())?;
        return Ok(Ok(Held { path, _file: file }));
    }
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
