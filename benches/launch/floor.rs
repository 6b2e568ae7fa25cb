//! What the kernel alone takes for the mounts of a launch: the system calls without which they cannot be
//! had, by a thread in a mount namespace of its own. No process, no checks, no claim, no program.

use std::fs::{create_dir_all, write};
use std::os::fd::{AsRawFd, OwnedFd};
use std::path::Path;
use std::time::Instant;

use landlock::{ABI, AccessFs, PathBeneath, Ruleset, RulesetAttr, RulesetCreatedAttr};
use nix::sched::{CloneFlags, unshare};
use rustix::fs::{CWD, Mode, OFlags, ResolveFlags, openat2};
use rustix::mount::{
    FsMountFlags, FsOpenFlags, MountAttrFlags, MountPropagationFlags, MoveMountFlags, OpenTreeFlags,
};
use rustix::mount::{
    fsconfig_create, fsconfig_set_string, fsmount, fsopen, mount_change, move_mount, open_tree,
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
        let begun = Instant::now();
        unshare(CloneFlags::CLONE_FS | CloneFlags::CLONE_NEWNS).unwrap();
        let slave = MountPropagationFlags::DOWNSTREAM | MountPropagationFlags::REC;
        mount_change(c"/", slave).unwrap();
        let kept = mounts(row);
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

/// Makes and attaches them. Returns the descriptors, which the launch's parent closes later.
fn mounts(row: Row) -> Vec<OwnedFd> {
    let mut kept = Vec::new();
    let mut to_write = Vec::new();
    for number in 0..row.plain + row.overlays {
        let data = open(&format!("{ROOT}/data/{number}"));
        let tree = match number < row.plain {
            true => clone_tree(&data),
            false => {
                let work = open(&format!("{ROOT}/scratch/{number}"));
                let lower = open(&format!("{ROOT}/target/{number}"));
                let [lower, upper, work] = [&lower, &data, &work].map(by_descriptor);
                made(
                    c"overlay",
                    &[
                        ("lowerdir", &lower),
                        ("upperdir", &upper),
                        ("workdir", &work),
                    ],
                )
            }
        };
        attach(&tree, &format!("{ROOT}/target/{number}"));
        to_write.push(tree);
    }
    if row.read_only {
        for folder in ["run", "tmp", "vartmp", "shm"] {
            let tree = made(
                c"tmpfs",
                &[("mode", "1777"), ("size", "1048576"), ("nr_inodes", "1024")],
            );
            attach(&tree, &format!("{ROOT}/{folder}"));
            to_write.push(tree);
        }
        let terminals = made(
            c"devpts",
            &[("mode", "0620"), ("ptmxmode", "0666"), ("gid", "5")],
        );
        attach(&terminals, &format!("{ROOT}/pts"));
        to_write.push(terminals);
        for folder in ["dev", "cover"] {
            let tree = clone_tree(&open(&format!("{ROOT}/{folder}")));
            attach(&tree, &format!("{ROOT}/{folder}"));
            kept.push(tree);
        }
        if row.plain > 1 {
            union(&mut kept);
        }
        restrict(&to_write);
    }
    kept.append(&mut to_write);
    kept
}

/// A file in a read-only union over a folder of the host.
fn union(kept: &mut Vec<OwnedFd>) {
    let folder = format!("{ROOT}/conf");
    let layer = made(c"tmpfs", &[("mode", "0755"), ("size", "65536")]);
    let flags = OFlags::CREATE | OFlags::WRONLY | OFlags::CLOEXEC;
    let file = openat2(&layer, "conf", flags, Mode::RUSR, ResolveFlags::empty()).unwrap();
    rustix::io::write(&file, b"key = value\n").unwrap();
    let host = open(&folder);
    let layers = [&layer, &host].map(by_descriptor).join(":");
    let tree = made(c"overlay", &[("lowerdir", layers.as_str())]);
    attach(&tree, &folder);
    kept.extend([layer, tree]);
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

fn by_descriptor(folder: &OwnedFd) -> String {
    format!("/proc/self/fd/{}", folder.as_raw_fd())
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
    fsconfig_create(&filesystem).unwrap();
    fsmount(
        &filesystem,
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
