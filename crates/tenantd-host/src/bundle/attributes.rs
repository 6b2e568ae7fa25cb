//! The extended attributes that are in a bundle, and the users in access control lists.

use std::os::fd::{AsRawFd, BorrowedFd};
use std::path::PathBuf;

use rustix::buffer::spare_capacity;
use rustix::fs::{XattrFlags, getxattr, listxattr, setxattr};
use rustix::io::Errno;

/// A name and a value.
pub(super) type Attribute = (Vec<u8>, Vec<u8>);

/// The attribute with capabilities, see capabilities(7).
pub(super) const CAPABILITY: &[u8] = b"security.capability";

const ACLS: &[u8] = b"system.posix_acl_";

/// The largest list of names and the largest value that the kernel returns, see xattr(7).
const MAX: usize = 1 << 16;

/// Whether an attribute belongs to the data. Others belong to the host, such as the labels of its security
/// modules, or the owner record.
pub(super) fn is_kept(name: &[u8]) -> bool {
    name.starts_with(b"user.")
        || name.starts_with(ACLS)
        || name.starts_with(b"trusted.overlay.")
        || name == CAPABILITY
}

/// The path of what is open, since the descriptor may be an `O_PATH` one.
pub(super) fn by_descriptor(entry: BorrowedFd<'_>) -> PathBuf {
    PathBuf::from(format!("/proc/self/fd/{}", entry.as_raw_fd()))
}

/// The attributes of what is open, sorted by name.
pub(super) fn read(entry: BorrowedFd<'_>) -> Result<Vec<Attribute>, Errno> {
    let path = by_descriptor(entry);
    let mut names = Vec::with_capacity(MAX);
    match listxattr(&path, spare_capacity(&mut names)) {
        Ok(_) => {}
        Err(Errno::OPNOTSUPP) => return Ok(Vec::new()),
        Err(errno) => return Err(errno),
    }
    let mut found = Vec::new();
    for name in names.split(|byte| *byte == 0).filter(|name| is_kept(name)) {
        let mut value = Vec::with_capacity(MAX);
        match getxattr(&path, name, spare_capacity(&mut value)) {
            Ok(_) => found.push((name.to_vec(), value)),
            Err(Errno::NODATA) => {}
            Err(errno) => return Err(errno),
        }
    }
    found.sort();
    Ok(found)
}

/// Sets an attribute of what is open.
pub(super) fn write(entry: BorrowedFd<'_>, name: &[u8], value: &[u8]) -> Result<(), Errno> {
    setxattr(by_descriptor(entry), name, value, XattrFlags::empty())
}

/// A value in which the users and groups of an access control list are others, see acl(5) and
/// `linux/posix_acl_xattr.h`: a version, then for each entry a tag, permissions and a number. `None` if it is
/// malformed.
pub(super) fn mapped(
    name: &[u8],
    value: &[u8],
    user: impl Fn(u32) -> u32,
    group: impl Fn(u32) -> u32,
) -> Option<Vec<u8>> {
    const USER: u16 = 0x02;
    const GROUP: u16 = 0x08;
    if !name.starts_with(ACLS) {
        return Some(value.to_vec());
    }
    let (version, entries) = value.split_at_checked(4)?;
    let mut mapped = version.to_vec();
    if version != 2u32.to_le_bytes() || entries.len() % 8 != 0 {
        return None;
    }
    for entry in entries.chunks_exact(8) {
        let tag = u16::from_le_bytes([entry[0], entry[1]]);
        let id = u32::from_le_bytes([entry[4], entry[5], entry[6], entry[7]]);
        let id = match tag {
            USER => user(id),
            GROUP => group(id),
            _ => id,
        };
        mapped.extend_from_slice(&entry[..4]);
        mapped.extend_from_slice(&id.to_le_bytes());
    }
    Some(mapped)
}
