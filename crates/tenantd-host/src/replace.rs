//! Replaces the text of a file that people edit too, such as the manifest. Everything else about the
//! file stays: owner, mode, access control list, other extended attributes, inode flags, and its
//! names.
//!
//! A complete new file is made beside the old one and takes its name in one step (rename(2)). Where
//! that would lose something, the text is written into the old file instead, see [`in_place`]: the
//! file has several names, is a mount point, or has an attribute that cannot be copied.
//!
//! An edit begins with a lock (flock(2)) on the file, so that edits follow each other. An editor that
//! does not use the lock is noticed by the text: what it wrote is never overwritten.

mod attributes;
mod in_place;
#[cfg(test)]
mod tests;

use std::fs::{self, File, Metadata, OpenOptions};
use std::io::{self, Write};
use std::os::unix::fs::{MetadataExt, OpenOptionsExt};
use std::path::{Path, PathBuf};
use std::thread;
use std::time::{Duration, Instant};

use rustix::fs::{CWD, FlockOperation, Mode, OFlags, RenameFlags, fchmod, flock, renameat_with};
use rustix::io::Errno;

use super::crash;
use super::regular::{self, MANIFEST_MAX};

/// How long to wait for other edits of the file.
const PATIENCE: Duration = Duration::from_secs(10);

/// How often the lock is tried. The kernel has no flock(2) with a time limit.
const INTERVAL: Duration = Duration::from_millis(20);

/// Why a file was not replaced.
#[derive(Debug, thiserror::Error)]
pub enum ReplaceError {
    /// The file cannot be read.
    #[error("it cannot be read")]
    Unreadable(#[source] io::Error),
    /// It is a folder, a device, or the like.
    #[error("it is not a regular file")]
    NotRegular,
    /// The file is not text.
    #[error("it is not valid UTF-8, at byte {0}")]
    NotText(usize),
    /// Another edit holds the lock.
    #[error(
        "another process has locked it for more than {} seconds: `lslocks` names it",
        PATIENCE.as_secs()
    )]
    Locked,
    /// An edit in place did not reach its end.
    #[error("{0}")]
    Interrupted(Interrupted),
    /// An inode flag forbids changes.
    #[error("it is {flag} (lsattr shows `{letter}`): type `chattr -{letter}` first")]
    Fixed {
        /// What the flag means.
        flag: &'static str,
        /// The flag's letter in chattr(1).
        letter: char,
    },
    /// Another program has changed the file since it was read.
    #[error("another program changed it meanwhile: try again")]
    Changed,
    /// A file beside the old one cannot be written. The old file is unchanged.
    #[error("cannot write {}", path.display())]
    Beside {
        /// The file.
        path: PathBuf,
        /// The error.
        source: io::Error,
    },
    /// The file itself cannot be replaced or written. It is unchanged.
    #[error("cannot write to it")]
    Unwritable(#[source] io::Error),
    /// The file was being written in place and could not be restored.
    #[error(
        "writing failed half-way, and its old text could not be restored. The old text is in {}: \
         copy it back",
        before.display()
    )]
    Damaged {
        /// The complete old text.
        before: PathBuf,
        /// Why writing failed.
        source: io::Error,
    },
    /// The file has the new text, but a file beside it could not be removed.
    #[error("it was changed, but {} cannot be removed", path.display())]
    Residue {
        /// The file.
        path: PathBuf,
        /// The error.
        source: io::Error,
    },
}

/// An edit in place did not reach its end, or has not yet: the text may be half old and half new.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error(
    "tenantd was editing it and did not finish; if no `tenantd add` or `remove` is running, compare \
     it with its text before, {}, correct it, and remove that file", before.display()
)]
pub struct Interrupted {
    /// The file with the complete text before the edit.
    pub before: PathBuf,
}

/// Whether the text that was read from a file may be half of an edit in place. A program that reads
/// the file without [`Old`] asks this after reading.
///
/// # Errors
/// Those of stat(2) and read(2).
pub fn interrupted(path: &Path, text: &[u8]) -> io::Result<Option<Interrupted>> {
    in_place::interrupted(&fs::canonicalize(path)?, text)
}

/// A file with the text that it had when it was read, locked against other edits.
#[derive(Debug)]
pub struct Old {
    /// Without symbolic links: a link stays one, and the file that it points to is replaced.
    path: PathBuf,
    file: File,
    text: String,
}

impl Old {
    /// Waits for other edits of a file, locks it and reads it.
    ///
    /// # Errors
    /// See [`ReplaceError`].
    pub fn read(path: &Path) -> Result<Self, ReplaceError> {
        let unreadable = ReplaceError::Unreadable;
        let path = fs::canonicalize(path).map_err(unreadable)?;
        let file = locked(&path)?;
        let bytes = regular::read_open(&file, MANIFEST_MAX).map_err(unreadable)?;
        if let Some(found) = in_place::interrupted(&path, &bytes).map_err(unreadable)? {
            return Err(ReplaceError::Interrupted(found));
        }
        let text = String::from_utf8(bytes)
            .map_err(|error| ReplaceError::NotText(error.utf8_error().valid_up_to()))?;
        Ok(Self { path, file, text })
    }

    /// Its path, without symbolic links.
    #[must_use]
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Its text.
    #[must_use]
    pub fn text(&self) -> &str {
        &self.text
    }

    /// Gives the file this text. After an error the file has its old text, except after
    /// [`ReplaceError::Damaged`] and [`ReplaceError::Residue`].
    ///
    /// # Errors
    /// See [`ReplaceError`].
    pub fn replace(&self, text: &str) -> Result<(), ReplaceError> {
        attributes::refuse_fixed(&self.file)?;
        let new = beside(&self.path, "new");
        let prepared = self.prepare(&new, text);
        let result = match prepared {
            Ok(Replaceable::Yes) => match self.exchange(&new) {
                Ok(Replaceable::Yes) => Ok(()),
                Ok(Replaceable::No) => in_place::write(self, text),
                Err(error) => Err(error),
            },
            Ok(Replaceable::No) => in_place::write(self, text),
            Err(source) => Err(ReplaceError::Beside {
                path: new.clone(),
                source,
            }),
        };
        if matches!(result, Err(ReplaceError::Damaged { .. })) {
            return result;
        }
        match (remove(&new), result) {
            (Err(source), Ok(())) => Err(ReplaceError::Residue { path: new, source }),
            // The first error says more.
            (_, result) => result,
        }?;
        // A rename(2) is durable once its folder is.
        sync_folder(&self.path).map_err(ReplaceError::Unwritable)
    }

    /// Makes the complete new file. No other edit is under way, so a file with its name was left by
    /// a process that died, and this file is whole, see [`Old::read`].
    fn prepare(&self, new: &Path, text: &str) -> io::Result<Replaceable> {
        in_place::forget(&self.path)?;
        remove(new)?;
        let mut file = create(new)?;
        crash::point("edit: new file made", "");
        let names = self.file.metadata()?.nlink();
        // Before it has a text: some flags can be set on an empty file only. Nothing can be read from
        // it or written to it while it gets its attributes.
        let copied = names <= 1 && attributes::copy(&self.file, &file)?;
        file.write_all(text.as_bytes())?;
        if !copied {
            fchmod(&file, Mode::RUSR)?;
        }
        file.sync_all()?;
        crash::point("edit: new file written", "");
        Ok(match copied {
            true => Replaceable::Yes,
            false => Replaceable::No,
        })
    }

    /// Lets the new file take the name of the old one, if that one has not changed. The old file gets
    /// the name of the new one and is compared then, when no other program can find it any more.
    fn exchange(&self, new: &Path) -> Result<Replaceable, ReplaceError> {
        let exchange = || renameat_with(CWD, new, CWD, &self.path, RenameFlags::EXCHANGE);
        match exchange() {
            Ok(()) => {
                let unchanged = self.is_unchanged(new);
                crash::point("edit: exchanged", "");
                if matches!(unchanged, Ok(true)) {
                    return Ok(Replaceable::Yes);
                }
                exchange().map_err(|errno| ReplaceError::Damaged {
                    before: new.to_owned(),
                    source: errno.into(),
                })?;
                Err(unchanged.map_or_else(ReplaceError::Unwritable, |_| ReplaceError::Changed))
            }
            // The file system cannot exchange two files.
            Err(Errno::INVAL | Errno::NOSYS | Errno::OPNOTSUPP) => {
                if !self
                    .is_unchanged(&self.path)
                    .map_err(ReplaceError::Unwritable)?
                {
                    return Err(ReplaceError::Changed);
                }
                fs::rename(new, &self.path).map_err(ReplaceError::Unwritable)?;
                Ok(Replaceable::Yes)
            }
            // The file is a mount point, or in another quota project than its folder.
            Err(Errno::BUSY | Errno::XDEV) => Ok(Replaceable::No),
            // The file was removed meanwhile.
            Err(Errno::NOENT) => Err(ReplaceError::Changed),
            Err(errno) => Err(ReplaceError::Unwritable(errno.into())),
        }
    }

    /// Whether this is still the file, with the text, that was read.
    fn is_unchanged(&self, path: &Path) -> io::Result<bool> {
        let is_same = match fs::symlink_metadata(path) {
            Ok(found) => is_same(&found, &self.file.metadata()?),
            Err(error) if error.kind() == io::ErrorKind::NotFound => false,
            Err(error) => return Err(error),
        };
        Ok(is_same && fs::read(path)? == self.text.as_bytes())
    }
}

/// Whether a file can be replaced by another one without losing anything.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Replaceable {
    Yes,
    No,
}

/// Opens a regular file and locks it. The lock belongs to the file, not to its name: when it is
/// there, the name may have got another file.
fn locked(path: &Path) -> Result<File, ReplaceError> {
    let begun = Instant::now();
    loop {
        let file = open(path).map_err(ReplaceError::Unreadable)?;
        let opened = file.metadata().map_err(ReplaceError::Unreadable)?;
        if !opened.is_file() {
            return Err(ReplaceError::NotRegular);
        }
        while let Err(errno) = flock(&file, FlockOperation::NonBlockingLockExclusive) {
            match errno {
                Errno::WOULDBLOCK if begun.elapsed() < PATIENCE => thread::sleep(INTERVAL),
                Errno::WOULDBLOCK => return Err(ReplaceError::Locked),
                Errno::INTR => {}
                _ => return Err(ReplaceError::Unreadable(errno.into())),
            }
        }
        let named = fs::metadata(path).map_err(ReplaceError::Unreadable)?;
        if is_same(&named, &opened) {
            return Ok(file);
        }
    }
}

/// Opens a file for reading, without waiting for the other end of a pipe.
fn open(path: &Path) -> io::Result<File> {
    let flags = OFlags::NONBLOCK.bits().cast_signed();
    let mut options = OpenOptions::new();
    let options = options.read(true).custom_flags(flags);
    match options.open(path) {
        // An NFS client takes an exclusive lock only through a descriptor that can write.
        Ok(file) => match flock(&file, FlockOperation::NonBlockingLockExclusive) {
            Err(Errno::BADF) => options.write(true).open(path),
            _ => Ok(file),
        },
        Err(error) => Err(error),
    }
}

fn is_same(one: &Metadata, other: &Metadata) -> bool {
    (one.dev(), one.ino()) == (other.dev(), other.ino())
}

/// The path of a hidden file beside a file.
fn beside(path: &Path, what: &str) -> PathBuf {
    let mut name = std::ffi::OsString::from(".");
    name.push(path.file_name().unwrap_or_default());
    name.push(format!(".tenantd-{what}"));
    path.with_file_name(name)
}

/// Makes a file that no process can open but through this descriptor, root excepted.
fn create(path: &Path) -> io::Result<File> {
    let mut options = OpenOptions::new();
    options.write(true).create_new(true).mode(0o0).open(path)
}

/// Removes a file if it exists.
fn remove(path: &Path) -> io::Result<()> {
    match fs::remove_file(path) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
        removed => removed,
    }
}

fn sync_folder(path: &Path) -> io::Result<()> {
    File::open(path.parent().unwrap_or(Path::new("/")))?.sync_all()
}
