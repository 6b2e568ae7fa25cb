//! Measures the datastores, one after the other and seldom, on a thread of its own.
//!
//! A tenant owns what is in there: no link is followed, no other file system is entered, and the number of files is
//! limited.

use std::collections::HashSet;
use std::io;
use std::path::Path;
use std::rc::Rc;
use std::sync::mpsc::{Receiver, Sender, TryRecvError, channel};
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Context, anyhow, bail};
use rustix::fs::{AtFlags, CWD, FileType, Mode, openat, statat};
use rustix::io::Errno;

use tenantd_api::usage::Amounts;
use tenantd_host::counters::measured::{self, Measured, Sizes};
use tenantd_host::{datastore, quota};

use crate::seen::Used;
use crate::store::Who;
use crate::supervisors::Told;
use crate::walk::{Walk, folder_flags};

/// The most files of a datastore that are counted.
const FILES_MAX: u64 = 20_000_000;

/// The bytes of a block in `st_blocks`, see stat(2).
const BLOCK: u64 = 512;

/// The thread that measures, and when it began the last time.
pub(crate) struct Datastores {
    every: Duration,
    begun: Option<Instant>,
    is_idle: bool,
    orders: Sender<Vec<Who>>,
    measured: Receiver<Option<(Who, Size)>>,
    /// The last size of each, and whether the file has others.
    sizes: Sizes,
    has_changed: bool,
}

/// The bytes of a datastore, and the limit that the filesystem has.
type Size = (u64, Option<u64>);

impl Datastores {
    /// Starts the thread.
    pub(crate) fn begin(every: Duration) -> Self {
        let (orders, ordered) = channel::<Vec<Who>>();
        let (sender, measurements) = channel();
        thread::spawn(move || {
            for order in ordered {
                for who in order {
                    match measure(&who) {
                        Ok(None) => {}
                        // The meter ends.
                        Ok(Some(size)) => drop(sender.send(Some((who, size)))),
                        Err(error) => eprintln!("tenantd meter: {}: {}: {error:#}", who.0, who.1),
                    }
                }
                drop(sender.send(None));
            }
        });
        let sizes = measured::read().unwrap_or_else(|error| {
            eprintln!("tenantd meter: what was measured before is measured again: {error}");
            Sizes::new()
        });
        Self {
            every,
            begun: None,
            is_idle: true,
            orders,
            measured: measurements,
            sizes,
            has_changed: false,
        }
    }

    /// What was measured since the last call. Lets these tenants be measured when it is time.
    pub(crate) fn measured(&mut self, tenants: &[Rc<Told>], now_ms: i64) -> Vec<(Who, Used)> {
        if self.is_idle
            && !tenants.is_empty()
            && self.begun.is_none_or(|begun| begun.elapsed() >= self.every)
        {
            self.begun = Some(Instant::now());
            let order: Vec<Who> = tenants.iter().map(|told| told.who.clone()).collect();
            let known: HashSet<&Who> = order.iter().collect();
            // What is said of tenants that were removed is over.
            self.sizes.retain(|who, _| known.contains(who));
            self.has_changed = true;
            self.is_idle = self.orders.send(order).is_err();
        }
        let mut measured = Vec::new();
        loop {
            match self.measured.try_recv() {
                Ok(Some((who, (bytes, limit)))) => {
                    let size = Measured {
                        bytes,
                        limit,
                        time_ms: now_ms,
                    };
                    self.sizes.insert(who.clone(), size);
                    self.has_changed = true;
                    measured.push((who, of(bytes, now_ms)));
                }
                Ok(None) => self.is_idle = true,
                Err(TryRecvError::Empty | TryRecvError::Disconnected) => return measured,
            }
        }
    }
}

impl Datastores {
    /// Writes the last sizes, for programs that show them, if there are others than before.
    pub(crate) fn publish(&mut self) -> io::Result<()> {
        if self.has_changed {
            measured::write(&self.sizes)?;
            self.has_changed = false;
        }
        Ok(())
    }
}

/// The size of a tenant's datastore, if it has one.
fn measure((app, tenant): &Who) -> anyhow::Result<Option<Size>> {
    let Some(source) = datastore::remembered(app, tenant)? else {
        return Ok(None);
    };
    // A filesystem with a quota has counted it already.
    let counted = quota::found(&source).map_err(|why| anyhow!("{why}"))?;
    if let Some(counted) = counted {
        return Ok(Some((counted.bytes, counted.limits.bytes)));
    }
    let size = size(&source).with_context(|| format!("cannot measure {}", source.display()))?;
    Ok(size.map(|bytes| (bytes, None)))
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
/// exist.
fn size(path: &Path) -> anyhow::Result<Option<u64>> {
    let folder = match openat(CWD, path, folder_flags(), Mode::empty()) {
        Ok(folder) => folder,
        Err(Errno::NOENT) => return Ok(None),
        Err(errno) => return Err(errno.into()),
    };
    let (mut walk, device) = Walk::begin(folder)?;
    let (mut bytes, mut files, mut several) = (0, 0, HashSet::new());
    while let Some((name, dir)) = walk.next()? {
        files += 1;
        if files > FILES_MAX {
            bail!("it has more than {FILES_MAX} files");
        }
        let found = match statat(dir, &name, AtFlags::SYMLINK_NOFOLLOW) {
            Ok(found) => found,
            Err(Errno::NOENT) => continue,
            Err(errno) => return Err(errno.into()),
        };
        let is_folder = FileType::from_raw_mode(found.st_mode) == FileType::Directory;
        if found.st_dev != device
            || (found.st_nlink > 1 && !is_folder && !several.insert(found.st_ino))
        {
            continue;
        }
        bytes += BLOCK * u64::try_from(found.st_blocks).unwrap_or(0);
        if is_folder {
            walk.enter(&name)?;
        }
    }
    Ok(Some(bytes))
}

#[cfg(test)]
mod tests {
    use super::*;
    use rustix::fs::{OFlags, mkdirat};
    use std::fs;
    use std::io::Write as _;
    use std::os::fd::OwnedFd;
    use std::os::unix::fs::symlink;

    #[test]
    fn a_datastore_has_the_size_of_its_files() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path();
        assert_eq!(size(&path.join("gone")).unwrap(), None);
        let empty = size(path).unwrap().unwrap();
        fs::create_dir(path.join("inner")).unwrap();
        fs::write(path.join("inner/file"), vec![1; 1 << 20]).unwrap();
        fs::hard_link(path.join("inner/file"), path.join("again")).unwrap();
        symlink("/usr", path.join("link")).unwrap();
        let bytes = size(path).unwrap().unwrap() - empty;
        assert!((1 << 20..(1 << 20) + (1 << 16)).contains(&bytes), "{bytes}");
        let error = size(&path.join("link")).unwrap_err();
        assert_eq!(error.downcast_ref(), Some(&Errno::NOTDIR));
    }

    /// What is below many folders counts too, and so does what comes after them.
    #[test]
    fn no_folder_is_too_deep_to_be_counted() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path();
        let empty = size(path).unwrap().unwrap();
        let mut deep = openat(CWD, path, folder_flags(), Mode::empty()).unwrap();
        let write = |at: &OwnedFd, name: &str| {
            let flags = OFlags::CREATE | OFlags::WRONLY;
            let file = openat(at, name, flags, Mode::RUSR).unwrap();
            fs::File::from(file).write_all(&vec![1; 1 << 20]).unwrap();
        };
        for level in 0..1000 {
            if level % 250 == 0 {
                write(&deep, "before");
                write(&deep, "later");
            }
            mkdirat(&deep, "inner", Mode::RWXU).unwrap();
            deep = openat(&deep, "inner", folder_flags(), Mode::empty()).unwrap();
        }
        write(&deep, "last");
        let bytes = size(path).unwrap().unwrap() - empty;
        assert!(bytes >= 9 << 20, "{bytes}");
        assert!(bytes < (9 << 20) + 1001 * 8192, "{bytes}");
    }
}
