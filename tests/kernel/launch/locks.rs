//! A datastore has at most one launch, whatever its path, as long as any of its processes runs.

use std::os::fd::AsFd;
use std::path::Path;

use nix::mount::{MsFlags, mount};
use tenantd_core::stage::Stage;
use tenantd_host::cgroup::Tree;
use tenantd_host::{datastore, lock};

use crate::launch::bench::Bench;
use crate::support;

fn is_free(bench: &Bench) -> bool {
    let source = &bench.datastore.source;
    let folder = datastore::open(source).unwrap();
    lock::is_free(folder.as_fd(), source).unwrap()
}

#[test]
fn two_paths_to_one_folder_share_a_lock() {
    let mut bench = Bench::new();
    let _first = bench.run().unwrap();
    std::fs::create_dir("/run/alias").unwrap();
    let none: Option<&str> = None;
    let (source, alias) = (Some("/var/lib/tenantd"), "/run/alias");
    mount(source, alias, none, MsFlags::MS_BIND, none).unwrap();
    bench.datastore.source = "/run/alias/wiki/acme".into();
    let why = bench.run().err().unwrap();
    assert_eq!((why.stage, why.errno), (Stage::Lock, libc::EWOULDBLOCK));
    assert!(
        why.detail.starts_with("held by wiki/acme, process "),
        "{why}"
    );
}

#[test]
fn the_lock_is_held_as_long_as_any_process_runs() {
    let mut bench = Bench::script("sleep 1000 & exit 0");
    let app = support::app_name().parse().unwrap();
    let tree = Tree::find(&app).unwrap().unwrap();
    let leaf = tree.leaf(&"acme".parse().unwrap()).unwrap();
    bench.leaf = Some(leaf.clone());
    assert!(is_free(&bench));
    // The launcher's own copy is closed, and the first process ends; its child continues.
    assert_eq!(bench.output(), "");
    assert!(leaf.is_populated().unwrap());
    assert!(!is_free(&bench));
    assert_eq!(bench.run().err().unwrap().stage, Stage::Lock);
    leaf.kill().unwrap();
    support::until("the leaf is empty", || !leaf.is_populated().unwrap());
    assert!(is_free(&bench));
    leaf.remove().unwrap();
    tree.remove().unwrap();
}

#[test]
fn a_failed_launch_leaves_the_lock_free() {
    let mut bench = Bench::new();
    bench.launch.working_directory = "/run/nothing".into();
    assert_eq!(bench.run().err().unwrap().stage, Stage::WorkingDirectory);
    assert!(is_free(&bench));
}

#[test]
fn a_lock_that_cannot_be_signed_stops_the_launch() {
    let bench = Bench::new();
    std::fs::create_dir_all(lock::LOCKS).unwrap();
    let flags = MsFlags::empty();
    mount(
        Some("test"),
        lock::LOCKS,
        Some("tmpfs"),
        flags,
        Some("size=4k"),
    )
    .unwrap();
    // An empty lock file needs no room, but its text does.
    let filler = Path::new(lock::LOCKS).join("filler");
    std::fs::write(&filler, [0; 4096]).unwrap();
    let why = bench.run().err().unwrap();
    assert_eq!((why.stage, why.errno), (Stage::Lock, libc::ENOSPC), "{why}");
    assert_eq!(why.detail, "");
    // The child has been killed and reaped.
    assert!(is_free(&bench));
    std::fs::remove_file(filler).unwrap();
    bench.run().unwrap();
}

#[test]
fn an_unused_lock_file_is_removed() {
    let bench = Bench::new();
    let source = bench.datastore.source.clone();
    let folder = datastore::open(&source).unwrap();
    let running = bench.run().unwrap();
    let why = lock::remove_unused(folder.as_fd(), &source).unwrap_err();
    assert_eq!(why.errno, libc::EWOULDBLOCK);
    drop(running);
    let files = || std::fs::read_dir(Path::new(lock::LOCKS)).unwrap().count();
    assert_eq!(files(), 1);
    lock::remove_unused(folder.as_fd(), &source).unwrap();
    assert_eq!(files(), 0);
    assert!(is_free(&bench));
    bench.run().unwrap();
}

#[test]
fn a_sweep_removes_only_free_locks() {
    let bench = Bench::new();
    let running = bench.run().unwrap();
    std::fs::create_dir("/run/other").unwrap();
    let other = Path::new("/run/other");
    let folder = datastore::open(other).unwrap();
    let free = lock::Lock::take(folder.as_fd(), other).unwrap().path();
    let locks = || std::fs::read_dir(lock::LOCKS).unwrap().count();
    assert_eq!(locks(), 2);
    lock::sweep().unwrap();
    assert!(!Path::new(&free).exists());
    assert_eq!(locks(), 1);
    assert!(!is_free(&bench), "process {} holds it", running.pid);
}
