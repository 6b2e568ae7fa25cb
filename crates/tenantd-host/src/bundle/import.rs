//! Makes the datastore of a tenant from a bundle.
//!
//! It is made as `.NAME.importing` beside its place, for root only, written to disk, and renamed: there is a whole one or
//! none. What an import leaves that is killed is removed by the next one. Numbers of the tenant's user and group in the
//! bundle become those that the tenant has here; if another entry has one of these, the two are exchanged, so that no
//! two users become one.

mod steps;

use std::ffi::{CString, OsStr, OsString};
use std::fs::{DirBuilder, File};
use std::io::Read;
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::DirBuilderExt;
use std::path::{Path, PathBuf};

use rustix::fs::{AtFlags, FileType, Mode, OFlags, RenameFlags, ResolveFlags, XattrFlags};
use rustix::fs::{getxattr, linkat, mkdirat, mknodat, openat2, removexattr, renameat_with};
use rustix::fs::{setxattr, symlinkat, syncfs};
use rustix::io::Errno;

use self::steps::{fill, fsync_folder, is_closed, lock, opened, own, set};
use super::read::{Sink, all};
use super::{BundleError, Counts, Entry, Head, Kind, Meta, attributes, file};
use crate::datastore::{self, remove};
use crate::quota;
use tenantd_core::plan::model::DatastorePlan;

/// The attribute of a datastore that was imported and whose tenant is not in the manifest yet: the bundle's id.
const ATTRIBUTE: &str = "trusted.tenantd.import";

/// What to import into.
#[derive(Debug)]
pub struct Import<'a> {
    /// The datastore to make.
    pub plan: &'a DatastorePlan,
}

/// What was imported.
#[derive(Debug)]
pub struct Imported {
    /// The head of the bundle.
    pub head: Head,
    /// What was in it.
    pub counts: Counts,
}

/// Reads a bundle and checks it, without importing.
///
/// # Errors
/// See [`BundleError`].
pub fn verify(
    stream: impl Read,
    progress: &mut dyn FnMut(Counts),
) -> Result<Imported, BundleError> {
    struct Nothing<'a>(Option<Head>, Counts, &'a mut dyn FnMut(Counts));
    impl Sink for Nothing<'_> {
        fn head(&mut self, head: &Head) -> Result<(), BundleError> {
            self.0 = Some(head.clone());
            Ok(())
        }
        fn entry(&mut self, entry: &Entry, _: &mut dyn Read) -> Result<(), BundleError> {
            note(&mut self.1, entry);
            (self.2)(self.1);
            Ok(())
        }
    }
    let mut nothing = Nothing(None, Counts::default(), progress);
    let counts = all(stream, &mut nothing)?;
    let head = nothing.0.ok_or(BundleError::Short(counts))?;
    Ok(Imported { head, counts })
}

/// Counts an entry.
fn note(counts: &mut Counts, entry: &Entry) {
    counts.entries += 1;
    counts.bytes += match &entry.kind {
        Kind::File { map: None, size } => *size,
        Kind::File { map: Some(map), .. } => map.iter().map(|part| part.length).sum(),
        _ => 0,
    };
}

/// Makes a datastore from a bundle. One that an earlier import of this bundle has made, and for which
/// [`done`] was not called, is taken as it is.
///
/// # Errors
/// See [`BundleError`]. Then there is no datastore.
pub fn import(
    what: &Import<'_>,
    stream: impl Read,
    progress: &mut dyn FnMut(Counts),
) -> Result<Imported, BundleError> {
    let source = what.plan.source.as_path();
    let parent = parent(what.plan)?;
    let name = source.file_name().unwrap_or_default();
    let mut staging = OsString::from(".");
    staging.push(name);
    staging.push(".importing");
    let mut making = Making {
        plan: what.plan,
        source,
        is_closed: is_closed(source),
        staged: source.with_file_name(&staging),
        parent,
        staging,
        root: None,
        head: None,
        is_there: false,
        levels: Vec::new(),
        counts: Counts::default(),
        progress,
    };
    let read = all(stream, &mut making);
    let finished = read.and_then(|counts| making.finish().map(|()| counts));
    match (finished, making.head.take()) {
        (Ok(counts), Some(head)) => Ok(Imported { head, counts }),
        (Ok(counts), None) => Err(BundleError::Short(counts)),
        (Err(error), _) => {
            // The next import would remove it too.
            drop(making.clear());
            Err(error)
        }
    }
}

/// The tenant of an imported datastore is in the manifest: another import of the same bundle is refused from now on.
///
/// # Errors
/// The error of removexattr(2).
pub fn done(plan: &DatastorePlan) -> Result<(), BundleError> {
    match removexattr(&plan.source, ATTRIBUTE) {
        Ok(()) | Err(Errno::NODATA | Errno::OPNOTSUPP) => Ok(()),
        Err(errno) => Err(file(&plan.source)(errno)),
    }
}

/// Opens the folder that contains the datastore, which is made like that of a new one.
fn parent(plan: &DatastorePlan) -> Result<OwnedFd, BundleError> {
    let parent = plan.source.parent().unwrap_or(&plan.source);
    if plan.source.starts_with(&plan.root) && *plan.source != *plan.root {
        let made = DirBuilder::new().recursive(true).mode(0o700).create(parent);
        made.map_err(|source| BundleError::File {
            path: parent.to_owned(),
            source,
        })?;
    }
    datastore::open(parent).map_err(file(parent))
}

/// A folder whose attributes are set once its content is complete.
struct Level {
    path: PathBuf,
    folder: OwnedFd,
    meta: Meta,
}

struct Making<'a> {
    plan: &'a DatastorePlan,
    source: &'a Path,
    is_closed: bool,
    parent: OwnedFd,
    /// The name of the folder in which it is made, and its path.
    staging: OsString,
    staged: PathBuf,
    /// That folder, which is locked.
    root: Option<OwnedFd>,
    head: Option<Head>,
    /// Whether the datastore is there, by an earlier import of this bundle.
    is_there: bool,
    levels: Vec<Level>,
    counts: Counts,
    progress: &'a mut dyn FnMut(Counts),
}

fn refused(path: impl AsRef<Path>, why: &str) -> BundleError {
    BundleError::Refused {
        path: path.as_ref().display().to_string(),
        why: why.to_owned(),
    }
}

impl Sink for Making<'_> {
    fn head(&mut self, head: &Head) -> Result<(), BundleError> {
        self.head = Some(head.clone());
        if (head.uid == 0) != (self.plan.uid == 0) {
            let why = "the tenant runs as root on one host only, so its files cannot be told from \
                       those of root: give it the same user here";
            return Err(refused(&head.tenant, why));
        }
        let mut id = [0; 256];
        match getxattr(self.source, ATTRIBUTE, &mut id[..]) {
            Ok(length) if id[..length] == *head.id.as_bytes() => {
                self.is_there = true;
                return Ok(());
            }
            Err(Errno::NOENT) => {}
            Ok(_) | Err(_) => {
                let why = "there is a datastore already: move it away, or remove it, if the bundle is to replace it";
                return Err(refused(self.source, why));
            }
        }
        self.clear()?;
        let made = quota::make_folder(self.parent.as_fd(), &self.staging);
        let root = made
            .and_then(|()| self.open_staging())
            .map_err(file(&self.staged))?;
        self.lock(&root)?;
        self.root = Some(root);
        Ok(())
    }

    fn entry(&mut self, entry: &Entry, content: &mut dyn Read) -> Result<(), BundleError> {
        note(&mut self.counts, entry);
        (self.progress)(self.counts);
        if self.is_there {
            return Ok(());
        }
        self.leave(&entry.path)?;
        let mut meta = self.mapped(entry)?;
        if entry.path.as_os_str().is_empty() {
            let folder = self.open_staging().map_err(file(&self.staged))?;
            let path = PathBuf::new();
            self.levels.push(Level { path, folder, meta });
            return Ok(());
        }
        let (folder, name) = self.place(&entry.path)?;
        let at = folder.as_fd();
        let failed = || file(self.staged.join(&entry.path));
        match &entry.kind {
            Kind::Folder => {
                mkdirat(at, name, Mode::RWXU).map_err(failed())?;
                let folder = opened(at, name, OFlags::DIRECTORY).map_err(failed())?;
                let path = entry.path.clone();
                self.levels.push(Level { path, folder, meta });
                return Ok(());
            }
            Kind::File { size, map } => {
                let flags = OFlags::WRONLY | OFlags::CREATE | OFlags::EXCL | OFlags::NOFOLLOW;
                let mode = Mode::RUSR | Mode::WUSR;
                let made = openat2(
                    at,
                    name,
                    flags | OFlags::CLOEXEC,
                    mode,
                    ResolveFlags::BENEATH,
                );
                let mut made = File::from(made.map_err(failed())?);
                fill(
                    &mut made,
                    (*size, map.as_deref()),
                    content,
                    &self.staged.join(&entry.path),
                )?;
                return set(made.as_fd(), &meta).map_err(failed());
            }
            Kind::Link(target) => {
                let (other, earlier) = self.place(target)?;
                return linkat(&other, earlier, at, name, AtFlags::empty()).map_err(failed());
            }
            Kind::Symlink(target) => {
                symlinkat(OsStr::from_bytes(target), at, name).map_err(failed())?;
                meta.attributes.clear();
                return own(at, name, &meta).map_err(failed());
            }
            Kind::Fifo => mknodat(at, name, FileType::Fifo, Mode::RUSR, 0),
            Kind::Whiteout => mknodat(at, name, FileType::CharacterDevice, Mode::RUSR, 0),
        }
        .and_then(|()| set(opened(at, name, OFlags::empty())?.as_fd(), &meta))
        .map_err(failed())
    }
}

impl Making<'_> {
    /// The folder in which it is made.
    fn open_staging(&self) -> Result<OwnedFd, Errno> {
        opened(self.parent.as_fd(), &self.staging, OFlags::DIRECTORY)
    }

    fn lock(&self, folder: &OwnedFd) -> Result<(), BundleError> {
        let name = (self.parent.as_fd(), self.staging.as_os_str());
        lock(name, folder.as_fd(), &self.staged)
    }

    /// Removes what an earlier import has left, unless that runs.
    fn clear(&mut self) -> Result<(), BundleError> {
        self.levels.clear();
        let failed = || file(&self.staged);
        // Until it is removed: else that of another import which begins meanwhile would be removed.
        let _locked = match self.root.take().map_or_else(|| self.open_staging(), Ok) {
            Ok(left) => self.lock(&left).map(|()| left)?,
            Err(Errno::NOENT) => return Ok(()),
            Err(errno) => return Err(failed()(errno)),
        };
        let name = CString::new(self.staging.as_bytes()).map_err(|_| failed()(Errno::INVAL))?;
        remove::entry(self.parent.as_fd(), &name).map_err(failed())?;
        remove::left(self.parent.as_fd()).map_err(failed())
    }

    /// Opens the folder that contains an entry.
    fn place<'p>(&self, path: &'p Path) -> Result<(OwnedFd, &'p OsStr), BundleError> {
        let missing = || refused(path, "its folder is not in the bundle");
        let (Some(root), Some(name)) = (&self.root, path.file_name()) else {
            return Err(missing());
        };
        let folder = match path.parent() {
            Some(folder) if !folder.as_os_str().is_empty() => folder.as_os_str(),
            _ => OsStr::new("."),
        };
        match opened(root.as_fd(), folder, OFlags::DIRECTORY) {
            Ok(folder) => Ok((folder, name)),
            Err(Errno::NOENT | Errno::NOTDIR | Errno::LOOP | Errno::XDEV) => Err(missing()),
            Err(errno) => Err(file(self.staged.join(path))(errno)),
        }
    }

    /// Completes the folders that do not contain this path.
    fn leave(&mut self, path: &Path) -> Result<(), BundleError> {
        while let Some(level) = self.levels.last() {
            if path.starts_with(&level.path) && !path.as_os_str().is_empty() {
                break;
            }
            let done = set(level.folder.as_fd(), &level.meta);
            done.map_err(file(self.staged.join(&level.path)))?;
            self.levels.pop();
        }
        Ok(())
    }

    /// The attributes of an entry here.
    fn mapped(&self, entry: &Entry) -> Result<Meta, BundleError> {
        let Some(head) = &self.head else {
            return Err(BundleError::Short(self.counts));
        };
        let exchanged = |(one, other): (u32, u32)| {
            move |id| match id {
                id if id == one => other,
                id if id == other => one,
                id => id,
            }
        };
        let user = exchanged((head.uid, self.plan.uid));
        let group = exchanged((head.gid, self.plan.gid));
        let meta = &entry.meta;
        let has_bits = meta.mode & 0o6000 != 0 && entry.kind != Kind::Folder;
        let mut attributes = Vec::with_capacity(meta.attributes.len());
        let mut is_privileged = has_bits;
        for (name, value) in &meta.attributes {
            is_privileged |= name == attributes::CAPABILITY;
            let value = attributes::mapped(name, value, user, group);
            let malformed = || refused(&entry.path, "its access control list is malformed");
            attributes.push((name.clone(), value.ok_or_else(malformed)?));
        }
        if is_privileged && !self.is_closed {
            let why = format!(
                "it gives privileges (the set-user-ID or set-group-ID bit, or capabilities), and users of this \
                 host could reach it: `chmod go-x {}`",
                self.source.parent().unwrap_or(self.source).display()
            );
            return Err(refused(&entry.path, &why));
        }
        Ok(Meta {
            uid: user(meta.uid),
            gid: group(meta.gid),
            attributes,
            ..*meta
        })
    }

    /// Writes all to disk, and puts it in its place.
    fn finish(&mut self) -> Result<(), BundleError> {
        if self.is_there {
            return Ok(());
        }
        self.leave(Path::new(""))?;
        let (Some(root), Some(head)) = (&self.root, &self.head) else {
            return Err(BundleError::Short(self.counts));
        };
        let failed = || file(&self.staged);
        let path = attributes::by_descriptor(root.as_fd());
        match setxattr(path, ATTRIBUTE, head.id.as_bytes(), XattrFlags::empty()) {
            Ok(()) | Err(Errno::OPNOTSUPP) => {}
            Err(errno) => return Err(failed()(errno)),
        }
        syncfs(root).map_err(failed())?;
        let name = self.source.file_name().unwrap_or_default();
        let (from, to) = (&self.parent, &self.parent);
        match renameat_with(from, &self.staging, to, name, RenameFlags::NOREPLACE) {
            Ok(()) => {}
            Err(Errno::EXIST) => {
                return Err(refused(self.source, "a datastore was made meanwhile"));
            }
            Err(errno) => return Err(file(self.source)(errno)),
        }
        self.root = None;
        fsync_folder(&self.parent).map_err(file(self.source))
    }
}
