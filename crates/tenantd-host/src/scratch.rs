//! A copy of the host in which nothing that is written stays: for a scratch run of a program.
//!
//! The calling process enters a mount and a network namespace of its own. There, each real file system
//! is a union with an upper layer on one tmpfs of a bounded size, so that all writes succeed, and
//! [`Scratch::writes`] finds them. Kernel file systems are the host's, read-only, except `/proc`;
//! `/dev` is a small one. A file system that cannot be the lower layer of a union is read-only.
//!
//! With the last process in the namespaces, all of it is gone: nothing of it is on the host.

mod mounts;
mod walk;

use std::fs;
use std::io;
use std::os::fd::{AsRawFd, OwnedFd};
use std::path::{Path, PathBuf};

use nix::mount::{MntFlags, MsFlags, mount, umount2};
use nix::sched::{CloneFlags, unshare};
use nix::unistd::pivot_root;
use rustix::fs::{CWD, Mode, OFlags, openat};
use rustix::io::Errno;
use rustix::mount::{MoveMountFlags, move_mount};

use mounts::Upper;
use tenantd_core::learn::Write;

/// Folders of tenantd itself, which are empty in a scratch run: the host's supervisors are not seen.
const TENANTD: [&str; 3] = ["/run/tenantd", "/var/lib/tenantd", "/var/log/tenantd"];

/// The folder for the scratch run's own files.
pub const FOLDER: &str = "/run/tenantd-learn";

/// The names of network namespaces, see ip-netns(8).
const NAMES: &str = "/run/netns";

/// What could not be done.
#[derive(Debug, thiserror::Error)]
#[error("{what}")]
pub struct ScratchError {
    what: String,
    source: io::Error,
}

fn failed<E: Into<io::Error>>(what: impl Into<String>) -> impl FnOnce(E) -> ScratchError {
    let what = what.into();
    |source| ScratchError {
        what,
        source: source.into(),
    }
}

/// The copy, which the process has entered.
#[derive(Debug)]
pub struct Scratch {
    uppers: Vec<Upper>,
    /// The tmpfs with all upper layers.
    _layers: OwnedFd,
    /// The file systems that are read-only or missing, each with the reason.
    pub others: Vec<(PathBuf, String)>,
}

impl Scratch {
    /// Enters new namespaces, in which the whole tree is a union. `size` is the maximum of what can be
    /// written, in bytes. The process must have one thread.
    ///
    /// # Errors
    /// A [`ScratchError`]. The process is then in namespaces that are not complete, and must end.
    pub fn enter(size: u64) -> Result<Self, ScratchError> {
        separate()?;
        // Opened before the layers cover one of them.
        let all = mounts::all()?;
        let layers = Layers::attach(size)?;
        let root = layers.folder("root")?;
        let mut uppers = Vec::new();
        let mut others = Vec::new();
        for (number, found) in all.into_iter().enumerate() {
            match mounts::copy(&found, &layers, number, &root)? {
                mounts::Copied::Union(upper) => uppers.push(upper),
                mounts::Copied::Other(why) => others.push((found.place, why)),
                mounts::Copied::Kernel | mounts::Copied::Hidden => {}
            }
        }
        for (place, tree) in crate::launch::devices(size).map_err(|failure| ScratchError {
            what: failure.to_string(),
            source: io::Error::from_raw_os_error(libc::EINVAL),
        })? {
            attach(&tree, &root, &place)?;
        }
        change_root(&root)?;
        let scratch = Self {
            uppers,
            _layers: layers.open,
            others,
        };
        own_folders(size)?;
        Ok(scratch)
    }

    /// What was written so far. Compares the content of files with the host's.
    ///
    /// # Errors
    /// A [`ScratchError`] if an upper layer cannot be read.
    pub fn writes(&self) -> Result<Vec<Write>, ScratchError> {
        let mut writes = Vec::new();
        for upper in &self.uppers {
            walk::walk(upper, &mut writes)?;
        }
        writes.retain(|write| !is_ours(&write.path));
        writes.sort();
        Ok(writes)
    }

    /// What the host has at a path: the path of it for this process. `None` if it is in no real file
    /// system.
    #[must_use]
    pub fn on_host(&self, path: &Path) -> Option<PathBuf> {
        let within = self.uppers.iter().filter(|it| path.starts_with(&it.place));
        let upper = within.max_by_key(|it| it.place.as_os_str().len())?;
        let rest = path.strip_prefix(&upper.place).ok()?;
        Some(of(&upper.lower).join(rest))
    }
}

/// Enters new namespaces with the host's files, in which `/run` is a union and the folders of tenantd
/// are empty: a supervisor that runs there is apart from the host's, and leaves nothing.
///
/// # Errors
/// A [`ScratchError`]. The process is then in namespaces that are not complete, and must end.
pub fn enter_host(size: u64) -> Result<(), ScratchError> {
    separate()?;
    let missing = TENANTD.iter().filter(|path| !Path::new(path).is_dir());
    let parents = missing.filter_map(|path| Path::new(path).parent());
    let mut places: Vec<&Path> = parents.chain([Path::new("/run")]).collect();
    places.sort();
    places.dedup();
    let layers = Layers::attach(size)?;
    let mut trees = Vec::new();
    for (number, place) in places.iter().enumerate() {
        let lower = open(place).map_err(failed(place.display().to_string()))?;
        trees.push(mounts::union(place, lower, &layers, number)?);
    }
    layers.detach()?;
    for (place, (_, tree)) in places.iter().zip(&trees) {
        move_to(tree, place)?;
    }
    mount_new("sysfs", "/sys", "", MsFlags::empty())?;
    own_folders(size)
}

fn is_ours(path: &Path) -> bool {
    let own = TENANTD.iter().copied().chain([FOLDER, NAMES]);
    let mut own = own.map(Path::new);
    own.any(|own| path.starts_with(own))
}

fn separate() -> Result<(), ScratchError> {
    unshare(CloneFlags::CLONE_NEWNS | CloneFlags::CLONE_NEWNET)
        .map_err(failed("cannot make new namespaces"))?;
    let none: Option<&str> = None;
    let private = MsFlags::MS_REC | MsFlags::MS_PRIVATE;
    mount(none, "/", none, private, none).map_err(failed("cannot separate the mounts"))
}

/// Mounts a new file system.
fn mount_new(kind: &str, place: &str, data: &str, flags: MsFlags) -> Result<(), ScratchError> {
    mount(Some("tenantd"), place, Some(kind), flags, Some(data))
        .map_err(failed(format!("{place}: cannot mount {kind}")))
}

/// Makes the folders of tenantd in the tree, each empty and of at most `size` bytes, and that of the
/// scratch run.
fn own_folders(size: u64) -> Result<(), ScratchError> {
    for place in TENANTD.into_iter().chain([NAMES, FOLDER]) {
        fs::create_dir_all(place).map_err(failed(format!("{place}: cannot make the folder")))?;
        mount_new(
            "tmpfs",
            place,
            &format!("mode=755,size={size}"),
            MsFlags::empty(),
        )?;
    }
    Ok(())
}

/// Mounts the cgroup tree of this process's own cgroup, which is all that it shows. For the process
/// that runs the scratch run, after it was put into its cgroup.
///
/// # Errors
/// A [`ScratchError`].
pub fn own_cgroups() -> Result<(), ScratchError> {
    unshare(CloneFlags::CLONE_NEWCGROUP).map_err(failed("cannot make a cgroup namespace"))?;
    mount_new("cgroup2", "/sys/fs/cgroup", "", MsFlags::empty())
}

fn open(path: &Path) -> Result<OwnedFd, Errno> {
    openat(CWD, path, OFlags::PATH | OFlags::CLOEXEC, Mode::empty())
}

/// The path of what a descriptor is open on.
fn of(fd: &OwnedFd) -> PathBuf {
    PathBuf::from(format!("/proc/self/fd/{}", fd.as_raw_fd()))
}

fn move_to(tree: &OwnedFd, place: &Path) -> Result<(), ScratchError> {
    move_mount(
        tree,
        c"",
        CWD,
        place,
        MoveMountFlags::MOVE_MOUNT_F_EMPTY_PATH,
    )
    .map_err(failed(format!("{}: cannot mount", place.display())))
}

/// Attaches a mount in the tree that is being made.
fn attach(tree: &OwnedFd, root: &Path, place: &Path) -> Result<(), ScratchError> {
    move_to(tree, &root.join(place.strip_prefix("/").unwrap_or(place)))
}

/// Makes `root` the root of this process and of all that it starts, and detaches the old one.
fn change_root(root: &Path) -> Result<(), ScratchError> {
    let shown = "cannot change the root";
    std::env::set_current_dir(root).map_err(failed(shown))?;
    pivot_root(".", ".").map_err(failed(shown))?;
    umount2(".", MntFlags::MNT_DETACH).map_err(failed(shown))?;
    std::env::set_current_dir("/").map_err(failed(shown))
}

/// The tmpfs of the upper layers, while it is attached somewhere: a union can only be made of folders
/// that are.
struct Layers {
    open: OwnedFd,
    place: PathBuf,
}

impl Layers {
    fn attach(size: u64) -> Result<Self, ScratchError> {
        // What it covers is opened before.
        let place = PathBuf::from("/tmp");
        fs::metadata(&place).map_err(failed("/tmp"))?;
        Ok(Self {
            open: mounts::layers(size, &place)?,
            place,
        })
    }

    fn folder(&self, name: &str) -> Result<PathBuf, ScratchError> {
        let path = self.place.join(name);
        fs::create_dir(&path).map_err(failed(path.display().to_string()))?;
        Ok(path)
    }

    fn detach(&self) -> Result<(), ScratchError> {
        umount2(&self.place, MntFlags::MNT_DETACH).map_err(failed("/tmp"))
    }
}
