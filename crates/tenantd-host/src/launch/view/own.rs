//! The folders that a tenant has of its own while the host is read-only, see
//! [`OWN`](tenantd_core::plan::model::OWN).
//!
//! Each is a tmpfs with the owner and mode of the host's folder that it covers. Folders and mount
//! points that the tenant needs in them are made here, before the mounts are attached.

use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};

use rustix::fs::{AtFlags, Dev, FileType, Gid, Mode, OFlags, Uid};
use rustix::fs::{chmodat, chownat, fstat, makedev, mkdirat, mknodat, openat, stat, symlinkat};
use rustix::io::Errno;
use rustix::mount::{
    FsMountFlags, FsOpenFlags, MountAttrFlags, fsconfig_create, fsconfig_set_string, fsmount,
    fsopen,
};

use super::on;
use crate::launch::mounts::Mounts;
use crate::launch::seal;
use crate::launch::templates::Taken;
use crate::launch::templates::spares::Kind;
use crate::launch::tmpfs::{Owner, Tmpfs};
use tenantd_core::stage::{Failure, Stage};

const STAGE: Stage = Stage::Own;

/// The largest number of bytes in a tenant's `/dev`, which has a few nodes and links.
const DEV_SIZE: u64 = 64 << 10;

/// The device files: name, major and minor number, see Documentation/admin-guide/devices.txt.
const NODES: [(&str, u32, u32); 6] = [
    ("null", 1, 3),
    ("zero", 1, 5),
    ("full", 1, 7),
    ("random", 1, 8),
    ("urandom", 1, 9),
    ("tty", 5, 0),
];

/// The symbolic links.
const LINKS: [(&str, &str); 6] = [
    ("fd", "/proc/self/fd"),
    ("stdin", "/proc/self/fd/0"),
    ("stdout", "/proc/self/fd/1"),
    ("stderr", "/proc/self/fd/2"),
    ("ptmx", "pts/ptmx"),
    // See `view::syslog`.
    ("log", "/run/tenantd/.log/socket"),
];

/// The group of terminals, the same in all distributions.
const TTY: &str = "5";

/// One of the tenant's own folders: its path without symbolic links, and the detached mount.
struct OwnFolder {
    path: PathBuf,
    tree: OwnedFd,
    /// Whether it becomes read-only once it is complete.
    is_sealed: bool,
}

/// The tenant's own folders.
#[derive(Default)]
pub(super) struct OwnFolders {
    folders: Vec<OwnFolder>,
}

impl OwnFolders {
    /// Makes all of them, each of at most `size` bytes, except those in folders of the datastore, whose
    /// targets are `stored`. The launch will attach other mounts at those and at `others`.
    ///
    /// # Errors
    /// A [`Failure`] of stage own.
    pub(super) fn make<'a>(
        taken: &mut Taken<'_>,
        size: u64,
        stored: &[(Stage, PathBuf)],
        mut others: impl Iterator<Item = &'a Path>,
    ) -> Result<Self, Failure> {
        let mut own = Self::default();
        let is_stored = |path: &Path| stored.iter().any(|(_, folder)| path.starts_with(folder));
        let adds_to_dev =
            stored.iter().any(|(_, path)| is_new_in_dev(path)) || others.any(is_new_in_dev);
        let dev = match adds_to_dev {
            true => device_folder(),
            false => taken.templates.dev(),
        };
        own.make_dev(size, dev, |kind| taken.own(kind))?;
        // The last one is a link to the first, where it is not a folder that services use instead.
        for path in ["/run", "/tmp", "/var/tmp", "/var/run"] {
            own.make_one(Path::new(path), size, is_stored, taken)?;
        }
        // Programs look for their lock files there, which is not always a mount point.
        let lock = Path::new("/run/lock");
        match stat(lock) {
            Ok(found) if FileType::from_raw_mode(found.st_mode) == FileType::Directory => {
                own.folder(STAGE, lock, owner_of(&found))?;
            }
            Ok(_) | Err(Errno::NOENT) => {}
            Err(errno) => return Err(on(STAGE, lock)(errno)),
        }
        Ok(own)
    }

    /// Makes one, unless the host has no such folder or it is a link to one that exists already.
    fn make_one(
        &mut self,
        path: &Path,
        size: u64,
        is_stored: impl Fn(&Path) -> bool,
        taken: &mut Taken<'_>,
    ) -> Result<(), Failure> {
        let real = match std::fs::canonicalize(path) {
            Ok(real) => real,
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(()),
            Err(error) => {
                let errno = Errno::from_io_error(&error).unwrap_or(Errno::IO);
                return Err(on(STAGE, path)(errno));
            }
        };
        let owner = owner_of(&stat(&real).map_err(on(STAGE, &real))?);
        if is_stored(&real) || self.is_one(&real) {
            return Ok(());
        }
        if self.holds(&real) {
            return self.folder(STAGE, &real, owner);
        }
        let tree = taken.own(Kind::Memory(Tmpfs::writable(owner, size)));
        let tree = tree.map_err(on(STAGE, &real))?;
        self.folders.push(OwnFolder {
            path: real,
            tree,
            is_sealed: false,
        });
        Ok(())
    }

    /// Covers a folder with one in which is nothing but the mount points that are made there.
    ///
    /// # Errors
    /// A [`Failure`] of stage hide.
    pub(super) fn seal(&mut self, path: PathBuf) -> Result<(), Failure> {
        let tmpfs = Tmpfs::writable(Owner::ROOT, DEV_SIZE);
        let tree = tmpfs.mount().map_err(on(Stage::Hide, &path))?;
        self.folders.push(OwnFolder {
            path,
            tree,
            is_sealed: true,
        });
        Ok(())
    }

    /// Makes only `/dev` and the folders in it.
    ///
    /// # Errors
    /// A [`Failure`] of stage own.
    pub(super) fn devices(size: u64) -> Result<Vec<(PathBuf, OwnedFd)>, Failure> {
        let mut own = Self::default();
        let make = |kind: Kind| kind.make(|| Tmpfs::cover().mount());
        own.make_dev(size, device_folder(), make)?;
        let folders = own.folders.into_iter();
        Ok(folders.map(|own| (own.path, own.tree)).collect())
    }

    fn make_dev(
        &mut self,
        size: u64,
        made: Result<OwnedFd, Errno>,
        mut make: impl FnMut(Kind) -> Result<OwnedFd, Errno>,
    ) -> Result<(), Failure> {
        let [dev, shm, pts] = ["/dev", "/dev/shm", "/dev/pts"].map(Path::new);
        let tree = made.map_err(on(STAGE, dev))?;
        let all = Owner {
            mode: 0o1777,
            ..Owner::ROOT
        };
        let memory = make(Kind::Memory(Tmpfs::writable(all, size))).map_err(on(STAGE, shm))?;
        let terminals = make(Kind::Terminals).map_err(on(STAGE, pts))?;
        for (path, tree) in [(dev, tree), (shm, memory), (pts, terminals)] {
            self.folders.push(OwnFolder {
                path: path.to_owned(),
                tree,
                is_sealed: path == dev,
            });
        }
        Ok(())
    }

    /// Sets the mode of one of the folders.
    pub(super) fn set_mode(&self, path: &Path, mode: u32) -> Result<(), Errno> {
        let mut found = self.folders.iter().filter(|own| own.path == path);
        let mode = Mode::from_raw_mode(mode);
        found.try_for_each(|own| chmodat(&own.tree, ".", mode, AtFlags::empty()))
    }

    /// Whether a path is that of one of the folders.
    pub(super) fn is_one(&self, path: &Path) -> bool {
        self.folders.iter().any(|own| own.path == path)
    }

    /// Whether a path lies in one of the folders.
    pub(super) fn holds(&self, path: &Path) -> bool {
        self.place_of(path).is_some()
    }

    /// Whether a path lies in one of the folders to which the tenant may write.
    pub(super) fn is_writable_at(&self, path: &Path) -> bool {
        let place = self.place_of(path);
        place.is_some_and(|(own, _)| !own.is_sealed)
    }

    /// The innermost folder that contains a path, and the path within it.
    fn place_of<'a>(&self, path: &'a Path) -> Option<(&OwnFolder, &'a Path)> {
        let bytes = path.as_os_str().as_bytes();
        let inside = self.folders.iter().filter_map(|own| {
            // Cheap, and false for most: the paths are compared part by part below.
            if !bytes.starts_with(own.path.as_os_str().as_bytes()) {
                return None;
            }
            let rest = path.strip_prefix(&own.path).ok()?;
            (rest != Path::new("")).then_some((own, rest))
        });
        inside.max_by_key(|(own, _)| own.path.as_os_str().len())
    }

    /// The innermost folder that contains a path and to which the tenant may write, and the path
    /// within it.
    pub(super) fn tree_of<'a>(&self, path: &'a Path) -> Option<(BorrowedFd<'_>, &'a Path)> {
        let (own, rest) = self.place_of(path)?;
        (!own.is_sealed).then(|| (own.tree.as_fd(), rest))
    }

    /// Makes a folder, and those above it, if it lies in one of the tenant's own.
    ///
    /// # Errors
    /// A [`Failure`] of `stage`.
    pub(super) fn folder(&self, stage: Stage, path: &Path, owner: Owner) -> Result<(), Failure> {
        let Some((own, rest)) = self.place_of(path) else {
            return Ok(());
        };
        make_folders(&own.tree, rest, owner).map_err(on(stage, path))
    }

    /// Makes the mount point for `tree`, a file or a folder, if it lies in one of the tenant's own.
    ///
    /// # Errors
    /// A [`Failure`] of `stage`.
    pub(super) fn place(&self, stage: Stage, path: &Path, tree: &OwnedFd) -> Result<(), Failure> {
        let found = fstat(tree).map_err(on(stage, path))?;
        if FileType::from_raw_mode(found.st_mode) == FileType::Directory {
            return self.folder(stage, path, Owner::ROOT);
        }
        let Some((own, rest)) = self.place_of(path) else {
            return Ok(());
        };
        if let Some(parent) = rest.parent() {
            make_folders(&own.tree, parent, Owner::ROOT).map_err(on(stage, path))?;
        }
        let flags = OFlags::CREATE | OFlags::WRONLY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
        let made = openat(&own.tree, rest, flags, Mode::RUSR);
        made.map(drop).map_err(on(stage, path))
    }

    /// Makes `socket` a link to the socket of the same name in `folder`, beside it, and a mount
    /// point for `folder`.
    ///
    /// # Errors
    /// A [`Failure`] of `stage`.
    pub(super) fn link(&self, stage: Stage, socket: &Path, folder: &Path) -> Result<(), Failure> {
        let Some((own, rest)) = self.place_of(socket) else {
            return Ok(());
        };
        for needed in [folder, socket.parent().unwrap_or(folder)] {
            self.folder(stage, needed, Owner::ROOT)?;
        }
        let to = folder.join(socket.file_name().unwrap_or_default());
        match symlinkat(&to, &own.tree, rest) {
            Ok(()) | Err(Errno::EXIST) => Ok(()),
            Err(errno) => Err(on(stage, socket)(errno)),
        }
    }

    /// Adds all of them to the mounts. `/dev` and the sealed ones are complete now and become read-only.
    ///
    /// # Errors
    /// A [`Failure`] of stage own.
    pub(super) fn attach(self, mounts: &mut Mounts) -> Result<(), Failure> {
        for OwnFolder {
            path,
            tree,
            is_sealed,
        } in self.folders
        {
            let tree = match is_sealed {
                true => seal::read_only(tree).map_err(on(STAGE, &path))?,
                false => tree,
            };
            mounts.add_folder(STAGE, tree, &path)?;
        }
        Ok(())
    }
}

fn owner_of(found: &rustix::fs::Stat) -> Owner {
    Owner {
        uid: found.st_uid,
        gid: found.st_gid,
        mode: found.st_mode & 0o7777,
    }
}

/// Makes a folder in a detached mount, and those above it. Only the last one gets the owner.
pub(super) fn make_folders(tree: &OwnedFd, path: &Path, owner: Owner) -> Result<(), Errno> {
    let mut above: Vec<&Path> = path.ancestors().filter(|it| *it != Path::new("")).collect();
    above.reverse();
    for folder in above {
        let is_last = folder == path;
        match mkdirat(tree, folder, Mode::RWXU) {
            Ok(()) if is_last => set_owner(tree, folder, owner)?,
            Ok(()) => set_owner(tree, folder, Owner::ROOT)?,
            Err(Errno::EXIST) if is_last && owner != Owner::ROOT => set_owner(tree, path, owner)?,
            Err(Errno::EXIST) => {}
            Err(errno) => return Err(errno),
        }
    }
    Ok(())
}

/// Sets owner and mode; the umask applies to what mkdirat(2) and mknodat(2) make.
fn set_owner(tree: &OwnedFd, path: &Path, owner: Owner) -> Result<(), Errno> {
    let Owner { uid, gid, mode } = owner;
    if (uid, gid) != (0, 0) {
        let (uid, gid) = (Uid::from_raw(uid), Gid::from_raw(gid));
        chownat(tree, path, Some(uid), Some(gid), AtFlags::SYMLINK_NOFOLLOW)?;
    }
    chmodat(tree, path, Mode::from_raw_mode(mode), AtFlags::empty())
}

/// Whether `/dev` needs a mount point for it that [`device_folder`] does not make.
fn is_new_in_dev(target: &Path) -> bool {
    target.starts_with("/dev")
        && !["/dev/shm", "/dev/pts"]
            .iter()
            .any(|made| target.starts_with(made))
}

/// Makes `/dev`: a few device files and links, and the mount points of `/dev/shm` and `/dev/pts`.
pub(in crate::launch) fn device_folder() -> Result<OwnedFd, Errno> {
    let tmpfs = Tmpfs {
        owner: Owner::ROOT,
        size: DEV_SIZE,
        inodes: None,
        attributes: MountAttrFlags::MOUNT_ATTR_NOSUID | MountAttrFlags::MOUNT_ATTR_NOEXEC,
    };
    let tree = tmpfs.mount()?;
    let all = Mode::from_raw_mode(0o666);
    for (name, major, minor) in NODES {
        let device: Dev = makedev(major, minor);
        mknodat(&tree, name, FileType::CharacterDevice, all, device)?;
        chmodat(&tree, name, all, AtFlags::empty())?;
    }
    for (name, to) in LINKS {
        symlinkat(to, &tree, name)?;
    }
    for name in ["shm", "pts"] {
        make_folders(&tree, Path::new(name), Owner::ROOT)?;
    }
    Ok(tree)
}

/// Makes a set of pseudoterminals, see pts(4): other tenants' and the host's are not in it.
pub(in crate::launch) fn terminals() -> Result<OwnedFd, Errno> {
    let devpts = fsopen(c"devpts", FsOpenFlags::FSOPEN_CLOEXEC)?;
    for (key, value) in [("mode", "0620"), ("ptmxmode", "0666"), ("gid", TTY)] {
        fsconfig_set_string(&devpts, key, value)?;
    }
    fsconfig_create(&devpts)?;
    let attributes = MountAttrFlags::MOUNT_ATTR_NOSUID | MountAttrFlags::MOUNT_ATTR_NOEXEC;
    fsmount(&devpts, FsMountFlags::FSMOUNT_CLOEXEC, attributes)
}

/// The folder of the file to which `/etc/resolv.conf` is a link, if it lies in one of the tenant's
/// own folders. The folder, because the program that writes the file replaces it by rename(2).
pub(super) fn resolver(own: &OwnFolders) -> Option<PathBuf> {
    let file = std::fs::canonicalize("/etc/resolv.conf").ok()?;
    let folder = file.parent()?;
    match own.is_one(folder) {
        true => Some(file),
        false => own.holds(folder).then(|| folder.to_owned()),
    }
}
