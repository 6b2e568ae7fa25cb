//! Where a path leads, if only root decides that.

use std::ffi::OsString;
use std::os::unix::ffi::OsStringExt;
use std::path::{Component, Path, PathBuf};

use rustix::fs::{FileType, lstat, readlink};
use rustix::io::Errno;

/// How many symbolic links are followed, as in path_resolution(7).
const LINKS: usize = 40;

/// Why nothing is known of where a path leads.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Untrusted {
    /// Another user than root may write to a folder on the way.
    Folder {
        /// The folder.
        folder: PathBuf,
        /// Its owner.
        uid: u32,
        /// Its mode.
        mode: u32,
    },
    /// The path cannot be followed.
    Failed(Errno),
}

impl From<Errno> for Untrusted {
    fn from(errno: Errno) -> Self {
        Self::Failed(errno)
    }
}

/// Follows an absolute path, with each symbolic link, through folders that only root can change. Returns a
/// path without links.
pub(super) fn resolve(path: &Path) -> Result<PathBuf, Untrusted> {
    // What is still to do, the next component last.
    let mut rest = components(path);
    let mut at = PathBuf::from("/");
    let mut links = 0;
    while let Some(name) = rest.pop() {
        trust(&at)?;
        if name == ".." {
            at.pop();
            continue;
        }
        let next = at.join(&name);
        if FileType::from_raw_mode(lstat(&next)?.st_mode) != FileType::Symlink {
            at = next;
            continue;
        }
        links += 1;
        if links > LINKS {
            return Err(Errno::LOOP.into());
        }
        let target = OsString::from_vec(readlink(&next, Vec::new())?.into_bytes());
        let target = Path::new(&target);
        if target.is_absolute() {
            at = PathBuf::from("/");
        }
        rest.extend(components(target));
    }
    Ok(at)
}

/// The names in a path, the first one last.
fn components(path: &Path) -> Vec<OsString> {
    let names = path.components().rev().filter_map(|part| match part {
        Component::Normal(name) => Some(name.to_owned()),
        Component::ParentDir => Some(OsString::from("..")),
        Component::RootDir | Component::CurDir | Component::Prefix(_) => None,
    });
    names.collect()
}

fn trust(folder: &Path) -> Result<(), Untrusted> {
    let found = lstat(folder)?;
    let mode = found.st_mode & 0o7777;
    if FileType::from_raw_mode(found.st_mode) != FileType::Directory {
        return Err(Errno::NOTDIR.into());
    }
    match found.st_uid == 0 && mode & 0o022 == 0 {
        true => Ok(()),
        false => Err(Untrusted::Folder {
            folder: folder.to_owned(),
            uid: found.st_uid,
            mode,
        }),
    }
}
