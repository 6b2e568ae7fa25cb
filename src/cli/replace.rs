//! Replaces a file atomically: the new file has the owner and the mode of the old one, and nothing is
//! replaced if another program changed the old one meanwhile.

use std::fs::{self, File, Metadata, OpenOptions, Permissions};
use std::io::{self, Write};
use std::os::unix::fs::{MetadataExt, OpenOptionsExt, PermissionsExt, fchown};
use std::path::{Path, PathBuf};

/// A file with the text and the metadata that it had when it was read.
pub(super) struct Old {
    path: PathBuf,
    text: String,
    seen: Metadata,
}

impl Old {
    /// Reads a file.
    pub(super) fn read(path: &Path) -> io::Result<Self> {
        Ok(Self {
            path: path.to_owned(),
            seen: fs::metadata(path)?,
            text: fs::read_to_string(path)?,
        })
    }

    pub(super) fn text(&self) -> &str {
        &self.text
    }

    /// Replaces the file by one with this text. After an error the old file is in place.
    pub(super) fn replace(&self, text: &str) -> io::Result<()> {
        let name = self.path.file_name().unwrap_or_default().to_string_lossy();
        let new = self.path.with_file_name(format!(".{name}.new"));
        let written = self.write(&new, text);
        if written.is_err()
            && !matches!(&written, Err(e) if e.kind() == io::ErrorKind::AlreadyExists)
        {
            // A later attempt says so if it could not be removed.
            let _left = fs::remove_file(&new);
        }
        written.map_err(|error| {
            let hint = match error.kind() {
                io::ErrorKind::AlreadyExists => {
                    ": another `tenantd add` or `remove` is at work; if none is, remove this file"
                }
                _ => "",
            };
            io::Error::new(error.kind(), format!("{}: {error}{hint}", new.display()))
        })?;
        let folder = self.path.parent().unwrap_or(Path::new("/"));
        // A rename(2) is durable once its folder is.
        File::open(folder)?.sync_all()
    }

    fn write(&self, new: &Path, text: &str) -> io::Result<()> {
        let mode = self.seen.permissions().mode() & 0o7777;
        // Of two edits at a time the second one fails here: it finds the file of the first.
        let mut options = OpenOptions::new();
        let mut file = options.write(true).create_new(true).mode(0o600).open(new)?;
        file.write_all(text.as_bytes())?;
        fchown(&file, Some(self.seen.uid()), Some(self.seen.gid()))?;
        file.set_permissions(Permissions::from_mode(mode))?;
        file.sync_all()?;
        if fs::read_to_string(&self.path)? != self.text {
            return Err(io::Error::other(
                "another program changed the manifest meanwhile: try again",
            ));
        }
        fs::rename(new, &self.path)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn replacing_keeps_the_mode_and_changes_by_other_programs() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("wiki.toml");
        fs::write(&path, "one").unwrap();
        fs::set_permissions(&path, Permissions::from_mode(0o640)).unwrap();
        let old = Old::read(&path).unwrap();
        old.replace("two").unwrap();
        assert_eq!(fs::read_to_string(&path).unwrap(), "two");
        assert_eq!(fs::metadata(&path).unwrap().mode() & 0o7777, 0o640);
        let late = old.replace("three").unwrap_err();
        assert!(late.to_string().contains("meanwhile"), "{late}");
        assert_eq!(fs::read_to_string(&path).unwrap(), "two");
        assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 1);
    }

    #[test]
    fn a_concurrent_edit_fails_and_changes_nothing() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("wiki.toml");
        fs::write(&path, "one").unwrap();
        fs::write(folder.path().join(".wiki.toml.new"), "half").unwrap();
        let old = Old::read(&path).unwrap();
        assert_eq!(
            old.replace("two").unwrap_err().kind(),
            io::ErrorKind::AlreadyExists
        );
        assert_eq!(fs::read_to_string(&path).unwrap(), "one");
        assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 2);
    }
}
