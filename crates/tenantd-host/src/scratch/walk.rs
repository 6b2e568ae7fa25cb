//! What is in the upper layer of a union, compared with the lower one.

use std::fs::{self, File, Metadata};
use std::io::{self, ErrorKind, Read};
use std::os::unix::fs::{FileTypeExt, MetadataExt};
use std::path::{Path, PathBuf};

use super::mounts::Upper;
use super::{ScratchError, failed, of};
use tenantd_core::learn::{What, Write};

/// Adds all that was written.
pub(super) fn walk(upper: &Upper, writes: &mut Vec<Write>) -> Result<(), ScratchError> {
    let mut folders = vec![PathBuf::new()];
    while let Some(rest) = folders.pop() {
        let folder = of(&upper.upper).join(&rest);
        let shown = || upper.place.join(&rest).display().to_string();
        let entries = match fs::read_dir(&folder) {
            Ok(entries) => entries,
            // The program has removed it meanwhile.
            Err(error) if error.kind() == ErrorKind::NotFound => continue,
            Err(error) => return Err(failed(shown())(error)),
        };
        for entry in entries {
            let entry = entry.map_err(failed(shown()))?;
            let rest = rest.join(entry.file_name());
            match look(upper, &rest) {
                Ok(Looked::Inside) => folders.push(rest),
                Ok(Looked::Both(write)) => {
                    writes.push(write);
                    folders.push(rest);
                }
                Ok(Looked::Written(write)) => writes.push(write),
                Err(error) if error.kind() == ErrorKind::NotFound => {}
                Err(error) => return Err(failed(shown())(error)),
            }
        }
    }
    Ok(())
}

enum Looked {
    /// A folder that is there because of what is in it.
    Inside,
    /// A folder that was written itself.
    Both(Write),
    Written(Write),
}

fn look(upper: &Upper, rest: &Path) -> io::Result<Looked> {
    let now = fs::symlink_metadata(of(&upper.upper).join(rest))?;
    let lower = of(&upper.lower).join(rest);
    let before = match fs::symlink_metadata(&lower) {
        Ok(before) => Some(before),
        // A folder of the path is a file in the lower layer, or missing.
        Err(error) if matches!(error.kind(), ErrorKind::NotFound | ErrorKind::NotADirectory) => {
            None
        }
        Err(error) => return Err(error),
    };
    let is_deleted = now.file_type().is_char_device() && now.rdev() == 0;
    let write = |what| Write {
        path: upper.place.join(rest),
        what,
        is_folder: if is_deleted {
            before.as_ref().is_some_and(Metadata::is_dir)
        } else {
            now.is_dir()
        },
        beside_host: lower.parent().is_some_and(Path::is_dir),
    };
    if is_deleted {
        return Ok(Looked::Written(write(What::Deleted)));
    }
    let Some(before) = &before else {
        return Ok(match now.is_dir() {
            true => Looked::Both(write(What::New)),
            false => Looked::Written(write(What::New)),
        });
    };
    let other_owner =
        (now.mode(), now.uid(), now.gid()) != (before.mode(), before.uid(), before.gid());
    if now.is_dir() {
        return Ok(match other_owner {
            true => Looked::Both(write(What::Owner)),
            false => Looked::Inside,
        });
    }
    let what = if !is_same(&now, before, &of(&upper.upper).join(rest), &lower)? {
        What::Changed
    } else if other_owner {
        What::Owner
    } else {
        What::Opened
    };
    Ok(Looked::Written(write(what)))
}

/// Whether two files have the same content.
fn is_same(now: &Metadata, before: &Metadata, upper: &Path, lower: &Path) -> io::Result<bool> {
    if !(now.is_file() && before.is_file()) {
        return Ok(now.file_type() == before.file_type() && !now.is_symlink());
    }
    if now.len() != before.len() {
        return Ok(false);
    }
    let (mut one, mut other) = (File::open(upper)?, File::open(lower)?);
    let mut buffers = [[0_u8; 65536]; 2];
    let [a, b] = &mut buffers;
    loop {
        let read = one.read(a)?;
        if read == 0 {
            return Ok(other.read(b)? == 0);
        }
        let same = b.get_mut(..read).map(|room| other.read_exact(room));
        if same.is_none_or(|same| same.is_err()) || a.get(..read) != b.get(..read) {
            return Ok(false);
        }
    }
}
