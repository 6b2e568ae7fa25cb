//! Follows logs through their rotations. An event of inotify(7) only says which log to look at; its
//! files are then looked at again, so that the order of events does not matter.

use std::collections::{BTreeSet, HashMap};
use std::ffi::OsString;
use std::fs::File;
use std::io::{self, Read, Seek, SeekFrom, Write};
use std::mem::MaybeUninit;
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::ffi::OsStringExt;
use std::os::unix::fs::MetadataExt;
use std::path::Path;

use rustix::event::{PollFd, PollFlags, poll};
use rustix::fs::inotify::{self, CreateFlags, ReadFlags, Reader, WatchFlags};

use super::files::{Generations, Lines, Shown, inode, open};
use super::print::{Entry, Printer};
use tenantd_api::client::pattern::Pattern;
use tenantd_core::name::TenantName;

/// Shows what is appended to these logs, and to those of tenants that are added meanwhile, until the reader
/// of standard output closes it.
pub(super) fn follow(
    folder: &Path,
    shown: Vec<Shown>,
    others: &Others<'_>,
    printer: &mut Printer<impl Write>,
) -> io::Result<()> {
    if !is_made(folder)? {
        return Ok(());
    }
    let mut logs: Vec<Log> = shown.into_iter().map(Log::new).collect();
    let mut watch = Watch::new(folder, &logs)?;
    // Watched before all are read again: what was written meanwhile is not missed.
    let mut found = Found {
        all: true,
        ..Found::default()
    };
    loop {
        let mut changed = found.known;
        if found.all {
            changed.extend(0..logs.len());
            found.unknown.extend(others.changed(folder)?);
        }
        for name in found.unknown {
            if !watch.names.contains_key(&name)
                && let Some((tenant, log)) = others.begin(folder, &name)?
            {
                changed.insert(logs.len());
                watch.names.insert(name, logs.len());
                logs.push(log);
                printer.tenants.push(tenant);
            }
        }
        let mut new = Vec::new();
        for index in changed {
            logs[index].look(|entry| new.push((index, entry)))?;
        }
        new.sort_by_key(|(_, entry)| entry.time);
        for (index, entry) in &new {
            printer.print(*index, entry)?;
        }
        printer.out.flush()?;
        found = match watch.wait(io::stdout())? {
            Some(found) => found,
            None => return Ok(()),
        };
    }
}

/// The logs that are not shown yet, and belong to tenants that may be added.
pub(super) struct Others<'a> {
    later: &'a [Pattern],
    /// Inode and length of the files that are there already: of a tenant that was removed, for example.
    seen: HashMap<OsString, (u64, u64)>,
}

impl<'a> Others<'a> {
    /// Those of the tenants that one of these patterns matches. Looked at before the past is shown.
    pub(super) fn of(folder: &Path, later: &'a [Pattern]) -> io::Result<Self> {
        let seen = match later {
            [] => HashMap::new(),
            _ => seen(folder)?,
        };
        Ok(Self { later, seen })
    }

    /// The names of those that were made or have grown since.
    fn changed(&self, folder: &Path) -> io::Result<Vec<OsString>> {
        if self.later.is_empty() {
            return Ok(Vec::new());
        }
        let now = seen(folder)?.into_iter();
        let changed = now.filter(|(name, it)| self.seen.get(name) != Some(it));
        Ok(changed.map(|(name, _)| name).collect())
    }

    /// Begins to follow the log in a file, if it is that of a tenant that is meant.
    fn begin(&self, folder: &Path, name: &OsString) -> io::Result<Option<(TenantName, Log)>> {
        let tenant = name.to_str().and_then(|name| name.strip_suffix(".log"));
        let tenant: Option<TenantName> = tenant.and_then(|tenant| tenant.parse().ok());
        let is_meant = |tenant: &TenantName| self.later.iter().any(|it| it.matches(tenant));
        let Some(tenant) = tenant.filter(is_meant) else {
            return Ok(None);
        };
        let generations = Generations::of(folder, &tenant);
        let mut current = open(&generations.newest)?;
        if let (Some(file), Some((inode, length))) = (&mut current, self.seen.get(name))
            && file.metadata()?.ino() == *inode
        {
            file.seek(SeekFrom::Start(*length))?;
        }
        let log = Log {
            generations,
            current,
            lines: Lines::default(),
            rest: Vec::new(),
        };
        Ok(Some((tenant, log)))
    }
}

/// The files in the folder, with inode and length.
fn seen(folder: &Path) -> io::Result<HashMap<OsString, (u64, u64)>> {
    let entries = match std::fs::read_dir(folder) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(HashMap::new()),
        entries => entries?,
    };
    let mut seen = HashMap::new();
    for entry in entries {
        let entry = entry?;
        match entry.metadata() {
            Ok(found) => drop(seen.insert(entry.file_name(), (found.ino(), found.len()))),
            // Renamed by a rotation.
            Err(error) if error.kind() == io::ErrorKind::NotFound => {}
            Err(error) => return Err(error),
        }
    }
    Ok(seen)
}

/// Waits until there is such a folder: the first line makes it. False if the reader of standard output has
/// closed it.
fn is_made(folder: &Path) -> io::Result<bool> {
    loop {
        if folder.is_dir() {
            return Ok(true);
        }
        let above = folder.ancestors().find(|above| above.is_dir());
        let inotify = inotify::init(CreateFlags::CLOEXEC)?;
        let made = WatchFlags::CREATE | WatchFlags::MOVED_TO | WatchFlags::ONLYDIR;
        inotify::add_watch(&inotify, above.unwrap_or(Path::new("/")), made)?;
        // It may have been made before it was watched for.
        let next = folder.ancestors().find(|above| above.is_dir());
        if next == above && !is_open(&inotify, io::stdout())? {
            return Ok(false);
        }
    }
}

/// Waits for an event. False if the reader of `out` has closed it.
fn is_open(inotify: &OwnedFd, out: impl AsFd) -> io::Result<bool> {
    let mut both = [
        PollFd::new(inotify, PollFlags::IN),
        PollFd::new(&out, PollFlags::empty()),
    ];
    match poll(&mut both, None) {
        // The caller looks again.
        Err(rustix::io::Errno::INTR) => return Ok(true),
        waited => waited?,
    };
    let closed = PollFlags::ERR | PollFlags::HUP;
    Ok(!both[1].revents().intersects(closed))
}

/// One log that is followed.
struct Log {
    generations: Generations,
    current: Option<File>,
    lines: Lines,
    /// The beginning of a line that is still being written.
    rest: Vec<u8>,
}

impl Log {
    fn new(shown: Shown) -> Self {
        let (lines, rest) = shown.source.into_rest();
        Self {
            generations: shown.generations,
            current: shown.newest,
            lines,
            rest,
        }
    }

    /// Reads what is new.
    fn look(&mut self, mut each: impl FnMut(Entry)) -> io::Result<()> {
        loop {
            if let Some(file) = self.current.take() {
                self.read(&file, &mut each)?;
                self.current = Some(file);
            }
            let newest = open(&self.generations.newest)?;
            if newest.is_none() || inode(newest.as_ref())? == inode(self.current.as_ref())? {
                return Ok(());
            }
            if let Some(ended) = self.current.take() {
                // What was written to it between the reading above and the rotation.
                self.read(&ended, &mut each)?;
                self.end(&mut each);
                self.skipped(&ended, &mut each)?;
            }
            self.current = newest;
        }
    }

    /// Reads the generation between `ended` and the newest, if two rotations happened at once.
    fn skipped(&mut self, ended: &File, each: &mut impl FnMut(Entry)) -> io::Result<()> {
        if let Some(older) = open(&self.generations.older)?
            && inode(Some(&older))? != inode(Some(ended))?
        {
            self.read(&older, each)?;
            self.end(each);
        }
        Ok(())
    }

    fn read(&mut self, mut file: &File, each: &mut impl FnMut(Entry)) -> io::Result<()> {
        file.read_to_end(&mut self.rest)?;
        let whole = self.rest.iter().rposition(|&byte| byte == b'\n');
        let rest = self.rest.split_off(whole.map_or(0, |at| at + 1));
        let whole = std::mem::replace(&mut self.rest, rest);
        for line in whole.split_inclusive(|&byte| byte == b'\n') {
            each(self.lines.entry(line));
        }
        Ok(())
    }

    /// Gives the line that ended without a line end, because its writer was killed.
    fn end(&mut self, each: &mut impl FnMut(Entry)) {
        let rest = std::mem::take(&mut self.rest);
        if !rest.is_empty() {
            each(self.lines.entry(&rest));
        }
    }
}

/// The watch on the folder of the logs.
struct Watch {
    inotify: OwnedFd,
    /// The logs by the names of their newest files.
    names: HashMap<OsString, usize>,
}

impl Watch {
    fn new(folder: &Path, logs: &[Log]) -> io::Result<Self> {
        let inotify = inotify::init(CreateFlags::CLOEXEC | CreateFlags::NONBLOCK)?;
        let changes = WatchFlags::MODIFY | WatchFlags::CREATE | WatchFlags::MOVED_TO;
        inotify::add_watch(&inotify, folder, changes | WatchFlags::ONLYDIR)?;
        let name = |log: &Log| log.generations.newest.file_name().map(ToOwned::to_owned);
        let names = logs.iter().enumerate();
        let names = names.filter_map(|(index, log)| Some((name(log)?, index)));
        Ok(Self {
            inotify,
            names: names.collect(),
        })
    }

    /// Waits until logs change. None if the reader of `out` has closed it.
    fn wait(&self, out: impl AsFd) -> io::Result<Option<Found>> {
        if !is_open(&self.inotify, out)? {
            return Ok(None);
        }
        let mut found = Found::default();
        let mut buffer = [MaybeUninit::uninit(); 16 * 1024];
        let mut events = Reader::new(&self.inotify, &mut buffer);
        loop {
            let event = match events.next() {
                // A signal came instead.
                Err(rustix::io::Errno::AGAIN) => return Ok(Some(found)),
                event => event?,
            };
            if event.events().contains(ReadFlags::QUEUE_OVERFLOW) {
                found.all = true;
            } else if let Some(name) = event.file_name() {
                let name = OsString::from_vec(name.to_bytes().to_vec());
                match self.names.get(&name) {
                    Some(index) => drop(found.known.insert(*index)),
                    None => drop(found.unknown.insert(name)),
                }
            }
            if events.is_buffer_empty() {
                return Ok(Some(found));
            }
        }
    }
}

/// The logs that have changed.
#[derive(Default)]
struct Found {
    /// Those that are followed.
    known: BTreeSet<usize>,
    /// The names of other files.
    unknown: BTreeSet<OsString>,
    /// Any may have changed.
    all: bool,
}
