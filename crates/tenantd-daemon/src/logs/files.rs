//! The log files, where there is no journal: one per tenant, bounded, with one older generation.
//!
//! A batch of lines is one open, one write and one close, so that no descriptor stays open. Unless
//! the process is killed meanwhile, a batch is in the file as a whole or not at all. Everything
//! here may block on the disk, so it runs on a thread for blocking work.
//!
//! A kill in the middle of a write may leave an incomplete line. The next write ends that line
//! first.

use std::fmt::Write as _;
use std::fs::{DirBuilder, File, OpenOptions};
use std::io::{self, Write};
use std::os::unix::fs::{DirBuilderExt, FileExt, OpenOptionsExt};
use std::path::{Path, PathBuf};

use crate::logs::Batch;
use tenantd_core::name::{AppName, TenantName};

/// The maximum size of one generation in bytes: readable in a pager, and small enough for 1,000
/// tenants on a small disk.
pub const GENERATION_MAX: u64 = 1024 * 1024;

/// The log files of an application.
#[derive(Debug, Clone)]
pub struct Files {
    folder: PathBuf,
    generation_max: u64,
}

impl Files {
    /// The files of `app`, in its folder below `/var/log`.
    #[must_use]
    pub fn of(app: &AppName) -> Self {
        let folder = PathBuf::from(format!("/var/log/tenantd/{app}"));
        Self::new(folder, GENERATION_MAX)
    }

    pub(super) fn new(folder: PathBuf, generation_max: u64) -> Self {
        Self {
            folder,
            generation_max,
        }
    }

    /// The newer file of a tenant.
    #[must_use]
    pub fn path(&self, tenant: &TenantName) -> PathBuf {
        self.folder.join(format!("{tenant}.log"))
    }

    /// Appends a batch to its tenant's file, each line with the time `now`. The folder is made
    /// where it is missing.
    ///
    /// # Errors
    /// What open(2), write(2) or rename(2) reports; the file then has no line of the batch.
    pub fn append(&self, batch: &Batch, now: jiff::Timestamp) -> io::Result<()> {
        let mut text = String::new();
        for line in &batch.lines {
            // Writing into a String cannot fail.
            let _ = writeln!(text, "{now:.6} {} {}", batch.stream, line.shown());
        }
        append(&self.path(&batch.tenant), text, self.generation_max)
    }
}

/// A file of whole lines, bounded as in [`append`]. Errors do not stop its writer: the first is passed to `lost`,
/// and the next one after writing has succeeded again.
pub(crate) struct Bounded {
    path: PathBuf,
    max: u64,
    lost: fn(&Path, &io::Error),
    has_failed: bool,
}

impl Bounded {
    /// The file at this path, with at most `max` bytes in a generation.
    pub(crate) fn new(path: PathBuf, max: u64, lost: fn(&Path, &io::Error)) -> Self {
        Self {
            path,
            max,
            lost,
            has_failed: false,
        }
    }
}

impl Write for Bounded {
    fn write(&mut self, lines: &[u8]) -> io::Result<usize> {
        let text = String::from_utf8_lossy(lines).into_owned();
        let written = append(&self.path, text, self.max);
        if let (Err(error), false) = (&written, self.has_failed) {
            (self.lost)(&self.path, error);
        }
        self.has_failed = written.is_err();
        Ok(lines.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// Appends a text of whole lines to a file. If it would grow beyond `max` bytes, it becomes the older
/// generation, and a new one begins. The folder is made where it is missing.
///
/// # Errors
/// What open(2), write(2) or rename(2) reports; the file then has nothing of the text.
pub(crate) fn append(path: &Path, mut text: String, max: u64) -> io::Result<()> {
    let mut file = open(path)?;
    let mut len = file.metadata()?.len();
    if len > 0 && len + text.len() as u64 > max {
        // One rename, so that each kept line is in one of the two files at every moment.
        let mut older = path.as_os_str().to_owned();
        older.push(".1");
        std::fs::rename(path, older)?;
        file = open(path)?;
        len = 0;
    }
    if len > 0 && !ends_in_line_end(&file, len)? {
        // The writer was killed in the middle of a line. The whole line is written again.
        text.insert(0, '\n');
    }
    file.write_all(text.as_bytes()).inspect_err(|_| {
        // Remove an incomplete line. If this fails too, the first error is reported.
        let _ = file.set_len(len);
    })
}

fn open(path: &Path) -> io::Result<File> {
    let mut how = OpenOptions::new();
    how.read(true).append(true).create(true).mode(0o640);
    how.custom_flags(libc::O_NOFOLLOW | libc::O_NONBLOCK);
    how.open(path).or_else(|error| {
        let (true, Some(folder)) = (error.kind() == io::ErrorKind::NotFound, path.parent()) else {
            return Err(error);
        };
        DirBuilder::new()
            .recursive(true)
            .mode(0o750)
            .create(folder)?;
        how.open(path)
    })
}

fn ends_in_line_end(file: &File, len: u64) -> io::Result<bool> {
    let mut last = [0];
    file.read_exact_at(&mut last, len - 1)?;
    Ok(last == *b"\n")
}

#[cfg(test)]
mod tests {
    use super::super::split::Extent;
    use super::super::{Line, Stream};
    use super::*;

    fn batch(texts: impl IntoIterator<Item = String>) -> Batch {
        let line = |text| Line {
            text,
            extent: Extent::Whole,
            origin: None,
        };
        Batch {
            tenant: "acme".parse().unwrap(),
            stream: Stream::Stderr,
            lines: texts.into_iter().map(line).collect(),
        }
    }

    #[test]
    fn a_line_has_time_stream_and_text() {
        let place = tempfile::tempdir().unwrap();
        let files = Files::new(place.path().join("made/when/needed"), GENERATION_MAX);
        let now = "2026-11-22T18:00:00.5Z".parse().unwrap();
        let batch = batch(["one".into(), "\x1b[2J".into()]);
        files.append(&batch, now).unwrap();
        assert_eq!(
            std::fs::read_to_string(files.path(&batch.tenant)).unwrap(),
            "2026-11-22T18:00:00.500000Z stderr one\n2026-11-22T18:00:00.500000Z stderr \\x1b[2J\n"
        );
    }

    #[test]
    fn rotation_bounds_both_files_and_loses_no_line() {
        let place = tempfile::tempdir().unwrap();
        let files = Files::new(place.path().to_owned(), 10_000);
        let newer = files.path(&"acme".parse().unwrap());
        let older = newer.with_extension("log.1");
        let now = jiff::Timestamp::UNIX_EPOCH;
        let mut oldest_kept = 0;
        for number in 0..1_000 {
            files.append(&batch([format!("{number}")]), now).unwrap();
            let read = |path| std::fs::read_to_string(path).unwrap_or_default();
            let text = read(&older) + &read(&newer);
            let numbers: Vec<u32> = text
                .lines()
                .map(|line| line.rsplit(' ').next().unwrap().parse().unwrap())
                .collect();
            oldest_kept = numbers[0];
            assert!(numbers.iter().copied().eq(oldest_kept..=number));
            assert!(read(&newer).len() <= 10_000 && read(&older).len() <= 10_000);
        }
        assert!(oldest_kept > 0, "it never came to a second rotation");
    }

    #[test]
    fn a_symbolic_link_as_log_file_is_refused() {
        let place = tempfile::tempdir().unwrap();
        let files = Files::new(place.path().to_owned(), GENERATION_MAX);
        let path = files.path(&"acme".parse().unwrap());
        std::os::unix::fs::symlink(place.path().join("elsewhere"), &path).unwrap();
        let now = jiff::Timestamp::UNIX_EPOCH;
        let error = files.append(&batch(["x".into()]), now).unwrap_err();
        assert_eq!(error.raw_os_error(), Some(libc::ELOOP));
    }
}
