//! Who besides root can change what root executes: the owner, the groups and the users that may write
//! a file, or a folder on the way to it.

use std::fmt;
use std::fs::{self, Metadata};
use std::io;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

use nix::unistd;
use rustix::fs::lgetxattr;
use rustix::io::Errno;

use crate::acl::{self, Subject};

/// A user or users other than root.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Who {
    /// A user.
    User(u32),
    /// The members of a group.
    Group(u32),
    /// All users of the host.
    Everyone,
}

impl fmt::Display for Who {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Who::User(uid) => match unistd::User::from_uid((*uid).into()) {
                Ok(Some(user)) => write!(f, "user {}", user.name),
                Ok(None) | Err(_) => write!(f, "user {uid}"),
            },
            Who::Group(gid) => match unistd::Group::from_gid((*gid).into()) {
                Ok(Some(group)) => write!(f, "group {}", group.name),
                Ok(None) | Err(_) => write!(f, "group {gid}"),
            },
            Who::Everyone => f.write_str("every user"),
        }
    }
}

/// A file or folder that others may write.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Open {
    /// The file, or a folder on the way to it.
    pub path: PathBuf,
    /// Who may write it.
    pub who: Vec<Who>,
}

/// All that others than root may write, from the root folder to a file, whose path is absolute. Of a
/// symbolic link, the way to it and the way to its target are examined.
///
/// # Errors
/// Those of stat(2), realpath(3) and getxattr(2).
pub fn of(path: &Path) -> io::Result<Vec<Open>> {
    let mut found: Vec<Open> = Vec::new();
    for way in [path.to_owned(), fs::canonicalize(path)?] {
        let steps: Vec<&Path> = way.ancestors().collect();
        for step in steps.iter().rev() {
            let seen = fs::symlink_metadata(step)?;
            // A link has no permissions of its own: who may write its folder may change it.
            if seen.is_symlink() || found.iter().any(|open| open.path == *step) {
                continue;
            }
            let below = steps.iter().find(|below| below.parent() == Some(step));
            let who = writers(step, &seen, below.copied())?;
            if !who.is_empty() {
                let path = (*step).to_owned();
                found.push(Open { path, who });
            }
        }
    }
    Ok(found)
}

/// Who may write one file or folder. In a sticky folder, only the owner of an entry may replace it.
fn writers(path: &Path, seen: &Metadata, below: Option<&Path>) -> io::Result<Vec<Who>> {
    let mut who = Vec::new();
    if seen.uid() != 0 {
        who.push(Who::User(seen.uid()));
    }
    let is_sticky = seen.is_dir() && seen.mode() & 0o1000 != 0;
    if is_sticky && below.map_or(Ok(0), owner)? == 0 {
        return Ok(who);
    }
    let mut value = vec![0; 65536];
    let list = match lgetxattr(path, acl::ATTRIBUTE, value.as_mut_slice()) {
        Ok(length) => acl::writers(&value[..length]),
        Err(Errno::NODATA | Errno::OPNOTSUPP) => {
            let may = |bit, subject| (seen.mode() & bit != 0).then_some(subject);
            let of_mode = [
                may(0o020, Subject::OwningGroup),
                may(0o002, Subject::Others),
            ];
            of_mode.into_iter().flatten().collect()
        }
        Err(errno) => return Err(errno.into()),
    };
    let others = list.into_iter().map(|subject| match subject {
        Subject::User(uid) => Who::User(uid),
        Subject::OwningGroup => Who::Group(seen.gid()),
        Subject::Group(gid) => Who::Group(gid),
        Subject::Others => Who::Everyone,
    });
    let is_root = |who: &Who| matches!(who, Who::User(0) | Who::Group(0));
    who.extend(others.filter(|who| !is_root(who)));
    Ok(who)
}

fn owner(path: &Path) -> io::Result<u32> {
    Ok(fs::symlink_metadata(path)?.uid())
}

#[cfg(test)]
mod as_root {
    use std::os::unix::fs::{PermissionsExt, chown, symlink};

    use super::*;

    #[test]
    fn everybody_who_may_change_a_file_is_found() {
        let folder = tempfile::tempdir().unwrap();
        let inner = folder.path().join("inner");
        let file = inner.join("wiki.toml");
        fs::create_dir(&inner).unwrap();
        fs::write(&file, "").unwrap();
        let mode = |path: &Path, mode| {
            fs::set_permissions(path, fs::Permissions::from_mode(mode)).unwrap();
        };
        mode(&inner, 0o755);
        mode(&file, 0o664);
        // Of the group root, and in /tmp, which is sticky.
        assert_eq!(of(&file).unwrap(), []);
        chown(&file, Some(0), Some(33)).unwrap();
        let open = |path: &Path, who: &[Who]| Open {
            path: path.to_owned(),
            who: who.to_vec(),
        };
        assert_eq!(of(&file).unwrap(), [open(&file, &[Who::Group(33)])]);
        mode(&file, 0o640);
        chown(&file, Some(7), None).unwrap();
        assert_eq!(of(&file).unwrap(), [open(&file, &[Who::User(7)])]);
        chown(&file, Some(0), None).unwrap();
        mode(&inner, 0o777);
        assert_eq!(of(&file).unwrap(), [open(&inner, &[Who::Everyone])]);
        mode(&inner, 0o1777);
        assert_eq!(of(&file).unwrap(), []);
        mode(&inner, 0o700);
        acl::admit(&file, &[5].into()).unwrap();
        assert_eq!(of(&file).unwrap(), [open(&file, &[Who::Group(5)])]);
        // The mask takes the right away.
        mode(&file, 0o640);
        assert_eq!(of(&file).unwrap(), []);

        let links = folder.path().join("links");
        fs::create_dir(&links).unwrap();
        mode(&links, 0o777);
        let link = links.join("link.toml");
        symlink(&file, &link).unwrap();
        assert_eq!(of(&link).unwrap(), [open(&links, &[Who::Everyone])]);
    }
}
