//! Whether the program's user can write to its folders.
//!
//! The owner of a folder that exists is never changed. If the manifest has another user by now, or
//! the folder is on a share that ignores owners, every write of the program fails.

use std::os::fd::BorrowedFd;
use std::path::Path;

use rustix::fs::{Mode, Stat, fgetxattr, fstat};
use rustix::io::Errno;

use super::layout::open_folder;
use tenantd_core::plan::model::{DatastorePlan, IdMap, Identity};

/// Why the user cannot write to a folder, and what to do about it; `None` if it can.
pub(super) fn misfit(
    folder: BorrowedFd<'_>,
    path: &Path,
    plan: &DatastorePlan,
    identity: &Identity,
) -> Result<Option<String>, Errno> {
    let stat = fstat(folder)?;
    if may_write(&stat, plan.map.as_ref(), identity) || has_list(folder)? {
        return Ok(None);
    }
    let (user, DatastorePlan { uid, gid, .. }) = (&identity.user, plan);
    let (path, mode) = (path.display(), stat.st_mode & 0o7777);
    let (owner, group) = (stat.st_uid, stat.st_gid);
    let or = match owner {
        0 => String::new(),
        _ => format!(", and `owner = {owner}` in [app.datastore] leaves it as it is"),
    };
    Ok(Some(format!(
        "{path} belongs to {owner}:{group} with mode {mode:04o}, so user {user} cannot write to \
         it: `tenantd chown` gives it {uid}:{gid} while the tenant is down{or}"
    )))
}

/// Whether owner, group and mode permit writing.
fn may_write(stat: &Stat, map: Option<&IdMap>, identity: &Identity) -> bool {
    let mode = Mode::from_raw_mode(stat.st_mode);
    let (uid, gid) = match map {
        Some(map) => (map.uid.other(stat.st_uid), map.gid.other(stat.st_gid)),
        None => (stat.st_uid, stat.st_gid),
    };
    let in_group = gid == identity.gid || identity.groups.contains(&gid);
    let needed = if identity.uid == 0 {
        return true;
    } else if uid == identity.uid {
        Mode::WUSR | Mode::XUSR
    } else if in_group {
        Mode::WGRP | Mode::XGRP
    } else {
        Mode::WOTH | Mode::XOTH
    };
    mode.contains(needed)
}

/// Whether an access control list may permit what the mode does not.
fn has_list(folder: BorrowedFd<'_>) -> Result<bool, Errno> {
    let folder = open_folder(folder, ".")?;
    let mut nothing = [0_u8; 0];
    match fgetxattr(&folder, "system.posix_acl_access", &mut nothing) {
        Ok(size) => Ok(size > 0),
        Err(Errno::NODATA | Errno::OPNOTSUPP) => Ok(false),
        Err(errno) => Err(errno),
    }
}
