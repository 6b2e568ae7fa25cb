//! Measures the datastores, one after the other and seldom, on a thread of its own.
//!
//! A tenant owns what is in there: no link is followed, no other file system is entered, and the number of files is
//! limited.

use std::collections::HashSet;
use std::os::fd::OwnedFd;
use std::path::Path;
use std::sync::mpsc::{Receiver, Sender, TryRecvError, channel};
use std::thread;
use std::time::{Duration, Instant};

use anyhow::Context;
use rustix::fs::{AtFlags, CWD, Dir, FileType, Mode, OFlags, fstat, openat, statat};
use rustix::io::Errno;

use tenantd_api::usage::Amounts;
use tenantd_api::wire::TenantStatus;
use tenantd_host::datastore;

use crate::seen::Used;
use crate::store::Who;

/// The most files of a datastore that are counted, and the deepest folder.
const FILES_MAX: u64 = 20_000_000;
const DEPTH_MAX: usize = 200;

/// The bytes of a block in `st_blocks`, see stat(2).
const BLOCK: u64 = 512;

/// The thread that measures, and when it began the last time.
pub(crate) struct Datastores {
    every: Duration,
    begun: Option<Instant>,
    is_idle: bool,
    orders: Sender<Vec<Who>>,
    measured: Receiver<Option<(Who, u64)>>,
}

impl Datastores {
    /// Starts the thread.
    pub(crate) fn begin(every: Duration) -> Self {
        let (orders, ordered) = channel::<Vec<Who>>();
        let (sender, measured) = channel();
        thread::spawn(move || {
            for order in ordered {
                for who in order {
                    match measure(&who) {
                        Ok(None) => {}
                        // The meter ends.
                        Ok(Some(bytes)) => drop(sender.send(Some((who, bytes)))),
                        Err(error) => eprintln!("tenantd meter: {}: {}: {error:#}", who.0, who.1),
                    }
                }
                drop(sender.send(None));
            }
        });
        Self {
            every,
            begun: None,
            is_idle: true,
            orders,
            measured,
        }
    }

    /// What was measured since the last call. Lets these tenants be measured when it is time.
    pub(crate) fn measured(
        &mut self,
        tenants: &[(Who, TenantStatus)],
        now_ms: i64,
    ) -> Vec<(Who, Used)> {
        if self.is_idle
            && !tenants.is_empty()
            && self.begun.is_none_or(|begun| begun.elapsed() >= self.every)
        {
            self.begun = Some(Instant::now());
            let order = tenants.iter().map(|(who, _)| who.clone()).collect();
            self.is_idle = self.orders.send(order).is_err();
        }
        let mut measured = Vec::new();
        loop {
            match self.measured.try_recv() {
                Ok(Some((who, bytes))) => measured.push((who, of(bytes, now_ms))),
                Ok(None) => self.is_idle = true,
                Err(TryRecvError::Empty | TryRecvError::Disconnected) => return measured,
            }
        }
    }
}

/// The size of a tenant's datastore in bytes, if it has one.
fn measure((app, tenant): &Who) -> anyhow::Result<Option<u64>> {
    let Some(source) = datastore::remembered(app, tenant)? else {
        return Ok(None);
    };
    size(&source).with_context(|| format!("cannot measure {}", source.display()))
}

fn of(bytes: u64, now_ms: i64) -> Used {
    Used {
        from_ms: now_ms,
        to_ms: now_ms,
        amounts: Amounts {
            datastore_bytes: Some(bytes),
            ..Amounts::default()
        },
    }
}

/// The space in bytes that a folder takes on its file system; a file with several names once. `None` if it does not
/// exist, or has too many files.
fn size(path: &Path) -> Result<Option<u64>, Errno> {
    let folder = match openat(CWD, path, folder_flags(), Mode::empty()) {
        Ok(folder) => folder,
        Err(Errno::NOENT) => return Ok(None),
        Err(errno) => return Err(errno),
    };
    let device = fstat(&folder)?.st_dev;
    let (mut bytes, mut files, mut several) = (0, 0, HashSet::new());
    let mut open = vec![Dir::new(folder)?];
    loop {
        let depth = open.len();
        let Some(dir) = open.last_mut() else {
            return Ok(Some(bytes));
        };
        let Some(entry) = dir.next() else {
            open.pop();
            continue;
        };
        let entry = entry?;
        let name = entry.file_name();
        if name.to_bytes() == b"." || name.to_bytes() == b".." {
            continue;
        }
        files += 1;
        if files > FILES_MAX {
            return Ok(None);
        }
        let found = match statat(dir.fd()?, name, AtFlags::SYMLINK_NOFOLLOW) {
            Ok(found) => found,
            Err(Errno::NOENT) => continue,
            Err(errno) => return Err(errno),
        };
        if found.st_dev != device
            || (found.st_nlink > 1 && !is_folder(&found) && !several.insert(found.st_ino))
        {
            continue;
        }
        bytes += BLOCK * u64::try_from(found.st_blocks).unwrap_or(0);
        if is_folder(&found) && depth < DEPTH_MAX {
            let inner = dir
                .fd()
                .and_then(|fd| openat(fd, name, folder_flags(), Mode::empty()));
            match inner {
                Ok(inner) => open.push(Dir::new(within(inner, device)?)?),
                // It was removed or replaced meanwhile.
                Err(Errno::NOENT | Errno::NOTDIR | Errno::LOOP) => {}
                Err(errno) => return Err(errno),
            }
        }
    }
}

fn folder_flags() -> OFlags {
    OFlags::RDONLY | OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC
}

fn is_folder(found: &rustix::fs::Stat) -> bool {
    FileType::from_raw_mode(found.st_mode) == FileType::Directory
}

/// The folder, unless another one was mounted there meanwhile.
fn within(folder: OwnedFd, device: u64) -> Result<OwnedFd, Errno> {
    match fstat(&folder)?.st_dev == device {
        true => Ok(folder),
        false => Err(Errno::XDEV),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::fs;
    use std::os::unix::fs::symlink;

    #[test]
    fn a_datastore_has_the_size_of_its_files() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path();
        assert_eq!(size(&path.join("gone")), Ok(None));
        let empty = size(path).unwrap().unwrap();
        fs::create_dir(path.join("inner")).unwrap();
        fs::write(path.join("inner/file"), vec![1; 1 << 20]).unwrap();
        fs::hard_link(path.join("inner/file"), path.join("again")).unwrap();
        symlink("/usr", path.join("link")).unwrap();
        let bytes = size(path).unwrap().unwrap() - empty;
        assert!((1 << 20..(1 << 20) + (1 << 16)).contains(&bytes), "{bytes}");
        assert_eq!(size(&path.join("link")), Err(Errno::NOTDIR));
    }
}
