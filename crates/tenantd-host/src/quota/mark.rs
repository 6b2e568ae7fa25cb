//! The attribute of a datastore's folder that says that tenantd set its quota, and which project it has. Only root of the
//! host reads or writes it, with CAP_SYS_ADMIN.

use std::os::fd::{AsRawFd, BorrowedFd};
use std::path::PathBuf;

use rustix::fs::{XattrFlags, fstat, getxattr, setxattr};
use rustix::io::Errno;

use super::project;

/// The attribute.
pub const ATTRIBUTE: &str = "trusted.tenantd.quota";

/// What is noted of a datastore whose quota tenantd has set.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Mark {
    /// It is a subvolume.
    Subvolume,
    /// It has this project.
    Project {
        number: u32,
        /// The folder: a copy of it has a copy of the mark, and no right to the project.
        inode: u64,
        /// Whether all that is in it has the project.
        is_complete: bool,
    },
}

impl Mark {
    pub(super) fn text(self) -> String {
        match self {
            Self::Subvolume => "subvolume".to_owned(),
            Self::Project {
                number,
                inode,
                is_complete,
            } => {
                let state = if is_complete { "complete" } else { "begun" };
                format!("project {number} {inode} {state}")
            }
        }
    }

    pub(super) fn read(text: &str) -> Option<Self> {
        let words: Vec<&str> = text.split(' ').collect();
        match words.as_slice() {
            ["subvolume"] => Some(Self::Subvolume),
            ["project", number, inode, state @ ("complete" | "begun")] => Some(Self::Project {
                number: number
                    .parse()
                    .ok()
                    .filter(|it| project::OURS.contains(it))?,
                inode: inode.parse().ok()?,
                is_complete: *state == "complete",
            }),
            _ => None,
        }
    }
}

fn path_of(root: BorrowedFd<'_>) -> PathBuf {
    PathBuf::from(format!("/proc/self/fd/{}", root.as_raw_fd()))
}

/// The mark of a datastore, if it is its own.
pub(super) fn of(root: BorrowedFd<'_>) -> Result<Option<Mark>, Errno> {
    let mut bytes = [0; 128];
    let found = match getxattr(path_of(root), ATTRIBUTE, &mut bytes[..]) {
        Ok(length) => String::from_utf8_lossy(bytes.get(..length).unwrap_or_default()).into_owned(),
        Err(Errno::NODATA | Errno::OPNOTSUPP) => return Ok(None),
        Err(errno) => return Err(errno),
    };
    let own = fstat(root)?.st_ino;
    Ok(Mark::read(&found).filter(|mark| match mark {
        Mark::Subvolume => true,
        Mark::Project { inode, .. } => *inode == own,
    }))
}

/// Marks a datastore.
pub(super) fn set(root: BorrowedFd<'_>, mark: Mark) -> Result<(), Errno> {
    let (path, text) = (path_of(root), mark.text());
    setxattr(path, ATTRIBUTE, text.as_bytes(), XattrFlags::empty())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_mark_is_read_as_it_was_written() {
        let project = |number, is_complete| Mark::Project {
            number,
            inode: 12,
            is_complete,
        };
        for mark in [
            Mark::Subvolume,
            project(project::OURS.start, true),
            project(project::OURS.start, false),
        ] {
            assert_eq!(Mark::read(&mark.text()), Some(mark));
        }
        // Those of others, and of another version.
        for text in [
            "",
            "project 7 12 complete",
            "project 1409286144 12",
            "later",
        ] {
            assert_eq!(Mark::read(text), None, "{text}");
        }
    }
}
