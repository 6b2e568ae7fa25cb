//! Writes a new text into the file that has the old one.
//!
//! Before the first byte is written, both complete texts are on disk beside the file: the old one in
//! `.NAME.tenantd-before`, the new one in `.NAME.tenantd-new`. As long as the former exists and the
//! file has neither text, the file is half of each, and nothing reads it as if it were whole.

use std::fs::{self, File, OpenOptions};
use std::io::{self, Write};
use std::os::unix::fs::{FileExt, OpenOptionsExt};
use std::path::Path;

use rustix::fs::{FallocateFlags, Mode, OFlags, fallocate, fchmod};
use rustix::io::Errno;

use super::{Interrupted, Old, ReplaceError, beside, create, is_same, remove, sync_folder};
use crate::crash;

const BEFORE: &str = "before";

/// The old text while it is being kept.
const PART: &str = "part";

/// Whether a file is half of an edit. If it has one of the two texts, the edit did not begin or did
/// reach its end.
pub(super) fn interrupted(path: &Path, text: &[u8]) -> io::Result<Option<Interrupted>> {
    let before = beside(path, BEFORE);
    let is_text = |path: &Path| match fs::symlink_metadata(path) {
        Ok(found) if found.is_file() => Ok(Some(fs::read(path)? == text)),
        Ok(_) => Ok(None),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
        Err(error) => Err(error),
    };
    Ok(match is_text(&before)? {
        Some(false) if is_text(&beside(path, "new"))? != Some(true) => Some(Interrupted { before }),
        Some(_) | None => None,
    })
}

/// Removes what an earlier edit left that did not begin, or did reach its end. The old text goes
/// first: without it, nothing asks for the new one.
pub(super) fn forget(path: &Path) -> io::Result<()> {
    remove(&beside(path, BEFORE))?;
    remove(&beside(path, PART))
}

/// Writes the text. `.NAME.tenantd-new` has it already, and the caller removes that file.
pub(super) fn write(old: &Old, text: &str) -> Result<(), ReplaceError> {
    let before = beside(&old.path, BEFORE);
    let unwritable = ReplaceError::Unwritable;
    let file = open(old)?;
    // Whether there is enough space is known before the old text is touched.
    match fallocate(&file, FallocateFlags::KEEP_SIZE, 0, text.len() as u64) {
        Ok(()) | Err(Errno::OPNOTSUPP | Errno::NOSYS | Errno::INVAL) => {}
        Err(errno) => return Err(unwritable(errno.into())),
    }
    keep(&before, old).map_err(|source| ReplaceError::Beside {
        path: before.clone(),
        source,
    })?;
    crash::point("edit: old text kept", "");
    let written = fill(&file, text.as_bytes());
    if let Err(source) = written {
        return match fill(&file, old.text.as_bytes()).and_then(|()| remove(&before)) {
            Ok(()) => Err(unwritable(source)),
            Err(_) => Err(ReplaceError::Damaged { before, source }),
        };
    }
    crash::point("edit: written in place", "");
    let path = before.clone();
    remove(&before).map_err(|source| ReplaceError::Residue { path, source })
}

/// Opens the file for writing, if it still is the one that was read.
fn open(old: &Old) -> Result<File, ReplaceError> {
    let flags = (OFlags::NOFOLLOW | OFlags::NONBLOCK).bits().cast_signed();
    let mut options = OpenOptions::new();
    let opened = options.write(true).custom_flags(flags).open(&old.path);
    let look = || -> io::Result<(File, bool)> {
        let file = opened?;
        let is_same = is_same(&file.metadata()?, &old.file.metadata()?);
        Ok((file, is_same && old.is_unchanged(&old.path)?))
    };
    match look() {
        Ok((file, true)) => Ok(file),
        Ok((_, false)) => Err(ReplaceError::Changed),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Err(ReplaceError::Changed),
        Err(error) => Err(ReplaceError::Unwritable(error)),
    }
}

/// Keeps the old text, complete or not at all. It may be read by the process that makes it only.
fn keep(before: &Path, old: &Old) -> io::Result<()> {
    let part = beside(&old.path, PART);
    let mut file = create(&part)?;
    let written = file
        .write_all(old.text.as_bytes())
        .and_then(|()| Ok(fchmod(&file, Mode::RUSR)?))
        .and_then(|()| file.sync_all())
        .and_then(|()| fs::rename(&part, before));
    if written.is_err() {
        remove(&part)?;
    }
    written?;
    sync_folder(before)
}

/// Overwrites the text first and cuts the rest off then: the file never is empty.
fn fill(file: &File, text: &[u8]) -> io::Result<()> {
    let half = text.len() / 2;
    file.write_all_at(&text[..half], 0)?;
    crash::point("edit: half written in place", "");
    file.write_all_at(&text[half..], half as u64)?;
    file.set_len(text.len() as u64)?;
    file.sync_all()
}
