//! Follows logs through their rotations. An event of inotify(7) only says which log to look at; its
//! files are then looked at again, so that the order of events does not matter.

use std::collections::{BTreeSet, HashMap};
use std::ffi::OsString;
use std::fs::File;
use std::io::{self, Read, Write};
use std::mem::MaybeUninit;
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::ffi::OsStringExt;
use std::path::Path;

use rustix::event::{PollFd, PollFlags, poll};
use rustix::fs::inotify::{self, CreateFlags, ReadFlags, Reader, WatchFlags};

use super::files::{Generations, Lines, Shown, inode, open};
use super::print::{Entry, Printer};

/// Shows what is appended to these logs, until the reader of standard output closes it.
pub(super) fn follow(
    folder: &Path,
    shown: Vec<Shown>,
    printer: &mut Printer<'_, impl Write>,
) -> io::Result<()> {
    let mut logs: Vec<Log> = shown.into_iter().map(Log::new).collect();
    let watch = Watch::new(folder, &logs)?;
    // Watched before all are read again: what was written meanwhile is not missed.
    let mut changed: BTreeSet<usize> = (0..logs.len()).collect();
    loop {
        let mut new = Vec::new();
        for index in changed {
            logs[index].look(|entry| new.push((index, entry)))?;
        }
        new.sort_by_key(|(_, entry)| entry.time);
        for (index, entry) in &new {
            printer.print(*index, entry)?;
        }
        printer.out.flush()?;
        changed = match watch.wait(io::stdout())? {
            Some(changed) => changed,
            None => return Ok(()),
        };
    }
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
        let inotify = inotify::init(CreateFlags::CLOEXEC)?;
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
    fn wait(&self, out: impl AsFd) -> io::Result<Option<BTreeSet<usize>>> {
        let mut both = [
            PollFd::new(&self.inotify, PollFlags::IN),
            PollFd::new(&out, PollFlags::empty()),
        ];
        match poll(&mut both, None) {
            Err(rustix::io::Errno::INTR) => return Ok(Some(BTreeSet::new())),
            waited => waited?,
        };
        if both[1]
            .revents()
            .intersects(PollFlags::ERR | PollFlags::HUP)
        {
            return Ok(None);
        }
        let mut changed = BTreeSet::new();
        let mut buffer = [MaybeUninit::uninit(); 16 * 1024];
        let mut events = Reader::new(&self.inotify, &mut buffer);
        loop {
            let event = events.next()?;
            if event.events().contains(ReadFlags::QUEUE_OVERFLOW) {
                changed.extend(self.names.values());
            } else if let Some(name) = event.file_name() {
                let name = OsString::from_vec(name.to_bytes().to_vec());
                changed.extend(self.names.get(&name));
            }
            if events.is_buffer_empty() {
                return Ok(Some(changed));
            }
        }
    }
}
