//! The access control list of a file, see acl(5): which groups may use it besides its owner.
//!
//! A file has only one group, and an access control list any number. The list is written as the
//! extended attribute that setfacl(1) writes.

use std::collections::BTreeSet;
use std::io;
use std::path::Path;

use rustix::fs::{Mode, XattrFlags, chmod, removexattr, setxattr};
use rustix::io::Errno;

/// The attribute, see xattr(7).
pub(crate) const ATTRIBUTE: &str = "system.posix_acl_access";

/// `POSIX_ACL_XATTR_VERSION`.
const VERSION: u32 = 2;

/// `ACL_UNDEFINED_ID`: of entries without a user or group.
const NO_ID: u32 = u32::MAX;

// The kinds of entries, in the order that the kernel requires.
const OWNER: u16 = 0x01;
const USER: u16 = 0x02;
const OWNING_GROUP: u16 = 0x04;
const GROUP: u16 = 0x08;
const MASK: u16 = 0x10;
const OTHERS: u16 = 0x20;

const READ_WRITE: u16 = 6;
const WRITE: u16 = 2;

/// Whom an entry of a list is about, except for the owner.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Subject {
    User(u32),
    OwningGroup,
    Group(u32),
    Others,
}

/// Who may write a file according to the value of its attribute, besides its owner. What has not the
/// form of a list admits no process: the kernel does not return such a value.
pub(crate) fn writers(value: &[u8]) -> Vec<Subject> {
    let (_version, entries) = value.split_at(value.len().min(4));
    let entries = entries.chunks_exact(8).map(|entry| {
        let short = |at: usize| u16::from_le_bytes([entry[at], entry[at + 1]]);
        let id = u32::from_le_bytes([entry[4], entry[5], entry[6], entry[7]]);
        (short(0), short(2), id)
    });
    let entries: Vec<_> = entries.collect();
    let mask = entries.iter().find(|(kind, ..)| *kind == MASK);
    let mask = mask.map_or(READ_WRITE, |(_, permissions, _)| *permissions);
    let masked = |permissions: u16, subject| (permissions & mask & WRITE != 0).then_some(subject);
    let subjects = entries.iter().filter_map(|&(kind, may, id)| match kind {
        USER => masked(may, Subject::User(id)),
        OWNING_GROUP => masked(may, Subject::OwningGroup),
        GROUP => masked(may, Subject::Group(id)),
        OTHERS => (may & WRITE != 0).then_some(Subject::Others),
        _ => None,
    });
    subjects.collect()
}

/// Lets the owner and these groups read and write a file, and nobody else. To connect to a socket
/// needs the permission to write, see unix(7).
///
/// # Errors
/// Those of chmod(2), setxattr(2) and removexattr(2).
pub fn admit(path: &Path, groups: &BTreeSet<u32>) -> io::Result<()> {
    if !groups.is_empty() {
        // The list contains the permissions of the owner and of others, so it replaces the mode.
        return Ok(setxattr(
            path,
            ATTRIBUTE,
            &list(groups),
            XattrFlags::empty(),
        )?);
    }
    match removexattr(path, ATTRIBUTE) {
        // Without groups, the filesystem need not support lists.
        Ok(()) | Err(Errno::NODATA | Errno::OPNOTSUPP) => {}
        Err(errno) => return Err(errno.into()),
    }
    Ok(chmod(path, Mode::RUSR | Mode::WUSR)?)
}

fn list(groups: &BTreeSet<u32>) -> Vec<u8> {
    let fixed = |kind, permissions| (kind, permissions, NO_ID);
    let mut entries = vec![fixed(OWNER, READ_WRITE), fixed(OWNING_GROUP, 0)];
    entries.extend(groups.iter().map(|group| (GROUP, READ_WRITE, *group)));
    entries.extend([fixed(MASK, READ_WRITE), fixed(OTHERS, 0)]);
    let mut bytes = VERSION.to_le_bytes().to_vec();
    for (kind, permissions, id) in entries {
        bytes.extend(kind.to_le_bytes());
        bytes.extend(permissions.to_le_bytes());
        bytes.extend(id.to_le_bytes());
    }
    bytes
}
