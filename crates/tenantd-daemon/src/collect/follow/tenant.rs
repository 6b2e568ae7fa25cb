//! The log files of one tenant, in its folders.

use std::ffi::OsStr;
use std::fs::{self, File};
use std::io;
use std::os::fd::{AsRawFd, OwnedFd};
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant, SystemTime};

use rustix::fs::{AtFlags, statat};

use crate::collect::Files;
use crate::collect::follow::file::{self, Key, Position};
use crate::collect::follow::positions::{Known, Positions};
use crate::collect::follow::watch::{ABOVE, EVENTS, watch};
use crate::logs::pace::Pace;
use tenantd_core::plan::logs::matches;

/// The mark of a datastore with several folders, see [`tenantd_host::datastore`].
const LAYOUT: (&str, &str) = (".tenantd", "layout");

/// The most files of one tenant.
const FILES_MAX: usize = 64;

/// The most entries of a folder that are looked at.
const ENTRIES_MAX: usize = 10_000;

/// How long a file is kept open that was removed, moved away or renamed, after its last line: until its
/// program has opened the new one.
const KEPT: Duration = Duration::from_secs(10);

/// How much earlier than it is the kernel takes the time for a file, at most.
const TICK: Duration = Duration::from_millis(10);

/// The files of a tenant that are followed.
#[derive(Debug)]
pub(super) struct Tenant {
    pub(super) folders: Vec<Folder>,
    pub(super) files: Vec<Followed>,
    positions: PathBuf,
    /// Files that were made later are all new, wherever they are.
    since: Option<SystemTime>,
    /// Whether it was said that there are too many files.
    pub(super) said_many: Many,
    pub(super) pace: Pace,
}

/// Whether a tenant has too many files.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Many {
    No,
    /// It has, and that is still to be said.
    ToSay,
    Said,
}

/// A folder, and which of its files are followed.
#[derive(Debug)]
pub(super) struct Folder {
    pub(super) files: Files,
    /// The folder, once it exists.
    dir: Option<OwnedFd>,
    /// What is watched: the folder, or while it is missing the nearest one above it.
    pub(super) wd: Option<i32>,
}

/// A file that is followed.
#[derive(Debug)]
pub(super) struct Followed {
    pub(super) key: Key,
    pub(super) folder: usize,
    /// Its last name in the folder.
    pub(super) name: String,
    /// Its path when it was found, as the tenant sees it.
    pub(super) seen: String,
    /// None while it can be opened again by its name.
    open: Option<File>,
    pub(super) position: Position,
    /// Since when it has another name, or none. Its last line was read later, perhaps.
    pub(super) left: Option<Instant>,
    /// Whether its name is gone from the folder.
    pub(super) is_gone: bool,
}

impl Tenant {
    pub(super) fn new(files: Vec<Files>, positions: PathBuf, since: Option<SystemTime>) -> Self {
        let folder = |files| Folder {
            files,
            dir: None,
            wd: None,
        };
        Self {
            folders: files.into_iter().map(folder).collect(),
            files: Vec::new(),
            positions,
            since,
            said_many: Many::No,
            pace: Pace::new(None),
        }
    }

    /// Whether it follows exactly these files.
    pub(super) fn is_of(&self, files: &[Files]) -> bool {
        self.folders.iter().map(|folder| &folder.files).eq(files)
    }

    /// Opens and watches a folder, or the nearest one above it while it is missing, and looks for files in
    /// it.
    pub(super) fn resolve(&mut self, index: usize, inotify: &OwnedFd) -> io::Result<()> {
        let folder = &mut self.folders[index];
        let before = folder.wd;
        let root = &folder.files.root;
        let inside = folder.files.inside_now();
        let mut nearest = inside.clone();
        let dir = loop {
            match file::open_folder(root, &nearest) {
                Ok(dir) => break dir,
                Err(_) if nearest.pop() => {}
                Err(errno) => return Err(errno.into()),
            }
        };
        if nearest != inside {
            folder.wd = Some(watch(inotify, &dir, ABOVE)?);
        }
        // It may have been made before the watch was.
        folder.dir = file::open_folder(root, &inside).ok();
        if let Some(dir) = &folder.dir {
            folder.wd = Some(watch(inotify, dir, EVENTS)?);
        }
        if before.is_some() && before != folder.wd {
            // Those that are in the folder now are found again.
            let now = Instant::now();
            for file in self.files.iter_mut().filter(|it| it.folder == index) {
                file.left = file.left.or(Some(now));
                file.is_gone = true;
            }
        }
        self.scan(index)
    }

    /// Whether a folder exists and is watched itself.
    pub(super) fn is_there(&self, index: usize) -> bool {
        self.folders[index].dir.is_some()
    }

    /// Looks for files in a folder. Those of a folder that was never followed are read from their end on.
    fn scan(&mut self, index: usize) -> io::Result<()> {
        let Some(dir) = &self.folders[index].dir else {
            return Ok(());
        };
        let known = Positions::load(&self.positions);
        let followed = self.folders[index].files.on_host();
        let was_followed = known.folders.contains(&followed);
        let entries = fs::read_dir(format!("/proc/self/fd/{}", dir.as_raw_fd()))?;
        let mut names: Vec<String> = entries
            .take(ENTRIES_MAX)
            .filter_map(|entry| entry.ok()?.file_name().into_string().ok())
            .filter(|name| matches(&self.folders[index].files.name, name))
            .collect();
        names.sort();
        for name in names {
            self.find(index, &name, was_followed, &known);
        }
        self.save()
    }

    /// Begins to follow a file of a folder, unless it is followed already.
    pub(super) fn appeared(&mut self, index: usize, name: &OsStr) {
        let name = name
            .to_str()
            .filter(|name| matches(&self.folders[index].files.name, name));
        if let Some(name) = name {
            self.find(index, name, true, &Positions::default());
        }
    }

    fn find(&mut self, index: usize, name: &str, from_begin: bool, known: &Positions) {
        // What cannot be opened now is tried again when it changes.
        let dir = self.folders[index].dir.as_ref();
        let Some(Ok(Some((key, file)))) = dir.map(|dir| file::open(dir, name)) else {
            return;
        };
        let before = self.files.iter_mut().find(|it| it.key == key);
        let mut position = known.of(key);
        if let Some(before) = before {
            if before.open.is_some() {
                if before.folder == index {
                    name.clone_into(&mut before.name);
                    (before.left, before.is_gone) = (None, false);
                }
                return;
            }
            position = Some(before.position);
        }
        self.files.retain(|it| it.key != key);
        if self.files.len() >= FILES_MAX && !self.drop_oldest_left() {
            if self.said_many == Many::No {
                self.said_many = Many::ToSay;
            }
            return;
        }
        let position = match position.filter(|position| position.holds(&file)) {
            Some(position) => position,
            None if from_begin || self.is_new(&file) => Position::BEGIN,
            None => Position::end(&file).unwrap_or(Position::BEGIN),
        };
        self.files.push(Followed {
            key,
            folder: index,
            name: name.to_owned(),
            seen: self.folders[index]
                .files
                .seen
                .join(name)
                .display()
                .to_string(),
            open: Some(file),
            position,
            left: None,
            is_gone: false,
        });
    }

    /// Whether a file was made after it was decided to follow it. The time of a file may be a tick earlier.
    fn is_new(&self, file: &File) -> bool {
        let made = file.metadata().and_then(|found| found.created());
        let (Some(since), Ok(made)) = (self.since, made) else {
            return false;
        };
        made + TICK >= since
    }

    fn drop_oldest_left(&mut self) -> bool {
        let left = self.files.iter().enumerate();
        let left = left.filter_map(|(at, file)| Some((file.left?, at)));
        let Some((_, at)) = left.min() else {
            return false;
        };
        self.files.remove(at);
        true
    }

    /// A name is gone from a folder: the file was removed, moved away, or has another name.
    pub(super) fn disappeared(&mut self, index: usize, name: &OsStr, now: Instant) {
        let is_it = |it: &&mut Followed| it.folder == index && name == it.name.as_str();
        for file in self.files.iter_mut().filter(is_it) {
            file.left = file.left.or(Some(now));
            file.is_gone = true;
        }
    }

    /// A file has another name now, in the same folder.
    pub(super) fn renamed(&mut self, index: usize, from: &OsStr, to: &OsStr, now: Instant) {
        let Some(to) = to.to_str() else {
            return;
        };
        let is_it =
            |it: &&mut Followed| it.folder == index && from == it.name.as_str() && it.is_gone;
        let still_matches = matches(&self.folders[index].files.name, to);
        for file in self.files.iter_mut().filter(is_it) {
            to.clone_into(&mut file.name);
            file.is_gone = false;
            file.left = (!still_matches).then_some(now);
        }
    }

    /// The files to read after an event for a name: those that have it or had it last, and those that
    /// have none.
    pub(super) fn concerned(&self, index: usize, name: &OsStr) -> Vec<Key> {
        let is_it = |it: &&Followed| it.folder == index && (it.is_gone || name == it.name.as_str());
        self.files.iter().filter(is_it).map(|it| it.key).collect()
    }

    /// Reads the next lines of a file; None if it is not followed.
    pub(super) fn read(
        &mut self,
        key: Key,
        is_last: bool,
    ) -> Option<(String, io::Result<file::Read>)> {
        let at = self.files.iter().position(|it| it.key == key)?;
        let Followed { folder, name, .. } = &self.files[at];
        if self.files[at].open.is_none() {
            let dir = self.folders[*folder].dir.as_ref()?;
            match file::open(dir, name) {
                Ok(Some((found, open))) if found == key => self.files[at].open = Some(open),
                Ok(_) | Err(_) => {
                    self.files.remove(at);
                    return None;
                }
            }
        }
        let followed = &mut self.files[at];
        let file = followed.open.as_ref()?;
        let read = file::read(file, &mut followed.position, is_last);
        if followed.left.is_some() && read.as_ref().is_ok_and(|read| !read.bytes.is_empty()) {
            followed.left = Some(Instant::now());
        }
        Some((followed.seen.clone(), read))
    }

    /// When the next file that was left can be closed.
    pub(super) fn next_close(&self) -> Option<Instant> {
        let open = self.files.iter().filter(|it| it.open.is_some());
        open.filter_map(|it| Some(it.left? + KEPT)).min()
    }

    /// The files that were left long enough ago. They are to be read once more, and then closed.
    pub(super) fn to_close(&self, now: Instant) -> Vec<Key> {
        let open = self.files.iter().filter(|it| it.open.is_some());
        let due = open.filter(|it| it.left.is_some_and(|left| left + KEPT <= now));
        due.map(|it| it.key).collect()
    }

    /// Closes a file. One that still has a name is opened again if it is written to.
    pub(super) fn close(&mut self, key: Key) {
        for file in self.files.iter_mut().filter(|it| it.key == key) {
            let dir = self.folders[file.folder].dir.as_ref();
            let named = dir.map(|dir| file::open(dir, &file.name));
            // An old event may have said so.
            if matches!(named, Some(Ok(Some((found, _)))) if found == key) {
                file.is_gone = false;
            }
            file.open = None;
        }
        self.files.retain(|it| it.key != key || !it.is_gone);
    }

    /// All files, to be read once more.
    pub(super) fn all(&self) -> Vec<Key> {
        self.files.iter().map(|it| it.key).collect()
    }

    /// Stores how far the files were read.
    pub(super) fn save(&self) -> io::Result<()> {
        let there = self.folders.iter().filter(|folder| folder.wd.is_some());
        let known = |it: &Followed| Known {
            dev: it.key.0,
            ino: it.key.1,
            offset: it.position.offset,
            check: it.position.check,
        };
        let positions = Positions {
            folders: there.map(|folder| folder.files.on_host()).collect(),
            files: self.files.iter().map(known).collect(),
        };
        match positions.save(&self.positions) {
            // The tenant is being released.
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
            saved => saved,
        }
    }
}

impl Files {
    /// The folder in the datastore, as the datastore is made. (A tenant that makes the mark in a datastore
    /// with one folder leads only its own lines astray.)
    fn inside_now(&self) -> PathBuf {
        let (own, name) = LAYOUT;
        let mark = file::open_folder(&self.root, Path::new(own))
            .and_then(|own| statat(own, name, AtFlags::SYMLINK_NOFOLLOW));
        let is_tree = mark.is_ok();
        match is_tree {
            true => self.in_tree.clone(),
            false => self.inside.clone(),
        }
    }

    /// The path on the host, with its wildcards.
    fn on_host(&self) -> PathBuf {
        self.root.join(&self.inside).join(&self.name)
    }
}
