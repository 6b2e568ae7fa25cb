//! Writes the datastore of a tenant that is down into a bundle.
//!
//! A tenant, which is hostile, has made what is in it: each entry is opened below the folder that contains it, without
//! following a link or leaving the filesystem. The claim is held meanwhile, so the tenant cannot be started.

use std::collections::HashMap;
use std::ffi::{CString, OsStr};
use std::fs::File;
use std::io::Write;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};

use rustix::fs::{Dir, FileType, Mode, OFlags, ResolveFlags, SeekFrom, Stat};
use rustix::fs::{fstat, major, minor, openat2, readlinkat, seek};
use rustix::io::Errno;

use super::write::Writer;
use super::{BundleError, Counts, Entry, Head, Kind, Meta, Part, attributes, file};
use crate::claim::Claim;
use crate::datastore;
use tenantd_core::name::AppName;
use tenantd_core::plan::model::TenantPlan;

/// What was exported.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Exported {
    /// What is in the bundle.
    pub counts: Counts,
    /// How many sockets were left out: their programs make them again.
    pub sockets: u64,
}

/// Writes a bundle of a tenant that is down. `progress` is told what is written by now.
///
/// # Errors
/// [`BundleError::Held`] if the datastore is used or another host has it; and others.
pub fn export(
    app: &AppName,
    tenant: &TenantPlan,
    head: &Head,
    out: impl Write,
    progress: &mut dyn FnMut(Counts),
) -> Result<Exported, BundleError> {
    let source = tenant.datastore.source.as_path();
    let root = datastore::open(source).map_err(file(source))?;
    let label = format!("{app}/{}", tenant.name);
    let claim = Claim::hold(root.as_fd(), source, &label)?;
    let mut walk = Walk {
        source,
        writer: Writer::new(out, head)?,
        links: HashMap::new(),
        sockets: 0,
        progress,
    };
    let walked = walk.all(&root);
    claim.give_up()?;
    walked?;
    Ok(Exported {
        sockets: walk.sockets,
        counts: walk.writer.finish()?,
    })
}

/// A folder on the way from the root to where the walk is.
struct Level {
    folder: OwnedFd,
    names: Vec<CString>,
}

struct Walk<'a, W: Write> {
    source: &'a Path,
    writer: Writer<W>,
    /// The path of each file with several names, by device and inode.
    links: HashMap<(u64, u64), PathBuf>,
    sockets: u64,
    progress: &'a mut dyn FnMut(Counts),
}

impl<W: Write> Walk<'_, W> {
    fn all(&mut self, root: &OwnedFd) -> Result<(), BundleError> {
        let mut path = PathBuf::new();
        let mut levels = Vec::from_iter(self.visit(root, &path)?);
        while let Some(level) = levels.last_mut() {
            let Some(name) = level.names.pop() else {
                levels.pop();
                path.pop();
                continue;
            };
            path.push(OsStr::from_bytes(name.to_bytes()));
            let flags = OFlags::PATH | OFlags::NOFOLLOW | OFlags::CLOEXEC;
            let resolve =
                ResolveFlags::BENEATH | ResolveFlags::NO_XDEV | ResolveFlags::NO_MAGICLINKS;
            let entry = match openat2(&level.folder, &name, flags, Mode::empty(), resolve) {
                Ok(entry) => entry,
                Err(Errno::XDEV) => {
                    return Err(
                        self.unfit(&path, "another filesystem is mounted there: unmount it")
                    );
                }
                Err(errno) => return Err(file(self.source.join(&path))(errno)),
            };
            match self.visit(&entry, &path)? {
                Some(level) => levels.push(level),
                None => {
                    path.pop();
                }
            }
            (self.progress)(self.writer.counts());
        }
        Ok(())
    }

    fn unfit(&self, path: &Path, why: &str) -> BundleError {
        BundleError::Unfit {
            path: self.source.join(path),
            why: why.to_owned(),
        }
    }

    /// Writes an entry. Returns a folder to walk through.
    fn visit(&mut self, entry: &OwnedFd, path: &Path) -> Result<Option<Level>, BundleError> {
        let failed = || file(self.source.join(path));
        let stat = fstat(entry).map_err(failed())?;
        let mut meta = meta(&stat);
        let kind = FileType::from_raw_mode(stat.st_mode);
        if kind != FileType::Symlink {
            meta.attributes = attributes::read(entry.as_fd()).map_err(failed())?;
        }
        let mut opened = None;
        let mut level = None;
        let kind = match kind {
            FileType::Directory => {
                let folder = reopen(entry.as_fd(), OFlags::DIRECTORY).map_err(failed())?;
                let names = names(&folder).map_err(failed())?;
                level = Some(Level { folder, names });
                Kind::Folder
            }
            FileType::RegularFile => match self.earlier(&stat, path) {
                Some(target) => Kind::Link(target),
                None => {
                    let size = u64::try_from(stat.st_size).unwrap_or(0);
                    let data = reopen(entry.as_fd(), OFlags::NONBLOCK).map_err(failed())?;
                    let map = map(data.as_fd(), size, &stat).map_err(failed())?;
                    opened = Some(File::from(data));
                    Kind::File { size, map }
                }
            },
            FileType::Symlink => {
                let target = readlinkat(entry, "", Vec::new()).map_err(failed())?;
                Kind::Symlink(target.into_bytes())
            }
            FileType::Fifo => Kind::Fifo,
            FileType::CharacterDevice if (major(stat.st_rdev), minor(stat.st_rdev)) == (0, 0) => {
                Kind::Whiteout
            }
            FileType::Socket => {
                self.sockets += 1;
                return Ok(None);
            }
            FileType::CharacterDevice | FileType::BlockDevice | FileType::Unknown => {
                return Err(self.unfit(
                    path,
                    "it is a device, which a bundle cannot have: remove it",
                ));
            }
        };
        let path = path.to_owned();
        let entry = Entry { path, kind, meta };
        self.writer.entry(&entry, opened.as_mut())?;
        Ok(level)
    }

    /// The first name of a file that has several, unless this is it.
    fn earlier(&mut self, stat: &Stat, path: &Path) -> Option<PathBuf> {
        if stat.st_nlink < 2 {
            return None;
        }
        let key = (stat.st_dev, stat.st_ino);
        match self.links.get(&key) {
            Some(earlier) => Some(earlier.clone()),
            None => {
                self.links.insert(key, path.to_owned());
                None
            }
        }
    }
}

fn meta(stat: &Stat) -> Meta {
    Meta {
        mode: stat.st_mode & 0o7777,
        uid: stat.st_uid,
        gid: stat.st_gid,
        seconds: stat.st_mtime,
        nanoseconds: u32::try_from(stat.st_mtime_nsec).unwrap_or(0),
        attributes: Vec::new(),
    }
}

/// Opens for reading what is open as `O_PATH`. Its times are not changed.
fn reopen(entry: BorrowedFd<'_>, flags: OFlags) -> Result<OwnedFd, Errno> {
    let path = attributes::by_descriptor(entry);
    let flags = flags | OFlags::RDONLY | OFlags::NOATIME | OFlags::CLOEXEC;
    rustix::fs::open(path, flags, Mode::empty())
}

/// The names in a folder, the last one first.
fn names(folder: &OwnedFd) -> Result<Vec<CString>, Errno> {
    let mut names = Vec::new();
    for entry in Dir::read_from(folder)? {
        let name = entry?.file_name().to_owned();
        if !matches!(name.to_bytes(), b"." | b"..") {
            names.push(name);
        }
    }
    names.sort_unstable_by(|a, b| b.cmp(a));
    Ok(names)
}

/// Where the data of a file is; `None` if it has no holes.
fn map(file: BorrowedFd<'_>, size: u64, stat: &Stat) -> Result<Option<Vec<Part>>, Errno> {
    let used = u64::try_from(stat.st_blocks)
        .unwrap_or(0)
        .saturating_mul(512);
    if used >= size {
        return Ok(None);
    }
    let mut parts = Vec::new();
    let mut at = 0;
    while at < size {
        let start = match seek(file, SeekFrom::Data(at)) {
            Ok(start) if start < size => start,
            // Only a hole is left.
            Ok(_) | Err(Errno::NXIO) => break,
            // The filesystem does not tell.
            Err(Errno::INVAL | Errno::OPNOTSUPP) => return Ok(None),
            Err(errno) => return Err(errno),
        };
        let end = seek(file, SeekFrom::Hole(start))?.min(size);
        let length = end - start;
        parts.push(Part { at: start, length });
        at = end;
    }
    let is_whole = matches!(&*parts, [Part { at: 0, length }] if *length == size);
    if is_whole {
        return Ok(None);
    }
    if at < size {
        // As GNU tar does, so that the size is seen.
        let (at, length) = (size, 0);
        parts.push(Part { at, length });
    }
    Ok(Some(parts))
}
