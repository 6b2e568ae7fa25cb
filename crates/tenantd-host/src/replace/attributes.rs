//! What a file has besides its text and its name: owner, mode, extended attributes, inode flags.

use std::collections::BTreeMap;
use std::ffi::{CStr, CString};
use std::fs::{File, Permissions};
use std::io;
use std::os::unix::fs::{MetadataExt, PermissionsExt, fchown};

use rustix::fs::{
    IFlags, XattrFlags, fgetxattr, flistxattr, fremovexattr, fsetxattr, ioctl_getflags,
    ioctl_setflags,
};
use rustix::io::Errno;

use super::ReplaceError;

/// The largest list of names and the largest value that the kernel returns, see xattr(7).
const XATTR_MAX: usize = 65536;

/// `FS_FL_USER_MODIFIABLE`: the flags that chattr(1) may set. The others describe how the file system
/// stores this one file.
const SETTABLE: IFlags = IFlags::from_bits_retain(0x0003_80ff);

/// Attributes that are computed from the text, so that a copy would be wrong.
const OF_THE_TEXT: [&CStr; 2] = [c"security.ima", c"security.evm"];

/// Refuses a file that its owner protected from changes. The error of rename(2) or open(2) would not
/// say why.
pub(super) fn refuse_fixed(file: &File) -> Result<(), ReplaceError> {
    let flags = flags(file).map_err(ReplaceError::Unreadable)?;
    let fixed = |flag, letter| Err(ReplaceError::Fixed { flag, letter });
    match flags.unwrap_or(IFlags::empty()) {
        flags if flags.contains(IFlags::IMMUTABLE) => fixed("immutable", 'i'),
        flags if flags.contains(IFlags::APPEND) => fixed("append-only", 'a'),
        _ => Ok(()),
    }
}

/// Gives a new, empty file all attributes of an old one. Returns false if it has other ones then: a
/// file system or a security module may refuse one, or add one.
///
/// The mode comes last and a file without it can be opened by no one else, so that the new file can
/// at no time be used by more processes than the old one.
pub(super) fn copy(old: &File, new: &File) -> io::Result<bool> {
    let seen = old.metadata()?;
    let wanted = xattrs(old)?;
    if OF_THE_TEXT.iter().any(|name| wanted.contains_key(*name)) {
        return Ok(false);
    }
    let mode = Permissions::from_mode(seen.mode() & 0o7777);
    let give = || -> io::Result<()> {
        if let (Some(of_old), Some(of_new)) = (flags(old)?, flags(new)?) {
            let flags = (of_new - SETTABLE) | (of_old & SETTABLE);
            if flags != of_new {
                ioctl_setflags(new, flags)?;
            }
        }
        fchown(new, Some(seen.uid()), Some(seen.gid()))?;
        // A folder's default list, for example, has given it one that the old file does not have.
        for name in xattrs(new)?
            .keys()
            .filter(|name| !wanted.contains_key(*name))
        {
            fremovexattr(new, name)?;
        }
        for (name, value) in &wanted {
            fsetxattr(new, name, value, XattrFlags::empty())?;
        }
        new.set_permissions(mode)
    };
    match give() {
        Ok(()) => {}
        Err(error) if is_refusal(&error) => return Ok(false),
        Err(error) => return Err(error),
    }
    let has = new.metadata()?;
    let of = |it: &std::fs::Metadata| (it.uid(), it.gid(), it.mode());
    Ok(of(&has) == of(&seen) && xattrs(new)? == wanted)
}

/// Whether the kernel, the file system or a security module refused an attribute. Other errors, such
/// as those of a disk, would not spare the old file either.
fn is_refusal(error: &io::Error) -> bool {
    let refusals = [
        Errno::PERM,
        Errno::ACCESS,
        Errno::OPNOTSUPP,
        Errno::INVAL,
        Errno::NODATA,
        Errno::NOTTY,
        Errno::RANGE,
        Errno::TOOBIG,
    ];
    Errno::from_io_error(error).is_some_and(|errno| refusals.contains(&errno))
}

/// The inode flags, or `None` if the file system has none.
fn flags(file: &File) -> io::Result<Option<IFlags>> {
    match ioctl_getflags(file) {
        Ok(flags) => Ok(Some(flags)),
        Err(Errno::NOTTY | Errno::OPNOTSUPP | Errno::INVAL | Errno::NOSYS) => Ok(None),
        Err(errno) => Err(errno.into()),
    }
}

/// All extended attributes that this process may see.
fn xattrs(file: &File) -> io::Result<BTreeMap<CString, Vec<u8>>> {
    let mut list = vec![0; XATTR_MAX];
    let length = match flistxattr(file, list.as_mut_slice()) {
        Ok(length) => length,
        Err(Errno::OPNOTSUPP) => 0,
        Err(errno) => return Err(errno.into()),
    };
    let mut found = BTreeMap::new();
    let names = list[..length].split_inclusive(|byte| *byte == 0);
    for name in names.filter_map(|name| CStr::from_bytes_with_nul(name).ok()) {
        let mut value = vec![0; XATTR_MAX];
        let length = fgetxattr(file, name, value.as_mut_slice())?;
        value.truncate(length);
        found.insert(name.to_owned(), value);
    }
    Ok(found)
}
