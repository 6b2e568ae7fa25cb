//! What the kernel alone takes for the mounts of a launch: the system calls without which they cannot be
//! had, by a thread in a mount namespace of its own. No process, no checks, no claim, no program. File systems in
//! memory are there before, as for a launch.

use std::fs::{create_dir_all, write};
use std::os::fd::OwnedFd;
use std::path::Path;
use std::time::Instant;

use landlock::{ABI, AccessFs, PathBeneath, Ruleset, RulesetAttr, RulesetCreatedAttr};
use nix::sched::{CloneFlags, unshare};
use rustix::fs::{CWD, Mode, OFlags, ResolveFlags, openat2};
use rustix::mount::{
    FsMountFlags, FsOpenFlags, MountAttrFlags, MountPropagationFlags, MoveMountFlags, OpenTreeFlags,
};
use rustix::mount::{
    fsconfig_create, fsconfig_set_fd, fsconfig_set_string, fsmount, fsopen, mount_change,
    move_mount, open_tree,
};

/// The mounts of a row.
#[derive(Clone, Copy)]
pub struct Row {
    /// Folders of the datastore.
    pub plain: usize,
    /// Those mounted over the host's.
    pub overlays: usize,
    /// Whether the host is read-only: the tenant's own folders, a union for a file, and Landlock.
    pub read_only: bool,
}

/// Where the floor has its folders.
const ROOT: &str = "/var/lib/tenantd/floor";

/// Makes the folders of a row.
pub fn prepare(row: Row) {
    for number in 0..row.plain + row.overlays {
        for part in ["data", "scratch", "target"] {
            create_dir_all(format!("{ROOT}/{part}/{number}")).unwrap();
        }
    }
    for folder in ["conf", "run", "tmp", "vartmp", "shm", "pts", "dev", "cover"] {
        create_dir_all(format!("{ROOT}/{folder}")).unwrap();
    }
    write(format!("{ROOT}/conf/conf"), "host").unwrap();
}

/// The time in ms of the system calls of a row. Returns when the namespace is gone, since the kernel unmounts
/// all of it at the end of the thread, after others may see that it has ended.
pub fn measure(row: Row) -> f64 {
    let thread = std::thread::spawn(move || {
        let spares = if row.read_only { spares() } else { Vec::new() };
        let begun = Instant::now();
        unshare(CloneFlags::CLONE_FS | CloneFlags::CLONE_NEWNS).unwrap();
        let slave = MountPropagationFlags::DOWNSTREAM | MountPropagationFlags::REC;
        mount_change(c"/", slave).unwrap();
        let kept = mounts(row, spares);
        let took = begun.elapsed().as_secs_f64() * 1000.0;
        drop(kept);
        (took, rustix::thread::gettid())
    });
    let (took, id) = thread.join().unwrap();
    let task = format!("/proc/self/task/{}", id.as_raw_nonzero());
    while Path::new(&task).exists() {
        std::thread::yield_now();
    }
    took
}

/// The tenant's own folders, its terminals, and the layer for a file.
fn spares() -> Vec<OwnedFd> {
    let options = [("mode", "1777"), ("size", "1048576"), ("nr_inodes", "1024")];
    let mut made_before: Vec<OwnedFd> = (0..4).map(|_| made(c"tmpfs", &options)).collect();
    let options = [("mode", "0620"), ("ptmxmode", "0666"), ("gid", "5")];
    made_before.push(made(c"devpts", &options));
    made_before.push(made(c"tmpfs", &[("mode", "0755"), ("size", "65536")]));
    made_before
}

/// Makes and attaches them. Returns the descriptors, which the launch's parent closes later.
fn mounts(row: Row, mut spares: Vec<OwnedFd>) -> Vec<OwnedFd> {
    let mut kept = Vec::new();
    let mut to_write = Vec::new();
    for number in 0..row.plain + row.overlays {
        let data = open(&format!("{ROOT}/data/{number}"));
        let tree = match number < row.plain {
            true => clone_tree(&data),
            false => {
                let work = open(&format!("{ROOT}/scratch/{number}"));
                let lower = open(&format!("{ROOT}/target/{number}"));
                overlay(&[
                    ("lowerdir+", &lower),
                    ("upperdir", &data),
                    ("workdir", &work),
                ])
            }
        };
        attach(&tree, &format!("{ROOT}/target/{number}"));
        to_write.push(tree);
    }
    if row.read_only {
        let layer = spares.pop().unwrap();
        for (folder, tree) in ["run", "tmp", "vartmp", "shm", "pts"].iter().zip(spares) {
            attach(&tree, &format!("{ROOT}/{folder}"));
            to_write.push(tree);
        }
        for folder in ["dev", "cover"] {
            let tree = clone_tree(&open(&format!("{ROOT}/{folder}")));
            attach(&tree, &format!("{ROOT}/{folder}"));
            kept.push(tree);
        }
        if row.plain > 1 {
            union(&layer, &mut kept);
        }
        restrict(&to_write);
        kept.push(layer);
    }
    kept.append(&mut to_write);
    kept
}

/// A file in a read-only union over a folder of the host.
fn union(layer: &OwnedFd, kept: &mut Vec<OwnedFd>) {
    let folder = format!("{ROOT}/conf");
    let flags = OFlags::CREATE | OFlags::WRONLY | OFlags::CLOEXEC;
    let file = openat2(layer, "conf", flags, Mode::RUSR, ResolveFlags::empty()).unwrap();
    rustix::io::write(&file, b"key = value\n").unwrap();
    let host = open(&folder);
    let tree = overlay(&[("lowerdir+", layer), ("lowerdir+", &host)]);
    attach(&tree, &folder);
    kept.push(tree);
}

/// Landlock, with a rule for each.
fn restrict(trees: &[OwnedFd]) {
    let access = AccessFs::from_write(ABI::V3);
    let ruleset = Ruleset::default().handle_access(access).unwrap();
    let mut ruleset = ruleset.create().unwrap();
    for tree in trees {
        ruleset = ruleset.add_rule(PathBeneath::new(tree, access)).unwrap();
    }
    ruleset.restrict_self().unwrap();
}

fn open(path: &str) -> OwnedFd {
    let flags = OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC;
    openat2(
        CWD,
        Path::new(path),
        flags,
        Mode::empty(),
        ResolveFlags::NO_SYMLINKS,
    )
    .unwrap()
}

fn clone_tree(folder: &OwnedFd) -> OwnedFd {
    let flags = OpenTreeFlags::OPEN_TREE_CLONE
        | OpenTreeFlags::OPEN_TREE_CLOEXEC
        | OpenTreeFlags::AT_EMPTY_PATH;
    open_tree(folder, c"", flags).unwrap()
}

fn made(kind: &std::ffi::CStr, options: &[(&str, &str)]) -> OwnedFd {
    let filesystem = fsopen(kind, FsOpenFlags::FSOPEN_CLOEXEC).unwrap();
    for (key, value) in options {
        fsconfig_set_string(&filesystem, *key, *value).unwrap();
    }
    mounted(&filesystem)
}

/// A union of these folders.
fn overlay(folders: &[(&str, &OwnedFd)]) -> OwnedFd {
    let filesystem = fsopen(c"overlay", FsOpenFlags::FSOPEN_CLOEXEC).unwrap();
    for (key, folder) in folders {
        fsconfig_set_fd(&filesystem, *key, folder).unwrap();
    }
    mounted(&filesystem)
}

fn mounted(filesystem: &OwnedFd) -> OwnedFd {
    fsconfig_create(filesystem).unwrap();
    fsmount(
        filesystem,
        FsMountFlags::FSMOUNT_CLOEXEC,
        MountAttrFlags::MOUNT_ATTR_NOSUID,
    )
    .unwrap()
}

fn attach(tree: &OwnedFd, target: &str) {
    let target = open(target);
    let by_fd = MoveMountFlags::MOVE_MOUNT_F_EMPTY_PATH | MoveMountFlags::MOVE_MOUNT_T_EMPTY_PATH;
    move_mount(tree, c"", &target, c"", by_fd).unwrap();
}
