//! Log files: the last lines of several tenants, merged by their time.

use std::cmp::Reverse;
use std::collections::{BinaryHeap, VecDeque};
use std::fs::File;
use std::io::{self, BufRead, BufReader, Read, Seek, SeekFrom, Write};
use std::os::unix::fs::{FileExt, MetadataExt};
use std::path::{Path, PathBuf};

use jiff::Timestamp;

use super::Range;
use super::print::{Entry, Printer, STREAMS};
use tenantd_core::name::TenantName;

/// How much of a file is read at a time, from its end on.
const BLOCK: usize = 64 * 1024;

/// The two files of a tenant's log.
#[derive(Debug, Clone)]
pub(super) struct Generations {
    pub(super) newest: PathBuf,
    pub(super) older: PathBuf,
}

impl Generations {
    pub(super) fn of(folder: &Path, tenant: &TenantName) -> Self {
        Self {
            newest: folder.join(format!("{tenant}.log")),
            older: folder.join(format!("{tenant}.log.1")),
        }
    }

    /// Opens both files. Never the same file twice, even if a rotation happens meanwhile.
    fn open(&self) -> io::Result<(Option<File>, Option<File>)> {
        loop {
            let newest = open(&self.newest)?;
            let older = open(&self.older)?;
            if newest.is_none() || inode(newest.as_ref())? != inode(older.as_ref())? {
                return Ok((newest, older));
            }
        }
    }
}

pub(super) fn open(path: &Path) -> io::Result<Option<File>> {
    match File::open(path) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
        opened => opened.map(Some),
    }
}

/// Device and inode of a file, which identify it after a rename.
pub(super) fn inode(file: Option<&File>) -> io::Result<Option<(u64, u64)>> {
    let Some(file) = file else {
        return Ok(None);
    };
    let found = file.metadata()?;
    Ok(Some((found.dev(), found.ino())))
}

/// Parses the lines of one log. A line has the form `TIME STREAM TEXT`.
#[derive(Debug, Default)]
pub(super) struct Lines {
    last: Option<Timestamp>,
}

impl Lines {
    pub(super) fn entry(&mut self, line: &[u8]) -> Entry {
        let line = line.strip_suffix(b"\n").unwrap_or(line);
        let parsed = parse(line);
        if let Some((time, _, _)) = parsed {
            self.last = Some(time);
        }
        let (stream, text) = match parsed {
            Some((_, stream, text)) => (Some(stream), text),
            None => (None, line),
        };
        Entry {
            time: self.last,
            stream,
            text: text.to_vec(),
        }
    }
}

fn parse(line: &[u8]) -> Option<(Timestamp, &'static str, &[u8])> {
    let mut parts = line.splitn(3, |&byte| byte == b' ');
    let time = std::str::from_utf8(parts.next()?).ok()?.parse().ok()?;
    let named = parts.next()?;
    let stream = STREAMS
        .into_iter()
        .find(|stream| stream.as_bytes() == named)?;
    Some((time, stream, parts.next()?))
}

/// What is read of one log, older generation first.
pub(super) struct Source {
    reader: BufReader<Box<dyn Read>>,
    lines: Lines,
    /// The beginning of a line that is still being written.
    rest: Vec<u8>,
}

impl Source {
    /// Reads the last `count` lines; if it is None, those since a time and some before. Returns the newest file too, which is at
    /// its end once the source is read.
    fn open(generations: &Generations, range: Range) -> io::Result<(Self, Option<File>)> {
        let Range {
            lines: count,
            since,
        } = range;
        let (mut newest, mut older) = generations.open()?;
        if let (Some(since), None) = (since, count) {
            for file in [&mut newest, &mut older].into_iter().flatten() {
                seek_before(file, since)?;
            }
        }
        if let Some(count) = count {
            let found = newest
                .as_mut()
                .map_or(Ok(0), |file| seek_back(file, count))?;
            if let Some(older) = &mut older {
                seek_back(older, count - found)?;
            }
        }
        let mut reader: Box<dyn Read> = Box::new(io::empty());
        if let Some(older) = older {
            let end: &[u8] = if ends_torn(&older)? { b"\n" } else { b"" };
            reader = Box::new(older.chain(end));
        }
        if let Some(newest) = &newest {
            reader = Box::new(reader.chain(newest.try_clone()?));
        }
        let source = Self {
            reader: BufReader::new(reader),
            lines: Lines::default(),
            rest: Vec::new(),
        };
        Ok((source, newest))
    }

    fn next(&mut self) -> io::Result<Option<Entry>> {
        let mut line = Vec::new();
        self.reader.read_until(b'\n', &mut line)?;
        if line.ends_with(b"\n") {
            return Ok(Some(self.lines.entry(&line)));
        }
        self.rest = line;
        Ok(None)
    }

    /// The state from which the log is followed.
    pub(super) fn into_rest(self) -> (Lines, Vec<u8>) {
        (self.lines, self.rest)
    }
}

/// Whether the last line of a file has no end: its writer was killed.
fn ends_torn(file: &File) -> io::Result<bool> {
    let len = file.metadata()?.len();
    if len == 0 {
        return Ok(false);
    }
    let mut last = [0];
    file.read_exact_at(&mut last, len - 1)?;
    Ok(last != *b"\n")
}

/// Positions a file at its first line that is not older than this. All lines before are looked at: their
/// times may go back, as the clock does when it is set back.
fn seek_before(file: &mut File, since: Timestamp) -> io::Result<()> {
    let first = format!("{since:.6}").into_bytes();
    let mut reader = BufReader::with_capacity(BLOCK, &*file);
    let (mut at, mut line) = (0, Vec::new());
    loop {
        line.clear();
        let len = reader.read_until(b'\n', &mut line)?;
        let is_reached = match line.get(..first.len()) {
            // Times of one form are in the order of their texts.
            Some(time) if time.ends_with(b"Z") => time >= first.as_slice(),
            Some(_) | None => parse(&line).is_some_and(|(time, _, _)| time >= since),
        };
        if len == 0 || is_reached {
            break;
        }
        at += len as u64;
    }
    file.seek(SeekFrom::Start(at)).map(drop)
}

/// Positions a file at the beginning of its last `count` lines, or at its own. Returns the number of
/// lines from there on.
fn seek_back(file: &mut File, count: usize) -> io::Result<usize> {
    let len = file.metadata()?.len();
    let (mut end, mut found) = (len, 0);
    let mut block = vec![0; BLOCK];
    while end > 0 && found < count {
        let size = usize::try_from(end).map_or(BLOCK, |end| end.min(BLOCK));
        let begin = end - size as u64;
        file.read_exact_at(&mut block[..size], begin)?;
        for (index, _) in block[..size]
            .iter()
            .enumerate()
            .rev()
            .filter(|(_, b)| **b == b'\n')
        {
            let next = begin + index as u64 + 1;
            if next == len {
                continue;
            }
            found += 1;
            if found == count {
                file.seek(SeekFrom::Start(next))?;
                return Ok(found);
            }
        }
        end = begin;
    }
    match count {
        0 => file.seek(SeekFrom::End(0))?,
        _ => file.seek(SeekFrom::Start(0))?,
    };
    Ok(found + usize::from(len > 0 && count > 0))
}

/// One log after its past was shown.
pub(super) struct Shown {
    pub(super) generations: Generations,
    pub(super) newest: Option<File>,
    pub(super) source: Source,
}

/// Shows the past of these tenants' logs, merged by time.
///
/// # Errors
/// If a file cannot be read, or the output not written.
pub(super) fn past(
    folder: &Path,
    range: Range,
    printer: &mut Printer<impl Write>,
) -> io::Result<Vec<Shown>> {
    let mut shown = Vec::new();
    for tenant in &printer.tenants {
        let generations = Generations::of(folder, tenant);
        let (source, newest) = Source::open(&generations, range)?;
        shown.push(Shown {
            generations,
            newest,
            source,
        });
    }
    let mut last: VecDeque<(usize, Entry)> = VecDeque::new();
    merge(&mut shown, |index, entry| {
        if range.since.is_some_and(|since| entry.time < Some(since)) {
            return Ok(());
        }
        let Some(most) = range.lines else {
            return printer.print(index, &entry);
        };
        last.push_back((index, entry));
        if last.len() > most {
            last.pop_front();
        }
        Ok(())
    })?;
    for (index, entry) in last {
        printer.print(index, &entry)?;
    }
    Ok(shown)
}

/// Calls `each` for all lines of several logs in the order of their time. Lines of one log keep their
/// order, also if the clock was set back.
fn merge(
    logs: &mut [Shown],
    mut each: impl FnMut(usize, Entry) -> io::Result<()>,
) -> io::Result<()> {
    let mut heads = Vec::new();
    let mut first = BinaryHeap::new();
    for (index, log) in logs.iter_mut().enumerate() {
        let head = log.source.next()?;
        first.extend(head.as_ref().map(|entry| Reverse((entry.time, index))));
        heads.push(head);
    }
    while let Some(Reverse((_, index))) = first.pop() {
        if let Some(entry) = heads[index].take() {
            each(index, entry)?;
        }
        heads[index] = logs[index].source.next()?;
        first.extend(
            heads[index]
                .as_ref()
                .map(|entry| Reverse((entry.time, index))),
        );
    }
    Ok(())
}

#[cfg(test)]
mod tests;
