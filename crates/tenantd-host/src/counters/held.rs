//! Counters that are read again and again, by a program that meters: the files of each cgroup stay open, and the numbers
//! of the links are remembered.
//!
//! A file that is open belongs to one cgroup: once that is removed, each reading fails (`ENODEV`), also if another cgroup
//! has the same path now. So its id is read once, and so is how often its counters began: a controller that is disabled
//! takes its files away. Limits, and what is only shown, are not read: they are `None`.

use std::collections::HashMap;
use std::io;
use std::os::fd::OwnedFd;
use std::path::{Path, PathBuf};

use rustix::fs::fstat;
use rustix::io::{Errno, pread};
use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};

use super::beginnings::Beginnings;
use super::trees::Has;
use super::{CgroupCounters, LinkCounters, Source, file, folder, links};

/// The most descriptors that are held. For each the kernel has a buffer of a page.
const HELD_MAX: usize = 10_000;

/// How many descriptors of the limit are left for others.
const LEFT: usize = 256;

/// How much is read at once: no file but `io.stat` of many devices is longer.
const BUFFER: usize = 8 * 1024;

/// The files of cgroups, by path. A cgroup that is not read in a round is closed with it.
#[derive(Debug)]
pub struct Cgroups {
    open: HashMap<PathBuf, (Files, Round)>,
    /// What the folders of this round have.
    folders: HashMap<PathBuf, Has>,
    round: Round,
    held: usize,
    held_max: usize,
    text: Vec<u8>,
}

type Round = u64;

/// The open files of a cgroup, without those of controllers that are disabled.
#[derive(Debug)]
struct Files {
    id: u64,
    beginnings: Beginnings,
    has: Has,
    open: Vec<(Source, OwnedFd)>,
}

impl Default for Cgroups {
    fn default() -> Self {
        Self::new()
    }
}

impl Cgroups {
    /// None is open yet. Raises the limit on descriptors of this process as far as it may, see getrlimit(2).
    #[must_use]
    pub fn new() -> Self {
        let mut limit = getrlimit(Resource::Nofile);
        let raised = Rlimit {
            current: limit.maximum,
            ..limit
        };
        // Otherwise fewer are held.
        if setrlimit(Resource::Nofile, raised).is_ok() {
            limit = raised;
        }
        let most = limit.current.and_then(|most| usize::try_from(most).ok());
        Self {
            open: HashMap::new(),
            folders: HashMap::new(),
            round: 0,
            held: 0,
            held_max: most.map_or(HELD_MAX, |most| most.saturating_sub(LEFT).min(HELD_MAX)),
            text: vec![0; BUFFER],
        }
    }

    /// Begins a round. Closes what the one before has not read.
    pub fn begin(&mut self) {
        let last = self.round;
        self.round += 1;
        self.folders.clear();
        let held = &mut self.held;
        self.open.retain(|_, (files, read)| {
            let is_used = *read == last;
            if !is_used {
                *held -= files.count();
            }
            is_used
        });
    }

    /// Reads the counters of a cgroup. `None` if there is no such cgroup.
    ///
    /// # Errors
    /// As [`of_cgroup`](super::of_cgroup()).
    pub fn read(&mut self, path: &Path) -> io::Result<Option<CgroupCounters>> {
        let has = self.has(path);
        if let Some((files, read)) = self.open.get_mut(path) {
            if files.has == has {
                match files.read(&mut self.text) {
                    Err(error) if error.raw_os_error() == Some(libc::ENODEV) => {}
                    counted => {
                        *read = self.round;
                        return counted.map(Some);
                    }
                }
            }
            // It was removed, and another may be there; or its controllers have changed.
            self.held -= files.count();
            self.open.remove(path);
        }
        let Some(files) = Files::open(path, has)? else {
            return Ok(None);
        };
        let counted = match files.read(&mut self.text) {
            // It was removed meanwhile: its last counters are kept elsewhere.
            Err(error) if error.raw_os_error() == Some(libc::ENODEV) => return Ok(None),
            counted => counted?,
        };
        if self.held + files.count() <= self.held_max {
            self.held += files.count();
            self.open.insert(path.to_owned(), (files, self.round));
        }
        Ok(Some(counted))
    }

    fn has(&mut self, path: &Path) -> Has {
        let Some(folder) = path.parent() else {
            return Has::ALL;
        };
        if let Some(has) = self.folders.get(folder) {
            return *has;
        }
        let has = Has::below(folder);
        self.folders.insert(folder.to_owned(), has);
        has
    }
}

impl Files {
    /// Opens them; `None` if there is no such cgroup.
    fn open(path: &Path, has: Has) -> io::Result<Option<Self>> {
        let Some(folder) = folder(path)? else {
            return Ok(None);
        };
        let mut open = Vec::with_capacity(Source::ALL.len());
        for source in Source::ALL.into_iter().filter(|it| it.is_in(has)) {
            let file = file(&folder, source.name())?;
            open.extend(file.map(|file| (source, file)));
        }
        Ok(Some(Self {
            id: fstat(&folder)?.st_ino,
            beginnings: Beginnings::of(&folder)?,
            has,
            open,
        }))
    }

    fn count(&self) -> usize {
        self.open.len()
    }

    fn read(&self, buffer: &mut Vec<u8>) -> io::Result<CgroupCounters> {
        let mut counters = CgroupCounters {
            id: self.id,
            beginnings: self.beginnings,
            ..CgroupCounters::default()
        };
        for (source, file) in &self.open {
            if let Some(text) = text(file, buffer)? {
                counters.take(*source, text);
            }
        }
        Ok(counters)
    }
}

/// The text of an open file; `None` if the kernel was built without what it counts by.
fn text<'a>(file: &OwnedFd, buffer: &'a mut Vec<u8>) -> io::Result<Option<&'a str>> {
    let mut length = 0;
    loop {
        let free = buffer.get_mut(length..).unwrap_or_default();
        let (at, most) = (u64::try_from(length).unwrap_or(u64::MAX), free.len());
        let read = match pread(file, free, at) {
            Err(Errno::INTR) => continue,
            Err(Errno::OPNOTSUPP) => return Ok(None),
            read => read?,
        };
        length += read;
        // A file of the kernel is written at once: less than was asked for is the end.
        if read < most {
            break;
        }
        buffer.resize(buffer.len() * 2, 0);
    }
    let text = buffer.get(..length).unwrap_or_default();
    let text = std::str::from_utf8(text);
    Ok(Some(text.map_err(io::Error::other)?))
}

/// The counters of the host's links, with the numbers of those that were asked for before. The kernel gives a number to
/// no other link until the next boot, so one that is still there is the same link.
#[derive(Debug)]
pub struct HeldLinks {
    numbers: HashMap<String, u32>,
    found: HashMap<u32, LinkCounters>,
    any: OwnedFd,
}

/// The most names that are remembered: those of links that were removed are forgotten with them.
const NAMES_MAX: usize = 100_000;

impl HeldLinks {
    /// None is known yet.
    ///
    /// # Errors
    /// Those of socket(2).
    pub fn new() -> io::Result<Self> {
        Ok(Self {
            numbers: HashMap::new(),
            found: HashMap::new(),
            any: links::any()?,
        })
    }

    /// Reads those of all links.
    ///
    /// # Errors
    /// As [`Links::all`](super::Links::all).
    pub fn begin(&mut self) -> io::Result<()> {
        let found = &mut self.found;
        found.clear();
        links::each(|counters| {
            found.insert(counters.index, counters);
        })?;
        if self.numbers.len() > NAMES_MAX {
            self.numbers.clear();
        }
        Ok(())
    }

    /// The counters of the link with this name, if there was one.
    ///
    /// # Errors
    /// As [`Links::named`](super::Links::named).
    pub fn named(&mut self, name: &str) -> io::Result<Option<LinkCounters>> {
        let known = self.numbers.get(name);
        if let Some(counters) = known.and_then(|known| self.found.get(known)) {
            return Ok(Some(*counters));
        }
        match links::index(&self.any, name)? {
            Some(index) => {
                self.numbers.insert(name.to_owned(), index);
                Ok(self.found.get(&index).copied())
            }
            None => {
                self.numbers.remove(name);
                Ok(None)
            }
        }
    }
}
