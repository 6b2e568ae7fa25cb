//! The filesystem of a datastore: whether it can have a quota, and what mends it if not.

use std::fs;
use std::os::fd::BorrowedFd;
use std::path::Path;

use rustix::fs::{fstat, fstatfs, major, minor};
use rustix::io::Errno;

use super::raw;
use super::subvolume::{self, BTRFS};
use tenantd_core::cgroup::DiskLimits;

/// The numbers of filesystems, see statfs(2).
const EXT4: i64 = 0xef53;
const XFS: i64 = 0x5846_5342;

/// Filesystems, by their quotas.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Kind {
    Ext4,
    Xfs,
    Btrfs,
    Other,
}

/// The filesystem in which a folder is.
pub(super) fn kind(folder: BorrowedFd<'_>) -> Result<Kind, Errno> {
    Ok(match fstatfs(folder)?.f_type {
        EXT4 => Kind::Ext4,
        XFS => Kind::Xfs,
        BTRFS => Kind::Btrfs,
        _ => Kind::Other,
    })
}

/// Where a filesystem is mounted, from which device, and its name.
struct Mounted {
    at: String,
    device: String,
    name: String,
}

/// The mount in which a folder is. Read only for a message.
fn mounted(folder: BorrowedFd<'_>, path: &Path) -> Option<Mounted> {
    let device = fstat(folder).ok()?.st_dev;
    let number = format!("{}:{}", major(device), minor(device));
    let text = fs::read_to_string("/proc/self/mountinfo").ok()?;
    let of_line = |line: &str| -> Option<(bool, Mounted)> {
        let (before, after) = line.split_once(" - ")?;
        let mut before = before.split(' ').skip(2);
        let is_device = before.next()? == number;
        let at = before.nth(1)?.to_owned();
        let mut after = after.split(' ');
        let (name, device) = (after.next()?.to_owned(), after.next()?.to_owned());
        Some((is_device, Mounted { at, device, name }))
    };
    let all = text.lines().filter_map(of_line);
    // Subvolumes have a device of their own, so the path counts more.
    let all = all.filter(|(_, mounted)| path.starts_with(&mounted.at));
    let last = all.max_by_key(|(is_device, it)| (it.at.len(), *is_device));
    last.map(|(_, mounted)| mounted)
}

/// Why a datastore cannot have a quota, and what mends it. `folder` is the open one: the datastore, or the nearest folder
/// above it that exists.
pub(super) fn lacking(
    open: BorrowedFd<'_>,
    folder: &Path,
    source: &Path,
    limits: DiskLimits,
) -> Result<Option<String>, Errno> {
    let kind = kind(open)?;
    let has = match kind {
        Kind::Ext4 | Kind::Xfs => raw::limits_projects(open)?,
        Kind::Btrfs => subvolume::is_counted(open)?,
        Kind::Other => false,
    };
    if !has {
        let mounted = mounted(open, folder);
        return Ok(Some(mends(kind, mounted.as_ref())));
    }
    if kind != Kind::Btrfs {
        return Ok(None);
    }
    if limits.files.is_some() {
        return Ok(Some(
            "btrfs does not limit files: remove `disk.files`".to_owned(),
        ));
    }
    if folder != source || subvolume::is_subvolume(open)? {
        return Ok(None);
    }
    let path = source.display();
    Ok(Some(format!(
        "it is a plain folder, and btrfs limits subvolumes: stop the tenant and type `mv {path} {path}.plain && btrfs subvolume \
         create {path} && cp -a --reflink=auto {path}.plain/. {path}`"
    )))
}

fn mends(kind: Kind, mounted: Option<&Mounted>) -> String {
    let (at, device, name) = mounted.map_or(("its mount point", "its device", "its kind"), |it| {
        (it.at.as_str(), it.device.as_str(), it.name.as_str())
    });
    let is_root = at == "/";
    match kind {
        Kind::Ext4 if is_root => format!(
            "the ext4 filesystem of / does not limit projects: from a rescue system type `tune2fs -O project,quota -Q prjquota \
             {device}`, and boot with rootflags=prjquota"
        ),
        Kind::Ext4 => format!(
            "the ext4 filesystem of {at} does not limit projects: type `umount {at} && tune2fs -O project,quota -Q prjquota \
             {device}`, add prjquota to its options in /etc/fstab, and type `mount {at}`"
        ),
        Kind::Xfs if is_root => {
            "the xfs filesystem of / does not limit projects: boot with rootflags=prjquota"
                .to_owned()
        }
        Kind::Xfs => format!(
            "the xfs filesystem of {at} does not limit projects: add prjquota to its options in /etc/fstab, and type `umount \
             {at} && mount {at}`"
        ),
        Kind::Btrfs => format!(
            "quotas are off in the btrfs filesystem of {at}: type `btrfs quota enable --simple {at}` (without --simple \
             before Linux 6.7; it then counts each extent for all that refer to it, which makes snapshots slow)"
        ),
        Kind::Other => format!(
            "its filesystem ({name}, mounted at {at}) has no quotas of folders: put the datastores on ext4, xfs or btrfs, or \
             remove `disk`"
        ),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_filesystem_has_the_line_that_mends_it() {
        let mounted = |at: &str| Mounted {
            at: at.to_owned(),
            device: "/dev/vda1".to_owned(),
            name: "zfs".to_owned(),
        };
        let (root, data) = (mounted("/"), mounted("/data"));
        for (kind, at, words) in [
            (
                Kind::Ext4,
                &data,
                "tune2fs -O project,quota -Q prjquota /dev/vda1`",
            ),
            (Kind::Ext4, &root, "rootflags=prjquota"),
            (Kind::Xfs, &data, "umount /data && mount /data"),
            (Kind::Xfs, &root, "rootflags=prjquota"),
            (Kind::Btrfs, &data, "btrfs quota enable --simple /data"),
            (Kind::Other, &data, "(zfs, mounted at /data)"),
        ] {
            let said = mends(kind, Some(at));
            assert!(said.contains(words), "{kind:?}: {said}");
        }
    }
}
