//! The host's mounts, one by one: a union over a file system shows that file system only.

use std::fs;
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::ffi::OsStringExt;
use std::os::unix::fs::{MetadataExt, PermissionsExt, chown};
use std::path::{Path, PathBuf};

use linux_raw_sys::general::{MOUNT_ATTR_RDONLY, mount_attr};
use rustix::fs::{CWD, Mode, OFlags, openat};
use rustix::mount::{
    FsMountFlags, FsOpenFlags, MountAttrFlags, OpenTreeFlags, fsconfig_create, fsconfig_set_string,
    fsmount, fsopen, open_tree,
};

use super::{Layers, ScratchError, attach, failed, move_to, of, open};
use crate::datastore::overlay;
use crate::launch::raw;

/// File systems of the kernel, which have no files of programs.
const KERNEL: [&str; 20] = [
    "autofs",
    "binfmt_misc",
    "bpf",
    "cgroup",
    "cgroup2",
    "configfs",
    "debugfs",
    "devpts",
    "devtmpfs",
    "efivarfs",
    "fusectl",
    "hugetlbfs",
    "mqueue",
    "nsfs",
    "proc",
    "pstore",
    "rpc_pipefs",
    "securityfs",
    "sysfs",
    "tracefs",
];

/// Where a scratch run has mounts of its own.
const OWN: [&str; 2] = ["/dev", "/sys/fs/cgroup"];

/// A mount of the host.
pub(super) struct Found {
    pub(super) place: PathBuf,
    kind: String,
    /// Opened before anything is mounted.
    open: Option<OwnedFd>,
}

/// The upper layer of a union.
#[derive(Debug)]
pub(super) struct Upper {
    /// Where the union is.
    pub(super) place: PathBuf,
    pub(super) upper: OwnedFd,
    pub(super) lower: OwnedFd,
}

/// What a mount became.
pub(super) enum Copied {
    Union(Upper),
    /// No union can be made of it: it is read-only or missing, for this reason.
    Other(String),
    Kernel,
    /// Another mount covers its place.
    Hidden,
}

/// All mounts of this namespace, parents first. Of several at one place, the last counts.
pub(super) fn all() -> Result<Vec<Found>, ScratchError> {
    let path = "/proc/self/mountinfo";
    let text = fs::read(path).map_err(failed(path))?;
    let mut found: Vec<Found> = Vec::new();
    for line in text.split(|byte| *byte == b'\n') {
        let Some((place, kind)) = mount_of(line) else {
            continue;
        };
        found.retain(|other| other.place != place);
        found.push(Found {
            open: None,
            place,
            kind,
        });
    }
    found.sort_by(|a, b| a.place.cmp(&b.place));
    for one in &mut found {
        one.open = open(&one.place).ok();
    }
    Ok(found)
}

/// The mount point and the type in a line of proc_pid_mountinfo(5).
fn mount_of(line: &[u8]) -> Option<(PathBuf, String)> {
    let mut fields = line.split(|byte| *byte == b' ');
    let place = unescaped(fields.nth(4)?);
    let kind = fields.skip_while(|field| *field != b"-").nth(1)?;
    let kind = String::from_utf8_lossy(kind).into_owned();
    Some((PathBuf::from(std::ffi::OsString::from_vec(place)), kind))
}

/// A path in which some bytes are written as `\040`.
fn unescaped(text: &[u8]) -> Vec<u8> {
    let mut bytes = Vec::new();
    let mut rest = text;
    while let Some((first, after)) = rest.split_first() {
        let digits = after.get(..3).filter(|_| *first == b'\\');
        let code = digits.and_then(|it| u8::from_str_radix(std::str::from_utf8(it).ok()?, 8).ok());
        rest = match code {
            Some(_) => &after[3..],
            None => after,
        };
        bytes.push(code.unwrap_or(*first));
    }
    bytes
}

/// Makes the tmpfs of the upper layers, and attaches it.
pub(super) fn layers(size: u64, place: &Path) -> Result<OwnedFd, ScratchError> {
    let make = || {
        let tmpfs = fsopen(c"tmpfs", FsOpenFlags::FSOPEN_CLOEXEC)?;
        fsconfig_set_string(&tmpfs, "source", "tenantd")?;
        fsconfig_set_string(&tmpfs, "mode", "0711")?;
        fsconfig_set_string(&tmpfs, "size", size.to_string().as_str())?;
        fsconfig_create(&tmpfs)?;
        fsmount(
            &tmpfs,
            FsMountFlags::FSMOUNT_CLOEXEC,
            MountAttrFlags::empty(),
        )
    };
    let tree = make().map_err(failed("cannot make a tmpfs"))?;
    move_to(&tree, place)?;
    Ok(tree)
}

/// Makes a union over a folder. It is detached.
pub(super) fn union(
    place: &Path,
    lower: OwnedFd,
    layers: &Layers,
    number: usize,
) -> Result<(Upper, OwnedFd), ScratchError> {
    let shown = || place.display().to_string();
    let upper = layers.folder(&format!("upper{number}"))?;
    let work = layers.folder(&format!("work{number}"))?;
    let seen = fs::metadata(of(&lower)).map_err(failed(shown()))?;
    // The upper folder is what the root of the union looks like.
    chown(&upper, Some(seen.uid()), Some(seen.gid())).map_err(failed(shown()))?;
    let mode = fs::Permissions::from_mode(seen.mode() & 0o7777);
    fs::set_permissions(&upper, mode).map_err(failed(shown()))?;
    let folder = |path: &Path| {
        let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC;
        openat(CWD, path, flags, Mode::empty()).map_err(failed(path.display().to_string()))
    };
    let (upper, work) = (folder(&upper)?, folder(&work)?);
    let tree = overlay::of_layers(&upper, &lower, &work, MountAttrFlags::MOUNT_ATTR_NODEV)
        .map_err(failed(shown()))?;
    let place = place.to_owned();
    Ok((
        Upper {
            place,
            upper,
            lower,
        },
        tree,
    ))
}

/// Makes a copy of a mount in the tree below `root`.
pub(super) fn copy(
    found: &Found,
    layers: &Layers,
    number: usize,
    root: &Path,
) -> Result<Copied, ScratchError> {
    let place = found.place.as_path();
    if OWN.iter().any(|own| place.starts_with(own)) {
        return Ok(Copied::Kernel);
    }
    let target = root.join(place.strip_prefix("/").unwrap_or(place));
    let (Some(open), true) = (&found.open, target.exists()) else {
        return Ok(Copied::Hidden);
    };
    let shown = || place.display().to_string();
    if place == Path::new("/sys") {
        // Of this network namespace.
        let flags = nix::mount::MsFlags::MS_RDONLY;
        super::mount_new("sysfs", &target.display().to_string(), "", flags)?;
        return Ok(Copied::Kernel);
    }
    let is_kernel = KERNEL.contains(&found.kind.as_str());
    // Root may be kept out of a file system in user space.
    let seen = match fs::metadata(of(open)) {
        Ok(seen) => seen,
        Err(error) => return Ok(Copied::Other(format!("not in this run: {error}"))),
    };
    let mut why = "read-only in this run: a single file".to_owned();
    if !is_kernel && seen.is_dir() {
        let lower = open.try_clone().map_err(failed(shown()))?;
        match union(place, lower, layers, number) {
            Ok((upper, tree)) => {
                attach(&tree, root, place)?;
                return Ok(Copied::Union(upper));
            }
            Err(error) => {
                let (kind, source) = (&found.kind, error.source);
                why = format!("read-only in this run: no union over {kind}: {source}");
            }
        }
    }
    let flags = OpenTreeFlags::OPEN_TREE_CLONE
        | OpenTreeFlags::OPEN_TREE_CLOEXEC
        | OpenTreeFlags::AT_EMPTY_PATH;
    let tree = match open_tree(open, c"", flags) {
        Ok(tree) => tree,
        Err(errno) => return Ok(Copied::Other(format!("not in this run: {errno}"))),
    };
    if place != Path::new("/proc") {
        let read_only = mount_attr {
            attr_set: MOUNT_ATTR_RDONLY.into(),
            attr_clr: 0,
            propagation: 0,
            userns_fd: 0,
        };
        raw::mount_setattr(tree.as_fd(), &read_only).map_err(failed(shown()))?;
    }
    attach(&tree, root, place)?;
    Ok(match is_kernel {
        true => Copied::Kernel,
        false => Copied::Other(why),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn mount_points_are_unescaped() {
        let line = b"36 35 98:0 / /a\\040b rw,noatime shared:1 - ext4 /dev/root rw";
        let (place, kind) = mount_of(line).unwrap();
        assert_eq!(
            (place.as_path(), kind.as_str()),
            (Path::new("/a b"), "ext4")
        );
        assert_eq!(mount_of(b""), None);
    }
}
